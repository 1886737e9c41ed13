//! What is left of a client's process when another one continues its session: either datagrams
//! that the network held back, or the process itself, which knows of nothing and goes on asking
//! at its old address until it is told that it is fenced.

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::session::CloseReason;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::sim::tank::coverage::Coverage;
use crate::sim::tank::service::Request;

/// Requests that a process keeps under way beside its successor.
const WINDOW: usize = 2;

/// Client restarts of one run at most: each takes a new address, and streams that linger.
pub const RESTARTS_MAX: u32 = 4;

/// Mean time between restarts: a client without other faults makes all its requests in less
/// than twice of it.
const RESTART_INTERVAL_NS: Nanos = 60 * MILLISECOND;

/// A process that does not know yet that it was replaced.
#[derive(Debug)]
pub struct ClientTwin {
    client: ClusterClient<SimPort>,
    name: u64,
    goal: i64,
    offered: i64,
    ended: Option<CloseReason>,
    payload: Vec<u8>,
}

impl ClientTwin {
    /// The process `client`, which signs its requests with `name` and has made `offered`.
    #[must_use]
    pub fn new(client: ClusterClient<SimPort>, name: u64, (offered, goal): (i64, i64)) -> Self {
        Self {
            client,
            name,
            goal,
            offered,
            ended: None,
            payload: Vec::new(),
        }
    }

    /// Why the session ended for it, once it has.
    #[must_use]
    pub const fn ended(&self) -> Option<CloseReason> {
        self.ended
    }

    /// Adds what it has reached.
    pub fn add_coverage(&self, coverage: &mut Coverage) {
        coverage.add_client(&self.client);
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{:?} offered {}", self.client.state(), self.offered)
    }

    /// Whether something waits in its port.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        self.client.port().next_deadline().is_some()
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.client.next_deadline()
    }

    /// One duty cycle. Answers are its successor's to check.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = self.client.do_work(now);
        let ended = &mut self.ended;
        work += self.client.poll_egress(now, 64, &mut |event| {
            if let EgressEvent::Closed { reason } = event {
                *ended = Some(reason);
            }
        });
        while self.offered < self.goal && self.client.in_flight() < WINDOW {
            let request = Request {
                client: self.name,
                number: self.offered + 1,
            };
            request.encode(8, &mut self.payload);
            let OfferResult::Accepted(_) = self.client.offer(now, &self.payload) else {
                break;
            };
            self.offered += 1;
            work += 1;
        }
        work
    }
}

/// How a client's process is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// The client.
    pub client: usize,
    /// When.
    pub at: Nanos,
    /// Another address; else the old one's.
    pub moves: bool,
    /// The old process goes on; only if the new one has another address.
    pub survives: bool,
    /// Until when the network holds back what the old process sends before the restart.
    pub held_until: Nanos,
    /// Decides the identity of the new process.
    pub seed: u64,
}

/// Draws the restarts of a run.
#[derive(Debug)]
pub struct ClientRestarts {
    random: Prng,
    next: Option<Restart>,
    left: u32,
}

impl ClientRestarts {
    /// So many `restarts` of `clients` clients at most.
    #[must_use]
    pub fn new(random: Prng, restarts: u32, clients: u64) -> Self {
        let mut this = Self {
            random,
            next: None,
            left: restarts,
        };
        if restarts > 0 {
            this.draw(20 * MILLISECOND, clients);
        }
        this
    }

    fn draw(&mut self, now: Nanos, clients: u64) {
        let random = &mut self.random;
        let pause = random.exponential(RESTART_INTERVAL_NS as u64) as Nanos;
        let at = now + pause.min(3 * SECOND);
        let moves = random.chance(0.6);
        self.next = Some(Restart {
            client: random.range(0..clients) as usize,
            at,
            moves,
            survives: moves && random.chance(0.7),
            held_until: at + random.range(1..400) as Nanos * MILLISECOND,
            seed: random.next_u64(),
        });
    }

    /// When the network begins to hold back what the next client sends, and the restart itself.
    #[must_use]
    pub fn upcoming(&self) -> Option<(Nanos, Restart)> {
        self.next
            .map(|restart| (restart.at - 2 * MILLISECOND, restart))
    }

    /// The upcoming restart was tried; without a session there was none to continue.
    pub fn on_tried(&mut self, now: Nanos, clients: u64, is_done: bool) {
        self.left -= u32::from(is_done);
        self.next = None;
        if self.left > 0 {
            self.draw(now, clients);
        }
    }
}
