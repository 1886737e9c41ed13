//! One module, driven by hand.

use lockstep_consensus::module::action::{Action, Actions};
use lockstep_consensus::module::consensus_module::{
    ConsensusConfig, ConsensusModule, Recovered, Role,
};
use lockstep_consensus::module::event::{Event, LogHash};
use lockstep_consensus::module::member::{MemberId, TermBase};
use lockstep_consensus::module::output_agreement::OutputAt;
use lockstep_consensus::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// Heartbeat interval of modules under test.
pub const HEARTBEAT: Nanos = 50 * MILLISECOND;

/// Election timeout of modules under test.
pub const TIMEOUT: Nanos = 500 * MILLISECOND;

/// Length of the NewLeadershipTerm entries written here.
pub const ENTRY: Position = 96;

/// Terms as (term, base).
pub type Terms<'a> = &'a [(i64, Position)];

/// A list of terms.
pub fn list(terms: Terms<'_>) -> Vec<TermBase> {
    let entry = |&(term, base)| TermBase {
        term: LeadershipTermId::new(term),
        base,
    };
    terms.iter().map(entry).collect()
}

/// What a member with this log finds on its disk. Its term is that of its log.
pub fn recovered(terms: Terms<'_>, durable: Position) -> Recovered {
    let log_term = terms.last().map_or(0, |newest| newest.0);
    Recovered {
        term: LeadershipTermId::new(log_term),
        vote: None,
        incarnation: 1,
        terms: list(terms),
        durable,
        lost: None,
        commit_floor: 0,
    }
}

/// A page that holds a whole list.
pub fn page(terms: Terms<'_>) -> TermPage {
    let mut page = TermPage {
        page: 0,
        pages: 1,
        count: terms.len() as u32,
        terms: [TermBase {
            term: LeadershipTermId::NONE,
            base: 0,
        }; JOIN_PAGE_TERMS],
    };
    page.terms[..terms.len()].copy_from_slice(&list(terms));
    page
}

/// A module, the time, and what the other members' incarnations are.
pub struct Driven {
    pub module: ConsensusModule,
    pub now: Nanos,
    actions: Actions,
    incarnations: [u64; 7],
    /// Whether all logs are the same as far as they reach: comparisons are answered here, and
    /// tests do not see them.
    pub is_agreeing: bool,
}

impl Driven {
    /// Member `member` of `members`, started at one second.
    pub fn new(member: MemberId, members: usize, recovered: Recovered) -> Self {
        let config = ConsensusConfig {
            member,
            members,
            heartbeat_interval_ns: HEARTBEAT,
            election_timeout_ns: TIMEOUT,
        };
        let mut driven = Self {
            module: ConsensusModule::new(config, recovered, 7),
            now: SECOND,
            actions: Actions::default(),
            incarnations: [1; 7],
            is_agreeing: true,
        };
        assert_eq!(driven.module.next_deadline(), 0);
        if members > 1 {
            // What it knows to be committed it goes on to at once.
            let is_commit = |action: &Action| matches!(action, Action::Commit { .. });
            assert!(driven.tick().iter().all(is_commit));
        }
        driven
    }

    /// Member 0 of three that has been silent for so long that it grants votes, with a deadline
    /// of its own that is still to come.
    pub fn voter(recovered: Recovered) -> Self {
        let mut driven = Self::new(0, 3, recovered);
        driven.now += TIMEOUT;
        assert!(driven.module.next_deadline() > driven.now);
        driven
    }

    /// Member 0 of `members`, elected in the term after its log's, its first entry not in the
    /// log yet.
    pub fn elected(members: usize, recovered: Recovered) -> Self {
        let mut driven = Self::new(0, members, recovered);
        driven.stand();
        let term = driven.module.term();
        for member in 1..=(members / 2) as MemberId {
            let granted = true;
            driven.receive(member, MemberMessage::Vote { term, granted });
        }
        assert_eq!(driven.module.role(), Role::Leader);
        driven
    }

    /// As `elected`, with its first entry in the log.
    pub fn leader(members: usize, recovered: Recovered) -> Self {
        let base = recovered.durable;
        let mut driven = Self::elected(members, recovered);
        let term = driven.module.term();
        let end = base + ENTRY;
        driven.event(Event::TermEntry { term, base, end });
        driven.event(Event::Appended { position: end });
        driven
    }

    /// Waits for the election timeout and wins the pre-vote and its own vote.
    pub fn stand(&mut self) {
        self.pass_deadline();
        let term = self.module.term().next();
        for member in 1..=3 {
            let granted = true;
            self.receive(member, MemberMessage::PreVote { term, granted });
        }
        assert_eq!(self.module.role(), Role::Candidate);
        let vote = Some(0);
        self.event(Event::StatePersisted { term, vote });
    }

    /// Time moves to the next deadline of an election.
    pub fn pass_deadline(&mut self) -> Vec<Action> {
        self.now = self.module.next_deadline();
        self.tick()
    }

