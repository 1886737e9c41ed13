//! The service of a node and what belongs to it: its outbox, and which request each waiting effect
//! answers.
//!
//! It is handed every committed entry in order, with what it is to do with it. The service executes
//! it at once, or on a thread of its own: then what comes of it is taken later, in the same order.
//! It appends and delivers nothing, and what becomes of a Response that it did not say is decided
//! elsewhere.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::{Container, ServiceOutputs};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::Divergence;
use lockstep_transport::agent::WakeSources;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::cause_numbers::CauseNumbers;
use crate::apply::service_elsewhere::{ExecutedEntry, HandedEntry, ServiceElsewhere, StateAt};
use crate::apply::service_queue::Task;
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::module::output_agreement::OutputAt;
use crate::node::counters::{Counter, CounterBlock};
use crate::node::fault::NodeFault;
use crate::session::session_table::SessionTable;

mod service_snapshot;

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
    /// The service has it, on its thread: [`ServiceAgent::take_executed`] tells when it is done.
    HandedOver,
    /// It answers a cause that the service has not executed yet: to be looked at again.
    TooEarly,
    /// It is a Response, and the same as this node's: to be applied once it may reach clients.
    Same,
    /// It is a Response, and not what this node's service said.
    Differs(Divergence),
}

/// Steps of an execution, in order: before the service is called, after it, and when its effects
/// are in the outbox or on their way there.
const EXECUTION: [TracePoint; 3] = [
    TracePoint::ExecuteDispatch,
    TracePoint::ExecuteService,
    TracePoint::ExecuteRespond,
];

/// Where the service is.
#[allow(clippy::large_enum_variant, reason = "a node has one")]
#[derive(Debug)]
enum Place<S> {
    /// It is called from here.
    Here(Container<S>),
    /// It has a thread of its own.
    Elsewhere(ServiceElsewhere),
}

impl<S: ClusteredService> Place<S> {
    const fn outputs(&self) -> &ServiceOutputs {
        match self {
            Self::Here(container) => container.outputs(),
            Self::Elsewhere(service) => service.outputs(),
        }
    }
}

/// A part of a snapshot, and how far it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SnapshotPart {
    Causes(usize),
    Outbox(usize),
    /// What the service itself writes; its next step.
    Service(u64),
}

/// See the module.
#[derive(Debug)]
pub struct ServiceAgent<S> {
    place: Place<S>,
    causes: CauseNumbers,
    /// What is to be written next of a snapshot that was begun.
    snapshot: Option<SnapshotPart>,
    /// Trace points.
    pub(crate) tracer: Tracer,
    /// What tools read.
    pub(crate) counters: CounterBlock,
    #[cfg(feature = "sim")]
    takes_handed_for_executed: bool,
    #[cfg(feature = "sim")]
    leaves_out_outbox: bool,
}

impl<S: ClusteredService> ServiceAgent<S> {
    /// Calls the service from here, from the beginning of the log on.
    pub(crate) fn here(container: Container<S>, tracer: Tracer, counters: CounterBlock) -> Self {
        Self::at(Place::Here(container), tracer, counters)
    }

    /// Hands the service, on a thread of its own, the log from the beginning on.
    pub(crate) fn elsewhere(
        service: ServiceElsewhere,
        tracer: Tracer,
        counters: CounterBlock,
    ) -> Self {
        Self::at(Place::Elsewhere(service), tracer, counters)
    }

    fn at(place: Place<S>, tracer: Tracer, counters: CounterBlock) -> Self {
        let causes = CauseNumbers::new(place.outputs().outbox().limits());
        Self {
            place,
            causes,
            snapshot: None,
            tracer,
            counters,
            #[cfg(feature = "sim")]
            takes_handed_for_executed: false,
            #[cfg(feature = "sim")]
            leaves_out_outbox: false,
        }
    }

