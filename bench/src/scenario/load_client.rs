//! The client under test: a cluster client, the load it offers, and the account of what came
//! back. An agent; it never blocks and allocates only while it connects or reports a fault.

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::notice::ClientNotice;
use lockstep_consensus::node::notice_printer::{ClientSink, NoticePrinter};
use lockstep_transport::agent::{Agent, Clock};
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Notice;
use lockstep_transport::time::{Nanos, SECOND, earliest};
use lockstep_transport::trace::TraceRecord;

use super::workload::Workload;
use crate::load::{Answer, Load, LoadShape};
use lockstep_transport::allocations;

/// Responses taken per duty cycle.
const RESPONSES_PER_CYCLE: usize = 64;

/// Requests offered per duty cycle, so that a large window does not keep answers waiting.
const OFFERS_PER_CYCLE: usize = 64;

/// Faults told one by one; the rest is only counted.
const FAULTS_MAX: usize = 16;

/// A run in which nothing moves for so long has failed.
const STALL_NS: Nanos = 20 * SECOND;

/// Receives each right response: its request's number and its bytes.
pub(crate) type ResponseSink = Box<dyn FnMut(u64, &[u8]) + Send>;

/// What came back, and what did not.
struct Account {
    load: Option<Load>,
    workload: Workload,
    responses: u64,
    faults: Vec<String>,
    fault_count: u64,
    last_moved: Nanos,
    sink: Option<ResponseSink>,
    leader_changes: u64,
    last_change: Nanos,
    first_after_change: Option<Nanos>,
}

impl Account {
    fn fault(&mut self, problem: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(problem);
        }
    }

    fn fail(&mut self, problem: String) {
        self.fault(problem);
        if let Some(load) = &mut self.load {
            load.stop();
        }
    }

    fn on_event(&mut self, now: Nanos, event: EgressEvent<'_>) {
        match event {
            EgressEvent::Response {
                number, payload, ..
            } => self.on_response(now, number.get() as u64, payload),
            EgressEvent::Refused { number, reason } => {
                self.fail(format!("request {number} was refused: {reason:?}"));
            }
            EgressEvent::ResponseFailed { number, reason, .. } => {
                self.fail(format!("the answer to request {number} failed: {reason:?}"));
            }
            EgressEvent::Closed { reason } => {
                self.fail(format!("the session was closed: {reason:?}"));
            }
            EgressEvent::NewLeader { .. } => {
                self.leader_changes += 1;
                self.last_change = now;
            }
            EgressEvent::Connected { .. } => {}
        }
    }

    fn on_response(&mut self, now: Nanos, number: u64, payload: &[u8]) {
        self.responses += 1;
        self.last_moved = now;
        if !self.workload.is_right(number, payload) {
            self.fault(format!("the answer to request {number} has wrong bytes"));
        }
        let Some(load) = &mut self.load else {
            return self.fault(format!("an answer to request {number} before any was sent"));
        };
        let has_further = self.workload.has_further_answers();
        match load.on_response(now, number) {
            Answer::First => {}
            Answer::Further if has_further => {}
            Answer::Further => self.fault(format!("request {number} was answered twice")),
            Answer::OutOfOrder => {
                let received = load.received();
                self.fault(format!(
                    "answer {number} came right after answer {received}"
                ));
            }
        }
        if self.first_after_change.is_none() {
            self.first_after_change = Some(now);
        }
        if let Some(sink) = &mut self.sink {
            sink(number, payload);
        }
    }
}

/// What this process had used at some moment.
#[derive(Clone, Copy, Debug)]
struct Usage {
    allocations: u64,
    calls: u64,
}

/// A cluster client with a load. See the module.
pub struct LoadClient<P> {
    client: ClusterClient<P>,
    account: Account,
    clock: Clock,
    count_calls: fn(&P) -> u64,
    message: Vec<u8>,
    measured: Option<(Usage, Usage)>,
    connect_trace: Vec<TraceRecord>,
    notice_output: Option<NoticeOutput>,
    /// Another process is to go on with the session and has not been told yet from where.
    is_resuming: bool,
}

/// Prints what the client has to tell, beside its duty cycles.
struct NoticeOutput {
    /// Gone before the printer is waited for.
    sink: Option<ClientSink>,
    printer: Option<NoticePrinter>,
    unsaid: Option<Notice<ClientNotice>>,
}

