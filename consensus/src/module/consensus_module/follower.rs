//! Joining a leader and following it (`log.md` 3.3 to 3.5, 4.2; invariants W2, C3, L4).
//!
//! Joining: stop placing, drain, fetch the leader's list of terms page by page, truncate where
//! the logs part, accept frames, ask the leader to send from there. Each request is repeated
//! until answered; each step is safe to repeat from the start.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::follower_state::Joining;
use super::role_marks::{LEADER_HEARD, NEW_LEADER_HEARD, OLD_LEADER_HEARD};
use super::{ConsensusModule, Oddity, Role};
use crate::module::action::{Action, Actions, HaltReason};
use crate::module::event::LogHash;
use crate::module::leadership_term::{LEADERSHIP_TERMS_MAX, truncation_point};
use crate::module::member::MemberId;
use crate::module::membership::Standing;
use crate::module::output_agreement::OutputAt;
use crate::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};

/// Pages a leader's list may have at most.
const PAGES_MAX: u32 = LEADERSHIP_TERMS_MAX.div_ceil(JOIN_PAGE_TERMS) as u32;

impl ConsensusModule {
    /// The greatest commit position heard from the leader followed; 0 before any.
    #[must_use]
    pub const fn leader_commit(&self) -> Position {
        self.following.leader_commit
    }

    /// From where on the log of the leader that this member follows is needed here, once that is
    /// known.
    #[must_use]
    pub(crate) const fn needed_from(&self) -> Option<Position> {
        match self.following.joining {
            Joining::Draining | Joining::Requesting { .. } | Joining::Truncating => None,
            Joining::Hashing { point } | Joining::Checking { point, .. } => Some(point),
            Joining::Starting | Joining::Placing => Some(self.log.append),
        }
    }

    /// Whether it came from the leader this member now follows.
    pub(super) fn on_commit_position(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        position: Position,
        actions: &mut Actions,
    ) -> bool {
        let is_leader = self.hear(now, from, term, actions);
        if is_leader {
            self.learn_commit(position, actions);
            self.try_join(now, actions);
        }
        is_leader
    }

    /// `from` says that it leads `term`. Whether it is the leader this member now follows.
    pub(super) fn hear(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        actions: &mut Actions,
    ) -> bool {
        if term < self.vote.term() {
            self.sometimes_as(OLD_LEADER_HEARD);
            self.send_newer_term(from, term, actions);
            return false;
        }
        self.sometimes_as(if term > self.vote.term() {
            NEW_LEADER_HEARD
        } else {
            LEADER_HEARD
        });
        if term > self.vote.term() {
            self.enter_term(now, term, None, actions);
        }
        // Two leaders in one term cannot be (E1): whoever claims it is not believed.
        let is_other = self.following.leader.is_some_and(|leader| leader != from);
        if self.role == Role::Leader || is_other {
            self.oddities.note(Oddity::SecondLeader, from);
            return false;
        }
        invariant!(
            LogNotAheadOfLeader,
            self.log.history.newest() <= term,
            "E2: a leader of term {term} is heard, and the log is of term {}",
            self.log.history.newest()
        );
        self.leave_role(now, actions);
        self.following.leader = Some(from);
        self.election.hear_leader(now);
        self.forget_patience();
        self.reset_election_deadline(now);
        true
    }

    /// Goes on with joining as soon as the log is drained and the term durable.
    pub(super) fn try_join(&mut self, now: Nanos, actions: &mut Actions) {
        let is_ready = self.log.is_drained() && self.vote.is_persisted();
        let is_ready = is_ready && now >= self.following.join_at;
        if self.role == Role::Follower && self.following.joining == Joining::Draining && is_ready {
            self.request_page(now, 0, actions);
        }
    }

    /// Joining came to nothing: it begins again when the leader is next heard, a while later.
    fn join_later(&mut self, now: Nanos) {
        self.following.joining = Joining::Draining;
        self.following.join_at = now + self.config.heartbeat_interval_ns;
    }

    fn request_page(&mut self, now: Nanos, page: u32, actions: &mut Actions) {
        let Some(to) = self.following.leader else {
            return;
        };
        if page == 0 {
            self.following.leader_terms.clear();
        }
        self.following.joining = Joining::Requesting { page };
        self.following.resend_at = now + self.config.heartbeat_interval_ns;
        let message = MemberMessage::JoinRequest {
            term: self.vote.term(),
            log_term: self.log.term(),
            end: self.log.append,
            page,
        };
        actions.push(Action::Send { to, message });
    }

