//! A client against a cluster in memory, driven step by step.

use std::net::SocketAddr;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::RefusalReason;
use lockstep_client::session::CloseReason;
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};

use super::fake_cluster::{FakeCluster, member_address};
use super::network::{Network, NetworkPort};

const STEP: Nanos = 100 * MICROSECOND;

/// One client of a cluster of three, and what it was told.
pub struct World {
    pub network: Network,
    pub cluster: FakeCluster,
    pub client: ClusterClient<NetworkPort>,
    pub now: Nanos,
    pub connected: Vec<i64>,
    pub leaders: Vec<usize>,
    pub refused: Vec<(i64, RefusalReason)>,
    pub closed: Vec<CloseReason>,
    pub responses: Vec<(i64, i64, Vec<u8>)>,
    /// All events but responses, in words.
    pub news: Vec<String>,
}

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub fn config() -> ClientConfig {
    ClientConfig {
        members: (0..3).map(member_address).collect(),
        ..ClientConfig::default()
    }
}

impl World {
    pub fn new(seed: u64, leader: usize, config: ClientConfig) -> Self {
        let network = Network::new(seed);
        let cluster = FakeCluster::new(&network, 3, leader);
        let client = ClusterClient::new(
            config,
            network.port(address(100)),
            ClientIdentity::of_seed(seed),
        )
        .unwrap();
        Self {
            network,
            cluster,
            client,
            now: 0,
            connected: Vec::new(),
            leaders: Vec::new(),
            refused: Vec::new(),
            closed: Vec::new(),
            responses: Vec::new(),
            news: Vec::new(),
        }
    }

    pub fn connected(seed: u64, leader: usize, config: ClientConfig) -> Self {
        let mut world = Self::new(seed, leader, config);
        world.run_until(5 * SECOND, |world| world.client.is_connected());
        world
    }

    pub fn step(&mut self) {
        self.now += STEP;
        self.cluster.do_work(self.now);
        self.client.do_work(self.now);
        let (connected, leaders) = (&mut self.connected, &mut self.leaders);
        let (refused, closed) = (&mut self.refused, &mut self.closed);
        let (responses, news) = (&mut self.responses, &mut self.news);
        self.client.poll_egress(self.now, 64, &mut |event| {
            if !matches!(event, EgressEvent::Response { .. }) {
                news.push(format!("{event:?}"));
            }
            match event {
                EgressEvent::Connected { session } => connected.push(session.get()),
                EgressEvent::NewLeader { member, .. } => leaders.push(member),
                EgressEvent::Refused { number, reason } => refused.push((number.get(), reason)),
                EgressEvent::ResponseFailed { number, .. } => {
                    panic!("the answer to {number} failed")
                }
                EgressEvent::Closed { reason } => closed.push(reason),
                EgressEvent::Response {
                    number,
                    position,
                    payload,
                    ..
                } => responses.push((number.get(), position, payload.to_vec())),
            }
        });
    }

    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    #[track_caller]
    pub fn run_until(&mut self, limit: Nanos, mut is_done: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        while !is_done(self) {
            let (state, counters) = (self.client.state(), self.client.counters());
            assert!(
                self.now < end,
                "not within {limit} ns: {state:?} {:?} {counters:?}",
                self.news
            );
            self.step();
        }
    }

    /// One request is answered.
    #[track_caller]
    pub fn ask(&mut self) {
        let before = self.responses.len();
        let offered = self.client.offer(self.now, b"anything");
        assert!(matches!(offered, OfferResult::Accepted(_)), "{offered:?}");
        self.run_until(5 * SECOND, |world| world.responses.len() > before);
    }

    /// Offers requests until `count` have been accepted in all, then waits for the responses.
    #[track_caller]
    pub fn echo_until(&mut self, count: usize, limit: Nanos) {
        let end = self.now + limit;
        let mut offered = self.client.counters().requests_offered as usize;
        while self.responses.len() < count {
            assert!(
                self.now < end,
                "{} of {count} responses, {:?}",
                self.responses.len(),
                self.client.counters()
            );
            if offered < count {
                match self.client.offer(self.now, &payload(offered as i64 + 1)) {
                    OfferResult::Accepted(number) => {
                        offered += 1;
                        assert_eq!(number.get(), offered as i64);
                    }
                    OfferResult::BackPressured | OfferResult::NotConnected => {}
                    other => panic!("{other:?}"),
                }
            }
            self.step();
        }
        self.check(count);
    }

    /// Every request executed once and in order; every response handed over once, in order.
    #[track_caller]
    pub fn check(&self, count: usize) {
        let log = &self.cluster.shared.log;
        let executed: Vec<_> = log.iter().map(|e| e.number.get()).collect();
        assert_eq!(executed, (1..=count as i64).collect::<Vec<_>>());
        assert_eq!(self.responses.len(), count);
        for (index, (number, _, bytes)) in self.responses.iter().enumerate() {
            assert_eq!(*number, index as i64 + 1);
            assert_eq!(*bytes, payload(*number));
        }
        let positions: Vec<_> = self.responses.iter().map(|r| r.1).collect();
        assert!(positions.is_sorted());
    }
}

pub fn payload(number: i64) -> Vec<u8> {
    let length = 8 + (number as usize * 37) % 600;
    let mut bytes = vec![number as u8; length];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}
