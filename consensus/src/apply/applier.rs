//! Applies committed entries, in order, on every node: the session table, the container and
//! the comparison of responses all move here and nowhere else (C4).
//!
//! What the leader does on top (deliver, admit, answer connects) happens in an
//! [`AppliedHandler`]; on followers the handler does nothing.

use lockstep_archive::log::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_archive::log::log_view::LogView;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::EntryKind;
use lockstep_service::outbox::Divergence;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frames;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::trace::TracePoint;

use crate::apply::cause_numbers::CauseNumbers;
use crate::apply::void_responses::VoidResponses;
use crate::log::entry_assembler::{Assembled, Entry, EntryAssembler};
use crate::log::entry_body::{CloseReason, SessionAcks, SessionOpen};
use crate::log::log_entry::{LogEntry, Request, Response};
use crate::module::output_agreement::OutputAt;
use crate::node::fault::NodeFault;
use crate::session::session_table::{OpenVerdict, RequestVerdict, Session, SessionTable};

/// Entries applied in one call at most: keeps a duty cycle short while a backlog is worked off.
const ENTRIES_PER_CALL: usize = 64;

/// Bytes taken from the log at once.
const READ_LENGTH: usize = 64 * 1024;

/// An effect that leaves at apply, in direct mode.
#[derive(Clone, Copy, Debug)]
pub struct DirectEffect<'a> {
    /// The session it goes to.
    pub session: i64,
    /// Position of the entry that caused it.
    pub cause: Position,
    /// Which of its cause's effects it is.
    pub ordinal: u32,
    /// Number of the request answered, 0 when it goes to another session.
    pub number: i64,
    /// Log time of the cause, ns.
    pub log_time: i64,
    /// What it says.
    pub payload: &'a [u8],
    /// It only says that the service could not emit what it wanted.
    pub is_failure: bool,
}

/// A Response in the log that is not what this node's service said (`log.md` 5.8): nothing from
/// it on is applied until the members have agreed on whose answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldResponse {
    /// Its position.
    pub position: Position,
    /// The entry that it answers.
    pub cause: Position,
    /// In what it differs.
    pub divergence: Divergence,
}

/// What a leader does when entries are applied. Called in log order.
pub trait AppliedHandler {
    /// Whether the answers to the entry at `cause` may be applied, and so reach clients, now.
    fn may_answer(&mut self, cause: Position) -> bool;
    /// The service executed the entry at the position; the hash is of all its output.
    fn on_executed(&mut self, output: OutputAt);
    /// Whether enough was executed in this duty cycle.
    fn is_cycle_spent(&self) -> bool;
    /// The Response at the position was passed over: a majority's services did not say it.
    fn on_void_response(&mut self, position: Position);
    /// The entry at `position`, which ends at `end`, reached a trace point.
    fn on_step(&mut self, point: TracePoint, position: Position, end: Position);
    /// A causing entry (request, session open or close) was applied or ignored.
    fn on_cause(&mut self);
    /// A session opened.
    fn on_session_opened(&mut self, session: &Session, open: &SessionOpen);
    /// A session is continued from where `open` says; by another process if `is_takeover`.
    fn on_session_continued(&mut self, session: &Session, open: &SessionOpen, is_takeover: bool);
    /// A SessionOpen had no effect: its epoch is fenced, its session gone or the table full.
    fn on_open_ignored(&mut self, open: &SessionOpen);
    /// A session closed.
    fn on_session_closed(&mut self, session: &Session, reason: CloseReason);
    /// A response is committed and compared; `applied_number` is its session's.
    fn on_response(&mut self, entry: &Entry<'_>, applied_number: i64);
    /// An effect leaves directly.
    fn on_direct_effect(&mut self, effect: &DirectEffect<'_>, applied_number: i64);
}

/// The applied state of a node: a function of the log up to [`position`](Self::position).
#[derive(Debug)]
pub struct Applier<S> {
    container: Container<S>,
    sessions: SessionTable,
    causes: CauseNumbers,
    reader: LogReader,
    assembler: EntryAssembler,
    position: Position,
    log_time: i64,
    is_direct: bool,
    /// Leadership term of the entries being applied.
    term: LeadershipTermId,
    void: VoidResponses,
    held: Option<HeldResponse>,
    /// The answer at the position waits for its cause to be agreed on.
    waiting: Option<Position>,
}

impl<S: ClusteredService> Applier<S> {
    /// Starts at the beginning of the log.
    pub fn new(
        container: Container<S>,
        sessions: SessionTable,
        reader: LogReader,
        body_max: usize,
        is_direct: bool,
    ) -> Self {
        let causes = CauseNumbers::new(container.outbox().limits());
        Self {
            container,
            sessions,
            causes,
            reader,
            assembler: EntryAssembler::new(body_max),
            position: 0,
            log_time: 0,
            is_direct,
            term: LeadershipTermId::NONE,
            void: VoidResponses::default(),
            held: None,
            waiting: None,
        }
    }

    /// Breaks `log.md` 5.8 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub const fn compare_nothing(&mut self) {
        self.void.take_all();
    }

    /// The sessions, to break their rules on purpose.
    #[cfg(feature = "sim")]
    pub const fn sessions_mut(&mut self) -> &mut SessionTable {
        &mut self.sessions
    }

    /// Everything before this position is applied.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Log time of the last entry applied, ns.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// The sessions.
    #[must_use]
    pub const fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// The container.
    #[must_use]
    pub const fn container(&self) -> &Container<S> {
        &self.container
    }

    /// Number of the request of `session` at `cause`; 0 when the effect answers no request of
    /// its own session.
    #[must_use]
    pub fn request_number(&self, cause: Position, session: i64) -> i64 {
        self.causes.number(cause, session)
    }

    /// Causes whose effects wait.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn causes(&self) -> usize {
        self.causes.count()
    }

