//! Directories, their logs and the voter sets in these, as the membership model has them.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Directories of the model.
pub const DIRECTORIES: usize = 5;
/// Room of a log: what the model bounds, and no more.
pub const ENTRIES_MAX: usize = 8;

/// Who votes, as two sets of directories, a bit each: a majority of both decides. One set alone
/// is there twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Voters {
    pub old: u8,
    pub new: u8,
}

impl Voters {
    pub const fn alone(set: u8) -> Self {
        Self { old: set, new: set }
    }

    pub const fn is_joint(self) -> bool {
        self.old != self.new
    }

    pub const fn names(self, id: usize) -> bool {
        (self.old | self.new) >> id & 1 == 1
    }
}

/// Whether `votes` hold a majority of `set`.
pub const fn is_majority(set: u8, votes: u8) -> bool {
    2 * (set & votes).count_ones() > set.count_ones()
}

/// An entry: of which term, and of a Membership entry also the voters that it puts in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry(u16);

impl Entry {
    /// The first one of a term.
    pub const fn first(term: u8) -> Self {
        Self(term as u16)
    }

    pub const fn membership(term: u8, voters: Voters) -> Self {
        Self(term as u16 | (voters.old as u16) << 4 | (voters.new as u16) << 9)
    }

    pub const fn term(self) -> u8 {
        self.0 as u8 & 0xF
    }

    pub fn voters(self) -> Option<Voters> {
        let (old, new) = ((self.0 >> 4) as u8 & 0x1F, (self.0 >> 9) as u8);
        (new != 0).then_some(Voters { old, new })
    }
}

/// Entries in order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Entries {
    items: [Entry; ENTRIES_MAX],
    count: u8,
}

impl Entries {
    pub const fn count(&self) -> u8 {
        self.count
    }

    pub const fn length(&self) -> usize {
        self.count as usize
    }

    pub fn get(&self, index: usize) -> Option<Entry> {
        self.items[..self.length()].get(index).copied()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.items[..self.length()].iter()
    }

    /// The term of the entry that ends at `position`, 0 at the beginning.
    pub fn term_at(&self, position: u8) -> u8 {
        let index = usize::from(position).checked_sub(1);
        index
            .and_then(|index| self.get(index))
            .map_or(0, Entry::term)
    }

    /// Where the latest Membership entry ends, 0 without one.
    pub fn latest_change(&self) -> u8 {
        let latest = self.iter().rposition(|entry| entry.voters().is_some());
        latest.map_or(0, |index| index as u8 + 1)
    }

    pub fn push(&mut self, entry: Entry) {
        self.items[self.length()] = entry;
        self.count += 1;
    }

    pub fn truncate(&mut self, length: usize) {
        for item in &mut self.items[length.min(ENTRIES_MAX)..] {
            *item = Entry::default();
        }
        self.count = self.count.min(length as u8);
    }

