//! Applies committed entries, in order, on every node: the session table, the container and
//! the comparison of responses all move here and nowhere else (C4).
//!
//! What the leader does on top (deliver, admit, answer connects) happens in an
//! [`AppliedHandler`]; on followers the handler does nothing.

use std::collections::VecDeque;

use lockstep_archive::disk::Disk;
use lockstep_archive::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::EntryKind;
use lockstep_service::outbox::{EFFECT_CHARGE_MIN, OutboxLimits};
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use super::entry_assembler::{Assembled, Entry, EntryAssembler};
use super::fault::NodeFault;
use super::log_store::LogStore;
use crate::entry_body::{CloseReason, NewLeadershipTerm, SessionAcknowledgement, SessionOpen};
use crate::session::{RequestVerdict, Session, SessionTable};

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
}

/// What a leader does when entries are applied. Called in log order.
pub trait AppliedHandler {
    /// The entry at `position`, which ends at `end`, reached a trace point.
    fn on_step(&mut self, point: TracePoint, position: Position, end: Position);
    /// A causing entry (request, session open or close) was applied or ignored.
    fn on_cause(&mut self);
    /// A session opened.
    fn on_session_opened(&mut self, session: &Session);
    /// A SessionOpen had no effect: its nonce is known, or the table is full.
    fn on_open_ignored(&mut self, open: &SessionOpen);
    /// A session closed, with the entry that ends at `end`.
    fn on_session_closed(&mut self, session: &Session, reason: CloseReason, end: Position);
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
        }
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

    /// The container, for the leader's cursor over the outbox.
    pub const fn container_mut(&mut self) -> &mut Container<S> {
        &mut self.container
    }

    /// The reader's completions come in here.
    pub const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// Applies entries that end at or below `commit`. Returns how many frames it passed.
    ///
    /// # Errors
    /// When the log or the service is broken in a way that this node must not outlive.
    pub fn apply<D: Disk>(
        &mut self,
        now: Nanos,
        commit: Position,
        store: &mut LogStore<D>,
        handler: &mut impl AppliedHandler,
    ) -> Result<usize, NodeFault> {
        let mut passed = 0;
        while self.position < commit && passed < ENTRIES_PER_CALL {
            let Self {
                reader,
                container,
                sessions,
                causes,
                assembler,
                ..
            } = self;
            let span = ReadSpan {
                position: self.position,
                limit: commit,
                length_max: READ_LENGTH,
            };
            let bytes = match store.read(now, reader, span) {
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
                    is_direct: self.is_direct,
                };
                step.apply(&entry, handler)?;
            }
            assert!(
                self.position > from,
                "the log at {from} yields no whole frame"
            );
        }
        Ok(passed)
    }
}

/// Which request each waiting effect answers: (position, session, number) of the requests
/// whose effects are in the outbox, oldest first.
#[derive(Debug)]
struct CauseNumbers {
    causes: VecDeque<(Position, i64, i64)>,
}

impl CauseNumbers {
    /// Room for as many causes as an outbox within `limits` can hold effects of; none in
    /// direct mode, where effects do not wait.
    fn new(limits: &OutboxLimits) -> Self {
        let effects = limits.capacity_bytes / EFFECT_CHARGE_MIN;
        let causes_max = if limits.enabled { effects } else { 0 };
        Self {
            causes: VecDeque::with_capacity(causes_max),
        }
    }

    /// The request at `position` was applied and has effects in the outbox.
    fn note(&mut self, position: Position, session: i64, number: i64) {
        self.causes.push_back((position, session, number));
    }

    /// The oldest effect that waits is one of the entry at `front`.
    fn forget_before(&mut self, front: Option<Position>) {
        let is_over = |cause: &(Position, i64, i64)| front.is_none_or(|front| cause.0 < front);
        while self.causes.front().is_some_and(is_over) {
            self.causes.pop_front();
        }
    }

