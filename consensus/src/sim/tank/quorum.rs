//! What a majority must hold when something is decided: the log at commit (C1), votes at an
//! election (E1). Looks at what stable storage holds, or was seen to hold, not at what members say.

use std::collections::BTreeSet;

use lockstep_transport::ids::LeadershipTermId;

use crate::directory::node_state::NodeState;
use crate::sim::log_range::sound_parts;
use crate::sim::tank::damage_map::DamageMap;
use crate::sim::tank::member::TankMember;
use crate::sim::tank::stored_state::{durable_state, state_in_both};
use crate::sim::{Broken, Rule};

/// Somebody has just taken the log up to `to` for committed, of which `bytes` begin at `from`:
/// stable storage of a majority of the directories that count holds them, or held them before it
/// was damaged.
///
/// # Errors
/// Who holds them, where they are too few.
pub fn check_commit(
    members: &[TankMember],
    damage_map: &DamageMap,
    from: i64,
    bytes: &[u8],
) -> Result<(), Broken> {
    let to = from + bytes.len() as i64;
    let holds = |id: &usize| {
        damage_map.has_held(*id, from, bytes)
            || (!damage_map.is_demoted(*id)
                && sound_parts((from, to), damage_map.rotten_ranges(*id)).all(|(start, end)| {
                    let part = &bytes[(start - from) as usize..(end - from) as usize];
                    members[*id].holds_durably(start, part)
                }))
    };
    let holders: Vec<usize> = (0..members.len()).filter(holds).collect();
    if holders.len() < members[0].cluster().quorum() {
        return Err(Rule::C1.broken(format!(
            "{to} is committed, and of {} members only {holders:?} hold {from} to {to} durably",
            members.len()
        )));
    }
    Ok(())
}

/// Term and vote as a directory says them.
type Promise = (LeadershipTermId, Option<u8>);

/// What stable storage of each directory, while it counted, was ever seen to promise of term and
/// vote.
#[derive(Debug)]
pub struct Votes {
    seen: Vec<BTreeSet<Promise>>,
}

impl Votes {
    /// Of so many directories that have said nothing.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self {
            seen: vec![BTreeSet::new(); members],
        }
    }

    /// Looks at what the directory of `id` says, if its member is of another mind than what was
    /// seen there.
    ///
    /// # Errors
    /// It has voted for two members in one term, whatever has rotted in between.
    pub fn look(
        &mut self,
        id: usize,
        member: &TankMember,
        damage_map: &DamageMap,
    ) -> Result<(), Broken> {
        let node = member.node().filter(|_| !damage_map.is_demoted(id));
        let Some(agents) = node.map(|node| node.agents()) else {
            return Ok(());
        };
        let module = &agents.consensus.module;
        if self.seen[id].contains(&(module.term(), module.vote())) {
            return Ok(());
        }
        // While it is written only one slot may have it: nothing is promised by that, and rot of
        // that slot may leave the state before.
        let state = if agents.archive.is_persisting_state() {
            state_in_both(member.disk())
        } else {
            durable_state(member.disk())
        };
        state.map_or(Ok(()), |state| self.note(id, state))
    }

    fn note(&mut self, id: usize, state: NodeState) -> Result<(), Broken> {
        let (term, vote) = (state.leadership_term, state.vote);
        let seen = &mut self.seen[id];
        let votes = seen.range((term, Some(0))..=(term, Some(u8::MAX)));
        let other = votes.map(|(_, vote)| *vote).find(|other| *other != vote);
        if let Some((other, vote)) = other.flatten().zip(vote) {
            let what = format!("member {id} voted for {other} in term {term}, and then for {vote}");
            return Err(Rule::E1.broken(what));
        }
        seen.insert((term, vote));
        Ok(())
    }

    /// `leader` has just been found to lead `term`: a majority of the directories has durably voted
    /// for it, while they counted.
    ///
    /// # Errors
    /// Who has voted for it, where they are too few.
    pub fn check(&self, leader: usize, term: LeadershipTermId) -> Result<(), Broken> {
        let vote = (term, Some(leader as u8));
        let votes = self.seen.iter().enumerate();
        let voters = votes.filter(|(_, seen)| seen.contains(&vote));
        let voters: Vec<usize> = voters.map(|(id, _)| id).collect();
        if voters.len() * 2 > self.seen.len() {
            return Ok(());
        }
        Err(Rule::E1.broken(format!(
            "member {leader} leads term {term} by the durable votes of {voters:?} only"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leadership_term: i64, vote: Option<u8>) -> NodeState {
        NodeState {
            leadership_term: LeadershipTermId::new(leadership_term),
            vote,
            ..NodeState::fresh(7)
        }
    }

    #[test]
    fn a_leader_has_the_votes_of_a_majority_for_it_in_its_term() {
        let mut votes = Votes::new(3);
        for (id, of_member) in [
            (0, state(5, Some(0))),
            (1, state(5, None)),
            (2, state(6, Some(0))),
        ] {
            assert_eq!(votes.note(id, of_member), Ok(()));
        }
        let broken = votes.check(0, LeadershipTermId::new(5)).unwrap_err();
        assert_eq!(broken.rule, Rule::E1);
        assert!(broken.what.contains("of [0] only"), "{broken}");
        assert_eq!(votes.note(1, state(5, Some(0))), Ok(()));
        // What came after it takes nothing back.
        assert_eq!(votes.note(1, state(7, Some(2))), Ok(()));
        assert_eq!(votes.check(0, LeadershipTermId::new(5)), Ok(()));
        assert!(
            votes.check(1, LeadershipTermId::new(5)).is_err()
                && votes.check(0, LeadershipTermId::new(6)).is_err()
        );
    }

    #[test]
    fn nobody_votes_twice_in_a_term() {
        let mut votes = Votes::new(3);
        for promise in [
            state(5, Some(1)),
            state(5, Some(1)),
            state(6, Some(2)),
            state(6, None),
        ] {
            assert_eq!(votes.note(0, promise), Ok(()));
        }
        let broken = votes.note(0, state(5, Some(2))).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "E1 one leader per term: member 0 voted for 1 in term 5, and then for 2"
        );
    }
}
