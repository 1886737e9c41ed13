//! What clients do: their processes come, ask, die, and others continue their sessions.

use core::net::SocketAddr;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::{ClientConfig, ResumePoint};
use lockstep_client::event::OfferResult;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::session::CloseReason;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::boot::address;
use super::client::Client;
use super::{SimCluster, Told};

/// Hosts of clients, from this one on.
const FIRST_HOST: u8 = 100;

impl<S: ClusteredService> SimCluster<S> {
    /// A client's process starts on a host of its own, its configuration `change`d, and is
    /// connected. Returns its number, from 0.
    ///
    /// # Panics
    /// Where it is not within five seconds.
    #[track_caller]
    pub fn connect(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.join(change);
        self.expect_connected_soon(index)
    }

    /// The same at the address of another client, whose process has died.
    ///
    /// # Panics
    /// Where it is not within five seconds.
    #[track_caller]
    pub fn connect_at(&mut self, other: usize, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.join_at(other, change);
        self.expect_connected_soon(index)
    }

    #[track_caller]
    fn expect_connected_soon(&mut self, index: usize) -> usize {
        for _ in 0..100 {
            self.run(50 * MILLISECOND);
            if self.clients[index].client.is_connected() {
                return index;
            }
        }
        self.fail(&format!("client {index} should be connected"))
    }

    /// A client's process starts, whether it can connect or not. Returns its number.
    ///
    /// # Panics
    /// Where there are as many as the simulated network has hosts for.
    #[track_caller]
    pub fn join(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let host = u8::try_from(self.clients.len()).ok();
        let host = host.and_then(|host| host.checked_add(FIRST_HOST));
        let at = address(host.expect("there are hosts for 156 clients"), 1);
        let identity = self.next_identity();
        self.join_as(at, identity, change)
    }

    /// The same at the address of another client, whose process has died.
    ///
    /// # Panics
    /// Where its configuration is not valid.
    #[track_caller]
    pub fn join_at(&mut self, other: usize, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let (at, identity) = (self.clients[other].address, self.next_identity());
        self.join_as(at, identity, change)
    }

