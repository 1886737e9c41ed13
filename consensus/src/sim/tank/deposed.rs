//! Who helps to depose a leader that it hears (E4): only whoever that leader told to stand, and
//! those who vote for it. Each hand-over that is asked for costs a term at most, for who stands is
//! told no more in that one; so this is what keeps hand-overs from becoming a storm.

use std::collections::BTreeMap;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::Nanos;

use crate::module::consensus_module::Role;
use crate::sim::tank::member::TankMember;
use crate::sim::{Broken, Rule};

/// A leader that a member hears.
#[derive(Clone, Copy, Debug)]
struct Heard {
    term: LeadershipTermId,
    /// By the member's own clock, unless it hears it again.
    until: Nanos,
}

/// Whom members hear, and whom leaders have told to stand.
#[derive(Debug)]
pub struct Depositions {
    heard: Vec<Option<Heard>>,
    /// The term that a member hands over: what it says before it ends within a cycle is not seen.
    handing_over: Vec<Option<LeadershipTermId>>,
    /// By term: members that its leader ever told, one bit each.
    told: BTreeMap<LeadershipTermId, u8>,
}

impl Depositions {
    /// Of so many members that hear nobody.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self {
            heard: vec![None; members],
            handing_over: vec![None; members],
            told: BTreeMap::new(),
        }
    }

    /// A member has ended, or begun: it hears nobody. If it handed over, it may have told anybody.
    pub fn forget(&mut self, id: usize) {
        self.heard[id] = None;
        if let Some(term) = self.handing_over[id].take() {
            self.told.insert(term, u8::MAX);
        }
    }

    /// A member that leads `term` is asked to hand over.
    pub fn on_asked(&mut self, id: usize, term: LeadershipTermId) {
        self.handing_over[id] = Some(term);
    }

    /// Looks at one member, after a cycle.
    ///
    /// # Errors
    /// It has voted in a later term while it heard its leader, and no leader told that candidate.
    pub fn look(&mut self, id: usize, member: &TankMember) -> Result<(), Broken> {
        let Some(node) = member.node() else {
            return Ok(());
        };
        let module = &node.agents().consensus.module;
        let (term, own_now) = (module.term(), member.own_now());
        self.handing_over[id] = module.is_handing_over().then_some(term);
        if module.role() == Role::Leader {
            *self.told.entry(term).or_default() |= module.told_to_stand();
        }
        let before = self.heard[id].filter(|heard| heard.term < term && own_now < heard.until);
        if let (Some(before), Some(vote)) = (before, module.vote()) {
            // Between two looks it may have heard of terms in between.
            let mut told = self.told.range(before.term..term);
            if !told.any(|(_, told)| told >> vote & 1 == 1) {
                return Err(Rule::E4.broken(format!(
                    "member {id} hears the leader of term {}, and votes for {vote} in term {term}, \
                     whom no leader told to stand",
                    before.term
                )));
            }
        }
        let is_following = module.role() == Role::Follower && module.leader().is_some();
        let until = module.hears_leader_until().filter(|_| is_following);
        self.heard[id] = until.map(|until| Heard { term, until });
        Ok(())
    }
}