    /// Time moves on.
    pub fn wait(&mut self, time: Nanos) -> Vec<Action> {
        self.now += time;
        self.tick()
    }

    pub fn tick(&mut self) -> Vec<Action> {
        self.module.tick(self.now, &mut self.actions);
        self.take()
    }

    pub fn event(&mut self, event: Event) -> Vec<Action> {
        self.module.on_event(self.now, event, &mut self.actions);
        let actions = self.take();
        if self.is_agreeing {
            self.agree(actions)
        } else {
            actions
        }
    }

    /// Answers what asks whether logs are the same.
    fn agree(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut left = Vec::new();
        for action in actions {
            let caused = match action {
                Action::HashLog { member, position } => self.event(Event::LogHashed {
                    member,
                    position,
                    hash: LogHash::Is(position as u64),
                }),
                Action::Send {
                    to,
                    message:
                        MemberMessage::JoinCheck {
                            term,
                            position,
                            hash,
                        },
                } => self.receive(
                    to,
                    MemberMessage::JoinVerdict {
                        term,
                        position,
                        hash,
                    },
                ),
                other => vec![other],
            };
            left.extend(caused);
        }
        left
    }

    pub fn receive(&mut self, from: MemberId, message: MemberMessage) -> Vec<Action> {
        let incarnation = self.incarnations[usize::from(from)];
        if let MemberMessage::JoinStart { term, position, .. } = message
            && self.is_agreeing
        {
            let hash = Some(position as u64);
            self.event(Event::Message {
                from,
                incarnation,
                message: MemberMessage::JoinCheck {
                    term,
                    position,
                    hash,
                },
            });
        }
        self.event(Event::Message {
            from,
            incarnation,
            message,
        })
    }

    /// `member` restarts: what it sends from now on is of a new incarnation.
    pub fn restart(&mut self, member: MemberId) {
        self.incarnations[usize::from(member)] += 1;
    }

    /// The log is durable up to `position`.
    pub fn durable(&mut self, position: Position) -> Vec<Action> {
        let checkpoint = (0, 0);
        self.event(Event::Durable {
            position,
            checkpoint,
        })
    }

    /// `member` has `durable` durable in `term`.
    pub fn acknowledge(&mut self, member: MemberId, term: i64, durable: Position) -> Vec<Action> {
        self.receive(member, append_position(term, durable))
    }

    fn take(&mut self) -> Vec<Action> {
        let actions = self.actions.as_slice().to_vec();
        self.actions.clear();
        actions
    }
}

/// An AppendPosition without a checkpoint.
pub fn append_position(term: i64, durable: Position) -> MemberMessage {
    MemberMessage::AppendPosition {
        term: LeadershipTermId::new(term),
        durable,
        checkpoint: 0,
        checkpoint_hash: 0,
        output: OutputAt::default(),
    }
}

pub fn send(to: MemberId, message: MemberMessage) -> Action {
    Action::Send { to, message }
}

pub fn persist(term: i64, vote: Option<MemberId>) -> Action {
    Action::PersistState {
        term: LeadershipTermId::new(term),
        vote,
    }
}

pub fn persisted(term: i64, vote: Option<MemberId>) -> Event {
    Event::StatePersisted {
        term: LeadershipTermId::new(term),
        vote,
    }
}

pub fn heartbeat(term: i64, position: Position) -> MemberMessage {
    MemberMessage::CommitPosition {
        term: LeadershipTermId::new(term),
        position,
        durable: 0,
    }
}

pub fn vote(term: i64, granted: bool) -> MemberMessage {
    MemberMessage::Vote {
        term: LeadershipTermId::new(term),
        granted,
    }
}

pub fn pre_vote(term: i64, granted: bool) -> MemberMessage {
    MemberMessage::PreVote {
        term: LeadershipTermId::new(term),
        granted,
    }
}

pub fn vote_request(term: i64, log_term: i64, position: Position) -> MemberMessage {
    handed_vote_request(term, log_term, position, 0)
}

/// As `vote_request`, of a member that the leader of term `handed_over` told to stand.
pub fn handed_vote_request(
    term: i64,
    log_term: i64,
    position: Position,
    handed_over: i64,
) -> MemberMessage {
    MemberMessage::VoteRequest {
        term: LeadershipTermId::new(term),
        log_term: LeadershipTermId::new(log_term),
        position,
        handed_over: LeadershipTermId::new(handed_over),
    }
}

pub fn stand_now(term: i64, position: Position) -> MemberMessage {
    MemberMessage::StandNow {
        term: LeadershipTermId::new(term),
        position,
    }
}

pub fn pre_vote_request(term: i64, log_term: i64, position: Position) -> MemberMessage {
    MemberMessage::PreVoteRequest {
        term: LeadershipTermId::new(term),
        log_term: LeadershipTermId::new(log_term),
        position,
    }
}

pub fn join_reply(term: i64, terms: Terms<'_>) -> MemberMessage {
    MemberMessage::JoinReply {
        term: LeadershipTermId::new(term),
        commit: 0,
        end: 1 << 20,
        page: page(terms),
    }
}
