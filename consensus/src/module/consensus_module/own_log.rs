//! This member's own log: how far it reaches, which terms it holds, what it once acknowledged
//! (invariants E5, W1, D6).

use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::{ConsensusModule, Role};
use crate::module::action::Actions;
use crate::module::leadership_term::term_at;
use crate::module::member::TermBase;

impl ConsensusModule {
    pub(super) fn on_appended(&mut self, now: Nanos, position: Position, actions: &mut Actions) {
        if self.log.truncating.is_some() || position <= self.log.append {
            return;
        }
        self.log.append = position;
        match self.role {
            Role::Leader => {}
            // The log it stands with must not grow (E3).
            Role::Candidate => self.give_up_candidacy(now),
            Role::Follower | Role::PreCandidate => {
                if self.following.is_placing() {
                    let leader_term = term_at(self.following.leader_terms(), position - 1);
                    invariant!(
                        ReachedTermHasEntry,
                        leader_term == Some(self.log.history.newest()),
                        "E5: the log reached {position} without the entry of its term"
                    );
                }
                self.adopt_commit(actions);
            }
        }
    }

    pub(super) fn on_durable(
        &mut self,
        now: Nanos,
        position: Position,
        checkpoint: (Position, u64),
        actions: &mut Actions,
    ) {
        if self.log.truncating.is_some() || position <= self.log.durable {
            return;
        }
        invariant!(
            DurableBelowAppend,
            position <= self.log.append,
            "W1: durable {position} beyond the log's end {}",
            self.log.append
        );
        self.log.durable = position;
        self.log.checkpoint = checkpoint;
        self.heal();
        if self.role == Role::Leader {
            self.leading.remember_checkpoint(checkpoint);
            self.advance_commit(now, actions);
            return;
        }
        self.adopt_commit(actions);
        self.report_durable(now, actions);
        self.try_stand(now, actions);
        self.try_join(now, actions);
    }

    pub(super) fn on_term_entry(&mut self, entry: TermBase, end: Position) {
        if self.log.truncating.is_some() {
            return;
        }
        if self.following.is_placing() && self.role != Role::Leader {
            invariant!(
                EntryInLeadersList,
                self.following.leader_terms().contains(&entry),
                "L1: {entry:?} is not in the leader's list"
            );
        }
        self.log.history.push(entry, end);
        if self.role == Role::Leader && entry.term == self.vote.term() {
            self.leading.on_own_entry(entry.base, end);
        }
    }

    /// A damaged member is whole again once its log covers all it acknowledged, or all that was
    /// committed by then: the first entry of a term it never acknowledged anything in lies above
    /// every older committed entry (L3).
    fn heal(&mut self) {
        let (term, durable) = (self.log.term(), self.log.durable);
        let Some(lost) = self.lost.filter(|lost| lost.is_covered_by(term, durable)) else {
            return;
        };
        sometimes(if term > lost.term {
            Mark::HealedByTerm
        } else {
            Mark::HealedByPosition
        });
        self.lost = None;
    }

    /// Whether the log is known to be a prefix of the followed leader's (W2).
    pub(super) fn is_joined(&self) -> bool {
        self.following.is_placing() && self.log.term() == self.vote.term()
    }
}