    /// The Response at which nothing goes on until the members have agreed.
    #[must_use]
    pub const fn held(&self) -> Option<&HeldResponse> {
        self.held.as_ref()
    }

    /// Responses that are passed over.
    #[must_use]
    pub const fn void_responses(&self) -> &VoidResponses {
        &self.void
    }

    /// Whether the Response at `position` was what this node's service said; `None` while that
    /// is not known.
    #[must_use]
    pub fn has_matched(&self, position: Position) -> Option<bool> {
        let is_held = self.held.is_some_and(|held| held.position == position);
        if is_held || self.void.contains(position) && position < self.position {
            return Some(false);
        }
        (position < self.position).then_some(true)
    }

    /// The held Response is void: a majority's output at its cause has this hash. It and what
    /// follows of its leadership term are passed over.
    ///
    /// # Errors
    /// When there were too many of them.
    pub fn pass_held(&mut self, hash: u64) -> Result<(), NodeFault> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if self.void.begin(held.position, self.term, held.cause, hash) {
            Ok(())
        } else {
            Err(NodeFault::TooManyVoidResponses {
                position: held.position,
            })
        }
    }

    /// The container, for the leader's cursor over the outbox.
    pub const fn container_mut(&mut self) -> &mut Container<S> {
        &mut self.container
    }

    /// The reader: its completions come in here, and its orders are to be submitted after
    /// [`apply`](Self::apply).
    pub const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// Applies entries that end at or below `commit`. Returns how many frames it passed.
    ///
    /// # Errors
    /// When the log or the service is broken in a way that this node must not outlive.
    pub fn apply(
        &mut self,
        commit: Position,
        view: LogView<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<usize, NodeFault> {
        let mut passed = 0;
        if self.held.is_some() || self.waiting.is_some_and(|cause| !handler.may_answer(cause)) {
            return Ok(0);
        }
        self.waiting = None;
        'calls: while self.position < commit && passed < ENTRIES_PER_CALL {
            let Self {
                reader,
                container,
                sessions,
                causes,
                assembler,
                void,
                ..
            } = self;
            let span = ReadSpan {
                position: self.position,
                limit: commit,
                length_max: READ_LENGTH,
            };
            let bytes = match reader.read(span, view) {
                LogRead::Frames { bytes, .. } => bytes,
                LogRead::Pending => break,
                LogRead::Damaged => {
                    return Err(NodeFault::DamagedLog {
                        position: self.position,
                    });
                }
            };
            let from = self.position;
            for frame in frames(bytes) {
                let position = self.position;
                self.position += frame.aligned_length() as Position;
                passed += 1;
                let entry = match assembler.push(position, &frame) {
                    Assembled::Incomplete => continue,
                    Assembled::Malformed => return Err(NodeFault::MalformedEntry { position }),
                    Assembled::Entry(entry) => entry,
                };
                self.log_time = entry.header.log_time;
                let mut step = Step {
                    container,
                    sessions,
                    causes,
                    void,
                    term: &mut self.term,
                    is_direct: self.is_direct,
                };
                match step.apply(&entry, handler)? {
                    Stepped::Applied if handler.is_cycle_spent() => break 'calls,
                    Stepped::Applied => {}
                    stopped => {
                        // Looked at again from its first frame.
                        self.position = entry.position;
                        assembler.reset();
                        match stopped {
                            Stepped::Held(held) => self.held = Some(held),
                            Stepped::Waiting(cause) => self.waiting = Some(cause),
                            Stepped::Applied => {}
                        }
                        break 'calls;
                    }
                }
            }
            assert!(
                self.position > from,
                "the log at {from} yields no whole frame"
            );
        }
        Ok(passed)
    }
}