    /// A page of the list of `leader`, which this member follows.
    pub(super) fn on_term_page(
        &mut self,
        now: Nanos,
        leader: MemberId,
        page: &TermPage,
        actions: &mut Actions,
    ) {
        if self.following.joining != (Joining::Requesting { page: page.page }) {
            return;
        }
        if !self.take_page(page) {
            self.join_later(now);
        } else if page.page + 1 < page.pages {
            self.request_page(now, page.page + 1, actions);
        } else if self.log.is_drained() {
            self.finish_list(now, leader, actions);
        } else {
            // Something placed before is only now reported: drain again.
            self.following.joining = Joining::Draining;
        }
    }

    /// Appends a page to the leader's list; refuses one that cannot belong to it.
    fn take_page(&mut self, page: &TermPage) -> bool {
        let Some(entries) = page.terms.get(..page.count as usize) else {
            return false;
        };
        let is_last = page.page + 1 == page.pages;
        let is_whole = is_last || entries.len() == JOIN_PAGE_TERMS;
        let ends_with_own_term = entries.last().map(|entry| entry.term) == Some(self.vote.term());
        if page.page >= page.pages || page.pages > PAGES_MAX || !is_whole {
            return false;
        }
        if is_last != ends_with_own_term {
            return false;
        }
        for entry in entries {
            let newest = self.following.leader_terms.last();
            let is_newer =
                newest.is_none_or(|last| entry.term > last.term && entry.base > last.base);
            if !is_newer || entry.term <= LeadershipTermId::NONE || entry.base < 0 {
                return false;
            }
            self.following.leader_terms.push(*entry);
        }
        true
    }

    fn finish_list(&mut self, now: Nanos, leader: MemberId, actions: &mut Actions) {
        let own = self.log.history.terms();
        let point = truncation_point(own, self.log.append, &self.following.leader_terms);
        let stable = self.commit.max(self.applied).max(self.commit_floor);
        self.following.agreed = 0;
        // What is missing at the end of a damaged log is not cut off: it has gone.
        if point < stable.min(self.log.append) {
            let reason = HaltReason::CommittedTruncation {
                term: self.vote.term(),
                truncation: point,
                commit: stable,
                end: self.log.append,
            };
            self.halt(reason, actions);
        } else if point == 0 {
            self.finish_join(now, leader, point, actions);
        } else {
            // Equal terms at equal positions do not prove equal bytes.
            self.following.joining = Joining::Hashing { point };
            let (member, position) = (self.config.member, point);
            actions.push(Action::HashLog { member, position });
        }
    }

    /// The logs are the same below `point`.
    fn finish_join(
        &mut self,
        now: Nanos,
        leader: MemberId,
        point: Position,
        actions: &mut Actions,
    ) {
        if point < self.log.append {
            sometimes(Mark::TruncationOrdered);
            if point == 0 {
                sometimes(Mark::TruncationOfAll);
            }
            self.following.joining = Joining::Truncating;
            self.log.truncating = Some(point);
            actions.push(Action::Truncate { position: point });
        } else {
            self.start_placing(now, leader, actions);
        }
    }

    /// The chain hash of this member's own log at `position` is known.
    pub(super) fn on_own_log_hashed(
        &mut self,
        now: Nanos,
        position: Position,
        hash: LogHash,
        actions: &mut Actions,
    ) {
        if self.following.joining != (Joining::Hashing { point: position }) {
            return;
        }
        let hash = match hash {
            LogHash::Is(hash) => Some(hash),
            LogHash::NoBoundary => None,
            LogHash::Unreadable | LogHash::Gone => {
                self.join_later(now);
                return;
            }
        };
        let point = position;
        self.following.joining = Joining::Checking { point, hash };
        self.send_join_check(now, actions);
    }

    fn send_join_check(&mut self, now: Nanos, actions: &mut Actions) {
        let (Some(to), Joining::Checking { point, hash }) =
            (self.following.leader, self.following.joining)
        else {
            return;
        };
        self.following.resend_at = now + self.config.heartbeat_interval_ns;
        let message = MemberMessage::JoinCheck {
            term: self.vote.term(),
            position: point,
            hash,
        };
        actions.push(Action::Send { to, message });
    }

