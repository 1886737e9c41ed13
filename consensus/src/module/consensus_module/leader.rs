//! Leading a term: who follows, what is committed, when to give up (`log.md` 4.1; invariants
//! C1, C2, C5, W1).

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, Nanos};

use super::commit::quorum_position;
use super::leader_state::{Follower, Leading};
use super::{ConsensusModule, Oddity, Role};
use crate::module::action::{Action, Actions, HaltReason};
use crate::module::event::LogHash;
use crate::module::member::{MEMBERS_MAX, MemberId, TermBase};
use crate::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};

/// A commit that no log frame told the followers for this long goes in a message of its own: as
/// long as a burst's next entry may take to follow, short against a durable write.
pub const COMMIT_NOTICE_DELAY: Nanos = 50 * MICROSECOND;

impl ConsensusModule {
    /// Leader: log frames have left for the followers; they carry the commit position.
    pub fn on_log_sent(&mut self, now: Nanos) {
        self.leading.log_sent = now;
    }

    /// Leader: where the chain hash of `member` was found to differ from the leader's. Such a
    /// member does not count towards commit (L1).
    #[must_use]
    pub fn differs_at(&self, member: MemberId) -> Option<Position> {
        self.leading.followers.get(usize::from(member))?.differs_at
    }

    /// The election is won.
    pub(super) fn lead(&mut self, now: Nanos, actions: &mut Actions) {
        invariant!(
            TermBeginsDurable,
            self.log.is_drained(),
            "E3: a term begins at a durable end"
        );
        invariant!(
            LeaderHasCommitted,
            self.commit <= self.log.append && self.lost.is_none(),
            "L3: the leader holds all that it knows to be committed"
        );
        invariant!(
            TermLedOnce,
            self.log.history.newest() < self.vote.term(),
            "W1: a term is led once"
        );
        self.role = Role::Leader;
        self.forget_patience();
        self.leading = Leading::new(now, self.log.append, self.commit);
        self.leading.remember_checkpoint(self.log.checkpoint);
        let term = self.vote.term();
        actions.push(Action::Lead { term });
        self.send_heartbeats(now, actions);
    }

    pub(super) fn tick_leader(&mut self, now: Nanos, actions: &mut Actions) {
        if self.heard_members(now) < self.quorum() {
            // Followers cannot hear it either, or their acks do not arrive: let others try.
            sometimes(Mark::LeaderUnheardStepsDown);
            self.leave_role(now, actions);
        } else if now >= self.leading.heartbeat_at || now >= self.commit_notice_deadline() {
            self.send_heartbeats(now, actions);
        }
        self.tick_hand_over(now, actions);
    }

    pub(super) fn leader_deadline(&self) -> Nanos {
        let heartbeat = self.leading.heartbeat_at;
        heartbeat
            .min(self.commit_notice_deadline())
            .min(self.abdication_deadline())
            .min(self.hand_over_deadline())
    }

    fn commit_notice_deadline(&self) -> Nanos {
        if self.commit == self.leading.commit_told {
            return Nanos::MAX;
        }
        self.leading.commit_advanced.max(self.leading.log_sent) + COMMIT_NOTICE_DELAY
    }

    /// Voters heard within the election timeout, this one included.
    fn heard_members(&self, now: Nanos) -> usize {
        let timeout = self.config.election_timeout_ns;
        let others = self.other_voters();
        1 + others.filter(|f| now - f.heard < timeout).count()
    }

    /// Below this the log is durable on all members that were heard within the election timeout,
    /// learners too.
    pub(crate) fn followed_by_all(&self, now: Nanos) -> Position {
        let (own, timeout) = (
            usize::from(self.config.member),
            self.config.election_timeout_ns,
        );
        let members = self.leading.followers[..self.config.members].iter();
        let others = members.enumerate().filter(|(index, _)| *index != own);
        let heard = others.filter(|(_, follower)| now - follower.heard < timeout);
        heard.fold(self.log.durable, |least, (_, follower)| {
            least.min(follower.durable)
        })
    }

