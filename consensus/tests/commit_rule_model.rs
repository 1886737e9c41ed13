//! Exhaustive model of elections and the commit rule (`log.md` 3, 4): every schedule of three
//! members, up to three terms and two entries, with crashes, lost tails and lost votes.
//!
//! The rules this crate implements hold in every state; each rule left out loses a committed
//! entry, or takes for committed what is not, in a known smallest number of steps. Abstract: no
//! snapshots, no change of members (`membership_model` has that), no reordering of messages; an
//! election is one step that takes one voter. What a member learns of commit is durable at once:
//! no start finds more.

mod visited;

use self::visited::Visited;

/// Members of the model.
const MEMBERS: usize = 3;
/// Most entries of a log.
const ENTRIES_MAX: usize = 2;
/// A member that has joined nobody.
const NOBODY: u8 = 3;

/// Which rules are in force.
#[derive(Clone, Copy)]
struct Rules {
    /// Any position a member ever reported counts (model B).
    counts_any_report: bool,
    /// A joined member counts before its log has the leader's term (model C).
    counts_joined: bool,
    /// Term and vote survive a crash.
    is_vote_durable: bool,
    /// Every entry is durable at once.
    is_log_durable: bool,
    /// Entries are acknowledged before they are durable (models E, H).
    acks_unsynced: bool,
    /// A term is recorded, and stood with, only above a durable log.
    records_after_sync: bool,
    /// What a member takes a leader's word for about commit.
    learns: Learns,
    terms_max: u8,
}

/// What a member learns of commit, keeps, and goes on to when it starts (`log.md` 4.4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Learns {
    /// Nothing: a start waits for a leader.
    Nothing,
    /// What a leader says whose term its own log has come to (C3).
    OfOwnTerm,
    /// What any leader says that it hears.
    Anything,
}

const SAFE: Rules = Rules {
    counts_any_report: false,
    counts_joined: false,
    is_vote_durable: true,
    is_log_durable: true,
    acks_unsynced: false,
    records_after_sync: false,
    learns: Learns::Nothing,
    terms_max: 4,
};

/// The rules of this crate, over disks that lose what is not synced.
const SAFE_WITH_SYNC: Rules = Rules {
    is_log_durable: false,
    records_after_sync: true,
    terms_max: 3,
    ..SAFE
};

/// Entries in order; an entry is (term, leader) in four bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Entries {
    items: [u8; ENTRIES_MAX],
    count: u8,
}

impl Entries {
    fn length(&self) -> usize {
        usize::from(self.count)
    }

    fn push(&mut self, entry: u8) {
        self.items[self.length()] = entry;
        self.count += 1;
    }

    fn truncate(&mut self, length: usize) {
        for item in &mut self.items[length.min(ENTRIES_MAX)..] {
            *item = 0;
        }
        self.count = self.count.min(length as u8);
    }