impl Drop for NoticeOutput {
    fn drop(&mut self) {
        self.sink = None;
        if let Some(printer) = self.printer.take() {
            printer.finish();
        }
    }
}

impl<P: DatagramPort> LoadClient<P> {
    /// A client that connects and then waits for its load. `count_calls` tells the system
    /// calls of its port.
    #[must_use]
    pub fn new(
        client: ClusterClient<P>,
        workload: Workload,
        clock: Clock,
        count_calls: fn(&P) -> u64,
    ) -> Self {
        let message = Vec::with_capacity(workload.length_max());
        Self {
            client,
            account: Account {
                load: None,
                workload,
                responses: 0,
                faults: Vec::new(),
                fault_count: 0,
                last_moved: clock(),
                sink: None,
                leader_changes: 0,
                last_change: 0,
                first_after_change: None,
            },
            clock,
            count_calls,
            message,
            measured: None,
            connect_trace: Vec::new(),
            notice_output: None,
            is_resuming: false,
        }
    }

    /// Has what the client has to tell printed by `printer`, from now on and to its end.
    pub fn print_notices(&mut self, printer: NoticePrinter) {
        self.notice_output = Some(NoticeOutput {
            sink: Some(printer.client_sink()),
            printer: Some(printer),
            unsaid: None,
        });
    }

    /// Hands every response to `sink` as well.
    pub(crate) fn set_sink(&mut self, sink: ResponseSink) {
        self.account.sink = Some(sink);
    }

    /// Begins the load.
    pub fn start(&mut self, load: impl Into<Load>) {
        let mut load = load.into();
        let now = (self.clock)();
        self.connect_trace = self.client.tracer().records();
        self.account.last_moved = now;
        load.begin(now);
        self.account.load = Some(load);
    }

    /// Whether the session is open.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Whether the load has been sent and answered, or has failed.
    #[must_use]
    pub fn is_done(&self, now: Nanos) -> bool {
        let Some(load) = &self.account.load else {
            return self.account.fault_count > 0;
        };
        load.is_done(now) || (load.is_all_sent(now) && self.account.fault_count > 0)
    }

    /// The load, once started.
    #[must_use]
    pub const fn load(&self) -> Option<&Load> {
        self.account.load.as_ref()
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.account.faults.clone();
        let more = self.account.fault_count as usize - faults.len();
        if more > 0 {
            faults.push(format!("and {more} more faults"));
        }
        faults
    }

    /// Responses taken, further ones of the same request included.
    #[must_use]
    pub const fn responses(&self) -> u64 {
        self.account.responses
    }

    /// Leader changes seen by the session.
    #[must_use]
    pub const fn leader_changes(&self) -> u64 {
        self.account.leader_changes
    }

    /// Forgets when a response last arrived; see
    /// [`first_response_since`](Self::first_response_since).
    pub(crate) fn watch_for_response(&mut self) {
        self.account.first_after_change = None;
    }

    /// When the first response after [`watch_for_response`](Self::watch_for_response) came.
    #[must_use]
    pub(crate) const fn first_response_since(&self) -> Option<Nanos> {
        self.account.first_after_change
    }

    /// Heap allocations of this process during the measured part.
    #[must_use]
    pub fn allocations(&self) -> Option<u64> {
        self.measured
            .map(|(first, last)| last.allocations - first.allocations)
    }

    /// System calls of the client's port during the measured part.
    #[must_use]
    pub fn calls(&self) -> Option<u64> {
        self.measured.map(|(first, last)| last.calls - first.calls)
    }

    /// Whether the warm-up is over.
    #[must_use]
    pub(crate) const fn is_measuring(&self) -> bool {
        self.measured.is_some()
    }

