//! A client in the node tank: sends numbered requests, and checks that every answer it is owed
//! arrives once and in order (oracle 4 of `reliability.md` §3.5).

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::Nanos;

use super::tank_service::{Request, Response, response_count};

/// Requests a tank client keeps under way.
const WINDOW: i64 = 8;

/// Longest padding of a request, so that some are fragmented.
const PADDING_MAX: u64 = 3_000;

/// What a client has seen that it must not see, or its progress.
#[derive(Debug)]
pub struct TankClient {
    client: ClusterClient<SimPort>,
    index: u64,
    random: Prng,
    goal: i64,
    offered: i64,
    /// The response owed next, as (number, ordinal).
    owed: (i64, u32),
    received: u64,
    last_position: i64,
    violation: Option<String>,
    payload: Vec<u8>,
}

impl TankClient {
    /// A client that makes `goal` requests.
    #[must_use]
    pub fn new(client: ClusterClient<SimPort>, index: u64, goal: i64, random: Prng) -> Self {
        Self {
            client,
            index,
            random,
            goal,
            offered: 0,
            owed: first_owed(1),
            received: 0,
            last_position: 0,
            violation: None,
            payload: Vec::new(),
        }
    }

    /// Whether every request was made and every answer received.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.offered == self.goal && self.owed.0 > self.goal
    }

    /// Responses received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Greatest position a response was received for.
    #[must_use]
    pub const fn last_position(&self) -> i64 {
        self.last_position
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "client {} offered {} of {}, owed {:?}, state {:?}",
            self.index,
            self.offered,
            self.goal,
            self.owed,
            self.client.state()
        )
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.client.next_deadline()
    }

    /// One duty cycle.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = self.client.do_work(now);
        work += self.poll(now);
        while self.offered < self.goal && self.offered + 1 - self.owed.0 < WINDOW {
            self.encode_request();
            match self.client.offer(now, &self.payload) {
                OfferResult::Accepted(number) => {
                    self.offered += 1;
                    if number != self.offered {
                        self.fail(format!("request {} was numbered {number}", self.offered));
                    }
                    work += 1;
                }
                OfferResult::BackPressured | OfferResult::NotConnected => break,
                refused => {
                    self.fail(format!("offer refused: {refused:?}"));
                    break;
                }
            }
        }
        work
    }

    /// The payload of a request is a function of its number, so that a repeat is the same.
    fn encode_request(&mut self) {
        let number = self.offered + 1;
        let mut random = Prng::new(self.index << 32 ^ number as u64);
        let padding = if random.chance(0.1) {
            random.range(0..PADDING_MAX)
        } else {
            8
        };
        let request = Request {
            client: self.index,
            number,
        };
        request.encode(padding as usize, &mut self.payload);
        let _ = self.random.next_u64();
    }

    fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn poll(&mut self, now: Nanos) -> usize {
        let Self {
            client,
            owed,
            received,
            last_position,
            violation,
            index,
            ..
        } = self;
        client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response {
                number,
                position,
                payload,
                ..
            } => {
                let expected = Response {
                    client: *index,
                    number: owed.0,
                    ordinal: owed.1,
                };
                if Response::decode(payload) != Some(expected) || number != owed.0 {
                    let seen = Response::decode(payload);
                    violation.get_or_insert(format!(
                        "oracle 4: client {index} was owed {owed:?} and got {seen:?} \
                         as the answer to {number} at {position}"
                    ));
                }
                *received += 1;
                *last_position = (*last_position).max(position);
                owed.1 += 1;
                if owed.1 == response_count(owed.0) {
                    *owed = first_owed(owed.0 + 1);
                }
            }
            EgressEvent::Closed { reason } => {
                violation.get_or_insert(format!("client {index} was closed: {reason:?}"));
            }
            EgressEvent::Refused { number, reason } => {
                violation.get_or_insert(format!("request {number} was refused: {reason:?}"));
            }
            EgressEvent::Connected { .. } | EgressEvent::NewLeader { .. } => {}
        })
    }
}

/// The first response owed for request `number` or a later one that has any.
fn first_owed(mut number: i64) -> (i64, u32) {
    while response_count(number) == 0 {
        number += 1;
    }
    (number, 0)
}