    /// A client's process starts at this address and with this identity. Returns its number.
    ///
    /// # Panics
    /// Where its configuration is not valid.
    #[track_caller]
    pub fn join_as(
        &mut self,
        at: SocketAddr,
        identity: ClientIdentity,
        change: impl FnOnce(&mut ClientConfig),
    ) -> usize {
        let index = self.clients.len();
        self.note(format!("client {index} starts"));
        let cluster = &self.setup.cluster;
        let mut config = ClientConfig {
            members: cluster.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&cluster.name),
            ..ClientConfig::default()
        };
        change(&mut config);
        let client = ClusterClient::new(config, self.network.port(at), identity);
        self.clients.push(Client {
            client: client.expect("a valid configuration"),
            told: Vec::new(),
            is_stopped: false,
            address: at,
        });
        index
    }

    fn next_identity(&self) -> ClientIdentity {
        ClientIdentity::of_seed(77 + self.clients.len() as u64)
    }

    /// A client's process dies. Returns what it had written down, for another one to continue.
    #[track_caller]
    pub fn kill_client(&mut self, client: usize) -> Option<ResumePoint> {
        self.note(format!("client {client} dies"));
        let Client {
            client,
            is_stopped,
            address,
            ..
        } = &mut self.clients[client];
        *is_stopped = true;
        self.network.close(*address);
        client.resume_point()
    }

    /// A client's process does nothing from now on.
    #[track_caller]
    pub fn pause_client(&mut self, client: usize) {
        self.note(format!("client {client} is paused"));
        self.clients[client].is_stopped = true;
    }

    /// A client's process that was paused goes on.
    #[track_caller]
    pub fn wake_client(&mut self, client: usize) {
        self.note(format!("client {client} goes on"));
        self.clients[client].is_stopped = false;
    }

    /// What a client sends while it does `what` arrives that much later, and what it sends after
    /// that does not wait for it.
    #[track_caller]
    pub fn send_late(
        &mut self,
        client: usize,
        late: Nanos,
        what: impl FnOnce(&mut ClusterClient<SimPort>, Nanos),
    ) {
        self.note(format!("client {client} sends what arrives late"));
        let members = self.setup.cluster.members.iter().map(|m| m.ingress);
        let from = self.clients[client].address;
        members
            .clone()
            .for_each(|to| self.network.clog(from, to, self.now + late));
        what(&mut self.clients[client].client, self.now);
        members.for_each(|to| self.network.heal_link(from, to));
    }

    /// A client offers a request as soon as it is taken, and gets its number.
    ///
    /// # Panics
    /// Where it is refused, or not taken within a second.
    #[track_caller]
    pub fn offer(&mut self, client: usize, payload: &[u8]) -> RequestNumber {
        for _ in 0..1_000 {
            match self.clients[client].client.offer(self.now, payload) {
                OfferResult::Accepted(number) => return number,
                OfferResult::BackPressured | OfferResult::NotConnected => self.run(MILLISECOND),
                refused => self.fail(&format!("the offer is refused: {refused:?}")),
            }
        }
        self.fail(&format!("client {client} should have its offer taken"))
    }

    /// A client makes a request, and the next answer that it is handed is the one to that: what
    /// it says.
    ///
    /// # Panics
    /// Where it gets none within ten seconds, or is answered to another request.
    #[track_caller]
    pub fn ask(&mut self, client: usize, payload: &[u8]) -> Vec<u8> {
        let before = self.clients[client].told.len();
        let number = self.offer(client, payload);
        let next = |cluster: &Self| {
            let mut told = cluster.clients[client].told[before..].iter();
            told.find_map(|told| match told {
                Told::Response {
                    number, payload, ..
                } => Some((*number, payload.clone())),
                _ => None,
            })
        };
        self.run_until(10 * SECOND, |cluster| next(cluster).is_some());
        let (found, answer) = next(self).expect("it was waited for");
        if found != number {
            let words = answer.escape_ascii();
            self.fail(&format!(
                "client {client} should be answered to request {number}, found \"{words}\" to \
                 {found}"
            ));
        }
        answer
    }

    /// The first client makes `count` requests, and each of them is answered once, in their order.
    ///
    /// # Panics
    /// Where they are not, within three seconds after the last of them.
    #[track_caller]
    pub fn answer(&mut self, count: usize) {
        self.note(format!("{count} requests"));
        let before = self.clients[0].told.len();
        let offer = |number| self.offer(0, &[number as u8; 100]);
        let asked: Vec<RequestNumber> = (0..count).map(offer).collect();
        // What was asked before may be answered late.
        let answered = |cluster: &Self| {
            let mut numbers = cluster.clients[0].answered_numbers(before);
            numbers.retain(|number| asked.first().is_some_and(|first| number >= first));
            numbers
        };
        for _ in 0..300 {
            if answered(self).len() >= count {
                break;
            }
            self.run(10 * MILLISECOND);
        }
        let found = answered(self);
        if found != asked {
            self.fail(&format!(
                "requests {asked:?} should be answered once each, found {found:?}"
            ));
        }
    }

    /// What a client was answered so far.
    #[must_use]
    pub fn answers(&self, client: usize) -> Vec<&[u8]> {
        self.clients[client].responses()
    }

    /// The session of a client has ended for it, for this reason; or for none, it has not.
    ///
    /// # Panics
    /// Where it is otherwise.
    #[track_caller]
    pub fn expect_closed(&self, client: usize, reason: Option<CloseReason>) {
        let found = self.clients[client].closed();
        if found != reason {
            self.fail(&format!(
                "client {client} should be closed: {reason:?}, found {found:?}"
            ));
        }
    }
}
