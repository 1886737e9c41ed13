//! What other members say, handed to those whom it concerns.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::Nanos;

use super::{ConsensusModule, Role};
use crate::module::action::{Action, Actions};
use crate::module::member::MemberId;
use crate::protocol::message::MemberMessage;

impl ConsensusModule {
    pub(super) fn on_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        incarnation: u64,
        message: MemberMessage,
        actions: &mut Actions,
    ) {
        if !self.is_present_life(from, incarnation) {
            return;
        }
        if !self.is_voter(from) && !is_of_learner(&message) {
            sometimes(Mark::LearnerUnheard);
            return;
        }
        match message {
            MemberMessage::PreVoteRequest {
                term,
                log_term,
                position,
            } => self.on_pre_vote_request(now, from, term, (log_term, position), actions),
            MemberMessage::PreVote { term, granted } => {
                self.on_pre_vote(now, from, term, granted, actions);
            }
            MemberMessage::VoteRequest {
                term,
                log_term,
                position,
                handed_over,
            } => {
                let (terms, end) = ((term, handed_over), (log_term, position));
                self.on_vote_request(now, from, terms, end, actions);
            }
            MemberMessage::StandNow { term, position } => {
                self.on_stand_now(now, from, term, position, actions);
            }
            MemberMessage::Vote { term, granted } => {
                self.on_vote(now, from, term, granted, actions);
            }
            MemberMessage::CommitPosition { term, position, .. } => {
                self.on_commit_position(now, from, term, position, actions);
            }
            MemberMessage::JoinReply {
                term, commit, page, ..
            } => {
                if self.on_commit_position(now, from, term, commit, actions) {
                    self.on_term_page(now, from, &page, actions);
                }
            }
            MemberMessage::JoinVerdict {
                term,
                position,
                hash,
            } => {
                if self.hear(now, from, term, actions) {
                    self.on_join_verdict(now, from, position, hash, actions);
                }
            }
            MemberMessage::JoinRequest { term, .. }
            | MemberMessage::JoinCheck { term, .. }
            | MemberMessage::JoinStart { term, .. }
            | MemberMessage::AppendPosition { term, .. } => {
                self.on_follower_message(now, from, term, &message, actions);
            }
            // Not of the log: the agent's.
            MemberMessage::Output(_) | MemberMessage::Hello(_) | MemberMessage::Snapshot(_) => {}
        }
    }

    /// Whether this is another member in its newest life; a new life starts from nothing.
    fn is_present_life(&mut self, from: MemberId, incarnation: u64) -> bool {
        let index = usize::from(from);
        if index >= self.config.members || from == self.config.member {
            return false;
        }
        if incarnation > self.incarnations[index] {
            if self.role == Role::Leader && self.incarnations[index] > 0 {
                sometimes(Mark::NewLifeForgets);
            }
            self.incarnations[index] = incarnation;
            self.leading.forget(from);
        }
        incarnation == self.incarnations[index]
    }

    fn on_follower_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        message: &MemberMessage,
        actions: &mut Actions,
    ) {
        if term < self.vote.term() {
            if self.role == Role::Leader {
                sometimes(Mark::OldFollowerHeardByLeader);
            }
            self.send_newer_term(from, term, actions);
        }
        // Only exactly its own term counts for a leader (C1).
        if term != self.vote.term() || self.role != Role::Leader {
            sometimes(Mark::FollowerHeardByOther);
            return;
        }
        self.leading.hear(from, now);
        match *message {
            MemberMessage::JoinRequest { page, .. } => self.send_join_reply(from, page, actions),
            MemberMessage::JoinCheck { position, hash, .. } => {
                self.on_join_check(from, position, hash, actions);
            }
            MemberMessage::JoinStart { position, join, .. } => {
                self.on_join_start(from, position, join, actions);
            }
            MemberMessage::AppendPosition {
                durable,
                checkpoint,
                checkpoint_hash,
                ..
            } => {
                self.on_append_position(now, from, durable, (checkpoint, checkpoint_hash), actions)
            }
            _ => {}
        }
    }

    /// Tells a member that lives in an older term of the newer one.
    pub(super) fn send_newer_term(
        &self,
        to: MemberId,
        term: LeadershipTermId,
        actions: &mut Actions,
    ) {
        let newer = self.vote.persisted_term();
        if newer > term {
            let granted = false;
            let message = MemberMessage::Vote {
                term: newer,
                granted,
            };
            actions.push(Action::Send { to, message });
        }
    }
}

/// Whether a message is one that a learner's word counts in: what a follower sends, and that a
/// later term is known. Without the latter a learner whose own term is above the cluster's (it
/// stood before it lost its voice) could never follow: it takes nothing from an older term, and
/// nobody would go to a later one. It stands no more, so it deposes a leader once.
const fn is_of_learner(message: &MemberMessage) -> bool {
    matches!(
        message,
        MemberMessage::Vote { granted: false, .. }
            | MemberMessage::JoinRequest { .. }
            | MemberMessage::JoinCheck { .. }
            | MemberMessage::JoinStart { .. }
            | MemberMessage::AppendPosition { .. }
    )
}
