//! Applying what is committed: entry by entry, first the sessions, then the service, then the
//! clients, each handed what the one before made of it.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};
use lockstep_transport::trace::Tracer;

use crate::apply::service_agent::{Executed, ServiceAgent};
use crate::apply::verdict::{SessionNews, judge};
use crate::log::entry_assembler::Entry;
use crate::log::entry_cursor::{Passed, Run};
use crate::log::log_entry::LogEntry;
use crate::module::event::Event;
use crate::module::output_agreement::{OutputAgreement, OutputAt};
use crate::node::cluster_node::ClusterNode;
use crate::node::cycle_budget::CycleBudget;
use crate::node::fault::NodeFault;
use crate::node::identity::Identity;
use crate::node::leadership::Leadership;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::client_agent::{ClientAgent, Telling};
use crate::session::session_events::SessionEventSender;
use crate::session::session_table::SessionTable;

/// Frames after which no further run is begun in one call: keeps a duty cycle short while a
/// backlog is worked off.
const FRAMES_PER_CALL: usize = 64;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Applies what is committed.
    pub(super) fn apply(&mut self, now: Nanos) -> usize {
        let commit = self.parts.module.commit();
        if self.parts.applier.position() >= commit {
            return 0;
        }
        self.budget.begin_lap();
        let applied = self.apply_below(now, commit);
        let parts = &mut self.parts;
        parts.archive.submit_order(now, parts.applier.reader_mut());
        let passed = match applied {
            Ok(passed) => passed,
            Err(fault) => {
                self.fault = Some(fault);
                return 1;
            }
        };
        if self.parts.leadership.is_open() {
            self.ingress(now).answer_decided();
        }
        let position = self.parts.applier.position();
        if position > self.reported_applied {
            self.reported_applied = position;
            let event = Event::Applied { position };
            self.parts.module.on_event(now, event, &mut self.actions);
        }
        passed
    }

    /// Applies entries that end at or below `commit`. Returns how many frames it passed.
    fn apply_below(&mut self, now: Nanos, commit: Position) -> Result<usize, NodeFault> {
        let parts = &mut self.parts;
        let applier = &mut parts.applier;
        if applier.service.held().is_some() {
            return Ok(0);
        }
        let view = parts.archive.view(&parts.log);
        let mut way = EntryWay {
            now,
            budget: &mut self.budget,
            agreement: &mut self.agreement,
            notices: &mut parts.notices,
            identity: &parts.identity,
            leadership: &mut parts.leadership,
            clients: &mut parts.clients,
            tracer: &mut parts.tracer,
        };
        let waiting = applier.waiting();
        if waiting.is_some_and(|cause| !way.may_answer(cause)) {
            return Ok(0);
        }
        let mut passed = 0;
        while applier.position() < commit && passed < FRAMES_PER_CALL {
            match applier.begin_run(view, commit)? {
                Run::Begun => {}
                Run::Pending => break,
                Run::Nothing => {
                    let position = applier.position();
                    panic!("the log at {position} yields no whole frame below {commit}");
                }
            }
            loop {
                let (next, sessions, service) = applier.next(view)?;
                let entry = match next {
                    Passed::RunOver => break,
                    Passed::Part => None,
                    Passed::Entry(entry) => Some(entry),
                };
                passed += 1;
                let Some(entry) = entry else {
                    continue;
                };
                let position = entry.position;
                let awaits = match way.go(&entry, sessions, service)? {
                    Went::Through if way.budget.is_spent() => return Ok(passed),
                    Went::Through => continue,
                    Went::Held => None,
                    Went::Waits(cause) => Some(cause),
                };
                applier.put_off(position, awaits);
                return Ok(passed);
            }
        }
        Ok(passed)
    }
}

/// What became of an entry.
enum Went {
    /// It is applied.
    Through,
    /// It is a Response that differs from the service's own.
    Held,
    /// It waits for the members to agree on this cause.
    Waits(Position),
}

/// The way of entries through sessions, service and clients.
struct EntryWay<'a, P> {
    now: Nanos,
    budget: &'a mut CycleBudget,
    agreement: &'a mut OutputAgreement,
    notices: &'a mut NodeNotices,
    identity: &'a Identity,
    leadership: &'a mut Leadership,
    clients: &'a mut ClientAgent<P>,
    tracer: &'a mut Tracer,
}

