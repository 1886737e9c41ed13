//! Every step that the cluster may take from a state, and which promises a step or a state breaks.

use crate::rules::{Begins, Bounds, Gives, Joint, Rules, Stands, TakesBack};
use crate::state::{DIRECTORIES, Directory, Entry, State, Voters, is_majority};

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// A term has two leaders.
    TwoLeaders,
    /// A new leader lacks what is committed.
    LeaderLacksCommitted,
    /// A leader takes another entry for committed than was.
    CommitContradicted,
    /// Two directories could each be elected by others than the other one.
    TwoMajorities,
    /// What was decided had no majority of the newest committed set.
    CountedFromOutside,
    /// With a majority of every set alive, nobody could be elected and commit again.
    Stuck,
}

/// Directories 2 and 3 are of one member.
const ONE_MEMBER: u8 = 0b01100;

/// Bit of `id` in a set.
const fn bit(id: usize) -> u8 {
    1 << id
}

/// The directories of which `is_one` says so.
fn set_of(is_one: impl Fn(usize) -> bool) -> u8 {
    let members = (0..DIRECTORIES).filter(|id| is_one(*id));
    members.fold(0, |set, id| set | bit(id))
}

pub struct Model {
    pub rules: Rules,
    pub bounds: Bounds,
    /// The states one step away from the one that was looked at last.
    pub states: Vec<State>,
    /// What one of these steps breaks.
    pub broken: Option<Broken>,
}

