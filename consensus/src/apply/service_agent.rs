//! The service of a node and what belongs to it: its outbox, which request each waiting effect
//! answers, and the Responses in the log that differ from what it said.
//!
//! It is handed every committed entry in order, with what the sessions make of it. It appends and
//! delivers nothing.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::EntryKind;
use lockstep_service::outbox::Divergence;
use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::cause_numbers::CauseNumbers;
use crate::apply::verdict::ServiceOrder;
use crate::apply::void_responses::VoidResponses;
use crate::log::entry_assembler::Entry;
use crate::module::output_agreement::OutputAt;
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

/// A Response in the log that is not what this node's service said (`log.md` 5.8): nothing from
/// it on is applied until the members have agreed on whose answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldResponse {
    /// Its position.
    pub position: Position,
    /// The entry that it answers.
    pub cause: Position,
    /// In what it differs.
    pub divergence: Divergence,
}

/// What became of an entry at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executed {
    /// It is applied.
    Done,
    /// It is a Response, and the same as this node's: to be applied once it may reach clients.
    Same,
    /// It is a Response that is passed over: a majority's services did not say it.
    Void,
    /// It is a Response that was taken although it differs, as only a planted fault does.
    #[cfg(feature = "sim")]
    Overlooked,
    /// It is a Response that differs.
    Held,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ServiceAgent<S> {
    container: Container<S>,
    causes: CauseNumbers,
    /// Leadership term of the entries being applied.
    pub(super) term: LeadershipTermId,
    void: VoidResponses,
    pub(super) held: Option<HeldResponse>,
}

impl<S: ClusteredService> ServiceAgent<S> {
    /// Starts at the beginning of the log.
    pub fn new(container: Container<S>) -> Self {
        let causes = CauseNumbers::new(container.outbox().limits());
        Self {
            container,
            causes,
            term: LeadershipTermId::NONE,
            void: VoidResponses::default(),
            held: None,
        }
    }

    /// Breaks `log.md` 5.8 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn compare_nothing(&mut self) {
        self.void.take_all();
    }

    /// The container.
    #[must_use]
    pub const fn container(&self) -> &Container<S> {
        &self.container
    }

    /// The container, for the leader's cursor over the outbox.
    pub(crate) const fn container_mut(&mut self) -> &mut Container<S> {
        &mut self.container
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

    /// The Response at which nothing goes on until the members have agreed.
    #[must_use]
    pub(crate) const fn held(&self) -> Option<&HeldResponse> {
        self.held.as_ref()
    }

    /// Responses that are passed over.
    #[must_use]
    pub(crate) const fn void_responses(&self) -> &VoidResponses {
        &self.void
    }

    /// Whether effects leave when their cause is applied, and are never logged.
    const fn is_direct(&self) -> bool {
        !self.container.outbox().limits().enabled
    }

    /// The held Response is void: a majority's output at its cause has this hash. It and what
    /// follows of its leadership term are passed over.
    ///
    /// # Errors
    /// When there were too many of them.
    pub(crate) fn pass_held(&mut self, hash: u64) -> Result<(), NodeFault> {
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

    /// What the service has put out up to the entry at `position`, which it executed last.
    #[must_use]
    pub(crate) const fn output_at(&self, position: Position) -> OutputAt {
        OutputAt {
            position,
            hash: self.container.output_hash(),
        }
    }

    /// Does what the sessions make of `entry`. Its steps go to `tracer`, where there is one.
    ///
    /// # Errors
    /// When the service or the log is broken in a way that this node must not outlive.
    pub(crate) fn execute(
        &mut self,
        entry: &Entry<'_>,
        order: ServiceOrder,
        tracer: Option<&mut Tracer>,
    ) -> Result<Executed, NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        let container = &mut self.container;
        match order {
            ServiceOrder::Execute => self.request(entry, tracer)?,
            ServiceOrder::Open(session) => {
                container.apply_session_open(header, position, end, session)?;
            }
            ServiceOrder::Close => container.apply_session_close(header, position, end)?,
            ServiceOrder::Term(term) => {
                container.apply_new_leadership_term(header, position, end, term)?;
                self.term = term;
                self.void.on_new_term(position);
            }
            ServiceOrder::Compare => return self.compare(entry),
            ServiceOrder::Pass => container.advance(end),
        }
        Ok(Executed::Done)
    }

    fn request(
        &mut self,
        entry: &Entry<'_>,
        mut tracer: Option<&mut Tracer>,
    ) -> Result<(), NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        let mut step = |point| {
            if let Some(tracer) = &mut tracer {
                tracer.effect(point, position, end);
            }
        };
        step(TracePoint::ExecuteDispatch);
        let before = self.container.outbox().len();
        self.container
            .apply_request(header, position, end, entry.body)?;
        step(TracePoint::ExecuteService);
        if !self.is_direct() && self.container.outbox().len() > before {
            let number = RequestNumber::new(header.number);
            self.causes.note(position, header.session, number);
        }
        step(TracePoint::ExecuteRespond);
        Ok(())
    }

    /// Holds a Response against what this node's service said.
    fn compare(&mut self, entry: &Entry<'_>) -> Result<Executed, NodeFault> {
        let Entry { position, end, .. } = *entry;
        let header = &entry.header;
        if self.void.is_open(self.term) {
            self.container.pass_void_response(header, position, end)?;
            return Ok(Executed::Void);
        }
        let Err(divergence) = self.container.check_response(header, entry.body) else {
            return Ok(Executed::Same);
        };
        #[cfg(feature = "sim")]
        if self.void.takes_all() {
            self.container.pass_void_response(header, position, end)?;
            return Ok(Executed::Overlooked);
        }
        self.held = Some(HeldResponse {
            position,
            cause: header.number,
            divergence,
        });
        Ok(Executed::Held)
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
