//! Handing a leadership over (`log.md` 9.6; invariant E4).
//!
//! A leader that hands over appends nothing more. As soon as a voter has all of its log it is told
//! to stand, again and again until a later term is heard. Who was told stands without having asked
//! first, and says of which term the leader told it: that is why those who hear this leader vote.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::election_state::LogEnd;
use super::leader_state::{Follower, HandingOver};
use super::{ConsensusModule, Oddity, Role};
use crate::module::action::{Action, Actions};
use crate::module::member::MemberId;
use crate::protocol::message::MemberMessage;

/// A member that was told to stand has this part of an election timeout until another one is: that
/// leaves the time for two more.
const TARGETS_PER_TIMEOUT: Nanos = 3;

/// It is told so often in a heartbeat interval: the word may be lost, and nobody is served
/// meanwhile.
const TELLINGS_PER_HEARTBEAT: Nanos = 4;

/// Why a leadership is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverRefusal {
    /// This member does nothing any more.
    #[error("this member has stopped: see why, and ask the one that leads now")]
    Stopped,
    /// Only who leads hands over.
    #[error("this member does not lead: {}", leader_words(*leader))]
    NotLeading {
        /// Who does, as far as is known.
        leader: Option<MemberId>,
    },
    /// Its leadership has just begun.
    #[error("this member has just been elected and does not serve yet: ask again")]
    NotOpen,
    /// One at a time.
    #[error("this member hands over already: wait for what comes of it")]
    UnderWay,
    /// Nobody else could lead.
    #[error("no other member that may vote is heard: start another one, and ask again")]
    Alone,
    /// It leads already.
    #[error("member {member} leads already: name another one, or none")]
    ToItself {
        /// Who was named.
        member: MemberId,
    },
    /// Nobody has that number.
    #[error("there is no member {member}: members are numbered from 0 to {}", members - 1)]
    Unknown {
        /// Who was named.
        member: MemberId,
        /// How many there are.
        members: usize,
    },
    /// Whoever was named cannot lead now.
    #[error(
        "member {member} cannot lead now: it is not heard, its log differs, or it does not vote; \
         see what it says, name another one, or none"
    )]
    Unfit {
        /// Who was named.
        member: MemberId,
    },
}

fn leader_words(leader: Option<MemberId>) -> String {
    leader.map_or_else(
        || "nobody does at present".to_owned(),
        |leader| format!("ask member {leader}"),
    )
}

impl ConsensusModule {
    /// Leader: hands its leadership over from now on, to `to` if somebody is named. Until that has
    /// come to an end its agent appends nothing more.
    ///
    /// # Errors
    /// Why it does not.
    pub fn begin_hand_over(
        &mut self,
        now: Nanos,
        to: Option<MemberId>,
    ) -> Result<(), HandOverRefusal> {
        if self.is_halted {
            return Err(HandOverRefusal::Stopped);
        }
        if self.role != Role::Leader {
            let leader = self.leader();
            return Err(HandOverRefusal::NotLeading { leader });
        }
        self.check_target(now, to)?;
        if self.leading.handing_over.is_some() {
            return Err(HandOverRefusal::UnderWay);
        }
        let is_open = self
            .leading
            .entry_end
            .is_some_and(|end| self.applied >= end);
        if !is_open {
            return Err(HandOverRefusal::NotOpen);
        }
        self.leading.handing_over = Some(HandingOver {
            since: now,
            named: to,
            told: None,
            tried: 0,
            repeat_at: now,
        });
        Ok(())
    }

    /// Whether this leader hands over: it appends nothing then.
    #[must_use]
    pub const fn is_handing_over(&self) -> bool {
        self.leading.handing_over.is_some()
    }

    /// This member is about to end: it stands no more, and is nobody to hand over to.
    pub const fn set_leaving(&mut self) {
        self.is_leaving = true;
    }