impl Model {
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        Self {
            rules,
            bounds,
            states: Vec::new(),
            broken: None,
        }
    }

    pub const fn formed(&self) -> Voters {
        Voters::alone(self.bounds.formed)
    }

    /// In force at `id`.
    fn voters(&self, state: &State, id: usize) -> Voters {
        let directory = &state.directories[id];
        if self.rules.waits_for_commit {
            directory.log.voters_below(directory.commit, self.formed())
        } else {
            directory.voters
        }
    }

    /// Whether `votes` are enough for `own`, for which `voters` are in force.
    fn decides(&self, voters: Voters, votes: u8, own: usize) -> bool {
        let votes = if self.rules.counts_members && votes & ONE_MEMBER != 0 {
            votes | ONE_MEMBER
        } else {
            votes
        };
        let decides = |set: u8| {
            let counts_too = if self.rules.counts_learners {
                votes & !set
            } else if self.rules.counts_itself {
                bit(own) & !set
            } else {
                0
            };
            2 * (set & votes | counts_too).count_ones() > set.count_ones()
        };
        match self.rules.joint {
            Joint::Both | Joint::Skipped => decides(voters.old) && decides(voters.new),
            Joint::NewAlone => decides(voters.new),
            Joint::OldAlone => decides(voters.old),
            Joint::Together => decides(voters.old | voters.new),
        }
    }

    /// Leaves in `states` where one step leads, and in `broken` what one of them breaks.
    pub fn collect(&mut self, state: &State) {
        self.states.clear();
        self.broken = None;
        for id in 0..DIRECTORIES {
            let directory = &state.directories[id];
            if directory.is_gone {
                continue;
            }
            if state.wipes < self.bounds.wipes {
                self.wipe(state, id);
            }
            if !directory.is_leader {
                self.elect(state, id);
                continue;
            }
            self.crash(state, id);
            if directory.durable < directory.log.count() {
                self.lead(state, id, |next| {
                    next.directories[id].durable = next.directories[id].log.count();
                });
            }
            if directory.log.count() < self.bounds.entries {
                self.change(state, id);
            }
            for other in (0..DIRECTORIES).filter(|other| *other != id) {
                self.follow(state, other, id);
            }
        }
    }

    fn breaks(&mut self, broken: Broken) {
        self.broken = self.broken.into_iter().chain([broken]).min();
    }

    fn add(&mut self, state: &State, change: impl FnOnce(&mut State)) {
        let mut next = *state;
        change(&mut next);
        self.states.push(next);
    }

    fn wipe(&mut self, state: &State, id: usize) {
        self.add(state, |next| {
            next.wipes += 1;
            next.directories[id] = Directory {
                is_gone: true,
                ..Directory::default()
            };
        });
    }

    /// A leader loses what is not durable, and starts again.
    fn crash(&mut self, state: &State, id: usize) {
        let (formed, rules) = (self.formed(), self.rules);
        self.add(state, |next| {
            let directory = &mut next.directories[id];
            directory.cut(directory.durable.into(), formed, !rules.keeps_cut_sets);
            directory.leave(!rules.waits_for_commit);
        });
    }

    /// A step of the leader `id`, or of one that it hears, and what is committed with it.
    fn lead(&mut self, state: &State, id: usize, change: impl FnOnce(&mut State)) {
        let mut next = *state;
        change(&mut next);
        self.commit(&mut next, id);
        self.states.push(next);
    }

    fn commit(&mut self, state: &mut State, id: usize) {
        let leader = state.directories[id];
        let voters = self.voters(state, id);
        for position in (leader.commit + 1..=leader.log.count()).rev() {
            if leader.log.term_at(position) != leader.term {
                return;
            }
            let votes = set_of(|other| leader.acknowledged(other, id) >= position);
            if !self.decides(voters, votes, id) {
                continue;
            }
            state.directories[id].commit = position;
            let kept = state.committed.common_prefix(&leader.log);
            if kept < state.committed.length().min(position.into()) {
                self.breaks(Broken::CommitContradicted);
            }
            if usize::from(position) > state.committed.length() {
                state.committed = leader.log;
                state.committed.truncate(position.into());
                self.check_counted(state, votes);
            }
            return;
        }
    }

    fn check_counted(&mut self, state: &State, votes: u8) {
        let committed = &state.committed;
        let voters = committed.voters_below(committed.count(), self.formed());
        if !is_majority(voters.new, votes) {
            self.breaks(Broken::CountedFromOutside);
        }
    }

    /// The leader `id` begins a change, ends it, or takes it back.
    fn change(&mut self, state: &State, id: usize) {
        let leader = &state.directories[id];
        let (term, voters) = (leader.term, leader.voters);
        let latest = leader.log.latest_change();
        // Nothing is known to be committed before the first entry of the term is.
        let is_committed = leader.commit > 0 && latest <= leader.commit;
        let put = |model: &mut Self, voters: Voters| {
            model.lead(state, id, |next| {
                next.directories[id].push(Entry::membership(term, voters));
            });
        };
        if voters.is_joint() {
            if is_committed || self.rules.ends_at_once {
                put(self, Voters::alone(voters.new));
            }
            let takes_back = match self.rules.takes_back {
                TakesBack::Nobody => false,
                TakesBack::WhoBegan => leader.log.term_at(latest) == term,
                TakesBack::Anybody => true,
            };
            if takes_back && !is_committed {
                put(self, Voters::alone(voters.old));
            }
        }
        let one_at_most = self.bounds.one_at_most;
        let is_change = |new: &&u8| match (voters.new ^ **new).count_ones() {
            0 => false,
            1 => true,
            _ => !one_at_most,
        };
        for new in self.bounds.targets.iter().filter(is_change) {
            let removed = voters.new & !new;
            let is_former = |other| self.has_named(state, id, other) && !voters.names(other);
            if !self.rules.adds_again && new & set_of(is_former) != 0 {
                continue;
            }
            let begins = match self.rules.begins {
                Begins::Committed => is_committed && !voters.is_joint(),
                Begins::Alone => !voters.is_joint(),
                Begins::InJoint => leader.commit > 0,
                Begins::OthersGone => {
                    let is_there = |id: usize| !state.directories[id].is_gone;
                    is_committed && !voters.is_joint() && removed & set_of(is_there) == 0
                }
            };
            let old = match self.rules.joint {
                Joint::Skipped => *new,
                _ => voters.new,
            };
            if begins {
                put(self, Voters { old, new: *new });
            }
        }
    }

    /// `id` hears `leading`: enters its term and cuts what is not of its log, or takes the next
    /// entry, makes it durable and acknowledges it.
    fn follow(&mut self, state: &State, id: usize, leading: usize) {
        let (directory, leader) = (&state.directories[id], &state.directories[leading]);
        let is_rival = directory.is_leader && directory.term == leader.term;
        if directory.is_gone || directory.term > leader.term || is_rival {
            return;
        }
        let (formed, rules) = (self.formed(), self.rules);
        let common = directory.log.common_prefix(&leader.log);
        let is_sent = rules.sends_learners_all
            || leader.voters.names(id)
            || common < usize::from(leader.commit);
        if directory.term < leader.term || common < directory.log.length() {
            self.add(state, |next| {
                let directory = &mut next.directories[id];
                directory.leave(!rules.waits_for_commit);
                directory.would_mistake *= u8::from(directory.term == leader.term);
                directory.term = leader.term;
                directory.cut(common, formed, !rules.keeps_cut_sets);
            });
        } else if let Some(entry) = leader.log.get(common).filter(|_| is_sent) {
            self.lead(state, leading, |next| {
                let directory = &mut next.directories[id];
                directory.push(entry);
                directory.durable = directory.log.count();
                if entry.term() == directory.term {
                    next.directories[leading].reported[id] = directory.durable;
                }
            });
        } else if rules.waits_for_commit && directory.commit < leader.commit {
            self.add(state, |next| next.directories[id].commit = leader.commit);
        }
    }

    /// Whether the cluster was formed of `named`, or a set in the log of `id` names it.
    fn has_named(&self, state: &State, id: usize, named: usize) -> bool {
        let log = &state.directories[id].log;
        let mut sets = log.iter().filter_map(|entry| entry.voters());
        self.formed().names(named) || sets.any(|set| set.names(named))
    }

    /// Whether `id` may know that `out` was taken out: by a committed set, and no later one of its
    /// own log names it again.
    fn may_know_out(&self, state: &State, id: usize, out: usize) -> bool {
        let directory = &state.directories[id];
        let known = state.committed.common_prefix(&directory.log);
        let latest = usize::from(directory.log.latest_change());
        let is_named = self.voters(state, id).names(out);
        !is_named && self.has_named(state, id, out) && latest <= known
    }

    fn may_stand(&self, state: &State, id: usize) -> bool {
        let directory = &state.directories[id];
        let stands = match self.rules.stands {
            Stands::All => self.has_named(state, id, id) || directory.log.count() > 0,
            Stands::UntilOut => self.has_named(state, id, id) && !self.may_know_out(state, id, id),
            Stands::OnceNamed => self.has_named(state, id, id),
            Stands::Named => self.voters(state, id).names(id),
        };
        !directory.is_gone && stands
    }

    /// Who votes for `id` as long as terms allow it.
    fn willing(&self, state: &State, id: usize) -> u8 {
        let candidate = &state.directories[id];
        set_of(|other| {
            let voting = &state.directories[other];
            let gives = match self.rules.gives {
                Gives::ToAll => true,
                Gives::IfNamed => self.voters(state, other).names(other),
                Gives::ToNamed => self.voters(state, other).names(id),
                Gives::UnlessOut => !self.may_know_out(state, other, id),
                Gives::FreelyUnlessNamed => true,
            };
            let is_free = self.rules.gives == Gives::FreelyUnlessNamed
                && !self.has_named(state, other, other);
            let has_all = is_free || candidate.is_up_to_date(voting);
            other == id || (!voting.is_gone && gives && has_all)
        })
    }

    /// `id` is elected, by no more votes than it takes.
    fn elect(&mut self, state: &State, id: usize) {
        if !self.may_stand(state, id) {
            return;
        }
        let (willing, voters) = (self.willing(state, id), self.voters(state, id));
        for votes in (0..1 << DIRECTORIES).map(|votes| votes | bit(id)) {
            let is_enough_without = |other: usize| {
                let fewer = votes & !bit(other) | bit(id);
                fewer != votes && self.decides(voters, fewer, id)
            };
            let is_enough = votes & !willing == 0 && self.decides(voters, votes, id);
            if is_enough && set_of(is_enough_without) == 0 {
                self.take_office(state, id, votes);
            }
        }
    }

    fn take_office(&mut self, state: &State, id: usize, votes: u8) {
        let candidate = &state.directories[id];
        let voters = || (0..DIRECTORIES).filter(|voter| votes & bit(*voter) != 0);
        // The first term in which `voter` can still vote for the candidate.
        let first_term = |voter: usize| {
            let voting = &state.directories[voter];
            let mistakes = voter != id && usize::from(voting.would_mistake) == id + 1;
            voting.term + u8::from(!mistakes)
        };
        let term = voters().map(first_term).max().unwrap_or_default();
        if term > self.bounds.terms || candidate.log.count() >= self.bounds.entries {
            return;
        }
        if state.led >> term & 1 == 1 {
            self.breaks(Broken::TwoLeaders);
        }
        if state.committed.common_prefix(&candidate.log) < state.committed.length() {
            self.breaks(Broken::LeaderLacksCommitted);
        }
        self.check_counted(state, votes);
        let forgets = !self.rules.waits_for_commit;
        let is_one_of_two = self.rules.votes_for_members && ONE_MEMBER & bit(id) != 0;
        let mistaken = match id {
            2 if is_one_of_two => 3 + 1,
            3 if is_one_of_two => 2 + 1,
            _ => 0,
        };
        self.lead(state, id, |next| {
            for voter in voters() {
                next.directories[voter].leave(forgets);
                next.directories[voter].term = term;
                next.directories[voter].would_mistake = mistaken;
            }
            next.led |= 1 << term;
            next.directories[id].is_leader = true;
            next.directories[id].push(Entry::first(term));
        });
    }

    /// What `state` itself breaks.
    pub fn check(&self, state: &State) -> Option<Broken> {
        if self.has_two_majorities(state) {
            Some(Broken::TwoMajorities)
        } else if !self.can_go_on(state) {
            Some(Broken::Stuck)
        } else {
            None
        }
    }

    fn has_two_majorities(&self, state: &State) -> bool {
        let stands = |id: &usize| self.may_stand(state, *id);
        (0..DIRECTORIES).filter(stands).any(|one| {
            let (willing, voters) = (self.willing(state, one), self.voters(state, one));
            (one + 1..DIRECTORIES).filter(stands).any(|two| {
                let (others, their_voters) = (self.willing(state, two), self.voters(state, two));
                (0..1_u8 << DIRECTORIES).any(|votes| {
                    let for_one = votes & willing & !bit(two) | bit(one);
                    let for_two = !votes & others & !bit(one) | bit(two);
                    self.decides(voters, for_one, one) && self.decides(their_voters, for_two, two)
                })
            })
        })
    }

    /// Whether somebody could be elected by all who are there, and what it leads to be committed,
    /// with one set in force in the end.
    fn can_go_on(&self, state: &State) -> bool {
        let alive = set_of(|id| !state.directories[id].is_gone);
        (0..DIRECTORIES).any(|id| {
            let voters = self.voters(state, id);
            self.may_stand(state, id)
                && self.decides(voters, self.willing(state, id), id)
                && self.decides(voters, alive, id)
                && self.decides(Voters::alone(voters.new), alive, id)
        })
    }
}
