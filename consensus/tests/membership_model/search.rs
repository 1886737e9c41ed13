//! Visits every state, nearest first, and says how many there are or how soon a promise breaks.

use crate::rules::{Bounds, Rules};
use crate::state::{DIRECTORIES, State};
use crate::state_key::key;
use crate::steps::{Broken, Model};
use crate::visited::Visited;

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All so many states keep every promise.
    Safe(usize),
    /// One is broken, in so many steps.
    Broken(Broken, usize),
}

/// Which promises a search watches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    All,
    /// All but that a majority of the newest committed set has a part in what is decided: where
    /// the set in force can go back by an entry, what it counts may have been appended under
    /// another one.
    AllButOutside,
    /// Only those that are about what was done: leaders and commits.
    Deeds,
}

impl Watched {
    fn is_watched(self, broken: &Broken) -> bool {
        match self {
            Self::All => true,
            Self::AllButOutside => *broken != Broken::CountedFromOutside,
            Self::Deeds => *broken <= Broken::CommitContradicted,
        }
    }
}

/// All ways to rename the directories that no set tells apart.
fn renamings(bounds: &Bounds) -> Vec<[usize; DIRECTORIES]> {
    let sets = || bounds.targets.iter().chain([&bounds.formed]);
    let is_alike = |a: usize, b: usize| sets().all(|set| (set >> a & 1) == (set >> b & 1));
    let all = (0..DIRECTORIES.pow(DIRECTORIES as u32))
        .map(|number| std::array::from_fn(|id| number / DIRECTORIES.pow(id as u32) % DIRECTORIES));
    let keeps_sets = |renaming: &[usize; DIRECTORIES]| {
        let mut pairs = renaming.iter().enumerate();
        let is_absent = |id: usize| bounds.directories() >> id & 1 == 0;
        pairs.all(|(id, of)| id == *of || (is_alike(id, *of) && !is_absent(id)))
    };
    let is_one_to_one =
        |renaming: &[usize; DIRECTORIES]| (0..DIRECTORIES).all(|id| renaming.contains(&id));
    all.filter(keeps_sets).filter(is_one_to_one).collect()
}

/// Searches for what breaks one of the `watched` promises.
pub fn search(watched: Watched, rules: Rules, bounds: Bounds) -> Outcome {
    let mut model = Model::new(rules, bounds);
    let renamings = renamings(&bounds);
    // The same for all states that differ only in the names of directories.
    let key_of = |state: &State| {
        let keys = renamings
            .iter()
            .map(|renaming| key(&state.renamed(renaming)));
        keys.min().unwrap_or_default()
    };
    let start = State::formed_of(model.formed(), bounds.directories());
    if let Some(broken) = model
        .check(&start)
        .filter(|found| watched.is_watched(found))
    {
        return Outcome::Broken(broken, 0);
    }
    let mut visited = Visited::new();
    visited.insert(key_of(&start));
    // By number of the state: the one it came from, and which step of that led to it.
    let mut trail = vec![(0_u32, 0_u32)];
    // Sets that a change has come to, by their bits.
    let mut completed = [false; 1 << DIRECTORIES];
    let mut changes = 0;
    let (mut level, mut next_level) = (vec![(0_u32, start)], Vec::new());
    for steps in 1.. {
        for (number, state) in &level {
            model.collect(state);
            let mut broken = model.broken.filter(|broken| watched.is_watched(broken));
            for (step, next) in model.states.iter().enumerate() {
                if visited.insert(key_of(next)) {
                    next_level.push((trail.len() as u32, *next));
                    trail.push((*number, step as u32));
                    completed[usize::from(next.completed(model.formed()))] = true;
                    changes = changes.max(next.changes(model.formed()));
                    let found = model.check(next).filter(|found| watched.is_watched(found));
                    broken = broken.into_iter().chain(found).min();
                }
            }
            if let Some(broken) = broken {
                tell(&mut model, start, &trail, *number);
                return Outcome::Broken(broken, steps);
            }
        }
        if next_level.is_empty() {
            break;
        }
        level.clear();
        std::mem::swap(&mut level, &mut next_level);
    }
    let mut targets = bounds.targets.iter();
    assert!(
        targets.all(|target| completed[usize::from(*target)]),
        "no change is made"
    );
    assert!(changes >= bounds.changes, "{changes} changes at most");
    Outcome::Safe(visited.count())
}

/// Prints the way to the state of `number`, one step from which breaks a promise.
fn tell(model: &mut Model, start: State, trail: &[(u32, u32)], number: u32) {
    let mut way = Vec::new();
    let mut at = number as usize;
    while at != 0 {
        let (from, step) = trail[at];
        way.push(step as usize);
        at = from as usize;
    }
    let mut state = start;
    for step in way.into_iter().rev() {
        model.collect(&state);
        state = model.states[step];
        println!("{state}\n");
    }
}
