//! A client in the node tank: sends numbered requests, and checks that every answer it is owed
//! arrives once and in order (oracle 4); in direct mode, at most once
//! and in order. When a new process continues its session, requests name the process that made
//! them: an answer to another one's request is a violation.

use core::net::SocketAddr;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::session::CloseReason;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{SimNetwork, SimPort};
use lockstep_transport::time::{Nanos, SECOND, earliest};

use crate::sim::tank::client_inbox::{ClientInbox, ClientNews};
use crate::sim::tank::client_twin::{ClientTwin, Restart};
use crate::sim::tank::coverage::Coverage;
use crate::sim::tank::replay::Answer;
use crate::sim::tank::service::{Request, response_count};
use crate::sim::{Broken, Rule};

/// Longest padding of a request, so that some are fragmented.
const PADDING_MAX: u64 = 3_000;

/// How fast clients make requests while there are faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Mean pause between two requests; 0 for as many as may be under way.
    pub pause_ns: Nanos,
    /// Load comes in waves of this length with as long a calm after each; 0 for always.
    pub wave_ns: Nanos,
}

impl Pace {
    /// When the request after one at `now` is made.
    fn next(self, now: Nanos, random: &mut Prng) -> Nanos {
        let next = now + random.exponential(self.pause_ns as u64) as Nanos;
        let is_calm = self.wave_ns > 0 && next / self.wave_ns % 2 == 1;
        if is_calm {
            (next / self.wave_ns + 1) * self.wave_ns
        } else {
            next
        }
    }
}

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
    /// Whether it may fall silent for so long that the cluster closes its session.
    pub may_expire: bool,
    /// It says and hears nothing between these two moments.
    pub silence: (Nanos, Nanos),
    /// How fast it makes requests.
    pub pace: Pace,
    /// Requests it keeps under way.
    pub window: i64,
    /// How many of its requests are long, as a share.
    pub padded: f64,
}

/// Time after the faults within which a client may hear that its session has expired.
const EXPIRY_NEWS_NS: Nanos = 8 * SECOND;

/// What a client has seen that it must not see, or its progress.
#[derive(Debug)]
pub struct TankClient {
    client: ClusterClient<SimPort>,
    plan: TankClientPlan,
    random: Prng,
    identity: ClientIdentity,
    address: SocketAddr,
    /// The process that runs now: 0 is the first.
    life: u64,
    /// It has seen that it is connected, and numbers on from there.
    is_begun: bool,
    twin: Option<ClientTwin>,
    offered: i64,
    inbox: ClientInbox,
    has_left: bool,
    has_expired: bool,
    /// Sessions of its that the cluster closed because it fell silent.
    expiries: u64,
    /// Responses it was owed in sessions that are over, had they lived.
    owed_before: u64,
    /// From then on no session may expire any more.
    expires_until: Nanos,
    next_offer: Nanos,
    paused_until: Nanos,
    reads_nothing_until: Nanos,
    violation: Option<Broken>,
    payload: Vec<u8>,
    /// What its processes reached that have ended.
    coverage: Coverage,
}

