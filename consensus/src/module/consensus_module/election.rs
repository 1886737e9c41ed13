//! Pre-vote, votes and candidacies (invariants E1 to E4).

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::Nanos;

use super::election_state::LogEnd;
use super::role_marks::{
    LATER_TERM, PRE_VOTE_GRANTED, PRE_VOTE_OUTDATED, PRE_VOTE_REFUSED, VOTE_GRANTED,
    VOTE_REFUSED_IN_TERM, VOTE_REQUEST_OUTDATED, VOTE_REQUEST_UNHEARD, VOTE_WITHHELD,
};
use super::{ConsensusModule, Role};
use crate::module::action::{Action, Actions};
use crate::module::member::MemberId;
use crate::module::membership::Standing;
use crate::protocol::message::MemberMessage;

/// Election timeouts that a member waits longer while it has yet to apply what it knows to be
/// committed: one more than after which all others have stood.
const REPLAY_PATIENCE: Nanos = 2;

impl ConsensusModule {
    /// Silence after which an election begins, ns.
    #[must_use]
    pub(crate) const fn election_timeout(&self) -> Nanos {
        self.config.election_timeout_ns
    }

    /// Whom this member voted for in its present term.
    #[must_use]
    pub const fn vote(&self) -> Option<MemberId> {
        self.vote.vote()
    }

    /// The leader, as long as it is heard: a member that does not stand never leaves the last one.
    #[must_use]
    pub(crate) fn heard_leader(&self, now: Nanos) -> Option<MemberId> {
        self.leader().filter(|_| self.hears_leader(now))
    }

    pub(super) fn reset_election_deadline(&mut self, now: Nanos) {
        let timeout = self.config.election_timeout_ns;
        let jitter = self.prng.range(0..timeout as u64) as Nanos;
        self.election.deadline = now + timeout + jitter;
    }

    pub(super) fn election_deadline(&self) -> Nanos {
        match self.role {
            Role::PreCandidate | Role::Candidate => {
                self.election.deadline.min(self.election.resend_at)
            }
            Role::Follower | Role::Leader => self.standing_deadline(),
        }
    }

    /// When this member stands unless it hears a leader. By then what it knows to be committed has
    /// been so for an election timeout at least: who has not applied all of it would lead for long
    /// before it serves, so others go first (`log.md` 4.5).
    fn standing_deadline(&self) -> Nanos {
        let is_behind = self.applied < self.commit && self.config.members > 1;
        let patience = if is_behind && self.role == Role::Follower {
            REPLAY_PATIENCE * self.config.election_timeout_ns
        } else {
            0
        };
        self.election.deadline + patience
    }

    pub(super) fn tick_election(&mut self, now: Nanos, actions: &mut Actions) {
        if now >= self.standing_deadline() {
            self.begin_pre_vote(now, actions);
        } else if now >= self.election_deadline() {
            self.election.resend_at = now + self.config.heartbeat_interval_ns;
            if self.role == Role::Candidate && self.vote.is_persisted() {
                self.send_vote_requests(actions);
            } else if self.role == Role::PreCandidate && !self.election.is_pre_vote_won {
                self.send_pre_vote_requests(actions);
            }
        } else if now >= self.election.deadline {
            sometimes(Mark::StandingWaitsForReplay);
        }
    }

    /// A member that stands leaves its own log as it is for ever; one whose log misses what it
    /// acknowledged must not (D6). One that could not give clients what they are owed leaves
    /// leading to those who can, and so does one that is about to end.
    pub(super) fn may_stand(&self) -> bool {
        self.standing == Standing::Voter
            && self.lost.is_none()
            && !self.lacks_answers
            && !self.is_leaving
            && self.vote.term() < LeadershipTermId::MAX
    }

    fn begin_pre_vote(&mut self, now: Nanos, actions: &mut Actions) {
        self.reset_election_deadline(now);
        if !self.may_stand() || self.log.truncating.is_some() || !self.vote.is_persisted() {
            self.mark_why_not_standing();
            return;
        }
        match self.role {
            Role::Candidate => self.note_failed_candidacy(),
            Role::PreCandidate => sometimes(Mark::PreVoteRoundFailed),
            Role::Follower | Role::Leader => {}
        }
        self.role = Role::PreCandidate;
        self.election.end_round();
        self.election.grant(self.config.member);
        self.election.resend_at = now + self.config.heartbeat_interval_ns;
        self.send_pre_vote_requests(actions);
        self.count_pre_votes(now, actions);
    }

    fn mark_why_not_standing(&self) {
        if self.lost.is_some() {
            sometimes(Mark::DamagedMemberDoesNotStand);
        } else if self.lacks_answers {
            sometimes(Mark::StandingLacksAnswers);
        } else if self.log.truncating.is_some() {
            sometimes(Mark::StandingWaitsForTruncation);
        } else if !self.vote.is_persisted() {
            sometimes(Mark::StandingWaitsForVote);
        }
    }