    fn common_prefix(&self, other: &Self) -> usize {
        let shorter = self.length().min(other.length());
        let pairs = self.items.iter().zip(&other.items).take(shorter);
        pairs.take_while(|(a, b)| a == b).count()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Member {
    is_up: bool,
    term: u8,
    durable_term: u8,
    log_term: u8,
    log: Entries,
    durable: u8,
    is_leader: bool,
    base: u8,
    joined: u8,
    reported: [u8; MEMBERS],
    known_commit: u8,
}

impl Member {
    fn leave(&mut self) {
        self.is_leader = false;
        self.joined = NOBODY;
        self.reported = [0; MEMBERS];
    }

    fn reports(&self, rules: &Rules) -> u8 {
        if rules.acks_unsynced || rules.is_log_durable {
            self.log.count
        } else {
            self.durable
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct State {
    members: [Member; MEMBERS],
    committed: Entries,
}

impl State {
    /// All of the state in 128 bits, as the key of the visited set.
    fn pack(&self) -> u128 {
        let mut key = 0;
        let mut put = |value: u8, bits: u32| key = key << bits | u128::from(value);
        let put_entries = |entries: &Entries, put: &mut dyn FnMut(u8, u32)| {
            entries.items.iter().for_each(|item| put(*item, 5));
            put(entries.count, 2);
        };
        for member in &self.members {
            put(u8::from(member.is_up), 1);
            put(u8::from(member.is_leader), 1);
            for term in [member.term, member.durable_term, member.log_term] {
                put(term, 3);
            }
            put_entries(&member.log, &mut put);
            for length in [
                member.durable,
                member.base,
                member.joined,
                member.known_commit,
            ] {
                put(length, 2);
            }
            member
                .reported
                .iter()
                .for_each(|position| put(*position, 2));
        }
        put_entries(&self.committed, &mut put);
        key
    }
}

/// The states one step away, and whether a step broke the promise: what is committed is lost to a
/// leader, or a member takes for committed what is not.
struct Successors {
    states: Vec<State>,
    is_broken: bool,
}

impl Successors {
    fn add(&mut self, mut state: State, change: impl FnOnce(&mut State)) {
        change(&mut state);
        self.states.push(state);
    }

    fn collect(&mut self, state: &State, rules: &Rules) {
        self.states.clear();
        for id in 0..MEMBERS {
            self.crash_or_restart(state, rules, id);
            if !state.members[id].is_up {
                continue;
            }
            self.sync(state, rules, id);
            for other in (0..MEMBERS).filter(|other| *other != id) {
                if state.members[other].is_up {
                    self.elect(state, rules, id, other);
                    self.follow(state, rules, id, other);
                }
            }
            if state.members[id].is_leader {
                self.append(state, id);
                self.commit(state, rules, id);
            }
        }
    }

    fn crash_or_restart(&mut self, state: &State, rules: &Rules, id: usize) {
        let member = &state.members[id];
        // A start goes on to what is known, as far as the log reaches.
        let taken = member.known_commit.min(member.log.count);
        let kept = state.committed.common_prefix(&member.log);
        self.is_broken |= !member.is_up && kept < usize::from(taken);
        self.add(*state, |next| {
            let member = &mut next.members[id];
            member.is_up = !member.is_up;
            if member.is_up {
                return;
            }
            member.leave();
            member.base = 0;
            if !rules.is_vote_durable {
                member.term = member.durable_term.max(member.log_term);
            }
            if !rules.is_log_durable {
                member.log.truncate(usize::from(member.durable));
            }
        });
    }

    /// `id` hears from `leading` how far the log is committed.
    fn learn(&mut self, state: &State, rules: &Rules, id: usize, leading: usize) {
        let (member, leader) = (&state.members[id], &state.members[leading]);
        let is_of_term = usize::from(member.joined) == leading
            && member.term == leader.term
            && member.log_term == leader.term;
        let is_believed = match rules.learns {
            Learns::Nothing => false,
            Learns::OfOwnTerm => is_of_term,
            Learns::Anything => true,
        };
        let known = leader.known_commit.min(member.log.count);
        if is_believed && known > member.known_commit {
            self.add(*state, |next| next.members[id].known_commit = known);
        }
    }

    fn sync(&mut self, state: &State, rules: &Rules, id: usize) {
        let member = &state.members[id];
        if !rules.is_log_durable && member.durable < member.log.count {
            self.add(*state, |next| {
                next.members[id].durable = next.members[id].log.count;
            });
        }
    }

    /// `id` becomes leader of a new term with the vote of `voter`.
    fn elect(&mut self, state: &State, rules: &Rules, id: usize, voter: usize) {
        let (candidate, voting) = (&state.members[id], &state.members[voter]);
        let term = candidate.term.max(voting.term) + 1;
        let is_drained = !rules.records_after_sync || candidate.durable == candidate.log.count;
        let is_behind =
            (candidate.log_term, candidate.log.count) < (voting.log_term, voting.log.count);
        if term > rules.terms_max || !is_drained || is_behind {
            return;
        }
        let kept = state.committed.common_prefix(&candidate.log);
        self.is_broken |= kept < state.committed.length();
        self.add(*state, |next| {
            let voting = &mut next.members[voter];
            voting.leave();
            voting.term = term;
            if rules.is_vote_durable {
                voting.durable_term = term;
            }
            let leader = &mut next.members[id];
            leader.leave();
            (leader.term, leader.durable_term, leader.log_term) = (term, term, term);
            leader.is_leader = true;
            leader.base = leader.log.count;
        });
    }

    fn append(&mut self, state: &State, id: usize) {
        if state.members[id].log.length() < ENTRIES_MAX {
            self.add(*state, |next| {
                let leader = &mut next.members[id];
                leader.log.push(leader.term * 4 + id as u8);
            });
        }
    }

    /// What `id` can do as a follower of `leading`.
    fn follow(&mut self, state: &State, rules: &Rules, id: usize, leading: usize) {
        let (member, leader) = (&state.members[id], &state.members[leading]);
        let is_rival = member.is_leader && member.term == leader.term;
        if !leader.is_leader || member.term > leader.term || is_rival {
            return;
        }
        self.learn(state, rules, id, leading);
        if usize::from(member.joined) != leading || member.term != leader.term {
            self.join(state, id, leading);
            if rules.counts_any_report {
                self.add(*state, |next| {
                    next.members[leading].reported[id] = member.log.count;
                });
            }
            return;
        }
        self.replicate(state, rules, id, leading);
        let counts =
            rules.counts_any_report || rules.counts_joined || member.log_term == leader.term;
        let position = member.reports(rules);
        if counts && leader.reported[id] != position {
            self.add(*state, |next| next.members[leading].reported[id] = position);
        }
    }

    fn join(&mut self, state: &State, id: usize, leading: usize) {
        let leader = state.members[leading];
        self.add(*state, |next| {
            let member = &mut next.members[id];
            let common = member.log.common_prefix(&leader.log);
            member.log.truncate(common);
            member.durable = member.durable.min(common as u8);
            member.leave();
            (member.term, member.durable_term) = (leader.term, leader.term);
            member.joined = leading as u8;
        });
    }

    /// The next entry, or the leader's term once the log reaches its base.
    fn replicate(&mut self, state: &State, rules: &Rules, id: usize, leading: usize) {
        let (member, leader) = (&state.members[id], &state.members[leading]);
        let next_entry = leader.log.items.get(member.log.length()).copied();
        if member.log_term < leader.term && member.log.count >= leader.base {
            if !rules.records_after_sync || member.durable >= leader.base {
                self.add(*state, |next| next.members[id].log_term = leader.term);
            }
        } else if let Some(entry) = next_entry.filter(|_| member.log.count < leader.log.count) {
            self.add(*state, |next| {
                let member = &mut next.members[id];
                member.log.push(entry);
                member.log_term = member.log_term.max(entry / 4);
            });
        }
    }

    fn commit(&mut self, state: &State, rules: &Rules, id: usize) {
        let leader = &state.members[id];
        let mut durable = leader.reported;
        durable[id] = leader.reports(rules);
        durable.sort_unstable();
        let position = usize::from(durable[1].min(leader.log.count));
        let kept = state.committed.common_prefix(&leader.log);
        let knows = rules.learns != Learns::Nothing;
        if kept < state.committed.length().min(position) {
            self.is_broken = true;
        } else if position > state.committed.length()
            || (knows && position > usize::from(leader.known_commit))
        {
            self.add(*state, |next| {
                if position > next.committed.length() {
                    next.committed = leader.log;
                    next.committed.truncate(position);
                }
                if knows {
                    next.members[id].known_commit = position as u8;
                }
            });
        }
    }
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All so many states keep the promise.
    Safe(usize),
    /// A committed entry is lost, or another one taken for it, in so many steps.
    Lost(usize),
}

/// Visits every state that can be reached, nearest first.
fn search(rules: &Rules) -> Outcome {
    let mut start = State::default();
    for member in &mut start.members {
        member.is_up = true;
        member.joined = NOBODY;
    }
    let mut visited = Visited::new();
    visited.insert(start.pack());
    let mut successors = Successors {
        states: Vec::new(),
        is_broken: false,
    };
    let (mut level, mut next_level) = (vec![start], Vec::new());
    for steps in 1.. {
        for state in &level {
            successors.collect(state, rules);
            if successors.is_broken {
                return Outcome::Lost(steps);
            }
            let new = successors.states.iter();
            next_level.extend(new.filter(|state| visited.insert(state.pack())));
        }
        if next_level.is_empty() {
            break;
        }
        level.clear();
        std::mem::swap(&mut level, &mut next_level);
    }
    Outcome::Safe(visited.count())
}

#[test]
fn the_rules_of_this_crate_lose_nothing_in_any_state() {
    assert_eq!(search(&SAFE_WITH_SYNC), Outcome::Safe(2_409_908));
}

#[test]
fn with_durable_logs_three_terms_lose_nothing_in_any_state() {
    let rules = Rules {
        terms_max: 3,
        ..SAFE
    };
    assert!(matches!(search(&rules), Outcome::Safe(_)));
}

#[test]
fn counting_any_reported_position_loses_a_committed_entry() {
    let rules = Rules {
        counts_any_report: true,
        ..SAFE
    };
    assert_eq!(search(&rules), Outcome::Lost(7));
}

#[test]
fn counting_joined_members_of_an_older_term_loses_a_committed_entry() {
    let rules = Rules {
        counts_joined: true,
        ..SAFE
    };
    assert_eq!(search(&rules), Outcome::Lost(9));
}

#[test]
fn votes_that_a_crash_forgets_lose_a_committed_entry() {
    let rules = Rules {
        is_vote_durable: false,
        ..SAFE
    };
    assert_eq!(search(&rules), Outcome::Lost(11));
}

#[test]
fn acknowledging_before_the_sync_loses_a_committed_entry() {
    let unguarded = Rules {
        records_after_sync: false,
        acks_unsynced: true,
        ..SAFE_WITH_SYNC
    };
    assert_eq!(search(&unguarded), Outcome::Lost(10));
    let guarded = Rules {
        acks_unsynced: true,
        ..SAFE_WITH_SYNC
    };
    assert_eq!(search(&guarded), Outcome::Lost(10));
}

#[test]
fn r50_a_term_recorded_ahead_of_the_log_loses_a_committed_entry() {
    let rules = Rules {
        records_after_sync: false,
        ..SAFE_WITH_SYNC
    };
    assert_eq!(search(&rules), Outcome::Lost(16));
}

#[test]
fn a_start_that_goes_on_to_what_it_knew_takes_nothing_for_committed_that_is_not() {
    for rules in [SAFE_WITH_SYNC, SAFE] {
        let rules = Rules {
            learns: Learns::OfOwnTerm,
            terms_max: 3,
            ..rules
        };
        let found = search(&rules);
        assert!(matches!(found, Outcome::Safe(_)), "{found:?}");
    }
}

#[test]
fn a_start_that_goes_on_to_what_any_leader_said_takes_for_committed_what_is_not() {
    let rules = Rules {
        learns: Learns::Anything,
        ..SAFE_WITH_SYNC
    };
    assert_eq!(search(&rules), Outcome::Lost(15));
}
