//! The pure heart of a member: elections, joining a leader, the commit rule (`log.md` 3, 4).
//!
//! A state machine over positions. The node agent (or the core tank) feeds it [`Event`]s with
//! the time and carries out its [`Action`]s in order; durable steps are two events. It never
//! sees bytes, clocks or sockets, and allocates only when a term enters a list of terms.
//!
//! What the agent must keep: bytes not reported by `Appended` when `StopPlacing`, `Truncate` or
//! `Abdicate` is carried out are not part of the log; several `PersistState` may be
//! outstanding and become durable in order, a later one may replace an earlier one that has
//! not begun. Invariants are asserted under their names in `rules.md`, in release too.

mod commit;
mod election;
mod election_state;
mod follower;
mod follower_state;
mod hand_over;
mod inbound;
mod leader;
mod leader_state;
mod log_state;
mod node_vote;
mod oddities;
mod own_log;
mod patience;
mod role_marks;

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::Nanos;

use self::election_state::Election;
use self::follower_state::Following;
use self::leader_state::Leading;
use self::log_state::LogState;
use self::node_vote::NodeVote;
use self::oddities::Oddities;
use crate::module::action::{Action, Actions, HaltReason};
use crate::module::event::Event;
use crate::module::leadership_term::{TermHistory, term_at};
use crate::module::member::{MEMBERS_MAX, MemberId, TermBase};
use crate::module::membership::Standing;
use crate::protocol::message::MemberMessage;

pub use self::hand_over::HandOverRefusal;
pub use self::oddities::Oddity;

/// What the module needs to know of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This member.
    pub member: MemberId,
    /// How many members there are, 1 to [`MEMBERS_MAX`].
    pub members: usize,
    /// Interval of heartbeats and of repeated messages.
    pub heartbeat_interval_ns: Nanos,
    /// Silence after which an election begins, randomised up to twice this; also how long a
    /// leader goes on without hearing a quorum.
    pub election_timeout_ns: Nanos,
}

/// What a member found on its disk when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Durable term.
    pub term: LeadershipTermId,
    /// Durable vote in it.
    pub vote: Option<MemberId>,
    /// How often this member has started, this start included.
    pub incarnation: u64,
    /// The NewLeadershipTerm entries of the log.
    pub terms: Vec<TermBase>,
    /// End of the log, all of it durable.
    pub durable: Position,
    /// What it acknowledged although its log no longer shows it.
    pub lost: Option<LostAcks>,
    /// How far its log was known to be committed (`log.md` 9.3).
    pub commit_floor: Position,
}

/// What a member is at the moment. The number is its counter value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Follows a leader, or waits for one to be heard.
    Follower = 0,
    /// Asks whether it would be elected; nothing durable changes.
    PreCandidate = 1,
    /// Stands for election in its own term.
    Candidate = 2,
    /// Leads its term.
    Leader = 3,
}

/// The consensus state machine of one member.
#[derive(Debug)]
pub struct ConsensusModule {
    config: ConsensusConfig,
    vote: NodeVote,
    log: LogState,
    lost: Option<LostAcks>,
    commit_floor: Position,
    commit: Position,
    applied: Position,
    role: Role,
    election: Election,
    following: Following,
    leading: Leading,
    /// Whether this member may act.
    standing: Standing,
    /// It could not give clients all that they are owed.
    lacks_answers: bool,
    /// It is about to end: nobody is to lead that does not stay.
    is_leaving: bool,
    #[cfg(feature = "sim")]
    takes_any_token: bool,
    /// Members whose directories count, one bit each.
    voters: u8,
    /// Greatest incarnation heard of each member; older datagrams are dropped.
    incarnations: [u64; MEMBERS_MAX],
    prng: Prng,
    oddities: Oddities,
    /// Times that it stood.
    elections: u64,
    is_started: bool,
    is_halted: bool,
}

