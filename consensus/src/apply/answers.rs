//! What the log's Responses are to this node: which of them its own service did not say, and what
//! a majority's services make of these (`log.md` 5.8).

use lockstep_service::outbox::Divergence;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::apply::verdict::ServiceOrder;
use crate::apply::void_responses::VoidResponses;
use crate::node::fault::NodeFault;

/// A Response in the log that is not what this node's service said: nothing from it on is applied
/// until the members have agreed on whose answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldResponse {
    /// Its position.
    pub position: Position,
    /// The entry that it answers.
    pub cause: Position,
    /// In what it differs.
    pub divergence: Divergence,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Leadership term of the entries being applied.
    pub(super) term: LeadershipTermId,
    void: VoidResponses,
    held: Option<HeldResponse>,
}

impl Answers {
    /// Before the first entry.
    pub fn new() -> Self {
        Self {
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

    /// Whether a Response is delivered although this node's service did not say it, as only a
    /// planted fault does.
    #[cfg(feature = "sim")]
    pub(crate) const fn takes_all(&self) -> bool {
        self.void.takes_all()
    }

    /// The Response at which nothing goes on until the members have agreed.
    #[must_use]
    pub(crate) const fn held(&self) -> Option<&HeldResponse> {
        self.held.as_ref()
    }

    /// Responses that are passed over.
    #[must_use]
    pub(crate) const fn void(&self) -> &VoidResponses {
        &self.void
    }

    /// What the service is to do with a Response that is applied next.
    #[must_use]
    pub(crate) fn order(&self) -> ServiceOrder {
        if self.void.is_open(self.term) {
            ServiceOrder::PassOver
        } else {
            ServiceOrder::Compare
        }
    }

    /// `term` begins with the entry at `position`.
    pub(crate) fn begin_term(&mut self, term: LeadershipTermId, position: Position) {
        self.term = term;
        self.void.on_new_term(position);
    }

    /// The Response at `position`, which answers `cause`, is not what this node's service said.
    pub(crate) const fn hold(&mut self, held: HeldResponse) {
        self.held = Some(held);
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
}