    fn number(&self, cause: Position, session: i64) -> i64 {
        let found = self.causes.binary_search_by_key(&cause, |c| c.0).ok();
        let request = found.map(|index| self.causes[index]);
        request.filter(|c| c.1 == session).map_or(0, |c| c.2)
    }
}

/// One entry's way through the replicated state.
struct Step<'a, S> {
    container: &'a mut Container<S>,
    sessions: &'a mut SessionTable,
    causes: &'a mut CauseNumbers,
    is_direct: bool,
}

impl<S: ClusteredService> Step<'_, S> {
    fn apply(
        &mut self,
        entry: &Entry<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        let malformed = || NodeFault::MalformedEntry {
            position: entry.position,
        };
        match entry.header.kind {
            EntryKind::Request => self.request(entry, handler),
            EntryKind::Response => self.response(entry, handler),
            EntryKind::NewLeadershipTerm => {
                let term = NewLeadershipTerm::decode(entry.body).ok_or_else(malformed)?;
                let Entry { position, end, .. } = *entry;
                self.container.apply_new_leadership_term(
                    &entry.header,
                    position,
                    end,
                    term.term,
                )?;
                Ok(())
            }
            EntryKind::SessionOpen => {
                let open = SessionOpen::decode(entry.body).ok_or_else(malformed)?;
                self.open(entry, &open, handler)
            }
            EntryKind::SessionClose => {
                let &[number] = entry.body else {
                    return Err(malformed());
                };
                let reason = CloseReason::from_number(number).ok_or_else(malformed)?;
                self.close(entry, reason, handler)?;
                handler.on_cause();
                Ok(())
            }
            EntryKind::SessionAck => {
                let acks = SessionAcknowledgement::decode_all(entry.body).ok_or_else(malformed)?;
                for ack in acks {
                    self.sessions
                        .apply_acknowledgement(ack.session, ack.position);
                }
                self.container.advance(entry.end);
                Ok(())
            }
            EntryKind::Topic
            | EntryKind::ServiceMessage
            | EntryKind::Timer
            | EntryKind::Action
            | EntryKind::Membership => Err(malformed()),
        }
    }

    fn request(
        &mut self,
        entry: &Entry<'_>,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        let header = &entry.header;
        let verdict =
            self.sessions
                .apply_request(header.session, header.number, header.acknowledged);
        match verdict {
            RequestVerdict::Ignore => self.container.advance(entry.end),
            RequestVerdict::Gap => self.close(entry, CloseReason::SequenceGap, handler)?,
            RequestVerdict::Apply => {
                let Entry { position, end, .. } = *entry;
                handler.on_step(TracePoint::ExecuteDispatch, position, end);
                let before = self.container.outbox().len();
                self.container
                    .apply_request(header, position, end, entry.body)?;
                handler.on_step(TracePoint::ExecuteService, position, end);
                if !self.is_direct && self.container.outbox().len() > before {
                    self.causes.note(position, header.session, header.number);
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
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        let Entry { position, end, .. } = *entry;
        self.container
            .apply_response(&entry.header, position, end, entry.body)?;
        let front = self.container.outbox().front();
        self.causes
            .forget_before(front.map(|effect| effect.name.cause));
        let applied = self
            .sessions
            .get(entry.header.session)
            .map_or(0, |s| s.applied_number);
        handler.on_response(entry, applied);
        Ok(())
    }

    fn open(
        &mut self,
        entry: &Entry<'_>,
        open: &SessionOpen,
        handler: &mut impl AppliedHandler,
    ) -> Result<(), NodeFault> {
        match self.sessions.apply_open(open, entry.position) {
            Some(session) => {
                let Entry { position, end, .. } = *entry;
                self.container
                    .apply_session_open(&entry.header, position, end, session.id)?;
                handler.on_session_opened(&session);
                self.deliver_direct(entry, handler);
            }
            None => {
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
        handler.on_session_closed(&session, reason, entry.end);
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
            };
            handler.on_direct_effect(&direct, applied);
        }
        self.container.outbox_mut().clear_direct();
    }
}
