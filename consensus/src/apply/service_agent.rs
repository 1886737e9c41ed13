//! The service of a node and what belongs to it: its outbox, and which request each waiting effect
//! answers.
//!
//! It is handed every committed entry in order, with what it is to do with it. It appends and
//! delivers nothing, and what becomes of a Response that it did not say is decided elsewhere.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::EntryKind;
use lockstep_service::outbox::Divergence;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::cause_numbers::CauseNumbers;
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::module::output_agreement::OutputAt;
use crate::node::counters::{Counter, CounterBlock};
use crate::node::fault::NodeFault;
use crate::session::session_table::SessionTable;

/// An effect that leaves at apply, in direct mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectEffect<'a> {
    /// The session it goes to.
    pub session: SessionId,
    /// Position of the entry that caused it.
    pub cause: Position,
    /// Which of its cause's effects it is.
    pub ordinal: u32,
    /// Number of the request answered, or of none when it goes to another session.
    pub number: RequestNumber,
    /// Log time of the cause, ns.
    pub log_time: i64,
    /// What it says.
    pub payload: &'a [u8],
    /// It only says that the service could not emit what it wanted.
    pub is_failure: bool,
}

/// What became of an entry at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executed {
    /// It is applied.
    Done,
    /// It is a Response, and the same as this node's: to be applied once it may reach clients.
    Same,
    /// It is a Response, and not what this node's service said.
    Differs(Divergence),
}

/// See the module.
#[derive(Debug)]
pub struct ServiceAgent<S> {
    container: Container<S>,
    causes: CauseNumbers,
    /// Trace points.
    pub(crate) tracer: Tracer,
    /// What tools read.
    pub(crate) counters: CounterBlock,
}

impl<S: ClusteredService> ServiceAgent<S> {
    /// Starts at the beginning of the log.
    pub fn new(container: Container<S>, tracer: Tracer, counters: CounterBlock) -> Self {
        let causes = CauseNumbers::new(container.outbox().limits());
        Self {
            container,
            causes,
            tracer,
            counters,
        }
    }

    /// Writes the hashes of its state, as it is when the log is applied up to `applied`, for a tool
    /// that asked.
    pub(crate) fn publish_hashes(&mut self, applied: Position) {
        let counters = &mut self.counters;
        if counters.get(Counter::HashRequest) == 0 {
            return;
        }
        counters.set(Counter::StateHash, self.container.state_hash() as i64);
        counters.set(Counter::OutputHash, self.container.output_hash() as i64);
        counters.set(Counter::HashPosition, applied);
        counters.set(Counter::HashRequest, 0);
    }

    /// The container.
    #[must_use]
    pub const fn container(&self) -> &Container<S> {
        &self.container
    }

    /// A leader appends what was emitted, from the first effect that is not in the log.
    pub(crate) fn start_appending(&mut self) {
        self.container.outbox_mut().start_append_cursor();
    }

    /// The next effect is in the log.
    pub(crate) fn mark_appended(&mut self) {
        self.container.outbox_mut().mark_appended();
    }

    /// Nobody appends here any more.
    pub(crate) fn stop_appending(&mut self) {
        self.container.outbox_mut().clear_append_cursor();
    }

    /// Number of the request of `session` at `cause`, or of none when the effect answers no
    /// request of its own session.
    #[must_use]
    pub(crate) fn request_number(&self, cause: Position, session: SessionId) -> RequestNumber {
        self.causes.number(cause, session)
    }

    /// Causes whose effects wait.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn causes(&self) -> usize {
        self.causes.count()
    }

    /// Whether effects leave when their cause is applied, and are never logged.
    const fn is_direct(&self) -> bool {
        !self.container.outbox().limits().enabled
    }

    /// What the service has put out up to the entry at `position`, which it executed last.
    #[must_use]
    pub(crate) const fn output_at(&self, position: Position) -> OutputAt {
        OutputAt {
            position,
            hash: self.container.output_hash(),
        }
    }

    /// Does what it is told to do with `entry`. Its steps are traced on the member that leads.
    ///
    /// # Errors
    /// When the service or the log is broken in a way that this node must not outlive.
    pub(crate) fn execute(
        &mut self,
        entry: &Entry<'_>,
        order: ServiceOrder,
        is_leading: bool,
    ) -> Result<Executed, NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        let container = &mut self.container;
        match order {
            ServiceOrder::Execute => self.request(entry, is_leading)?,
            ServiceOrder::Open(session) => {
                container.apply_session_open(header, position, end, session)?;
            }
            ServiceOrder::Close => container.apply_session_close(header, position, end)?,
            ServiceOrder::Term(term) => {
                container.apply_new_leadership_term(header, position, end, term)?;
            }
            ServiceOrder::Compare => return Ok(self.compare(entry)),
            ServiceOrder::PassOver => container.pass_void_response(header, position, end)?,
            ServiceOrder::Pass => container.advance(end),
        }
        Ok(Executed::Done)
    }

    fn request(&mut self, entry: &Entry<'_>, is_leading: bool) -> Result<(), NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        let is_logged = !self.is_direct();
        let tracer = &mut self.tracer;
        let mut step = |point| {
            if is_leading {
                tracer.effect(point, position, end);
            }
        };
        step(TracePoint::ExecuteDispatch);
        let before = self.container.outbox().len();
        self.container
            .apply_request(header, position, end, entry.body)?;
        step(TracePoint::ExecuteService);
        if is_logged && self.container.outbox().len() > before {
            let number = RequestNumber::new(header.number);
            self.causes.note(position, header.session, number);
        }
        step(TracePoint::ExecuteRespond);
        Ok(())
    }

    /// Holds a Response against what this node's service said.
    fn compare(&self, entry: &Entry<'_>) -> Executed {
        match self.container.check_response(&entry.header, entry.body) {
            Ok(()) => Executed::Same,
            Err(divergence) => Executed::Differs(divergence),
        }
    }

    /// Applies a Response that is the same as this node's.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub(crate) fn apply_response(&mut self, entry: &Entry<'_>) -> Result<(), NodeFault> {
        let Entry { position, end, .. } = *entry;
        self.container
            .apply_response(&entry.header, position, end, entry.body)?;
        let front = self.container.outbox().front();
        self.causes
            .forget_before(front.map(|effect| effect.name.cause));
        Ok(())
    }

    /// In direct mode effects leave as soon as their cause is applied: takes those of `entry`,
    /// each with the number of the last request of its session that is applied.
    pub(crate) fn take_direct(
        &mut self,
        entry: &Entry<'_>,
        sessions: &SessionTable,
        mut taker: impl FnMut(&DirectEffect<'_>, RequestNumber),
    ) {
        if !self.is_direct() {
            return;
        }
        for effect in self.container.outbox().direct() {
            let header = &entry.header;
            let is_own = header.kind == EntryKind::Request && header.session == effect.session;
            let number = if is_own {
                RequestNumber::new(header.number)
            } else {
                RequestNumber::NONE
            };
            let direct = DirectEffect {
                session: effect.session,
                cause: entry.position,
                ordinal: effect.name.ordinal,
                number,
                log_time: header.log_time,
                payload: effect.message,
                is_failure: effect.is_failure,
            };
            taker(&direct, sessions.applied_number(effect.session));
        }
        self.container.outbox_mut().clear_direct();
    }
}