    /// The followed leader says what its chain hash at `position` is.
    pub(super) fn on_join_verdict(
        &mut self,
        now: Nanos,
        leader: MemberId,
        position: Position,
        other: Option<u64>,
        actions: &mut Actions,
    ) {
        let own = match self.following.joining {
            Joining::Checking { point, hash } if point == position => hash,
            Joining::Placing if position > 0 && position == self.log.checkpoint.0 => {
                Some(self.log.checkpoint.1)
            }
            // About a checkpoint that this member has left behind: it is told again of the next.
            _ => return,
        };
        let is_checking = self.following.joining != Joining::Placing;
        if own == other && own.is_some() {
            if is_checking && self.log.is_drained() {
                self.following.agreed = position;
                self.finish_join(now, leader, position, actions);
            }
            return;
        }
        actions.push(Action::Differs {
            member: leader,
            position,
            own,
            other,
            was_joined: !is_checking,
        });
        if !is_checking {
            actions.push(Action::StopPlacing);
            self.join_later(now);
        }
    }

    pub(super) fn on_truncated(&mut self, now: Nanos, position: Position, actions: &mut Actions) {
        invariant!(
            CutAsOrdered,
            self.log.truncating.take() == Some(position),
            "L4: truncated to a position that was not ordered"
        );
        invariant!(
            CutAboveCommit,
            position >= self.commit.max(self.applied),
            "L4: truncated to {position}, below {} committed",
            self.commit
        );
        self.log.append = position;
        self.log.durable = position;
        let before = self.log.history.newest();
        self.log.history.truncate(position);
        if self.log.history.newest() < before {
            sometimes(Mark::TruncationOfTerm);
        }
        if self.log.checkpoint.0 > position {
            self.log.checkpoint = (0, 0);
        }
        match (self.role, self.following.joining, self.following.leader) {
            (Role::Follower, Joining::Truncating, Some(leader)) => {
                self.start_placing(now, leader, actions);
            }
            (_, Joining::Truncating, _) => self.following.joining = Joining::Draining,
            _ => {
                sometimes(Mark::TruncationOutlivesLeader);
                self.try_join(now, actions);
            }
        }
    }

    fn start_placing(&mut self, now: Nanos, leader: MemberId, actions: &mut Actions) {
        invariant!(
            JoinedDrained,
            self.log.is_drained(),
            "L4: a log is joined when it is drained"
        );
        invariant!(
            ComparedBeforePlacing,
            self.log.append == self.following.agreed,
            "L2: the logs agree up to {}, and {} is joined",
            self.following.agreed,
            self.log.append
        );
        self.following.joining = Joining::Starting;
        self.following.joins += 1;
        self.following.joined_at = self.log.append;
        self.following.started_at = now;
        actions.push(Action::Follow {
            leader,
            term: self.vote.term(),
            position: self.log.append,
        });
        self.send_join_start(now, actions);
        self.adopt_commit(actions);
    }

    fn send_join_start(&mut self, now: Nanos, actions: &mut Actions) {
        let Some(to) = self.following.leader else {
            return;
        };
        self.following.resend_at = now + self.config.heartbeat_interval_ns;
        let message = MemberMessage::JoinStart {
            term: self.vote.term(),
            position: self.following.joined_at,
            join: self.following.joins,
        };
        actions.push(Action::Send { to, message });
    }

    pub(super) fn on_log_heard(&mut self, now: Nanos, actions: &mut Actions) {
        if self.following.joining == Joining::Starting {
            self.following.joining = Joining::Placing;
            self.report_durable(now, actions);
        }
    }

    /// Stops placing, and joins afresh when the leader is next heard: what it sends then may be
    /// whole.
    pub(super) fn on_log_refused(&mut self, now: Nanos, actions: &mut Actions) {
        if self.following.is_placing() {
            actions.push(Action::StopPlacing);
            self.join_later(now);
        }
    }