impl ConsensusModule {
    /// A member that has just started. `seed` feeds its randomised timeouts only.
    ///
    /// # Panics
    /// If the configuration or what was recovered contradicts itself (invariant E5).
    #[must_use]
    pub fn new(config: ConsensusConfig, recovered: Recovered, seed: u64) -> Self {
        assert!(
            (1..=MEMBERS_MAX).contains(&config.members)
                && usize::from(config.member) < config.members,
            "member {} of {}",
            config.member,
            config.members
        );
        let history = TermHistory::recovered(recovered.terms);
        let newest = history.terms().last().copied();
        invariant!(
            RecoveredTermsBelowEnd,
            newest.is_none_or(|newest| newest.base < recovered.durable)
                && newest.is_some() == (recovered.durable > 0),
            "E5: a log of {} bytes whose newest term is {newest:?}",
            recovered.durable
        );
        // The log may be of a term that node state never heard of only if that term's vote was
        // not this member's (it is persisted before it leaves): no vote is lost.
        let vote = if history.newest() > recovered.term {
            NodeVote::recovered(history.newest(), None)
        } else {
            NodeVote::recovered(recovered.term, recovered.vote)
        };
        let mut incarnations = [0; MEMBERS_MAX];
        incarnations[usize::from(config.member)] = recovered.incarnation;
        Self {
            config,
            vote,
            log: LogState {
                append: recovered.durable,
                durable: recovered.durable,
                history,
                checkpoint: (0, 0),
                truncating: None,
            },
            lost: recovered.lost,
            commit_floor: recovered.commit_floor,
            commit: 0,
            applied: 0,
            role: Role::Follower,
            election: Election::default(),
            following: Following::default(),
            leading: Leading::default(),
            standing: Standing::Voter,
            lacks_answers: false,
            is_leaving: false,
            #[cfg(feature = "sim")]
            takes_any_token: false,
            voters: u8::MAX,
            incarnations,
            prng: Prng::new(seed),
            oddities: Oddities::default(),
            elections: 0,
            is_started: false,
            is_halted: false,
        }
    }

    /// A snapshot stands for the log below `position`, before anything has happened: it is
    /// committed and applied (`log.md` 8.5).
    ///
    /// # Panics
    /// When the log ends below.
    pub(crate) fn begin_at(&mut self, position: Position) {
        invariant!(
            SnapshotWithinLog,
            !self.is_started && position <= self.log.durable,
            "C4: begun at {position}, and the log ends at {}",
            self.log.durable
        );
        self.commit = position;
        self.applied = position;
    }

    /// One kind of what members said that cannot be, who said it last, and how often any did since
    /// it was last taken.
    pub fn take_oddity(&mut self) -> Option<(Oddity, MemberId, u64)> {
        self.oddities.take()
    }

    /// Something happened.
    pub fn on_event(&mut self, now: Nanos, event: Event, actions: &mut Actions) {
        if self.is_halted {
            return;
        }
        self.start(now, actions);
        match event {
            Event::Message {
                from,
                incarnation,
                message,
            } => self.on_message(now, from, incarnation, message, actions),
            Event::StatePersisted { term, vote } => {
                let was_persisted = self.vote.is_persisted();
                self.vote.on_persisted(term, vote);
                if !was_persisted && self.vote.is_persisted() {
                    self.on_vote_durable(now, actions);
                }
            }
            Event::Appended { position } => self.on_appended(now, position, actions),
            Event::Durable {
                position,
                checkpoint,
            } => self.on_durable(now, position, checkpoint, actions),
            Event::TermEntry { term, base, end } => {
                self.on_term_entry(TermBase { term, base }, end)
            }
            Event::LeaderCommit { term, position } => {
                if term == self.vote.term() && self.role != Role::Leader {
                    self.learn_commit(position, actions);
                }
            }
            Event::LogHeard => self.on_log_heard(now, actions),
            Event::LogHashed {
                member,
                position,
                hash,
            } => {
                if member == self.config.member {
                    self.on_own_log_hashed(now, position, hash, actions);
                } else {
                    self.on_log_hashed(member, position, hash, actions);
                }
            }
            Event::LogRefused => self.on_log_refused(now, actions),
            Event::Truncated { position } => self.on_truncated(now, position, actions),
            Event::Applied { position } => {
                invariant!(
                    AppliedBelowCommit,
                    position <= self.commit,
                    "C4: applied {position}"
                );
                self.applied = self.applied.max(position);
            }
            Event::Diverged { cause, agreed } => {
                self.halt(HaltReason::Diverged { cause, agreed }, actions);
            }
            Event::StorageFailed => self.halt(HaltReason::StorageFailed, actions),
        }
    }