    pub fn common_prefix(&self, other: &Self) -> usize {
        let pairs = self.iter().zip(other.iter());
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// What the latest Membership entry of the first `length` puts in force.
    pub fn voters_below(&self, length: u8, formed: Voters) -> Voters {
        let below = self.items[..self.length().min(usize::from(length))].iter();
        below
            .rev()
            .find_map(|entry| entry.voters())
            .unwrap_or(formed)
    }
}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for half in self.items.chunks(4) {
            let word = half
                .iter()
                .fold(0, |word, entry| word << 16 | u64::from(entry.0));
            hasher.write_u64(word);
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.iter() {
            write!(f, " {}", entry.term())?;
            match entry.voters() {
                Some(voters) if voters.is_joint() => {
                    write!(f, "({:05b}+{:05b})", voters.old, voters.new)?;
                }
                Some(voters) => write!(f, "({:05b})", voters.new)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A directory and the member that runs on it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Directory {
    /// Emptied for good: what comes after it is another directory.
    pub is_gone: bool,
    pub term: u8,
    /// The other directory of the member that it voted for in its term, by its id plus 1, where
    /// votes do not tell the two apart.
    pub would_mistake: u8,
    pub log: Entries,
    pub durable: u8,
    pub is_leader: bool,
    /// Leading: what each directory acknowledged in this term.
    pub reported: [u8; DIRECTORIES],
    /// Known to be committed.
    pub commit: u8,
    /// In force here.
    pub voters: Voters,
}

impl Directory {
    /// How far `id` has acknowledged to the leader `own`, as which this directory leads.
    pub fn acknowledged(&self, id: usize, own: usize) -> u8 {
        if id == own {
            self.durable
        } else {
            self.reported[id]
        }
    }

    /// Follows, having synced what it has.
    pub fn leave(&mut self, forgets_commit: bool) {
        self.durable = self.log.count();
        self.is_leader = false;
        self.reported = [0; DIRECTORIES];
        if forgets_commit {
            self.commit = 0;
        }
    }

    pub fn push(&mut self, entry: Entry) {
        self.log.push(entry);
        self.voters = entry.voters().unwrap_or(self.voters);
    }

    /// The log ends at `length`, and with it the set in force goes back, unless that is forgotten.
    pub fn cut(&mut self, length: usize, formed: Voters, goes_back: bool) {
        let is_cut = length < self.log.length();
        self.log.truncate(length);
        self.durable = self.durable.min(self.log.count());
        self.commit = self.commit.min(self.log.count());
        if is_cut && goes_back {
            self.voters = self.log.voters_below(self.log.count(), formed);
        }
    }

    pub fn is_up_to_date(&self, voting: &Self) -> bool {
        let end = |log: &Entries| (log.term_at(log.count()), log.count());
        end(&self.log) >= end(&voting.log)
    }
}

impl Hash for Directory {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.log.hash(hasher);
        let mut word = 0_u64;
        let mut put = |value: u8, bits: u32| word = word << bits | u64::from(value);
        put(u8::from(self.is_gone), 1);
        put(u8::from(self.is_leader), 1);
        put(self.log.count(), 4);
        put(self.would_mistake, 3);
        for value in [self.term, self.durable, self.commit] {
            put(value, 4);
        }
        self.reported.iter().for_each(|reported| put(*reported, 4));
        put(self.voters.old, 5);
        put(self.voters.new, 5);
        hasher.write_u64(word);
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match (self.is_gone, self.is_leader) {
            (true, _) => "gone",
            (_, true) => "leads",
            _ => "in",
        };
        let (log, durable, reported) = (&self.log, self.durable, &self.reported);
        write!(f, "{role} {}:{log} | {durable} {reported:?}", self.term)
    }
}

/// All of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State {
    pub directories: [Directory; DIRECTORIES],
    /// All that was ever committed.
    pub committed: Entries,
    /// The terms that had a leader, a bit each.
    pub led: u8,
    pub wipes: u8,
}

impl State {
    /// All of `directories` are empty, the others are not there, and `voters` are those of the
    /// formation record.
    pub fn formed_of(voters: Voters, directories: u8) -> Self {
        let mut state = Self::default();
        for (id, directory) in state.directories.iter_mut().enumerate() {
            directory.voters = voters;
            directory.is_gone = directories >> id & 1 == 0;
        }
        state
    }

    /// The set that is committed alone, 0 while that is a joint one.
    pub fn completed(&self, formed: Voters) -> u8 {
        let committed = &self.committed;
        let voters = committed.voters_below(committed.count(), formed);
        if voters.is_joint() { 0 } else { voters.new }
    }

    /// Changes that were completed one after the other.
    pub fn changes(&self, formed: Voters) -> usize {
        let sets = self.committed.iter().filter_map(|entry| entry.voters());
        let (mut changes, mut latest) = (0, formed);
        for set in sets.filter(|set| !set.is_joint()) {
            changes += usize::from(set != latest);
            latest = set;
        }
        changes
    }

    /// With the directory at `renaming[id]` in the place of `id`. No set may tell the two apart.
    pub fn renamed(&self, renaming: &[usize; DIRECTORIES]) -> Self {
        let mut renamed = *self;
        for (id, from) in renaming.iter().enumerate() {
            let directory = &mut renamed.directories[id];
            *directory = self.directories[*from];
            directory.reported = renaming.map(|of| self.directories[*from].reported[of]);
        }
        renamed
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, directory) in self.directories.iter().enumerate() {
            writeln!(f, "    {id} {directory}")?;
        }
        write!(f, "    committed{}", self.committed)
    }
}