impl TankClient {
    /// A client that does as planned.
    #[must_use]
    pub fn new(
        client: ClusterClient<SimPort>,
        identity: ClientIdentity,
        plan: TankClientPlan,
        random: Prng,
    ) -> Self {
        Self {
            address: client.port().local_address(),
            client,
            plan,
            random,
            identity,
            life: 0,
            is_begun: true,
            twin: None,
            offered: 0,
            inbox: ClientInbox::new(plan.index, plan.is_direct),
            has_left: false,
            has_expired: false,
            expiries: 0,
            owed_before: 0,
            expires_until: if plan.may_expire { Nanos::MAX } else { 0 },
            next_offer: 0,
            paused_until: 0,
            reads_nothing_until: 0,
            violation: None,
            payload: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    /// Its present process.
    #[must_use]
    pub const fn process(&self) -> &ClusterClient<SimPort> {
        &self.client
    }

    /// Whether every request was made, every answer received, or its request known to be
    /// applied in direct mode, and the session left if that was planned.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let is_alone = self.twin.as_ref().is_none_or(|twin| twin.ended().is_some());
        let is_through = self.has_all() && (self.has_left || !self.plan.leaves);
        is_alone && is_through && !self.has_expired
    }

    /// How often the cluster closed a session of its because it fell silent.
    #[must_use]
    pub const fn expiries(&self) -> u64 {
        self.expiries + self.has_expired as u64
    }

    /// Its session has expired: a new one goes on with the requests that nothing is known of.
    pub fn reopen(&mut self, network: &SimNetwork) {
        if !self.has_expired
            || self
                .twin
                .as_ref()
                .is_some_and(|twin| twin.ended().is_none())
        {
            return;
        }
        let done = self.done();
        let identity = ClientIdentity::of_seed(self.random.next_u64());
        let config = ClientConfig {
            resume: None,
            ..self.client.config().clone()
        };
        if self.random.chance(0.5) {
            self.address.set_port(self.address.port() + 1);
        }
        let client = ClusterClient::new(config, network.port(self.address), identity);
        let client = client.expect("the tank's client configuration is valid");
        let old = core::mem::replace(&mut self.client, client);
        self.coverage.add_client(&old);
        self.identity = identity;
        self.has_expired = false;
        self.expiries += 1;
        self.owed_before += (1..=done)
            .map(|n| u64::from(response_count(n)))
            .sum::<u64>();
        self.plan.goal -= done;
        self.life += 1;
        self.inbox.begin_session();
        self.is_begun = false;
        self.offered = 0;
    }

    /// Requests of the present session that are through.
    fn done(&self) -> i64 {
        let answered = if self.plan.is_direct {
            self.client.applied_number().get()
        } else {
            self.inbox.owed().0 - 1
        };
        answered.min(self.plan.goal)
    }

    fn has_all(&self) -> bool {
        let is_answered = if self.plan.is_direct {
            self.client.applied_number().get() >= self.plan.goal
        } else {
            self.inbox.owed().0 > self.plan.goal
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
        (all + self.owed_before).saturating_sub(self.inbox.received())
    }

    /// What its processes have reached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage;
        coverage.add_client(&self.client);
        if let Some(twin) = &self.twin {
            twin.add_coverage(&mut coverage);
        }
        coverage
    }

    /// Where its present process listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another process continues the session from what this one wrote down: its resume point
    /// and what it is owed. Does nothing before there is a session, or when it is left.
    /// `unfenced` is the planted fault: the new process passes for the old one. Returns whether
    /// it did.
    pub fn restart(&mut self, network: &SimNetwork, restart: &Restart, unfenced: bool) -> bool {
        let is_over = self.has_left || self.has_expired;
        let Some(mut point) = self.client.resume_point().filter(|_| !is_over) else {
            return false;
        };
        let mut identity = ClientIdentity::of_seed(restart.seed);
        if unfenced {
            point.connect_epoch -= 1;
            identity = identity.passing_for(&self.identity);
        }
        let before = self.address;
        if restart.moves {
            self.address.set_port(before.port() + 1);
        } else {
            network.close(before);
        }
        let config = ClientConfig {
            resume: Some(point),
            ..self.client.config().clone()
        };
        let client = ClusterClient::new(config, network.port(self.address), identity);
        let client = client.expect("the tank's client configuration is valid");
        let old = core::mem::replace(&mut self.client, client);
        self.coverage.add_client(&old);
        let has_twin = self
            .twin
            .as_ref()
            .is_some_and(|twin| twin.ended().is_none());
        if restart.survives && !has_twin && self.offered > 0 {
            let made = (self.offered, self.plan.goal);
            if let Some(twin) = &self.twin {
                twin.add_coverage(&mut self.coverage);
            }
            self.twin = Some(ClientTwin::new(old, self.name_of(self.life), made));
        }
        self.identity = identity;
        self.life += 1;
        self.is_begun = false;
        self.offered = 0;
        true
    }

    /// How the process signs its requests.
    const fn name_of(&self, life: u64) -> u64 {
        self.plan.index | life << 32
    }

    /// A new process was connected: it numbers on from what was applied.
    fn begin_life(&mut self) {
        let base = self.client.applied_number().get();
        self.inbox.begin_life(base, self.life);
        self.is_begun = true;
        self.offered = base;
    }

    /// Oracle: the process that was replaced is told so, and nothing else.
    fn look_at_twin(&mut self, now: Nanos) -> usize {
        let Some(twin) = self.twin.as_mut().filter(|twin| twin.ended().is_none()) else {
            return 0;
        };
        let work = twin.do_work(now);
        let is_right = match twin.ended() {
            None | Some(CloseReason::Fenced) => true,
            Some(CloseReason::Expired) if now < self.expires_until => true,
            Some(CloseReason::ByClient | CloseReason::Expired) => self.has_left,
            Some(_) => false,
        };
        if !is_right {
            let what = twin.describe();
            let what = format!("the process that was replaced ended otherwise: {what}");
            self.fail(Rule::Fencing, what);
        }
        work
    }

    /// The process does not run before `until`.
    pub fn pause(&mut self, until: Nanos) {
        self.paused_until = until;
    }

    /// It takes nothing that it is sent before `until`.
    pub fn read_nothing(&mut self, until: Nanos) {
        self.reads_nothing_until = until;
    }

    /// It runs again, and as fast as it can.
    pub fn heal(&mut self, now: Nanos) {
        self.paused_until = 0;
        self.reads_nothing_until = 0;
        self.plan.silence = (Nanos::MAX, 0);
        self.plan.pace = Pace::default();
        self.next_offer = now;
        self.expires_until = self.expires_until.min(now + EXPIRY_NEWS_NS);
    }

    /// Responses received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.inbox.received()
    }

