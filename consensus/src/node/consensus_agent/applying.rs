//! Applying what is committed: entry by entry, first the sessions, then the service, then the
//! clients, each handed what the one before made of it. What becomes of sessions goes to the
//! clients' side by a queue; a full one holds applying back.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::log_entry::EntryHeader;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::apply::answers::{Answers, HeldResponse};
use crate::apply::applier::{Applied, Awaited};
use crate::apply::service_agent::{Executed, ServiceAgent};
use crate::apply::verdict::{ServiceOrder, SessionNews, is_of_session, judge};
use crate::log::archive_agent::ArchiveAgent;
use crate::log::entry_assembler::Entry;
use crate::log::entry_body::ClusterAction;
use crate::log::entry_cursor::{Passed, Run};
use crate::log::log_entry::LogEntry;
use crate::module::consensus_module::Role;
use crate::module::event::Event;
use crate::module::output_agreement::OutputAgreement;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::node::cycle_budget::CycleBudget;
use crate::node::facts::NodeFacts;
use crate::node::fault::NodeFault;
use crate::node::leadership::Leadership;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::client_agent::ClientAgent;
use crate::session::client_news::{ClientNews, NewsWriter};
use crate::session::egress_floor::EgressFloor;
use crate::session::session_events::SessionEventSender;
use crate::session::session_table::SessionTable;
use crate::snapshot::taker::SnapshotTaker;

/// Frames after which no further run is begun in one call: keeps a duty cycle short while a
/// backlog is worked off.
const FRAMES_PER_CALL: usize = 64;

/// Bytes of committed log that a member may have before itself and yet stop to write a snapshot.
const SNAPSHOT_LAG_MAX: Position = 16 << 20;