/// What became of an entry.
enum Stepped {
    Applied,
    /// It is a Response that differs from the service's own.
    Held(HeldResponse),
    /// It waits for the members to agree on this cause.
    Waiting(Position),
}

/// One entry's way through the replicated state.
struct Step<'a, S> {
    container: &'a mut Container<S>,
    sessions: &'a mut SessionTable,
    causes: &'a mut CauseNumbers,
    void: &'a mut VoidResponses,
    term: &'a mut LeadershipTermId,
    is_direct: bool,
}

impl<S: ClusteredService> Step<'_, S> {
    /// Applies the entry, unless it has to wait.
    fn apply(
        &mut self,
        entry: &Entry<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<Stepped, NodeFault> {
        let position = entry.position;
        let malformed = |_| NodeFault::MalformedEntry { position };
        let decoded = LogEntry::decode(&entry.header, entry.body).map_err(malformed)?;
        let is_cause = decoded.is_causing();
        if is_cause && self.is_direct && !handler.may_answer(position) {
            return Ok(Stepped::Waiting(position));
        }
        match decoded {
            LogEntry::Response(response) => return self.response(entry, &response, handler),
            LogEntry::Request(request) => self.request(entry, &request, handler)?,
            LogEntry::NewLeadershipTerm(term) => self.begin_term(entry, term.term)?,
            LogEntry::SessionOpen(open) => self.open(entry, &open, handler)?,
            LogEntry::SessionClose { reason, .. } => {
                self.close(entry, reason, handler)?;
                handler.on_cause();
            }
            LogEntry::SessionAck(acks) => self.acknowledge(entry, &acks),
        }
        if is_cause {
            handler.on_executed(OutputAt {
                position,
                hash: self.container.output_hash(),
            });
        }
        Ok(Stepped::Applied)
    }

    fn begin_term(&mut self, entry: &Entry<'_>, term: LeadershipTermId) -> Result<(), NodeFault> {
        let Entry { position, end, .. } = *entry;
        self.container
            .apply_new_leadership_term(&entry.header, position, end, term)?;
        *self.term = term;
        self.void.on_new_term(position);
        Ok(())
    }

    fn acknowledge(&mut self, entry: &Entry<'_>, acks: &SessionAcks<'_>) {
        for ack in acks.iter() {
            self.sessions
                .apply_acknowledgement(ack.session, ack.position);
        }
        self.container.advance(entry.end);
    }

    fn request(
        &mut self,
        entry: &Entry<'_>,
        request: &Request<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        let Request {
            session, number, ..
        } = *request;
        let verdict = self
            .sessions
            .apply_request(session, number, request.acknowledged);
        match verdict {
            RequestVerdict::Ignore => self.container.advance(entry.end),
            RequestVerdict::Gap => self.close(entry, CloseReason::SequenceGap, handler)?,
            RequestVerdict::Apply => {
                let Entry { position, end, .. } = *entry;
                handler.on_step(TracePoint::ExecuteDispatch, position, end);
                let before = self.container.outbox().len();
                self.container
                    .apply_request(&entry.header, position, end, request.message)?;
                handler.on_step(TracePoint::ExecuteService, position, end);
                if !self.is_direct && self.container.outbox().len() > before {
                    self.causes.note(position, session, number);
                }
                handler.on_step(TracePoint::ExecuteRespond, position, end);
                self.deliver_direct(entry, handler);
            }
        }
        handler.on_cause();
        Ok(())
    }

    fn response(
        &mut self,
        entry: &Entry<'_>,
        response: &Response<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<Stepped, NodeFault> {
        let Entry { position, end, .. } = *entry;
        if self.void.is_open(*self.term) {
            self.container
                .pass_void_response(&entry.header, position, end)?;
            handler.on_void_response(position);
            return Ok(Stepped::Applied);
        }
        let Response { cause, message, .. } = *response;
        if let Err(divergence) = self.container.check_response(&entry.header, message) {
            #[cfg(feature = "sim")]
            if self.void.takes_all() {
                self.container
                    .pass_void_response(&entry.header, position, end)?;
                handler.on_response(entry, 0);
                return Ok(Stepped::Applied);
            }
            return Ok(Stepped::Held(HeldResponse {
                position,
                cause,
                divergence,
            }));
        }
        if !handler.may_answer(cause) {
            sometimes(Mark::ApplyWaitsForOutput);
            return Ok(Stepped::Waiting(cause));
        }
        self.container
            .apply_response(&entry.header, position, end, message)?;
        let front = self.container.outbox().front();
        self.causes
            .forget_before(front.map(|effect| effect.name.cause));
        let applied = self
            .sessions
            .get(response.session)
            .map_or(0, |s| s.applied_number);
        handler.on_response(entry, applied);
        Ok(Stepped::Applied)
    }

    fn open(
        &mut self,
        entry: &Entry<'_>,
        open: &SessionOpen,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        match self.sessions.apply_open(open, entry.position) {
            OpenVerdict::Opened(session) => {
                let Entry { position, end, .. } = *entry;
                self.container
                    .apply_session_open(&entry.header, position, end, session.id)?;
                handler.on_session_opened(&session, open);
                self.deliver_direct(entry, handler);
            }
            OpenVerdict::Continued {
                session,
                is_takeover,
            } => {
                if is_takeover {
                    sometimes(Mark::SessionTakenOver);
                }
                self.container.advance(entry.end);
                handler.on_session_continued(&session, open, is_takeover);
            }
            OpenVerdict::Fenced | OpenVerdict::Gone | OpenVerdict::Full => {
                self.container.advance(entry.end);
                handler.on_open_ignored(open);
            }
        }
        handler.on_cause();
        Ok(())
    }

    fn close(
        &mut self,
        entry: &Entry<'_>,
        reason: CloseReason,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        let Some(session) = self.sessions.apply_close(entry.header.session) else {
            self.container.advance(entry.end);
            return Ok(());
        };
        self.container
            .apply_session_close(&entry.header, entry.position, entry.end)?;
        handler.on_session_closed(&session, reason);
        self.deliver_direct(entry, handler);
        Ok(())
    }

    /// In direct mode effects leave as soon as their cause is applied; they are never logged.
    fn deliver_direct(&mut self, entry: &Entry<'_>, handler: &mut impl AppliedHandler) {
        if !self.is_direct {
            return;
        }
        for effect in self.container.outbox().direct() {
            let applied = self
                .sessions
                .get(effect.session)
                .map_or(0, |s| s.applied_number);
            let header = &entry.header;
            let is_own = header.kind == EntryKind::Request && header.session == effect.session;
            let direct = DirectEffect {
                session: effect.session,
                cause: entry.position,
                ordinal: effect.name.ordinal,
                number: if is_own { header.number } else { 0 },
                log_time: header.log_time,
                payload: effect.message,
                is_failure: effect.is_failure,
            };
            handler.on_direct_effect(&direct, applied);
        }
        self.container.outbox_mut().clear_direct();
    }
}

#[cfg(test)]
mod tests;
