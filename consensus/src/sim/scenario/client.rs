//! Clients of a scenario, and what they were told.

use core::net::SocketAddr;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::{RefusalReason, ResponseFailure};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::SimCluster;
use super::boot::address;
use crate::agent::identity::cluster_id;

/// Hosts of clients, from this one on.
const FIRST_HOST: u8 = 100;

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A response.
    Response {
        /// To which of its requests.
        number: i64,
        /// Log time of the response.
        log_time: i64,
        /// What it says.
        payload: Vec<u8>,
    },
    /// A request was refused.
    Refused(i64, RefusalReason),
    /// A response to this request could not be said.
    Failed(i64, ResponseFailure),
    /// Anything else, in words.
    Other(String),
}

impl Told {
    /// What a response says.
    fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Response { payload, .. } => Some(payload),
            _ => None,
        }
    }

    fn of(event: &EgressEvent<'_>) -> Self {
        match event {
            EgressEvent::Response {
                number,
                log_time,
                payload,
                ..
            } => Self::Response {
                number: *number,
                log_time: *log_time,
                payload: payload.to_vec(),
            },
            EgressEvent::Refused { number, reason } => Self::Refused(*number, *reason),
            EgressEvent::ResponseFailed { number, reason, .. } => Self::Failed(*number, *reason),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// A client, and what it was told so far.
#[derive(Debug)]
pub struct Client {
    /// The client.
    pub client: ClusterClient<SimPort>,
    /// What it was told, in order.
    pub told: Vec<Told>,
}

impl Client {
    /// The payloads of the responses so far.
    #[must_use]
    pub fn responses(&self) -> Vec<&[u8]> {
        self.told.iter().filter_map(Told::payload).collect()
    }

    pub(super) fn run(&mut self, now: Nanos) {
        self.client.do_work(now);
        let told = &mut self.told;
        self.client
            .poll_egress(now, 64, &mut |event| told.push(Told::of(&event)));
    }
}

/// Where a client hears.
pub(super) fn client_address(client: usize) -> SocketAddr {
    let client = u8::try_from(client).ok();
    let host = client.and_then(|client| client.checked_add(FIRST_HOST));
    address(host.expect("there are hosts for 156 clients"), 1)
}

impl<S: ClusteredService> SimCluster<S> {
    /// Adds a client whose configuration is `change`d and waits until it is connected. Returns
    /// its number, from 0.
    ///
    /// # Panics
    /// Where it is not within five seconds.
    #[track_caller]
    pub fn connect(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.join(change);
        for _ in 0..100 {
            self.run(50 * MILLISECOND);
            if self.clients[index].client.is_connected() {
                return index;
            }
        }
        self.fail(&format!("client {index} should be connected"))
    }

    /// Adds a client, whether it can connect or not.
    ///
    /// # Panics
    /// Where there are as many as the simulated network has hosts for.
    pub fn join(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.clients.len();
        let port = self.network.port(client_address(index));
        let cluster = &self.setup.cluster;
        let mut config = ClientConfig {
            members: cluster.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&cluster.name),
            ..ClientConfig::default()
        };
        change(&mut config);
        let client = ClusterClient::new(config, port, ClientIdentity::of_seed(77 + index as u64));
        let client = client.expect("a valid configuration");
        self.clients.push(Client {
            client,
            told: Vec::new(),
        });
        index
    }

    /// A client offers a request as soon as it is taken, and gets its number.
    ///
    /// # Panics
    /// Where it is refused, or not taken within a second.
    #[track_caller]
    pub fn offer(&mut self, client: usize, payload: &[u8]) -> i64 {
        for _ in 0..1_000 {
            match self.clients[client].client.offer(self.now, payload) {
                OfferResult::Accepted(number) => return number,
                OfferResult::BackPressured | OfferResult::NotConnected => self.run(MILLISECOND),
                refused => self.fail(&format!("the offer is refused: {refused:?}")),
            }
        }
        self.fail(&format!("client {client} should have its offer taken"))
    }

    /// The first client makes `count` requests, and each of them is answered once.
    ///
    /// # Panics
    /// Where they are not, within three seconds after the last of them.
    #[track_caller]
    pub fn answer(&mut self, count: usize) {
        self.note(format!("{count} requests"));
        let before = self.clients[0].responses().len();
        for number in 0..count {
            self.offer(0, &[number as u8; 100]);
        }
        for _ in 0..300 {
            if self.clients[0].responses().len() == before + count {
                return;
            }
            self.run(10 * MILLISECOND);
        }
        let found = self.clients[0].responses().len() - before;
        self.fail(&format!("{found} of {count} requests are answered"))
    }

    /// What a client was answered so far.
    #[must_use]
    pub fn answers(&self, client: usize) -> Vec<&[u8]> {
        self.clients[client].responses()
    }
}