    fn send_pre_vote_requests(&self, actions: &mut Actions) {
        invariant!(
            AskedWithoutChange,
            self.vote.is_persisted(),
            "E4: asks whether it would be elected with {:?}",
            self.vote
        );
        let message = MemberMessage::PreVoteRequest {
            term: self.vote.term().next(),
            log_term: self.log.term(),
            position: self.log.durable,
        };
        self.send_to_others(message, actions);
    }

    pub(super) fn on_pre_vote_request(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        candidate: LogEnd,
        actions: &mut Actions,
    ) {
        let before = self.vote;
        self.answer_pre_vote_request(now, from, term, candidate, actions);
        invariant!(
            AnsweredWithoutChange,
            self.vote == before,
            "E4: asked whether it would vote, it has {:?} after {before:?}",
            self.vote
        );
    }

    fn answer_pre_vote_request(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        candidate: LogEnd,
        actions: &mut Actions,
    ) {
        if self.standing != Standing::Voter {
            sometimes(Mark::PreVoteUnanswered);
            return;
        }
        if term <= self.vote.term() {
            self.sometimes_as(PRE_VOTE_OUTDATED);
            // It would never win: let it learn the term (R39).
            self.send_newer_term(from, term.previous(), actions);
            return;
        }
        let granted = !self.hears_leader(now) && self.is_up_to_date(candidate);
        self.sometimes_as(if granted {
            PRE_VOTE_GRANTED
        } else {
            PRE_VOTE_REFUSED
        });
        let message = MemberMessage::PreVote { term, granted };
        actions.push(Action::Send { to: from, message });
    }

    pub(super) fn on_pre_vote(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        granted: bool,
        actions: &mut Actions,
    ) {
        let is_waiting = self.role == Role::PreCandidate && !self.election.is_pre_vote_won;
        if is_waiting && granted && term == self.vote.term().next() {
            self.election.grant(from);
            self.count_pre_votes(now, actions);
        } else if is_waiting && !granted {
            sometimes(Mark::PreVoteRefusalHeard);
        } else if granted {
            sometimes(Mark::PreVoteLate);
        }
    }

    fn count_pre_votes(&mut self, now: Nanos, actions: &mut Actions) {
        if self.election.grants() < self.quorum() {
            return;
        }
        self.election.is_pre_vote_won = true;
        self.leave_leader(actions);
        self.try_stand(now, actions);
    }

    /// Stands for the next term once the pre-vote is won and append = durable (E3).
    pub(super) fn try_stand(&mut self, now: Nanos, actions: &mut Actions) {
        let is_ready = self.role == Role::PreCandidate && self.election.is_pre_vote_won;
        if !is_ready || !self.log.is_drained() || !self.vote.is_persisted() {
            if is_ready {
                sometimes(Mark::StandingWaitsForLog);
            }
            return;
        }
        invariant!(
            StandsWithPromises,
            self.election.grants() >= self.quorum(),
            "LV3: stands with {} promises",
            self.election.grants()
        );
        self.begin_candidacy(now, actions);
    }

    /// Enters the next term as a candidate that votes for itself.
    pub(super) fn begin_candidacy(&mut self, now: Nanos, actions: &mut Actions) {
        invariant!(
            OnlyVotersStand,
            self.standing == Standing::Voter,
            "E6: whoever does not count does not stand"
        );
        self.election.end_round();
        self.role = Role::Candidate;
        self.elections += 1;
        self.await_votes(now);
        self.election.resend_at = self.election.deadline;
        let term = self.vote.term().next();
        let vote = Some(self.config.member);
        self.vote.enter(term, vote);
        self.note_persisting(now);
        actions.push(Action::PersistState { term, vote });
    }

    pub(super) fn give_up_candidacy(&mut self, now: Nanos) {
        self.role = Role::Follower;
        self.election.end_round();
        self.reset_election_deadline(now);
    }

    /// Term and vote as they are now have become durable: what waited for it may leave (E1).
    pub(super) fn on_vote_durable(&mut self, now: Nanos, actions: &mut Actions) {
        self.note_persisted(now);
        if self.role == Role::Candidate {
            invariant!(
                CandidateVotesForItself,
                self.vote.vote() == Some(self.config.member),
                "E1: a candidate votes for itself"
            );
            self.election.grant(self.config.member);
            self.await_votes(now);
            self.election.resend_at = now + self.config.heartbeat_interval_ns;
            self.send_vote_requests(actions);
            self.count_votes(now, actions);
            return;
        }
        if let Some(to) = self.election.owed.take() {
            self.await_votes(now);
            self.send_vote(to, true, actions);
        }
        self.try_stand(now, actions);
        self.try_join(now, actions);
    }

    fn send_vote_requests(&self, actions: &mut Actions) {
        invariant!(
            CandidateLogDurable,
            self.log.is_drained(),
            "E3: a candidate's log is durable"
        );
        let message = MemberMessage::VoteRequest {
            term: self.vote.term(),
            log_term: self.log.term(),
            position: self.log.durable,
            handed_over: self.election.handed_over,
        };
        self.send_to_others(message, actions);
    }