/// The way of entries, lent what it changes of the agent, but not the applier, which is at it.
macro_rules! entry_way {
    ($agent:expr, $now:expr, $service:expr, $clients:expr) => {
        EntryWay {
            now: $now,
            budget: &mut $agent.budget,
            agreement: &mut $agent.agreement,
            notices: &mut $agent.notices,
            facts: &$agent.facts,
            leadership: &mut $agent.leadership,
            news: &mut $agent.news,
            snapshot: &mut $agent.snapshot,
            egress_floor: &mut $agent.egress_floor,
            commit: $agent.module.commit(),
            is_standing: $agent.module.role() != Role::Follower,
            service: $service,
            clients: $clients,
        }
    };
}

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Applies what is committed.
    pub(in crate::node) fn apply<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
        clients: &mut ClientAgent<P>,
    ) -> usize {
        let commit = self.module.commit();
        #[cfg(feature = "sim")]
        let commit = if self.applies_all() {
            self.log.append()
        } else {
            commit
        };
        if self.applier.position() >= commit {
            return 0;
        }
        self.budget.begin_lap();
        let applied = self.apply_below(now, commit, archive, service, clients);
        archive.submit_order(now, self.applier.reader_mut());
        service.wake();
        // Nothing waits in the queue when anybody else touches the clients' side.
        clients.take_news(now);
        let passed = match applied {
            Ok(passed) => passed,
            Err(fault) => {
                self.fault = Some(fault);
                return 1;
            }
        };
        if self.leadership.is_open() {
            let room = Room { archive, service };
            self.answer_decided(now, room, clients);
        }
        self.report_applied(now, service);
        passed
    }

    /// Tells the consensus module how far the sessions and the service have applied the log.
    fn report_applied<S: ClusteredService>(&mut self, now: Nanos, service: &ServiceAgent<S>) {
        let position = service.applied(self.applier.position());
        #[cfg(feature = "sim")]
        let position = if self.applies_all() {
            position.min(self.module.commit())
        } else {
            position
        };
        if position > self.reported_applied {
            self.reported_applied = position;
            self.on_event(now, Event::Applied { position });
        }
    }

    /// Takes what the service has executed on a thread of its own.
    pub(in crate::node) fn take_executed<S: ClusteredService>(
        &mut self,
        now: Nanos,
        service: &mut ServiceAgent<S>,
        clients: &mut ClientAgent<P>,
    ) -> usize {
        let sessions = self.applier.sessions();
        let mut way = entry_way!(self, now, service, clients);
        let mut taken = 0;
        while taken < FRAMES_PER_CALL {
            match way.take_executed(sessions) {
                Ok(true) => taken += 1,
                Ok(false) => break,
                Err(fault) => {
                    self.fault = Some(fault);
                    return taken + 1;
                }
            }
        }
        way.service.wake();
        if taken > 0 {
            self.report_applied(now, service);
        }
        taken
    }

    /// Whether a planted fault has a follower apply what is not committed.
    #[cfg(feature = "sim")]
    fn applies_all(&self) -> bool {
        self.applier.applies_all() && !self.leadership.is_leading()
    }

    /// Applies entries that end at or below `commit`. Returns how many frames it passed.
    fn apply_below<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        commit: Position,
        archive: &ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
        clients: &mut ClientAgent<P>,
    ) -> Result<usize, NodeFault> {
        let applier = &mut self.applier;
        if applier.answers.held().is_some() {
            return Ok(0);
        }
        let view = archive.view(&self.log);
        let mut way = entry_way!(self, now, service, clients);
        let is_ready = match applier.waiting() {
            None => true,
            Some(Awaited::Agreement(cause)) => way.may_answer(cause),
            Some(Awaited::Service(position)) => way.service.has_executed(position),
            Some(Awaited::Snapshot) => !way.snapshot.is_holding(),
        };
        if !is_ready {
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
                if way.news.is_full() {
                    sometimes(Mark::ApplyWaitsForNews);
                    return Ok(passed);
                }
                if way.service.is_backed_up() {
                    sometimes(Mark::ApplyWaitsForService);
                    return Ok(passed);
                }
                let (next, applied) = applier.next(view)?;
                let entry = match next {
                    Passed::RunOver => break,
                    Passed::Part => None,
                    Passed::Entry(entry) => Some(entry),
                };
                passed += 1;
                let Some(entry) = entry else {
                    continue;
                };
                let put_off = (entry.position, entry.header.log_time);
                let awaits = match way.go(&entry, applied)? {
                    EntryOutcome::Applied if way.budget.is_spent() => return Ok(passed),
                    EntryOutcome::Applied => continue,
                    EntryOutcome::Held => None,
                    EntryOutcome::Waits(awaited) => Some(awaited),
                };
                applier.put_off(put_off, awaits);
                return Ok(passed);
            }
        }
        Ok(passed)
    }
}

/// What became of an entry.
enum EntryOutcome {
    /// It is applied.
    Applied,
    /// It is a Response that differs from the service's own.
    Held,
    /// It is not, and waits for this.
    Waits(Awaited),
}

/// The way of entries through sessions, service and clients.
struct EntryWay<'a, P, S> {
    now: Nanos,
    budget: &'a mut CycleBudget,
    agreement: &'a mut OutputAgreement,
    notices: &'a mut NodeNotices,
    facts: &'a NodeFacts,
    leadership: &'a mut Leadership,
    news: &'a mut NewsWriter,
    snapshot: &'a mut SnapshotTaker,
    egress_floor: &'a mut EgressFloor,
    commit: Position,
    /// Whether this member leads or asks for votes.
    is_standing: bool,
    service: &'a mut ServiceAgent<S>,
    clients: &'a mut ClientAgent<P>,
}

