//! What a client makes of events about its session: of which leadership term they are decides
//! whether they count.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::EventCode;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use support::fake_cluster::{FakeCluster, member_address};
use support::network::{Network, NetworkPort};

const STEP: Nanos = 100 * MICROSECOND;

struct World {
    network: Network,
    cluster: FakeCluster,
    client: ClusterClient<NetworkPort>,
    now: Nanos,
    news: Vec<String>,
    answers: usize,
}

fn config() -> ClientConfig {
    ClientConfig {
        members: (0..3).map(member_address).collect(),
        ..ClientConfig::default()
    }
}

fn new_client(network: &Network, config: ClientConfig, port: u16) -> ClusterClient<NetworkPort> {
    let address = ([127, 0, 0, 1], port).into();
    let seed = u64::from(port);
    ClusterClient::new(config, network.port(address), ClientIdentity::of_seed(seed)).unwrap()
}

impl World {
    fn connected(leader: usize) -> Self {
        let network = Network::new(1);
        let mut world = Self {
            cluster: FakeCluster::new(&network, 3, leader),
            client: new_client(&network, config(), 100),
            network,
            now: 0,
            news: Vec::new(),
            answers: 0,
        };
        world.run_until(5 * SECOND, |world| world.client.is_connected());
        world
    }

    fn step(&mut self) {
        self.now += STEP;
        self.cluster.do_work(self.now);
        self.client.do_work(self.now);
        let (news, answers) = (&mut self.news, &mut self.answers);
        self.client
            .poll_egress(self.now, 64, &mut |event| match event {
                EgressEvent::Response { .. } => *answers += 1,
                other => news.push(format!("{other:?}")),
            });
    }

    fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    #[track_caller]
    fn run_until(&mut self, limit: Nanos, mut is_so: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        while !is_so(self) {
            let (state, counters) = (self.client.state(), self.client.counters());
            assert!(self.now < end, "{state:?} {:?} {counters:?}", self.news);
            self.step();
        }
    }

    /// One request is answered.
    #[track_caller]
    fn ask(&mut self) {
        let before = self.answers;
        let offered = self.client.offer(self.now, b"anything");
        assert!(matches!(offered, OfferResult::Accepted(_)), "{offered:?}");
        self.run_until(5 * SECOND, |world| world.answers > before);
    }
}

#[test]
fn a_leader_of_an_older_term_cannot_close_a_live_session() {
    let mut world = World::connected(0);
    world.ask();
    world.cluster.elect(2, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(2));
    for (code, detail) in [
        (EventCode::Expired, b"session expired".as_slice()),
        (EventCode::Redirect, b""),
        (EventCode::Error, b"concurrent session limit"),
    ] {
        world
            .cluster
            .say(0, 1, LeadershipTermId::new(1), code, detail);
        world.run(100 * MILLISECOND);
        assert_eq!(world.client.leader(), Some(2), "{code:?}");
    }
    world.ask();
}

#[test]
fn a_leader_of_an_older_term_that_knows_no_session_does_not_end_one_that_is_resumed() {
    let mut world = World::connected(0);
    world.cluster.elect(1, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(1));
    world.ask();
    let resume = world.client.resume_point();
    world.cluster.believe(0, LeadershipTermId::new(1));
    // Member 0 is asked first by the client that starts again.
    world.client = new_client(&world.network, ClientConfig { resume, ..config() }, 101);
    world.run_until(5 * SECOND, |world| world.client.leader() == Some(1));
    world.ask();
}

#[test]
fn a_leader_of_an_older_term_does_not_end_a_session_that_looks_for_its_leader() {
    let mut world = World::connected(2);
    world.cluster.elect(1, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(1));
    world.cluster.believe(2, LeadershipTermId::new(1));
    // The client takes its leader for lost and asks member 2 next.
    world.cluster.kill(1);
    world.cluster.elect(0, false);
    world.run_until(5 * SECOND, |world| world.client.leader() == Some(0));
    world.ask();
}

#[test]
fn a_stuck_cluster_is_not_reported_as_a_change_of_leader() {
    let mut world = World::connected(1);
    world.ask();
    world.cluster.shared.is_stuck = true;
    world.client.offer(world.now, b"never applied");
    world.run(20 * SECOND);
    assert_eq!(world.client.counters().leader_changes, 0);
    assert_eq!(world.news, ["Connected { session: 1 }"]);
    world.cluster.shared.is_stuck = false;
    world.run_until(20 * SECOND, |world| world.answers == 2);
    assert_eq!(world.client.counters().leader_changes, 0);
}
