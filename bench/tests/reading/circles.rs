//! Which files of a crate name each other's items, and whether that goes in a circle.
//!
//! A file uses another one when its code names an item that is defined there, by whatever path:
//! an import, a path in an expression, a re-export that leads to it. No use is `mod x;`, nor a
//! `pub use` that only shows an item at another place, nor a call of a method. Tests are left
//! out.

use std::collections::{BTreeMap, BTreeSet};

use super::items::{Seen, What};
use super::world::{Target, World};

/// For each file of a crate: the files that it uses, each with one of the names.
pub type Uses = BTreeMap<usize, BTreeMap<usize, String>>;

/// What the files of a crate use of each other.
pub fn uses(world: &World<'_>, member: &str) -> Uses {
    let mut uses = Uses::new();
    for (at, module) in world.modules.iter().enumerate() {
        let file = &world.files[module.file];
        let is_source = file
            .name
            .strip_prefix(member)
            .is_some_and(|n| n.starts_with("/src/"));
        if module.is_test || !is_source {
            continue;
        }
        for item in module.items.iter().filter(|item| !item.is_test) {
            let is_shown_elsewhere = item.seen != Seen::WithinModule;
            match item.what {
                What::Module(_) => continue,
                What::Use(_) if is_shown_elsewhere => continue,
                _ => {}
            }
            for (target, name) in world.named(at, item.tokens) {
                let Target::Definition(definition) = target else {
                    continue;
                };
                let other = world.file_of(definition);
                if other != module.file && world.files[other].member == member {
                    uses.entry(module.file)
                        .or_default()
                        .entry(other)
                        .or_insert(name);
                }
            }
        }
    }
    uses
}

/// The sets of files that all reach each other.
pub fn circles(uses: &Uses) -> Vec<Vec<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> = uses
        .keys()
        .map(|file| (*file, reached_from(*file, uses)))
        .collect();
    let mut circles: BTreeSet<Vec<usize>> = BTreeSet::new();
    for (file, others) in &reached {
        if others.contains(file) {
            let returns = |other: &&usize| reached.get(other).is_some_and(|r| r.contains(file));
            circles.insert(others.iter().filter(returns).copied().collect());
        }
    }
    circles.into_iter().collect()
}

fn reached_from(file: usize, uses: &Uses) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        for other in uses.get(&next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*other) {
                open.push(*other);
            }
        }
    }
    reached
}

/// A circle for people: who names what of whom.
pub fn describe(world: &World<'_>, circle: &[usize], uses: &Uses) -> String {
    let mut lines = vec![format!("a circle of {} files:", circle.len())];
    for file in circle {
        for (other, name) in uses.get(file).into_iter().flatten() {
            if circle.contains(other) {
                let (file, other) = (world.files[*file].name, world.files[*other].name);
                lines.push(format!("  {file} uses {name} of {other}"));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn a_circle_is_what_comes_back_to_its_start() {
    let to = |others: &[usize]| others.iter().map(|file| (*file, String::new())).collect();
    let uses = Uses::from([(1, to(&[2])), (2, to(&[3])), (3, to(&[2, 4])), (4, to(&[]))]);
    assert_eq!(circles(&uses), [[2, 3]]);
}