    /// How far the log was known to be committed when this member started: nothing below is ever
    /// cut off.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn commit_floor(&self) -> Position {
        self.commit_floor
    }

    /// Tells the leader what is durable, if the first entry of its term is (W2). A member that
    /// no longer hears its leader stays silent, so that the leader can notice.
    pub(super) fn report_durable(&mut self, now: Nanos, actions: &mut Actions) {
        let Some(to) = self.following.leader.filter(|_| self.may_acknowledge()) else {
            if self.standing == Standing::Returning && self.is_joined() {
                sometimes(Mark::ReturningIsSilent);
            }
            return;
        };
        invariant!(
            AcknowledgesOwnTerm,
            self.log.term() == self.vote.term() && self.vote.persisted_term() == self.vote.term(),
            "W2: {} acknowledged before the first entry of term {} is durable",
            self.log.durable,
            self.vote.term()
        );
        self.following.resend_at = now + self.config.heartbeat_interval_ns;
        let message = MemberMessage::AppendPosition {
            term: self.vote.term(),
            durable: self.log.durable,
            checkpoint: self.log.checkpoint.0,
            checkpoint_hash: self.log.checkpoint.1,
            output: OutputAt::default(),
        };
        actions.push(Action::Send { to, message });
    }

    /// Whether this member has something to acknowledge to the leader that it follows.
    #[must_use]
    pub(crate) fn may_acknowledge(&self) -> bool {
        self.role == Role::Follower && self.is_joined() && self.standing != Standing::Returning
    }

    /// Repeats the last acknowledgement, for what its agent adds to it has changed.
    pub(crate) fn repeat_acknowledgement(&mut self, now: Nanos, actions: &mut Actions) {
        if !self.is_halted {
            self.report_durable(now, actions);
        }
    }

    /// Repeats what the leader may not have got. Until the first entry of its term is durable
    /// here, the repeated JoinStart also tells the leader that this member is alive.
    pub(super) fn tick_follower(&mut self, now: Nanos, actions: &mut Actions) {
        if self.role != Role::Follower || now < self.follower_deadline() {
            return;
        }
        match self.following.joining {
            Joining::Draining | Joining::Hashing { .. } | Joining::Truncating => {
                self.tell_alive(now, actions);
            }
            Joining::Checking { .. } => self.send_join_check(now, actions),
            Joining::Requesting { page } => self.request_page(now, page, actions),
            Joining::Starting if self.is_start_unheard(now) => self.join_afresh(now, actions),
            Joining::Starting => self.send_join_start(now, actions),
            Joining::Placing if self.may_acknowledge() => self.report_durable(now, actions),
            Joining::Placing => self.send_join_start(now, actions),
        }
    }

    /// A leader that is heard and sends nothing of its log has forgotten that both logs were found
    /// to be the same: it heard of another life of this member in between, a late datagram.
    fn is_start_unheard(&self, now: Nanos) -> bool {
        now - self.following.started_at >= self.config.election_timeout_ns
    }

    fn join_afresh(&mut self, now: Nanos, actions: &mut Actions) {
        sometimes(Mark::JoinStartUnheard);
        actions.push(Action::StopPlacing);
        self.following.joining = Joining::Draining;
        self.try_join(now, actions);
    }

    pub(super) fn follower_deadline(&self) -> Nanos {
        let is_following = self.role == Role::Follower && self.following.leader.is_some();
        if !is_following || (self.is_waiting_for_disk() && !self.vote.is_persisted()) {
            Nanos::MAX
        } else {
            self.following.resend_at
        }
    }

    const fn is_waiting_for_disk(&self) -> bool {
        matches!(
            self.following.joining,
            Joining::Draining | Joining::Truncating
        )
    }

    /// Tells the leader that this member hears it although it cannot join yet: its disk is slow,
    /// or full. A leader that heard nothing would step down, and term would follow term for as
    /// long as the disk has no room, each as useless as the last (`log.md` 10).
    fn tell_alive(&mut self, now: Nanos, actions: &mut Actions) {
        let Some(to) = self.following.leader else {
            return;
        };
        sometimes(Mark::JoiningWaitsForDisk);
        self.following.resend_at = now + self.config.heartbeat_interval_ns;
        // Asks for a page that there never is: nothing is answered, and nothing begun.
        let message = MemberMessage::JoinRequest {
            term: self.vote.term(),
            log_term: self.log.term(),
            end: self.log.append,
            page: PAGES_MAX,
        };
        actions.push(Action::Send { to, message });
    }

    /// The leader of the present term has committed up to `position`.
    pub(super) fn learn_commit(&mut self, position: Position, actions: &mut Actions) {
        self.following.leader_commit = self.following.leader_commit.max(position);
        self.adopt_commit(actions);
    }

    /// Adopts min(leader's commit, append) once the last durable frame is of its term (C3), and
    /// its log was found to be the leader's: a log that differs, or is longer than the leader's,
    /// never applies its own tail.
    pub(super) fn adopt_commit(&mut self, actions: &mut Actions) {
        if !self.is_joined() || self.log.truncating.is_some() {
            return;
        }
        let position = self.following.leader_commit.min(self.log.append);
        if position > self.commit {
            if self.following.leader_commit > self.log.append {
                sometimes(Mark::CommitBeyondOwnLog);
            }
            invariant!(
                CommitOfOwnTerm,
                self.log.term() == self.vote.term(),
                "C3: commit {position} of a term that the log has not reached"
            );
            self.raise_commit(position, actions);
        }
    }
}
