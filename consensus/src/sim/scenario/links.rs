//! What a scenario does to the network between members.

use lockstep_service::clustered_service::ClusteredService;

use super::SimCluster;

impl<S: ClusteredService> SimCluster<S> {
    /// Nothing passes between two members.
    #[track_caller]
    pub fn cut(&mut self, one: usize, other: usize) {
        self.note(format!("members {one} and {other} are cut apart"));
        let members = &self.setup.cluster.members;
        let (one, other) = (members[one].member, members[other].member);
        self.network.partition_both(one, other);
    }

    /// Nothing that one member sends arrives at another one.
    #[track_caller]
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.note(format!("what member {from} sends to member {to} is lost"));
        let members = &self.setup.cluster.members;
        let (from, to) = (members[from].member, members[to].member);
        self.network.partition(from, to);
    }

    /// Nothing that a member sends arrives at a client; what the client sends does.
    #[track_caller]
    pub fn deafen_client(&mut self, client: usize, member: usize) {
        self.note(format!("client {client} does not hear member {member}"));
        let from = self.setup.cluster.members[member].ingress;
        self.network.partition(from, self.clients[client].address);
    }

    /// Everything passes again.
    #[track_caller]
    pub fn heal(&mut self) {
        self.note("the network heals".to_owned());
        self.network.heal();
    }
}