    pub(super) fn on_vote_request(
        &mut self,
        now: Nanos,
        from: MemberId,
        (term, handed_over): (LeadershipTermId, LeadershipTermId),
        candidate: LogEnd,
        actions: &mut Actions,
    ) {
        if self.standing != Standing::Voter {
            sometimes(Mark::VoteUnanswered);
            return;
        }
        if term < self.vote.term() {
            self.sometimes_as(VOTE_REQUEST_OUTDATED);
            self.send_newer_term(from, term, actions);
            return;
        }
        if self.hears_leader(now) {
            if !self.is_handed_over(from, (term, handed_over), candidate) {
                self.sometimes_as(VOTE_REQUEST_UNHEARD);
                return;
            }
            sometimes(Mark::VoteHandedOver);
            self.election.leader_heard = None;
        }
        let is_up_to_date = self.is_up_to_date(candidate);
        if term > self.vote.term() {
            self.sometimes_as(if is_up_to_date {
                VOTE_GRANTED
            } else {
                VOTE_WITHHELD
            });
            let vote = is_up_to_date.then_some(from);
            self.enter_term(now, term, vote, actions);
            if vote.is_some() {
                self.owe_vote(now, from);
            }
            return;
        }
        match self.vote.vote() {
            Some(vote) if vote == from => {
                if self.vote.is_persisted() {
                    sometimes(Mark::VoteRepeated);
                    self.send_vote(from, true, actions);
                } else {
                    sometimes(Mark::VoteRepeatedBeforeDurable);
                    self.owe_vote(now, from);
                }
            }
            None if is_up_to_date => {
                sometimes(Mark::VoteLateInTerm);
                self.leave_role(now, actions);
                self.vote.vote_for(from);
                self.note_persisting(now);
                let vote = Some(from);
                actions.push(Action::PersistState { term, vote });
                self.owe_vote(now, from);
            }
            _ => {
                self.sometimes_as(VOTE_REFUSED_IN_TERM);
                if self.vote.persisted_term() == term {
                    self.send_vote(from, false, actions);
                }
            }
        }
    }

    fn owe_vote(&mut self, now: Nanos, to: MemberId) {
        invariant!(
            HeardLeaderKept,
            !self.hears_leader(now),
            "E4: a vote against a leader that is heard"
        );
        self.election.owed = Some(to);
        self.reset_election_deadline(now);
    }

    fn send_vote(&self, to: MemberId, granted: bool, actions: &mut Actions) {
        if granted {
            invariant!(
                VoteLeavesDurable,
                self.vote.is_persisted() && self.vote.vote() == Some(to),
                "E1: a vote leaves only when it is durable"
            );
        }
        let term = self.vote.term();
        let message = MemberMessage::Vote { term, granted };
        actions.push(Action::Send { to, message });
    }

    pub(super) fn on_vote(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        granted: bool,
        actions: &mut Actions,
    ) {
        if term > self.vote.term() {
            // A refusal from a newer term. A leader steps down for it; a follower that hears its
            // leader lets the leader find out (E4).
            let is_settled = self.role == Role::Follower && self.hears_leader(now);
            if !granted && !is_settled {
                self.sometimes_as(LATER_TERM);
                self.enter_term(now, term, None, actions);
            } else if is_settled {
                sometimes(Mark::LaterTermUnheard);
            }
            return;
        }
        let counts = self.role == Role::Candidate && self.vote.is_persisted();
        if counts && granted && term == self.vote.term() {
            self.election.grant(from);
            self.count_votes(now, actions);
        } else if counts && !granted {
            sometimes(Mark::VoteRefusalHeard);
        } else if !granted && term == self.vote.term() {
            self.on_stand_refused(from);
        } else if granted {
            sometimes(Mark::VoteLate);
        }
    }

    fn count_votes(&mut self, now: Nanos, actions: &mut Actions) {
        if self.election.grants() >= self.quorum() {
            self.election.end_round();
            self.lead(now, actions);
        }
    }

    /// Whether a leader of the present term was heard within the minimum election timeout, or
    /// this member is one: then nobody is helped to depose it (E4).
    pub(super) fn hears_leader(&self, now: Nanos) -> bool {
        let timeout = self.config.election_timeout_ns;
        self.role == Role::Leader
            || self
                .election
                .leader_heard
                .is_some_and(|heard| now - heard < timeout)
    }

    /// Whether a candidate's log has all that this member holds or may have acknowledged (E3): as
    /// ever, the greater of two terms wins, and of one term the longer log.
    pub(super) fn is_up_to_date(&self, candidate: LogEnd) -> bool {
        let (log_term, position) = candidate;
        let covers_lost = |lost: LostAcks| lost.is_covered_by(log_term, position);
        if !self.lost.is_none_or(covers_lost) {
            sometimes(Mark::LossRefusesCandidate);
            return false;
        }
        candidate >= (self.log.term(), self.log.append)
    }
}