    /// Greatest position a response was received for.
    #[must_use]
    pub const fn last_position(&self) -> i64 {
        self.inbox.last_position()
    }

    /// Which client it is.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.plan.index
    }

    /// What it did and was handed since it was asked last, in order; nothing of direct responses.
    pub fn take_news(&mut self) -> impl Iterator<Item = ClientNews> + '_ {
        self.inbox.take_news()
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub const fn violation(&self) -> Option<&Broken> {
        self.violation.as_ref()
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "client {} process {} beside {:?} offered {} of {}, owed {:?}, state {:?}",
            self.plan.index,
            self.life,
            self.twin.as_ref().map(ClientTwin::describe),
            self.offered,
            self.plan.goal,
            self.inbox.owed(),
            self.client.state()
        )
    }

    /// Whether something waits in a port of its processes.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        let twin = self.twin.as_ref().is_some_and(ClientTwin::has_datagrams);
        twin || self.client.port().next_deadline().is_some()
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let twin = self.twin.as_ref().filter(|twin| twin.ended().is_none());
        let twin = twin.and_then(ClientTwin::next_deadline);
        if now < self.paused_until {
            return earliest(twin, Some(self.paused_until));
        }
        let offer = Some(self.next_offer).filter(|at| *at > now && self.may_offer());
        let reads = Some(self.reads_nothing_until).filter(|at| *at > now);
        let deadline = earliest(self.client.next_deadline(), reads);
        earliest(earliest(twin, offer), deadline)
    }

    fn may_offer(&self) -> bool {
        !self.has_expired
            && self.offered < self.plan.goal
            && self.in_flight() < self.plan.window
            && self.is_begun
    }

    /// One duty cycle.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = self.look_at_twin(now);
        if now >= self.plan.silence.0 {
            self.paused_until = self.paused_until.max(self.plan.silence.1);
            self.plan.silence = (Nanos::MAX, 0);
        }
        if now < self.paused_until {
            return work;
        }
        work += self.client.do_work(now);
        if now >= self.reads_nothing_until {
            work += self.poll(now);
        }
        if self.plan.leaves && !self.has_left && self.has_all() {
            self.has_left = true;
            self.client.close(now);
            work += 1;
        }
        while self.may_offer() && now >= self.next_offer {
            self.encode_request();
            match self.client.offer(now, &self.payload) {
                OfferResult::Accepted(number) => {
                    let number = number.get();
                    self.offered += 1;
                    self.next_offer = self.plan.pace.next(now, &mut self.random);
                    self.inbox.note_made(self.name_of(self.life), number);
                    if number != self.offered {
                        let what = format!("request {} was numbered {number}", self.offered);
                        self.fail(Rule::Answers, what);
                    }
                    work += 1;
                }
                OfferResult::BackPressured | OfferResult::NotConnected => break,
                // Why, it hears when it reads again.
                OfferResult::Closed if now < self.reads_nothing_until => break,
                refused => {
                    self.fail(Rule::Refusals, format!("offer refused: {refused:?}"));
                    break;
                }
            }
        }
        work
    }

    /// Requests made that still lack something.
    fn in_flight(&self) -> i64 {
        if self.plan.is_direct {
            self.offered - self.client.applied_number().get()
        } else {
            self.offered + 1 - self.inbox.owed().0
        }
    }

    /// The payload of a request is a function of its number, so that a repeat is the same.
    fn encode_request(&mut self) {
        let number = self.offered + 1;
        let mut random = Prng::new(self.plan.index << 32 ^ number as u64);
        let padding = if random.chance(self.plan.padded) {
            random.range(0..PADDING_MAX)
        } else {
            8
        };
        let request = Request {
            client: self.name_of(self.life),
            number,
        };
        request.encode(padding as usize, &mut self.payload);
    }

    fn fail(&mut self, rule: Rule, what: String) {
        self.violation.get_or_insert(rule.broken(what));
    }

    fn poll(&mut self, now: Nanos) -> usize {
        let Self {
            client,
            inbox,
            violation,
            plan,
            has_left,
            has_expired,
            expires_until,
            life,
            twin,
            ..
        } = self;
        let index = plan.index;
        // What the process before acknowledged after this one was begun is kept for nobody.
        let may_lack_answers = twin.is_some();
        let mut is_connected = false;
        let work = client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response {
                number,
                position,
                cause,
                payload,
                ..
            } => {
                let answer = Answer {
                    position,
                    cause,
                    number: number.get(),
                    bytes: payload.to_vec(),
                };
                if let Err(broken) = inbox.on_response(answer) {
                    violation.get_or_insert(broken);
                }
            }
            EgressEvent::ResponseFailed { number, reason, .. } => {
                let what = format!("the answer to {number} failed: {reason:?}");
                violation.get_or_insert(Rule::Refusals.broken(what));
            }
            EgressEvent::Closed { .. } if *has_left => {}
            EgressEvent::Closed {
                reason: CloseReason::Expired,
            } if now < *expires_until => {
                *has_expired = true;
            }
            EgressEvent::Closed {
                reason: CloseReason::Retention,
            } if may_lack_answers => {
                *has_expired = true;
            }
            EgressEvent::Closed { reason } => {
                let what = format!("client {index} was closed: {reason:?}");
                violation.get_or_insert(Rule::Sessions.broken(what));
            }
            EgressEvent::Refused { number, reason } => {
                let what = format!("request {number} was refused: {reason:?}");
                violation.get_or_insert(Rule::Refusals.broken(what));
            }
            EgressEvent::Connected { .. } => is_connected = true,
            EgressEvent::NewLeader { .. } => {}
        });
        if is_connected && *life > 0 {
            self.begin_life();
        }
        work
    }
}