    /// What this member may do from now on. Until told otherwise it counts.
    pub(crate) fn set_standing(&mut self, now: Nanos, standing: Standing, actions: &mut Actions) {
        if self.is_halted || std::mem::replace(&mut self.standing, standing) == standing {
            return;
        }
        self.start(now, actions);
        if standing == Standing::Voter {
            self.report_durable(now, actions);
        } else if self.role != Role::Follower {
            self.leave_role(now, actions);
        }
    }

    /// Whether clients are owed answers that this member's log may not have (`log.md` 8.8): it does
    /// not stand then.
    pub(crate) const fn set_lacks_answers(&mut self, lacks_answers: bool) {
        self.lacks_answers = lacks_answers;
    }

    /// Whether that is so, as far as is known.
    #[must_use]
    pub(crate) const fn lacks_answers(&self) -> bool {
        self.lacks_answers
    }

    /// Whether the directory that `member` runs on counts. Until told otherwise it does.
    pub fn set_voter(&mut self, member: MemberId, is_voter: bool) {
        let bit = 1 << member;
        self.voters = if is_voter {
            self.voters | bit
        } else {
            self.voters & !bit
        };
    }

    const fn is_voter(&self, member: MemberId) -> bool {
        self.voters >> member & 1 == 1
    }

    /// Lets time pass: elections, heartbeats, repeated messages. Call it once per duty cycle.
    pub fn tick(&mut self, now: Nanos, actions: &mut Actions) {
        if self.is_halted {
            return;
        }
        self.start(now, actions);
        if self.role == Role::Leader {
            self.tick_leader(now, actions);
        } else {
            self.tick_election(now, actions);
            self.tick_follower(now, actions);
        }
    }

    /// When `tick` has something to do next; 0 means at once.
    #[must_use]
    pub fn next_deadline(&self) -> Nanos {
        if self.is_halted {
            Nanos::MAX
        } else if !self.is_started {
            0
        } else if self.role == Role::Leader {
            self.leader_deadline()
        } else {
            self.election_deadline().min(self.follower_deadline())
        }
    }

    /// Interval of heartbeats.
    #[must_use]
    pub const fn heartbeat_interval_ns(&self) -> Nanos {
        self.config.heartbeat_interval_ns
    }

    /// Silence after which a member counts as gone.
    #[must_use]
    pub const fn election_timeout_ns(&self) -> Nanos {
        self.config.election_timeout_ns
    }

    /// What this member is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The present leadership term, 0 before the first.
    #[must_use]
    pub const fn term(&self) -> LeadershipTermId {
        self.vote.term()
    }

    /// How often this member has stood for election since it started.
    #[must_use]
    pub const fn elections(&self) -> u64 {
        self.elections
    }