    /// Members that this leader has told to stand in its term, one bit each: the simulator's
    /// question.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn told_to_stand(&self) -> u8 {
        self.leading.told
    }

    /// Until when a leader that was heard counts as heard: the simulator's question.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn hears_leader_until(&self) -> Option<Nanos> {
        let heard = self.election.leader_heard?;
        Some(heard + self.config.election_timeout_ns)
    }

    /// Breaks E4 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn take_any_token(&mut self) {
        self.takes_any_token = true;
    }

    fn check_target(&self, now: Nanos, to: Option<MemberId>) -> Result<(), HandOverRefusal> {
        let members = self.config.members;
        let Some(member) = to else {
            let mut others = (0..members as MemberId).filter(|id| self.may_take_over(now, *id));
            return others.next().map(|_| ()).ok_or(HandOverRefusal::Alone);
        };
        if usize::from(member) >= members {
            Err(HandOverRefusal::Unknown { member, members })
        } else if member == self.config.member {
            Err(HandOverRefusal::ToItself { member })
        } else if !self.may_take_over(now, member) {
            Err(HandOverRefusal::Unfit { member })
        } else {
            Ok(())
        }
    }

    /// Whether `member` is another one that is heard, counts, and has the same log.
    fn may_take_over(&self, now: Nanos, member: MemberId) -> bool {
        let follower = &self.leading.followers[usize::from(member)];
        member != self.config.member
            && self.is_voter(member)
            && follower.differs_at.is_none()
            && now - follower.heard < self.config.election_timeout_ns
    }

    /// Of those that may take over and have all of the log, the one that was heard last.
    fn best_target(&self, now: Nanos, under_way: &HandingOver) -> Option<MemberId> {
        let members = 0..self.config.members as MemberId;
        let is_asked = |id: &MemberId| under_way.named.is_none_or(|named| named == *id);
        members
            .filter(|id| is_asked(id) && under_way.tried >> *id & 1 == 0)
            .filter(|id| self.may_take_over(now, *id) && self.has_all(*id))
            .max_by_key(|id| self.leading.followers[usize::from(*id)].heard)
    }

    fn has_all(&self, member: MemberId) -> bool {
        let follower: &Follower = &self.leading.followers[usize::from(member)];
        follower.durable == self.log.append
    }

    /// Goes on with a hand-over, until an election timeout after it began: then it has come to
    /// nothing, and the leader goes on to lead.
    pub(super) fn tick_hand_over(&mut self, now: Nanos, actions: &mut Actions) {
        let Some(mut under_way) = self.leading.handing_over else {
            return;
        };
        if now - under_way.since >= self.config.election_timeout_ns {
            sometimes(Mark::HandOverGivenUp);
            self.leading.handing_over = None;
            let to = under_way.named;
            actions.push(Action::HandOverFailed { to });
            return;
        }
        if now < self.answered_by(&under_way) {
            return;
        }
        let until = self.told_until(&under_way);
        let is_over = |(member, _): (MemberId, Nanos)| now >= until || !self.has_all(member);
        if let Some((member, _)) = under_way.told.filter(|told| is_over(*told)) {
            under_way.tried |= 1 << member;
            under_way.told = None;
        }
        if under_way.told.is_none() {
            self.choose_target(now, &mut under_way);
        }
        if let Some((to, _)) = under_way.told
            && now >= under_way.repeat_at
        {
            under_way.repeat_at = now + self.config.heartbeat_interval_ns / TELLINGS_PER_HEARTBEAT;
            self.tell_to_stand(to, actions);
        }
        self.leading.handing_over = Some(under_way);
    }

    /// The next that has everything; once all have been told in vain, it begins again.
    fn choose_target(&self, now: Nanos, under_way: &mut HandingOver) {
        let mut target = self.best_target(now, under_way);
        if target.is_some() && under_way.tried != 0 {
            sometimes(Mark::HandOverGoesOn);
        }
        if target.is_none() && under_way.tried != 0 {
            under_way.tried = 0;
            target = self.best_target(now, under_way);
        }
        if target.is_none() {
            sometimes(Mark::HandOverWaitsForLog);
        }
        under_way.told = target.map(|member| (member, now));
        under_way.repeat_at = now;
    }

    fn tell_to_stand(&mut self, to: MemberId, actions: &mut Actions) {
        self.leading.told |= 1 << to;
        let message = MemberMessage::StandNow {
            term: self.vote.term(),
            position: self.log.append,
        };
        actions.push(Action::Send { to, message });
    }

    /// Before that nobody is told while something of the log is yet to be applied here: what
    /// leaves at apply leaves once. A service that is slow, or hangs, is not waited for any longer.
    fn answered_by(&self, under_way: &HandingOver) -> Nanos {
        if self.applied < self.log.append {
            under_way.since + self.config.heartbeat_interval_ns
        } else {
            under_way.since
        }
    }

    fn told_until(&self, under_way: &HandingOver) -> Nanos {
        under_way.told.map_or(Nanos::MAX, |(_, since)| {
            since + self.config.election_timeout_ns / TARGETS_PER_TIMEOUT
        })
    }

    /// When it goes on by itself. What else it waits for is news of a follower.
    pub(super) fn hand_over_deadline(&self) -> Nanos {
        let Some(under_way) = &self.leading.handing_over else {
            return Nanos::MAX;
        };
        let end = under_way.since + self.config.election_timeout_ns;
        match under_way.told {
            Some(_) => end.min(under_way.repeat_at.min(self.told_until(under_way))),
            // Looked at again with each heartbeat, for a service that is not waited for any longer.
            None => end.min(self.leading.heartbeat_at),
        }
    }

    /// Leader: `member` will not stand. That is no answer to anything else that matters here.
    pub(super) fn on_stand_refused(&mut self, member: MemberId) {
        if let Some(under_way) = &mut self.leading.handing_over
            && under_way.told.is_some_and(|(told, _)| told == member)
        {
            sometimes(Mark::StandingRefused);
            under_way.tried |= 1 << member;
            under_way.told = None;
        }
    }

    /// `from`, which leads `term`, hands over to this member: its log ends at `position`.
    pub(super) fn on_stand_now(
        &mut self,
        now: Nanos,
        from: MemberId,
        term: LeadershipTermId,
        position: Position,
        actions: &mut Actions,
    ) {
        if !self.hear(now, from, term, actions) {
            return;
        }
        let is_persisted = self.vote.is_persisted();
        if !self.may_stand() {
            if is_persisted {
                let granted = false;
                let message = MemberMessage::Vote { term, granted };
                actions.push(Action::Send { to: from, message });
            }
            return;
        }
        let has_all = self.is_joined() && self.log.is_drained() && self.log.append == position;
        if !has_all || !is_persisted {
            // It is told again, unless its leader has gone on.
            sometimes(Mark::StandNowOutdated);
            return;
        }
        sometimes(Mark::StandsForLeader);
        self.election.leader_heard = None;
        self.leave_leader(actions);
        self.begin_candidacy(now, actions);
        self.election.handed_over = term;
    }

    /// Whether a vote for `from` is one that the leader that is heard has asked for: it is of the
    /// present term, and it told `from` to stand. A candidate that could not have the vote is not
    /// helped to depose anybody.
    pub(super) fn is_handed_over(
        &mut self,
        from: MemberId,
        (term, handed_over): (LeadershipTermId, LeadershipTermId),
        candidate: LogEnd,
    ) -> bool {
        #[cfg(feature = "sim")]
        if self.takes_any_token && self.role == Role::Follower && term > self.vote.term() {
            return self.is_up_to_date(candidate);
        }
        let is_told = handed_over > LeadershipTermId::NONE;
        let is_of_present = is_told && handed_over == self.vote.term() && term > handed_over;
        if is_of_present && self.role == Role::Leader && self.leading.told >> from & 1 == 0 {
            self.oddities.note(Oddity::UntoldStanding, from);
            return false;
        }
        is_of_present && self.is_up_to_date(candidate)
    }
}