    /// Breaks `log.md` 5.3 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn take_handed_for_executed(&mut self) {
        self.takes_handed_for_executed = true;
    }

    /// Breaks `log.md` 8.3 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn leave_out_outbox(&mut self) {
        self.leaves_out_outbox = true;
    }

    /// Writes the hashes of its state, as it is when the log is applied up to `applied`, for a tool
    /// that asked. A service on a thread of its own is asked first, and tells how it was then.
    pub(crate) fn publish_hashes(&mut self, applied: Position) {
        if self.counters.get(Counter::HashRequest) == 0 {
            return;
        }
        let state = match &mut self.place {
            Place::Here(container) => Some(StateAt {
                position: applied,
                state: container.state_hash(),
                output: container.outputs().output_hash(),
            }),
            Place::Elsewhere(service) => service.take_state(applied),
        };
        let Some(state) = state else {
            return;
        };
        let counters = &mut self.counters;
        counters.set(Counter::StateHash, state.state as i64);
        counters.set(Counter::OutputHash, state.output as i64);
        counters.set(Counter::HashPosition, state.position);
        counters.set(Counter::HashRequest, 0);
    }

    /// What has come of the service.
    #[must_use]
    pub const fn outputs(&self) -> &ServiceOutputs {
        self.place.outputs()
    }

    const fn outputs_mut(&mut self) -> &mut ServiceOutputs {
        match &mut self.place {
            Place::Here(container) => container.outputs_mut(),
            Place::Elsewhere(service) => service.outputs_mut(),
        }
    }

    /// The container of a service that is called from here.
    #[must_use]
    pub const fn container(&self) -> Option<&Container<S>> {
        match &self.place {
            Place::Here(container) => Some(container),
            Place::Elsewhere(_) => None,
        }
    }

    /// Whether it may be handed nothing more for now: its thread is behind.
    #[must_use]
    pub(crate) fn is_backed_up(&self) -> bool {
        match &self.place {
            Place::Here(_) => false,
            Place::Elsewhere(service) => !service.has_room(),
        }
    }

    /// The oldest entry that its thread has and has not executed.
    #[must_use]
    pub(crate) fn oldest_handed(&self) -> Option<&HandedEntry> {
        #[cfg(feature = "sim")]
        if self.takes_handed_for_executed {
            return None;
        }
        match &self.place {
            Place::Here(_) => None,
            Place::Elsewhere(service) => service.oldest(),
        }
    }

    /// How far the service has applied what is applied up to `applied`.
    #[must_use]
    pub(crate) fn applied(&self, applied: Position) -> Position {
        self.oldest_handed()
            .map_or(applied, |oldest| oldest.task.position)
    }

    /// Wakes the service's thread, if there is something new for it.
    pub(crate) fn wake(&mut self) {
        if let Place::Elsewhere(service) = &mut self.place {
            service.wake();
        }
    }

    /// Names what wakes the thread that this agent is on.
    pub(crate) fn name_wake_sources(&self, sources: &WakeSources) {
        if let Place::Elsewhere(service) = &self.place {
            service.name_wake_sources(sources);
        }
    }

    /// Whether the service is called from here, and has no thread of its own.
    #[must_use]
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    /// Whether its thread has entries that it has not executed.
    #[must_use]
    pub(crate) fn is_behind(&self) -> bool {
        self.oldest_handed().is_some()
    }

    /// Whether the service has executed what it was handed of the log up to the entry at
    /// `position`.
    #[must_use]
    pub(crate) fn has_executed(&self, position: Position) -> bool {
        let oldest = self.oldest_handed();
        oldest.is_none_or(|oldest| position < oldest.task.position)
    }

    /// A leader appends what was emitted, from the first effect that is not in the log.
    pub(crate) fn start_appending(&mut self) {
        self.outputs_mut().outbox_mut().start_append_cursor();
    }

    /// The next effect is in the log.
    pub(crate) fn mark_appended(&mut self) {
        self.outputs_mut().outbox_mut().mark_appended();
    }

    /// Nobody appends here any more.
    pub(crate) fn stop_appending(&mut self) {
        self.outputs_mut().outbox_mut().clear_append_cursor();
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

    /// Entries that its thread has and has not executed.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn handed(&self) -> usize {
        match &self.place {
            Place::Here(_) => 0,
            Place::Elsewhere(service) => service.handed(),
        }
    }

    /// Whether effects leave when their cause is applied, and are never logged.
    const fn is_direct(&self) -> bool {
        !self.outputs().outbox().limits().enabled
    }

    /// What the service has put out up to the entry at `position`, which it executed last.
    #[must_use]
    pub(crate) const fn output_at(&self, position: Position) -> OutputAt {
        OutputAt {
            position,
            hash: self.outputs().output_hash(),
        }
    }

    /// Does what it is told to do with `entry`. Its steps are traced on the member that leads.
    ///
    /// # Errors
    /// When the service or the log is broken in a way that this node must not outlive.
    pub(crate) fn execute(
        &mut self,
        now: Nanos,
        entry: &Entry<'_>,
        order: ServiceOrder,
        is_leading: bool,
    ) -> Result<Executed, NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        match order {
            ServiceOrder::Compare => return Ok(self.compare(entry)),
            ServiceOrder::PassOver => {
                let outputs = self.outputs_mut();
                outputs.pass_void_response(header, position, end)?;
                return Ok(Executed::Done);
            }
            // The output up to a cause is known when all before it is executed.
            ServiceOrder::Pass if header.kind.is_causing() && self.is_behind() => {}
            ServiceOrder::Pass => {
                self.outputs_mut().advance(end);
                return Ok(Executed::Done);
            }
            _ => {}
        }
        let container = match &mut self.place {
            Place::Here(container) => container,
            Place::Elsewhere(service) => {
                let is_traced = is_leading && self.tracer.is_enabled();
                service.hand_over(now, entry, order, is_traced)?;
                return Ok(Executed::HandedOver);
            }
        };
        match order {
            ServiceOrder::Open(session) => {
                container.apply_session_open(header, position, end, session)?;
            }
            ServiceOrder::Close => container.apply_session_close(header, position, end)?,
            ServiceOrder::Term(term) => {
                container.apply_new_leadership_term(header, position, end, term)?;
            }
            _ => {
                let tracer = is_leading.then_some(&mut self.tracer);
                let has_effects = request(container, tracer, entry)?;
                self.note_cause(position, header, has_effects);
            }
        }
        Ok(Executed::Done)
    }

    /// The request at `position` is executed: its number is needed while its effects wait.
    fn note_cause(&mut self, position: Position, header: &EntryHeader, has_effects: bool) {
        if has_effects && !self.is_direct() {
            let number = RequestNumber::new(header.number);
            self.causes.note(position, header.session, number);
        }
    }

    /// What has come of the oldest entry that its thread has, once it is executed.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub(crate) fn take_executed(&mut self, now: Nanos) -> Result<Option<HandedEntry>, NodeFault> {
        let Place::Elsewhere(service) = &mut self.place else {
            return Ok(None);
        };
        let Some(executed) = service.take_executed(now)? else {
            return Ok(None);
        };
        let ExecutedEntry { entry, times, .. } = executed;
        let Task {
            position,
            end,
            header,
            order,
        } = entry.task;
        if order == ServiceOrder::Execute {
            self.note_cause(position, &header, executed.effects > 0);
            if times[0] > 0 {
                for (point, time) in EXECUTION.into_iter().zip(times) {
                    self.tracer.effect_at(point, position, end, time);
                }
            }
        }
        Ok(Some(entry))
    }

    /// Holds a Response against what this node's service said.
    fn compare(&self, entry: &Entry<'_>) -> Executed {
        let header = &entry.header;
        if !self.has_executed(header.number) {
            return Executed::TooEarly;
        }
        match self.outputs().check_response(header, entry.body) {
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
        self.outputs_mut()
            .apply_response(&entry.header, position, end, entry.body)?;
        let front = self.outputs().outbox().front();
        self.causes
            .forget_before(front.map(|effect| effect.name.cause));
        Ok(())
    }

    /// In direct mode effects leave as soon as their cause is executed: takes those of the entry at
    /// `cause`, each with the number of the last request of its session that is applied.
    pub(crate) fn take_direct(
        &mut self,
        (cause, header): (Position, &EntryHeader),
        sessions: &SessionTable,
        mut taker: impl FnMut(&DirectEffect<'_>, RequestNumber),
    ) {
        if !self.is_direct() {
            return;
        }
        for effect in self.outputs().outbox().direct() {
            let is_own = header.kind == EntryKind::Request && header.session == effect.session;
            let number = if is_own {
                RequestNumber::new(header.number)
            } else {
                RequestNumber::NONE
            };
            let direct = DirectEffect {
                session: effect.session,
                cause,
                ordinal: effect.name.ordinal,
                number,
                log_time: header.log_time,
                payload: effect.message,
                is_failure: effect.is_failure,
            };
            taker(&direct, sessions.applied_number(effect.session));
        }
        self.outputs_mut().outbox_mut().clear_direct();
    }
}

/// Has the service execute a request, and traces the steps. Returns whether it emitted anything.
fn request<S: ClusteredService>(
    container: &mut Container<S>,
    mut tracer: Option<&mut Tracer>,
    entry: &Entry<'_>,
) -> Result<bool, NodeFault> {
    let Entry { position, end, .. } = *entry;
    let mut step = |point| {
        if let Some(tracer) = &mut tracer {
            tracer.effect(point, position, end);
        }
    };
    let [dispatch, service, respond] = EXECUTION;
    step(dispatch);
    let before = container.outputs().outbox().len();
    container.apply_request(&entry.header, position, end, entry.body)?;
    step(service);
    let has_effects = container.outputs().outbox().len() > before;
    step(respond);
    Ok(has_effects)
}