    /// When the quorum would be lost if nobody were heard any more.
    fn abdication_deadline(&self) -> Nanos {
        let Some(needed) = self.quorum().checked_sub(2) else {
            return Nanos::MAX;
        };
        let mut heard = [Nanos::MIN; MEMBERS_MAX];
        for (slot, follower) in heard.iter_mut().zip(self.other_voters()) {
            *slot = follower.heard;
        }
        heard.sort_unstable_by(|a, b| b.cmp(a));
        heard[needed] + self.config.election_timeout_ns
    }

    /// What is known of the others whose directories count.
    fn other_voters(&self) -> impl Iterator<Item = &Follower> {
        let own = usize::from(self.config.member);
        let members = self.leading.followers[..self.config.members].iter();
        let counts = move |index: usize| index != own && self.is_voter(index as MemberId);
        let others = members.enumerate().filter(move |(index, _)| counts(*index));
        others.map(|(_, follower)| follower)
    }

    fn send_heartbeats(&mut self, now: Nanos, actions: &mut Actions) {
        self.leading.heartbeat_at = now + self.config.heartbeat_interval_ns;
        self.leading.commit_told = self.commit;
        let message = MemberMessage::CommitPosition {
            term: self.vote.term(),
            position: self.commit,
            durable: if self.log.term() == self.vote.term() {
                self.log.durable
            } else {
                0
            },
        };
        self.send_to_others(message, actions);
    }

    /// The leader's list ends with its own term from the moment it is elected, although the
    /// entry that begins it may not be in the log yet.
    fn leader_terms(&self) -> impl Iterator<Item = TermBase> {
        let own = TermBase {
            term: self.vote.term(),
            base: self.leading.base,
        };
        let older = self.log.history.terms().iter().copied();
        let older = older.filter(move |entry| entry.term < own.term);
        older.chain([own])
    }

    pub(super) fn send_join_reply(&self, to: MemberId, page: u32, actions: &mut Actions) {
        let is_own_in_log = self.log.history.newest() == self.vote.term();
        let total = self.log.history.terms().len() + usize::from(!is_own_in_log);
        let pages = total.div_ceil(JOIN_PAGE_TERMS) as u32;
        if pages > 1 {
            sometimes(Mark::TermListPaged);
        }
        if page >= pages {
            return;
        }
        let nothing = TermBase {
            term: LeadershipTermId::NONE,
            base: 0,
        };
        let mut terms = [nothing; JOIN_PAGE_TERMS];
        let mut count = 0;
        let on_page = self.leader_terms().skip(page as usize * JOIN_PAGE_TERMS);
        for (slot, entry) in terms.iter_mut().zip(on_page) {
            *slot = entry;
            count += 1;
        }
        let message = MemberMessage::JoinReply {
            term: self.vote.term(),
            commit: self.commit,
            end: self.log.append,
            page: TermPage {
                page,
                pages,
                count,
                terms,
            },
        };
        actions.push(Action::Send { to, message });
    }

    /// `member` asks whether both logs are the same below `position`, where its hash is `hash`.
    pub(super) fn on_join_check(
        &mut self,
        member: MemberId,
        position: Position,
        hash: Option<u64>,
        actions: &mut Actions,
    ) {
        let end = self.log.append;
        let follower = &mut self.leading.followers[usize::from(member)];
        let is_asked = follower.check.is_some_and(|(asked, _)| asked == position);
        follower.check = Some((position, hash));
        match follower.own_hash {
            Some((known, own)) if known == position => self.judge(member, own, actions),
            // A log that is longer than its leader's in the leader's own term.
            _ if position > end => self.judge(member, None, actions),
            _ if is_asked => {}
            _ => actions.push(Action::HashLog { member, position }),
        }
    }

    /// The chain hash of the leader's log where `member` asked is known.
    pub(super) fn on_log_hashed(
        &mut self,
        member: MemberId,
        position: Position,
        hash: LogHash,
        actions: &mut Actions,
    ) {
        let Some(follower) = self.leading.followers.get_mut(usize::from(member)) else {
            return;
        };
        if self.role != Role::Leader || follower.check.is_none_or(|(at, _)| at != position) {
            return;
        }
        let own = match hash {
            LogHash::Is(hash) => Some(hash),
            LogHash::NoBoundary => None,
            LogHash::Unreadable | LogHash::Gone => {
                // It cannot tell; the follower asks again.
                follower.check = None;
                return;
            }
        };
        follower.own_hash = Some((position, own));
        self.judge(member, own, actions);
    }

