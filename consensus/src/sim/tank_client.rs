//! A client in the node tank: sends numbered requests, and checks that every answer it is owed
//! arrives once and in order (oracle 4 of `reliability.md` §3.5); in direct mode, at most once
//! and in order.

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

/// What a client is to do.
#[derive(Clone, Copy, Debug)]
pub struct TankClientPlan {
    /// Which client it is.
    pub index: u64,
    /// Requests it makes.
    pub goal: i64,
    /// Whether responses may be lost.
    pub is_direct: bool,
    /// Whether it closes its session at the end.
    pub leaves: bool,
}

/// What a client has seen that it must not see, or its progress.
#[derive(Debug)]
pub struct TankClient {
    client: ClusterClient<SimPort>,
    plan: TankClientPlan,
    random: Prng,
    offered: i64,
    /// The response owed next, as (number, ordinal).
    owed: (i64, u32),
    received: u64,
    has_left: bool,
    paused_until: Nanos,
    last_position: i64,
    violation: Option<String>,
    payload: Vec<u8>,
}

impl TankClient {
    /// A client that does as planned.
    #[must_use]
    pub fn new(client: ClusterClient<SimPort>, plan: TankClientPlan, random: Prng) -> Self {
        Self {
            client,
            plan,
            random,
            offered: 0,
            owed: first_owed(1),
            received: 0,
            has_left: false,
            paused_until: 0,
            last_position: 0,
            violation: None,
            payload: Vec::new(),
        }
    }

    /// Whether every request was made, every answer received, or its request known to be
    /// applied in direct mode, and the session left if that was planned.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.has_all() && (self.has_left || !self.plan.leaves)
    }

    fn has_all(&self) -> bool {
        let is_answered = if self.plan.is_direct {
            self.client.applied_number() >= self.plan.goal
        } else {
            self.owed.0 > self.plan.goal
        };
        self.has_left || (self.offered == self.plan.goal && is_answered)
    }

    /// Responses that will not come any more.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if !self.plan.is_direct {
            return 0;
        }
        let all: u64 = (1..=self.plan.goal)
            .map(|number| u64::from(response_count(number)))
            .sum();
        all - self.received
    }

    /// The process does not run before `until`.
    pub fn pause(&mut self, until: Nanos) {
        self.paused_until = until;
    }

    /// It runs again.
    pub fn resume(&mut self) {
        self.paused_until = 0;
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
            self.plan.index,
            self.offered,
            self.plan.goal,
            self.owed,
            self.client.state()
        )
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        self.client.next_deadline()
    }

    /// One duty cycle.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        if now < self.paused_until {
            return 0;
        }
        let mut work = self.client.do_work(now);
        work += self.poll(now);
        if self.plan.leaves && !self.has_left && self.has_all() {
            self.has_left = true;
            self.client.close(now);
            work += 1;
        }
        while self.offered < self.plan.goal && self.in_flight() < WINDOW {
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

    /// Requests made that still lack something.
    fn in_flight(&self) -> i64 {
        if self.plan.is_direct {
            self.offered - self.client.applied_number()
        } else {
            self.offered + 1 - self.owed.0
        }
    }

    /// The payload of a request is a function of its number, so that a repeat is the same.
    fn encode_request(&mut self) {
        let number = self.offered + 1;
        let mut random = Prng::new(self.plan.index << 32 ^ number as u64);
        let padding = if random.chance(0.1) {
            random.range(0..PADDING_MAX)
        } else {
            8
        };
        let request = Request {
            client: self.plan.index,
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
            plan,
            has_left,
            ..
        } = self;
        let index = plan.index;
        client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response {
                number,
                position,
                payload,
                ..
            } => {
                let seen = Response::decode(payload);
                let passed = plan.is_direct.then_some(seen).flatten();
                while passed.is_some_and(|seen| (seen.number, seen.ordinal) > *owed) {
                    *owed = owed_after(*owed);
                }
                let expected = Response {
                    client: index,
                    number: owed.0,
                    ordinal: owed.1,
                };
                if seen != Some(expected) || number != owed.0 {
                    violation.get_or_insert(format!(
                        "oracle 4: client {index} was owed {owed:?} and got {seen:?} \
                         as the answer to {number} at {position}"
                    ));
                }
                *received += 1;
                *last_position = (*last_position).max(position);
                *owed = owed_after(*owed);
            }
            EgressEvent::ResponseFailed { number, reason, .. } => {
                violation.get_or_insert(format!("the answer to {number} failed: {reason:?}"));
            }
            EgressEvent::Closed { .. } if *has_left => {}
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

/// The response owed after this one.
fn owed_after((number, ordinal): (i64, u32)) -> (i64, u32) {
    if ordinal + 1 < response_count(number) {
        (number, ordinal + 1)
    } else {
        first_owed(number + 1)
    }
}

/// The first response owed for request `number` or a later one that has any.
fn first_owed(mut number: i64) -> (i64, u32) {
    while response_count(number) == 0 {
        number += 1;
    }
    (number, 0)
}