    /// Trace records of this client, those of the connect included.
    #[must_use]
    pub(crate) fn trace_records(&self) -> Vec<TraceRecord> {
        let newest = self.client.tracer().records();
        let oldest = newest.first().map_or(Nanos::MAX, |record| record.time);
        let early = self.connect_trace.iter().filter(|r| r.time < oldest);
        early.copied().chain(newest.iter().copied()).collect()
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &ClusterClient<P> {
        &self.client
    }

    /// The client, to end its session.
    pub const fn client_mut(&mut self) -> &mut ClusterClient<P> {
        &mut self.client
    }

    /// Goes on as `client`, another process of the same session, which the one before knows no more
    /// of than its resume point: what that had sent and nobody has applied is sent again.
    pub(crate) fn continue_with(&mut self, client: ClusterClient<P>) {
        self.client = client;
        self.is_resuming = true;
    }

    /// Once the process that goes on is connected: it numbers on from what was applied.
    fn resume(&mut self) {
        if !self.is_resuming || !self.client.is_connected() {
            return;
        }
        self.is_resuming = false;
        let applied = self.client.applied_number().get() as u64;
        let Some(load) = &mut self.account.load else {
            return;
        };
        if !load.send_again_above(applied) {
            let (sent, received) = (load.sent(), load.received());
            self.account.fail(format!(
                "the session goes on from request {applied}, after {sent} were sent and {received} \
                 answered"
            ));
        }
    }

    /// Cuts the load short: what was sent is still awaited.
    pub fn stop(&mut self) {
        if let Some(load) = &mut self.account.load {
            load.stop();
        }
    }

    fn offer(&mut self) -> usize {
        let Some(load) = &mut self.account.load else {
            return 0;
        };
        let is_open = matches!(load.config().shape, LoadShape::Open { .. });
        let mut count = 0;
        while count < OFFERS_PER_CYCLE {
            let now = (self.clock)();
            let Some(number) = load.due(now) else { break };
            self.account.workload.write(number, &mut self.message);
            match self.client.offer(now, &self.message) {
                OfferResult::Accepted(given) if given.get() == number as i64 => {
                    load.on_sent(now);
                    count += 1;
                }
                OfferResult::Accepted(given) => {
                    let problem = format!("request {number} was numbered {given}");
                    self.account.fail(problem);
                    break;
                }
                OfferResult::BackPressured | OfferResult::NotConnected => break,
                refused => {
                    let problem = format!("request {number} was not taken: {refused:?}");
                    self.account.fail(problem);
                    break;
                }
            }
        }
        // A late sender of an open loop has work even when back-pressured: it must not idle.
        count + usize::from(is_open && count == OFFERS_PER_CYCLE)
    }

    /// Hands the printer what it has room for; the rest stays here until the next time.
    fn say_notices(&mut self) {
        let Some(notice_output) = &mut self.notice_output else {
            return;
        };
        let Some(sink) = &notice_output.sink else {
            return;
        };
        while let Some(notice) = notice_output
            .unsaid
            .take()
            .or_else(|| self.client.take_notice())
        {
            if !sink.offer(notice) {
                notice_output.unsaid = Some(notice);
                break;
            }
        }
    }

    fn note_measured(&mut self) {
        let measuring = |load: &Load| load.first_measured().is_some();
        if self.account.load.as_ref().is_some_and(measuring) {
            let now = Usage {
                allocations: allocations::count(),
                calls: (self.count_calls)(self.client.port()),
            };
            let first = self.measured.map_or(now, |(first, _)| first);
            self.measured = Some((first, now));
        }
    }

    fn note_stall(&mut self, now: Nanos) {
        let Some(load) = &self.account.load else {
            return;
        };
        let in_flight = load.sent() - load.received();
        // A request that is due and cannot be sent waits as well: no session may be the reason.
        if in_flight == 0 && load.due(now).is_none() {
            self.account.last_moved = now;
        } else if now - self.account.last_moved > STALL_NS {
            let seconds = STALL_NS / SECOND;
            self.account.last_moved = now;
            self.account.fail(if in_flight == 0 {
                format!("a request that was due could not be sent for {seconds} s")
            } else {
                format!("{in_flight} requests unanswered for {seconds} s")
            });
        }
    }
}

impl<P: DatagramPort> Agent for LoadClient<P> {
    fn role_name(&self) -> &'static str {
        "client"
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = self.client.do_work(now);
        let (account, clock) = (&mut self.account, self.clock);
        work += self
            .client
            .poll_egress(now, RESPONSES_PER_CYCLE, &mut |event| {
                account.on_event(clock(), event);
            });
        self.resume();
        if !self.is_done(now) {
            if !self.is_resuming {
                work += self.offer();
            }
            self.note_measured();
            self.note_stall(now);
        }
        self.say_notices();
        work
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let load = self.account.load.as_ref().filter(|_| !self.is_done(now));
        let due = load.and_then(|load| load.next_due(now));
        earliest(self.client.next_deadline(), due)
    }
}