    /// Whom this member leads or follows as.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        match self.role {
            Role::Leader => Some(self.config.member),
            Role::Follower => self.following.leader(),
            Role::PreCandidate | Role::Candidate => None,
        }
    }

    /// How far the log is committed, as far as this member knows.
    #[must_use]
    pub const fn commit(&self) -> Position {
        self.commit
    }

    /// Leadership term of the last durable frame, 0 for an empty log.
    #[must_use]
    pub fn log_term(&self) -> LeadershipTermId {
        self.log.term()
    }

    /// Whether frames of the followed leader are accepted.
    #[must_use]
    pub fn is_placing(&self) -> bool {
        self.following.is_placing()
    }

    /// The terms of this member's own log, up to its end in memory.
    #[must_use]
    pub fn terms(&self) -> &[TermBase] {
        self.log.history.terms()
    }

    /// The list of the followed leader, whose frames must fit it.
    #[must_use]
    pub(crate) fn followed_terms(&self) -> &[TermBase] {
        self.following.leader_terms()
    }

    /// The term that a frame at `position` must carry, while frames are accepted at all.
    #[must_use]
    pub fn leader_term_at(&self, position: Position) -> Option<LeadershipTermId> {
        if !self.following.is_placing() {
            return None;
        }
        term_at(self.following.leader_terms(), position)
    }

    /// Leader: where its NewLeadershipTerm entry ends, once it is in the log.
    #[must_use]
    pub fn term_entry_end(&self) -> Option<Position> {
        if self.role == Role::Leader {
            self.leading.term_entry_end()
        } else {
            None
        }
    }

    /// Leader: how far `member`'s log is known to be durable in this term; 0 if not at all.
    #[must_use]
    pub fn match_position(&self, member: MemberId) -> Position {
        if self.role != Role::Leader || usize::from(member) >= self.config.members {
            0
        } else if member == self.config.member {
            self.log.durable
        } else {
            self.leading.match_position(member)
        }
    }

    /// Whether this member has halted for good.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// What this member acknowledged and its log does not show, until that is repaired.
    #[must_use]
    pub const fn lost(&self) -> Option<LostAcks> {
        self.lost
    }

    /// Whether something that this member acknowledged is missing from its log; such a member
    /// does not stand for election.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.lost.is_some()
    }

    /// The first call tells the time: a member just started waits for a leader to be heard, and
    /// must not help to depose one it has not had time to hear (LV3).
    fn start(&mut self, now: Nanos, actions: &mut Actions) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.election.hear_leader(now);
        self.reset_election_deadline(now);
        if self.config.members == 1 {
            self.election.expire(now);
        }
        self.go_on_to_commit_floor(actions);
    }

    /// What was known to be committed in an earlier life is: it is applied again at once, not
    /// when a leader has said so (`log.md` 4.4). A damaged log is not what it was.
    fn go_on_to_commit_floor(&mut self, actions: &mut Actions) {
        let known = self.commit_floor.min(self.log.durable);
        if known > self.commit && self.lost.is_none() {
            sometimes(Mark::CommitFloorUsed);
            self.raise_commit(known, actions);
        }
    }

    /// Enters a greater term as a follower that knows no leader yet.
    fn enter_term(
        &mut self,
        now: Nanos,
        term: LeadershipTermId,
        vote: Option<MemberId>,
        actions: &mut Actions,
    ) {
        self.leave_role(now, actions);
        self.leave_leader(actions);
        self.vote.enter(term, vote);
        self.note_persisting(now);
        actions.push(Action::PersistState { term, vote });
    }

    /// Becomes a follower. Term and vote stay (E2).
    fn leave_role(&mut self, now: Nanos, actions: &mut Actions) {
        if self.role == Role::Leader {
            self.leading = Leading::default();
            actions.push(Action::Abdicate);
            self.reset_election_deadline(now);
        }
        self.role = Role::Follower;
        self.election.end_round();
    }

    /// Accepts nothing more from the leader followed so far.
    fn leave_leader(&mut self, actions: &mut Actions) {
        if self.following.is_placing() {
            actions.push(Action::StopPlacing);
        }
        self.following.leave();
    }

    /// The only way in which the commit position changes.
    fn raise_commit(&mut self, position: Position, actions: &mut Actions) {
        invariant!(
            CommitRises,
            position > self.commit,
            "C2: commit {} taken back to {position}",
            self.commit
        );
        self.commit = position;
        actions.push(Action::Commit { position });
    }

    fn halt(&mut self, reason: HaltReason, actions: &mut Actions) {
        if self.role == Role::Leader {
            actions.push(Action::Abdicate);
        }
        self.leave_leader(actions);
        self.leading = Leading::default();
        self.role = Role::Follower;
        self.is_halted = true;
        actions.push(Action::Halt { reason });
    }

    fn send_to_others(&self, message: MemberMessage, actions: &mut Actions) {
        for index in 0..self.config.members {
            if index != usize::from(self.config.member) {
                let to = index as MemberId;
                actions.push(Action::Send { to, message });
            }
        }
    }

    const fn quorum(&self) -> usize {
        commit::quorum(self.config.members)
    }
}