impl<P: DatagramPort> EntryWay<'_, P> {
    fn go<S: ClusteredService>(
        &mut self,
        entry: &Entry<'_>,
        sessions: &mut SessionTable,
        service: &mut ServiceAgent<S>,
    ) -> Result<Went, NodeFault> {
        let Entry { position, .. } = *entry;
        let malformed = |_| NodeFault::MalformedEntry { position };
        let decoded = LogEntry::decode(&entry.header, entry.body).map_err(malformed)?;
        let is_cause = decoded.is_causing();
        if is_cause && self.identity.is_direct && !self.may_answer(position) {
            return Ok(Went::Waits(position));
        }
        let verdict = judge(sessions, &decoded, position);
        let is_leading = self.leadership.is_leading();
        let tracer = is_leading.then_some(&mut *self.tracer);
        match service.execute(entry, verdict.order, tracer)? {
            Executed::Done => {}
            Executed::Held => return Ok(Went::Held),
            Executed::Void => self.note_void(position),
            #[cfg(feature = "sim")]
            Executed::Overlooked => self.deliver(entry, RequestNumber::NONE),
            Executed::Same => {
                let cause = entry.header.number;
                if !self.may_answer(cause) {
                    sometimes(Mark::ApplyWaitsForOutput);
                    return Ok(Went::Waits(cause));
                }
                service.apply_response(entry)?;
                self.deliver(entry, sessions.applied_number(entry.header.session));
            }
        }
        if let Some(news) = &verdict.news {
            self.tell(news);
        }
        self.take_direct(entry, sessions, service);
        if is_cause {
            self.on_executed(service.output_at(position));
        }
        Ok(Went::Through)
    }

    fn note_void(&mut self, position: Position) {
        let detail = Detail::default().with_values([position, 0, 0, 0]);
        self.notices
            .note(self.now, NodeNotice::VoidResponse, detail);
    }

    /// Whether the answers to the entry at `cause` may be applied, and so reach clients, now.
    fn may_answer(&mut self, cause: Position) -> bool {
        if !self.leadership.is_open() {
            return true;
        }
        if self.identity.is_direct {
            return !self.agreement.is_asking();
        }
        self.agreement.may_deliver(self.now, cause)
    }

    /// The service executed a causing entry.
    fn on_executed(&mut self, output: OutputAt) {
        if self.leadership.is_open() {
            self.leadership.on_cause_applied();
        }
        self.agreement.record(self.now, output);
        if let Some(took) = self.budget.lap() {
            let values = [output.position, took / MILLISECOND, 0, 0];
            let detail = Detail::default().with_values(values);
            self.notices.note(self.now, NodeNotice::SlowService, detail);
        }
    }

    fn tell(&mut self, news: &SessionNews) {
        let is_open = self.leadership.is_open();
        let sender = SessionEventSender::leading(self.identity.member, self.leadership.term());
        let (leadership, clients) = (&mut *self.leadership, &mut *self.clients);
        let mut telling = Telling {
            now: self.now,
            sender,
            tracer: self.tracer,
            notices: self.notices,
        };
        match news {
            SessionNews::Opened(session, open) => {
                clients.images.on_served(session.client());
                if is_open {
                    let connect = leadership.on_session_opened(session, open, self.now);
                    clients.on_session_opened(&mut telling, session, connect);
                }
            }
            SessionNews::Continued(session, open, is_takeover) if is_open => {
                let connect = leadership.on_session_continued(session, open, self.now);
                clients.images.on_served(session.client());
                clients.on_session_continued(&mut telling, session, *is_takeover, connect);
            }
            SessionNews::Continued(..) => {}
            SessionNews::Ignored(open) => {
                clients.images.on_ignored(open.client());
                leadership.on_open_ignored(open);
            }
            SessionNews::Closed(session, reason) => {
                clients.images.on_closed(session.client());
                if is_open {
                    leadership.sessions.on_closed(session.id);
                    clients.on_session_closed(sender, session, *reason);
                }
            }
        }
    }

    fn deliver(&mut self, entry: &Entry<'_>, applied_number: RequestNumber) {
        if self.leadership.is_open() {
            self.clients
                .on_response(self.now, entry, applied_number, self.tracer);
        }
    }

    fn take_direct<S: ClusteredService>(
        &mut self,
        entry: &Entry<'_>,
        sessions: &SessionTable,
        service: &mut ServiceAgent<S>,
    ) {
        let is_open = self.leadership.is_open();
        service.take_direct(entry, sessions, |effect, applied_number| {
            if is_open {
                self.clients
                    .on_direct_effect(self.now, effect, applied_number, self.tracer);
            }
        });
    }
}