impl<P: DatagramPort, S: ClusteredService> EntryWay<'_, P, S> {
    fn go(&mut self, entry: &Entry<'_>, applied: Applied<'_>) -> Result<EntryOutcome, NodeFault> {
        let Applied {
            sessions,
            answers,
            log,
        } = applied;
        let Entry { position, .. } = *entry;
        let malformed = |_| NodeFault::MalformedEntry { position };
        let decoded = LogEntry::decode(&entry.header, entry.body).map_err(malformed)?;
        if decoded == LogEntry::Action(ClusterAction::Snapshot) && self.awaits_snapshot(entry.end) {
            return Ok(EntryOutcome::Waits(Awaited::Snapshot));
        }
        let is_cause = decoded.is_causing();
        if is_cause && self.facts.is_direct && !self.may_answer(position) {
            return Ok(EntryOutcome::Waits(Awaited::Agreement(position)));
        }
        // Clients hear of a session's end after all of its answers, which leave when executed.
        let is_behind = self.facts.is_direct && self.service.is_behind();
        if is_behind && is_of_session(sessions, &decoded) {
            return Ok(EntryOutcome::Waits(Awaited::Service(position)));
        }
        let verdict = judge(sessions, &decoded, position);
        let order = match verdict.order {
            ServiceOrder::Compare => answers.order(),
            order => order,
        };
        let is_leading = self.leadership.is_leading();
        let executed = self.service.execute(self.now, entry, order, is_leading)?;
        let is_executed = executed != Executed::HandedOver;
        match executed {
            Executed::Done | Executed::HandedOver => self.note_order(order, position, answers),
            compared => match self.answer(entry, compared, sessions, answers)? {
                EntryOutcome::Applied => {}
                outcome => return Ok(outcome),
            },
        }
        if let LogEntry::Response(response) = &decoded {
            // Void or not: all members alike.
            sessions.apply_response(response.session, position);
        }
        log.apply(&decoded);
        if let Some(news) = &verdict.news {
            self.tell(news);
        }
        if is_executed {
            self.take_direct((position, &entry.header), sessions);
            if is_cause {
                let took = self.budget.lap();
                self.on_executed(position, took);
            }
        }
        Ok(EntryOutcome::Applied)
    }

    /// Whether the entry that asks for a snapshot at `end` is put off until this member has written
    /// it. Nobody who leads others does, nor one that has much to catch up on.
    fn awaits_snapshot(&mut self, end: Position) -> bool {
        let is_alone = self.facts.members.len() == 1;
        let is_behind = self.commit - end > SNAPSHOT_LAG_MAX;
        let may_write =
            self.service.takes_snapshots() && (is_alone || !self.is_standing) && !is_behind;
        self.snapshot.meet(end, may_write)
    }

    /// Applies a Response that was `compared` with what this node's service said, if it may be.
    fn answer(
        &mut self,
        entry: &Entry<'_>,
        compared: Executed,
        sessions: &SessionTable,
        answers: &mut Answers,
    ) -> Result<EntryOutcome, NodeFault> {
        let cause = entry.header.number;
        match compared {
            Executed::TooEarly => {
                sometimes(Mark::ResponseBeforeExecution);
                return Ok(EntryOutcome::Waits(Awaited::Service(cause)));
            }
            #[cfg(feature = "sim")]
            Executed::Differs(_) if answers.takes_all() => {
                let order = ServiceOrder::PassOver;
                self.service.execute(self.now, entry, order, false)?;
                self.deliver(entry, RequestNumber::NONE);
            }
            Executed::Differs(divergence) => {
                answers.hold(HeldResponse {
                    position: entry.position,
                    cause,
                    divergence,
                });
                return Ok(EntryOutcome::Held);
            }
            _ => {
                if !self.may_answer(cause) {
                    sometimes(Mark::ApplyWaitsForOutput);
                    return Ok(EntryOutcome::Waits(Awaited::Agreement(cause)));
                }
                self.service.apply_response(entry)?;
                self.deliver(entry, sessions.applied_number(entry.header.session));
            }
        }
        Ok(EntryOutcome::Applied)
    }

    /// Takes one entry that the service has executed on its thread. Returns whether there was one.
    fn take_executed(&mut self, sessions: &SessionTable) -> Result<bool, NodeFault> {
        // Direct answers leave when they are taken, and none does meanwhile.
        if self.is_in_doubt() {
            return Ok(false);
        }
        let Some(entry) = self.service.take_executed(self.now)? else {
            return Ok(false);
        };
        let task = &entry.task;
        self.take_direct((task.position, &task.header), sessions);
        if task.header.kind.is_causing() {
            let took = self.now - entry.since;
            let took = Some(took).filter(|took| self.budget.is_slow(*took));
            self.on_executed(task.position, took);
        }
        Ok(true)
    }

    /// What an order means for the Responses that follow, or for this one.
    fn note_order(&mut self, order: ServiceOrder, position: Position, answers: &mut Answers) {
        match order {
            ServiceOrder::Term(term) => answers.begin_term(term, position),
            ServiceOrder::PassOver => {
                let detail = Detail::default().with_values([position, 0, 0, 0]);
                let kind = NodeNotice::VoidResponse;
                self.notices.note(self.now, kind, detail);
            }
            _ => {}
        }
    }

    /// Whether direct answers are held: it is not known whose are right.
    const fn is_in_doubt(&self) -> bool {
        self.facts.is_direct && self.leadership.is_open() && self.agreement.is_asking()
    }

    /// Whether the answers to the entry at `cause` may be applied, and so reach clients, now.
    fn may_answer(&mut self, cause: Position) -> bool {
        if !self.leadership.is_open() {
            return true;
        }
        if self.facts.is_direct {
            return !self.is_in_doubt();
        }
        self.agreement.may_deliver(self.now, cause)
    }

    /// The service executed the causing entry at `position`, and took so long if that is too long.
    fn on_executed(&mut self, position: Position, took: Option<Nanos>) {
        if self.leadership.is_open() {
            self.leadership.on_cause_applied();
        }
        let output = self.service.output_at(position);
        self.agreement.record(self.now, output);
        if let Some(took) = took {
            let has_thread = i64::from(!self.service.is_here());
            let values = [position, took / MILLISECOND, has_thread, 0];
            let detail = Detail::default().with_values(values);
            self.notices.note(self.now, NodeNotice::SlowService, detail);
        }
    }

    fn tell(&mut self, news: &SessionNews) {
        if let SessionNews::Continued(session, _, true) = news
            && let Some(owed_from) = session.owed_from()
        {
            self.egress_floor.lower_to(owed_from);
        }
        let is_open = self.leadership.is_open();
        let sender = SessionEventSender::leading(self.facts.member, self.leadership.term());
        let sender = is_open.then_some(sender);
        let (now, leadership) = (self.now, &mut *self.leadership);
        let news = match (news, sender) {
            (SessionNews::Opened(session, open), _) => ClientNews::Opened {
                session: *session,
                connect: sender.and_then(|_| leadership.on_session_opened(session, open, now)),
                sender,
            },
            (SessionNews::Continued(session, open, is_takeover), Some(sender)) => {
                ClientNews::Continued {
                    session: *session,
                    is_takeover: *is_takeover,
                    connect: leadership.on_session_continued(session, open, now),
                    sender,
                }
            }
            (SessionNews::Continued(..), None) => return,
            (SessionNews::Ignored(open), _) => {
                leadership.on_open_ignored(open);
                ClientNews::Ignored(open.client())
            }
            (SessionNews::Closed(session, reason), _) => {
                if is_open {
                    leadership.sessions.on_closed(session.id);
                }
                ClientNews::Closed {
                    session: *session,
                    reason: *reason,
                    sender,
                }
            }
        };
        let told = self.news.push(news);
        assert!(
            told.is_ok(),
            "no entry is applied that finds the queue full"
        );
    }

    fn deliver(&mut self, entry: &Entry<'_>, applied_number: RequestNumber) {
        if self.leadership.is_open() {
            self.clients.on_response(self.now, entry, applied_number);
        }
    }

    fn take_direct(&mut self, cause: (Position, &EntryHeader), sessions: &SessionTable) {
        let (now, is_open) = (self.now, self.leadership.is_open());
        let clients = &mut *self.clients;
        self.service
            .take_direct(cause, sessions, |effect, applied_number| {
                if is_open {
                    clients.on_direct_effect(now, effect, applied_number);
                }
            });
    }
}
