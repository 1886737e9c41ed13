//! What must hold in every run of the core tank (oracles 1 and 2).
//!
//! One table holds the committed log, filled by whoever learns of a commit first. Everybody
//! else's commits, every new leader's log and every quorum are compared with it.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::{Broken, Rule};
use crate::module::action::HaltReason;
use crate::module::consensus_module::Role;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::sim::core_tank::log::CoreEntry;
use crate::sim::core_tank::node::CoreNode;

/// The committed log and who has led.
#[derive(Debug, Default)]
pub struct CoreOracle {
    committed: Vec<CoreEntry>,
    /// The term of the member that first knew of each commit.
    committed_in: Vec<LeadershipTermId>,
    /// Leader of each term, oldest term first.
    leaders: Vec<(LeadershipTermId, MemberId)>,
    /// What each member knows to be committed, and in which life.
    known: [(u64, Position); MEMBERS_MAX],
}

fn is_same(a: &CoreEntry, b: &CoreEntry) -> bool {
    (a.position, a.end, a.term) == (b.position, b.end, b.term)
}

impl CoreOracle {
    /// Leaderships seen.
    #[must_use]
    pub const fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// Entries committed.
    #[must_use]
    pub const fn commits(&self) -> usize {
        self.committed.len()
    }

    /// End of the committed log.
    #[must_use]
    pub fn committed_end(&self) -> Position {
        self.committed.last().map_or(0, |entry| entry.end)
    }

    /// Checks the member that something has just happened to.
    ///
    /// # Errors
    /// Which rule is broken.
    pub fn observe(&mut self, id: MemberId, nodes: &[CoreNode]) -> Result<(), Broken> {
        let node = &nodes[usize::from(id)];
        let Some(module) = node.module.as_ref() else {
            return Ok(());
        };
        match node.halted {
            None | Some(HaltReason::StorageFailed) => {}
            Some(reason) => {
                let what = format!("member {id} halted: {reason}");
                return Err(Rule::NoHalt.broken(what));
            }
        }
        if module.role() == Role::Leader {
            self.observe_leader(id, module.term(), node)?;
        }
        self.observe_commit(id, nodes, (module.term(), module.commit()))
    }

    /// At most one leader per term, and each holds all that was committed in older terms (E1,
    /// L3). A candidate that slept may yet win its old term; it will commit nothing in it.
    fn observe_leader(
        &mut self,
        id: MemberId,
        term: LeadershipTermId,
        node: &CoreNode,
    ) -> Result<(), Broken> {
        if self.leaders.last() == Some(&(term, id)) {
            return Ok(());
        }
        let other = self.leaders.iter().rev().find(|(led, _)| *led == term);
        match other {
            Some((_, leader)) if *leader == id => return Ok(()),
            Some((_, leader)) => {
                return Err(
                    Rule::E1.broken(format!("members {leader} and {id} both lead term {term}"))
                );
            }
            None => self.leaders.push((term, id)),
        }
        let older = self.committed_in.partition_point(|other| *other < term);
        let own = node.log.entries();
        let pairs = own.iter().zip(&self.committed[..older]);
        let is_complete = own.len() >= older && pairs.into_iter().all(|(a, b)| is_same(a, b));
        if is_complete {
            Ok(())
        } else {
            Err(Rule::L3.broken(format!(
                "member {id} leads term {term} without the log committed up to {}",
                self.committed[older - 1].end
            )))
        }
    }

    /// Commit positions never go back, and whatever they cover is the same everywhere and
    /// durable on a majority (C1, C2).
    fn observe_commit(
        &mut self,
        id: MemberId,
        nodes: &[CoreNode],
        (term, commit): (LeadershipTermId, Position),
    ) -> Result<(), Broken> {
        let node = &nodes[usize::from(id)];
        let known = &mut self.known[usize::from(id)];
        if known.0 != node.life {
            *known = (node.life, 0);
        }
        if commit == known.1 {
            return Ok(());
        }
        if commit < known.1 {
            return Err(Rule::C2.broken(format!("member {id} takes commit back to {commit}")));
        }
        let from = node.log.index_at(known.1);
        known.1 = commit;
        let entries = node.log.entries();
        for (index, entry) in entries.iter().enumerate().skip(from) {
            if entry.position >= commit {
                break;
            }
            match self.committed.get(index) {
                Some(agreed) if is_same(agreed, entry) => {}
                Some(agreed) => {
                    return Err(Rule::OneLog.broken(format!(
                        "member {id} commits {entry:?} where {agreed:?} was committed"
                    )));
                }
                None => {
                    self.extend(id, index, nodes)?;
                    self.committed_in.push(term);
                }
            }
        }
        Ok(())
    }

    fn extend(&mut self, id: MemberId, index: usize, nodes: &[CoreNode]) -> Result<(), Broken> {
        let entry = nodes[usize::from(id)].log.entries()[index];
        let holds = |node: &&CoreNode| {
            let held = node.log.durable_entries().get(index);
            // What a disk lost after it was acknowledged counts: the others must make up for it.
            let is_lost =
                held.is_none() && node.lost.is_some_and(|lost| entry.end <= lost.position);
            is_lost || held.is_some_and(|held| is_same(held, &entry))
        };
        let holders = nodes.iter().filter(holds).count();
        if holders < nodes.len() / 2 + 1 {
            return Err(Rule::C1.broken(format!(
                "member {id} commits up to {} in term {}, durable on {holders} of {}",
                entry.end,
                entry.term,
                nodes.len()
            )));
        }
        self.committed.push(entry);
        Ok(())
    }
}