    fn judge(&mut self, member: MemberId, own: Option<u64>, actions: &mut Actions) {
        let follower = &mut self.leading.followers[usize::from(member)];
        let Some((position, other)) = follower.check else {
            return;
        };
        let message = MemberMessage::JoinVerdict {
            term: self.vote.term(),
            position,
            hash: own,
        };
        actions.push(Action::Send {
            to: member,
            message,
        });
        if own.is_some() && own == other {
            follower.agrees_at = Some(position);
            follower.differs_at = None;
        } else {
            self.on_difference((member, position), (own, other), false, actions);
        }
    }

    /// `member` is another log's: it counts for nothing, and both sides say so.
    fn on_difference(
        &mut self,
        (member, position): (MemberId, Position),
        (own, other): (Option<u64>, Option<u64>),
        was_joined: bool,
        actions: &mut Actions,
    ) {
        let follower = &mut self.leading.followers[usize::from(member)];
        follower.differs_at = Some(position);
        follower.durable = 0;
        actions.push(Action::Differs {
            member,
            position,
            own,
            other,
            was_joined,
        });
        self.check_own_log(member, position, actions);
    }

    pub(super) fn on_join_start(
        &mut self,
        member: MemberId,
        position: Position,
        join: u32,
        actions: &mut Actions,
    ) {
        let follower = &mut self.leading.followers[usize::from(member)];
        let is_agreed = position == 0 || follower.agrees_at == Some(position);
        if join <= follower.join || !is_agreed || position > self.log.append {
            sometimes(Mark::JoinStartRepeated);
            return;
        }
        follower.join = join;
        actions.push(Action::Replicate { member, position });
    }

    pub(super) fn on_append_position(
        &mut self,
        now: Nanos,
        member: MemberId,
        durable: Position,
        checkpoint: (Position, u64),
        actions: &mut Actions,
    ) {
        let Some(entry_end) = self.leading.entry_end else {
            return;
        };
        if durable > self.log.append {
            self.oddities.note(Oddity::AckBeyondLog, member);
            return;
        }
        if durable < entry_end {
            return;
        }
        if let Some(own) = self.leading.other_hash(checkpoint) {
            // As often as it acknowledges: the word may be lost, and concerns this checkpoint.
            let message = MemberMessage::JoinVerdict {
                term: self.vote.term(),
                position: checkpoint.0,
                hash: Some(own),
            };
            actions.push(Action::Send {
                to: member,
                message,
            });
            let hashes = (Some(own), Some(checkpoint.1));
            self.on_difference((member, checkpoint.0), hashes, true, actions);
            return;
        }
        let follower = &mut self.leading.followers[usize::from(member)];
        if follower.differs_at.is_none() && durable > follower.durable {
            follower.durable = durable;
            self.advance_commit(now, actions);
        }
    }

    /// A leader whose log a majority contradicts has the wrong one itself (L1).
    fn check_own_log(&mut self, member: MemberId, position: Position, actions: &mut Actions) {
        let others = self.other_voters();
        let differing = others.filter(|f| f.differs_at.is_some()).count();
        if self.config.members - differing < self.quorum() {
            let reason = HaltReason::ChainMismatch { member, position };
            self.halt(reason, actions);
        }
    }

    /// Commits what a majority has durable in this term (C1), effective from the end of the
    /// term's first entry, never backwards (C2).
    pub(super) fn advance_commit(&mut self, now: Nanos, actions: &mut Actions) {
        let Some(entry_end) = self.leading.entry_end else {
            return;
        };
        let mut durable = [0; MEMBERS_MAX];
        for (index, follower) in self.leading.followers.iter().enumerate() {
            if self.is_voter(index as MemberId) {
                durable[index] = follower.durable;
            }
        }
        durable[usize::from(self.config.member)] = self.log.durable;
        let position = quorum_position(&durable[..self.config.members]);
        if position < entry_end || position <= self.commit {
            return;
        }
        invariant!(
            CommitBelowAppend,
            self.role == Role::Leader && position <= self.log.append,
            "C1: commit {position} beyond the log's end"
        );
        if self.commit < self.leading.base {
            sometimes(Mark::OlderTermsCommitted);
        }
        self.leading.commit_advanced = now;
        self.raise_commit(position, actions);
    }
}
