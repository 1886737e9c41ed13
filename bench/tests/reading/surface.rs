//! Which public items of a crate somebody outside of it uses.
//!
//! A free item (a type, a trait, a function, a constant) is used when a path outside leads to
//! it, or when one that is used shows it: in a function's head, a public field, a variant, a
//! trait's implementation. A function or constant of a type is used when its name stands after
//! a `.` or a `::` somewhere outside. Outside are the other crates with their tests, the crate's
//! own `tests/`, `examples/` and `benches/`, and the code in documentation.
//! What a crate offers to users although nobody here uses it stands in the section `Surface` of
//! its head, between backticks: `module`, `module::Item` or `module::Item::function`.

use std::collections::{BTreeMap, BTreeSet};

use super::items::{Item, Seen, What};
use super::tokens::Token;
use super::world::{Name, Target, World};
use crate::sources::quoted;

/// A function or a constant of a type.
struct Member<'a> {
    owner: usize,
    name: &'a str,
    module: usize,
    line: usize,
    shown: Vec<&'a [Token<'a>]>,
}

/// A crate as others see it.
pub struct Surface<'a, 'w> {
    world: &'w World<'a>,
    root: usize,
    /// Items that a path from outside can reach.
    public: BTreeSet<usize>,
    /// Public modules that show nothing.
    empty: Vec<usize>,
    members: Vec<Member<'a>>,
    members_of: BTreeMap<usize, Vec<usize>>,
    /// What implementations of traits show of a type.
    shown_of_types: BTreeMap<usize, Vec<(usize, &'a [Token<'a>])>>,
}

/// What nobody outside uses, and which lines of the head are needed for nothing.
pub struct Findings {
    pub public: usize,
    pub unused: Vec<String>,
    pub needless: Vec<String>,
}

impl<'a, 'w> Surface<'a, 'w> {
    pub fn read(world: &'w World<'a>, member: &str) -> Option<Self> {
        let root = *world.libraries.get(&format!("lockstep_{member}"))?;
        let mut surface = Self {
            world,
            root,
            public: BTreeSet::new(),
            empty: Vec::new(),
            members: Vec::new(),
            members_of: BTreeMap::new(),
            shown_of_types: BTreeMap::new(),
        };
        surface.add_public(root, &mut BTreeSet::new());
        for at in 0..world.modules.len() {
            let module = &world.modules[at];
            if module.root == root && !module.is_test {
                for item in module.items.iter().filter(|item| !item.is_test) {
                    surface.add_members(at, item);
                }
            }
        }
        Some(surface)
    }

    /// Adds what a public module shows, and returns how much that is.
    fn add_public(&mut self, module: usize, seen: &mut BTreeSet<usize>) -> usize {
        if !seen.insert(module) {
            return 1;
        }
        let mut shown = 0;
        for means in self.world.modules[module].names.values().flatten() {
            let targets = match means {
                Name::Module(child, Seen::ByAll) => vec![Target::Module(*child)],
                Name::Definition(definition) => vec![Target::Definition(*definition)],
                Name::Import(path, Seen::ByAll) | Name::All(path, Seen::ByAll) => {
                    self.world.resolve(module, path)
                }
                _ => Vec::new(),
            };
            for target in targets {
                match target {
                    Target::Module(inner) => shown += self.add_public(inner, seen),
                    Target::Definition(definition) => {
                        let item = &self.world.definitions[definition];
                        shown += 1;
                        let is_ours = self.world.modules[item.module].root == self.root;
                        if is_ours && item.seen == Seen::ByAll && item.is_written {
                            self.public.insert(definition);
                        }
                    }
                }
            }
        }
        if shown == 0 {
            self.empty.push(module);
        }
        shown
    }

    fn add_members(&mut self, module: usize, item: &Item<'a>) {
        let What::Implementation(path, inside) = &item.what else {
            return;
        };
        for target in self.world.resolve(module, path) {
            let Some(owner) = target.item() else {
                continue;
            };
            let shown = item.shown.iter().map(|tokens| (module, *tokens));
            self.shown_of_types.entry(owner).or_default().extend(shown);
            let is_for_trait = item.name == "for";
            let is_seen =
                |item: &&Item<'_>| item.seen == Seen::ByAll && !item.is_test && !is_for_trait;
            for inner in inside.iter().filter(is_seen) {
                self.members_of
                    .entry(owner)
                    .or_default()
                    .push(self.members.len());
                self.members.push(Member {
                    owner,
                    name: inner.name,
                    module,
                    line: inner.line,
                    shown: inner.shown.clone(),
                });
            }
        }
    }

    /// Compares what is public with what `outside` uses and with what the head lists.
    pub fn compare(&self, outside: &Outside<'_>, listed: &[String]) -> Findings {
        let mut used: BTreeSet<usize> = outside.definitions.clone();
        self.add_shown(&mut used, &|member| outside.members.contains(member.name));
        let mut all = used.clone();
        let mut offered = BTreeSet::new();
        let mut needless = Vec::new();
        for entry in listed {
            let added = self.offer(entry, (&used, outside), &mut all, &mut offered);
            if added == 0 {
                needless.push(format!("{entry}: nothing here, or used by others anyway"));
            }
        }
        let is_member_used = |member: &Member<'_>| {
            outside.members.contains(member.name) || offered.contains(&member.line_of(self.world))
        };
        self.add_shown(&mut all, &is_member_used);
        Findings {
            public: self.public.len() + self.public_members().count(),
            unused: self.unused(&all, &is_member_used),
            needless,
        }
    }

    fn members_of(&self, owner: usize) -> impl Iterator<Item = &Member<'a>> {
        let members = self.members_of.get(&owner).into_iter().flatten();
        members.map(|member| &self.members[*member])
    }

    fn public_members(&self) -> impl Iterator<Item = &Member<'a>> {
        let is_public = |member: &&Member<'_>| self.public.contains(&member.owner);
        self.members.iter().filter(is_public)
    }

    fn unused(&self, used: &BTreeSet<usize>, is_used: &dyn Fn(&Member<'_>) -> bool) -> Vec<String> {
        let mut unused = Vec::new();
        for definition in self.public.difference(used) {
            let file = self.world.files[self.world.file_of(*definition)].name;
            let line = self.world.definitions[*definition].line;
            unused.push(format!(
                "{file}:{line}: {}",
                self.world.path_of(*definition)
            ));
        }
        for module in &self.empty {
            let file = self.world.files[self.world.modules[*module].file].name;
            unused.push(format!("{file}:1: a public module that shows nothing"));
        }
        for member in self.public_members() {
            if used.contains(&member.owner) && !is_used(member) {
                let (file, line) = member.line_of(self.world);
                let owner = self.world.path_of(member.owner);
                unused.push(format!("{file}:{line}: {owner}::{}", member.name));
            }
        }
        unused
    }

    /// Adds what the head's `entry` offers; the number of items that it was needed for.
    fn offer(
        &self,
        entry: &str,
        (used, outside): (&BTreeSet<usize>, &Outside<'_>),
        all: &mut BTreeSet<usize>,
        offered: &mut BTreeSet<(&'a str, usize)>,
    ) -> usize {
        let path: Vec<&str> = entry.split("::").collect();
        let mut added = 0;
        for target in self.world.resolve(self.root, &path) {
            let mut items = BTreeSet::new();
            match target {
                Target::Module(module) => {
                    let inside = |item: &&usize| self.is_inside(**item, module);
                    items.extend(self.public.iter().filter(inside).copied());
                }
                Target::Definition(definition) => drop(items.insert(definition)),
            }
            for item in items {
                let name = self.world.definitions[item].name;
                added += usize::from(!used.contains(&item));
                all.insert(item);
                let of_it = self.members_of(item);
                for member in of_it {
                    let is_named = path.last() == Some(&member.name) || path.last() == Some(&name);
                    if is_named || matches!(target, Target::Module(_)) {
                        added += usize::from(!outside.members.contains(member.name));
                        offered.insert(member.line_of(self.world));
                    }
                }
            }
        }
        added
    }

    fn is_inside(&self, definition: usize, module: usize) -> bool {
        let mut at = Some(self.world.definitions[definition].module);
        while let Some(inner) = at {
            if inner == module {
                return true;
            }
            at = self.world.modules[inner].parent;
        }
        false
    }

    /// Adds to `used` what the heads of those in it show, and so on.
    fn add_shown(&self, used: &mut BTreeSet<usize>, is_used: &dyn Fn(&Member<'_>) -> bool) {
        let mut open: Vec<usize> = used.iter().copied().collect();
        while let Some(definition) = open.pop() {
            let item = &self.world.definitions[definition];
            if self.world.modules[item.module].root != self.root {
                continue;
            }
            let mut shown: Vec<(usize, &[Token<'_>])> = Vec::new();
            shown.extend(item.shown.iter().map(|tokens| (item.module, *tokens)));
            shown.extend(self.shown_of_types.get(&definition).into_iter().flatten());
            let members = self.members_of(definition);
            for member in members.filter(|member| is_used(member)) {
                shown.extend(member.shown.iter().map(|tokens| (member.module, *tokens)));
            }
            for (module, tokens) in shown {
                for (target, _) in self.world.named(module, tokens) {
                    if let Some(other) = target.item()
                        && used.insert(other)
                    {
                        open.push(other);
                    }
                }
            }
        }
    }
}

impl Member<'_> {
    fn line_of<'a>(&self, world: &World<'a>) -> (&'a str, usize) {
        (world.files[world.modules[self.module].file].name, self.line)
    }
}

/// What each module names, of whatever crate.
pub struct Naming<'a> {
    definitions: Vec<BTreeSet<usize>>,
    /// Names after a `.` or a `::`.
    members: Vec<BTreeSet<&'a str>>,
    /// Named by a macro that others expand in their own code.
    by_macros: BTreeSet<usize>,
}

impl<'a> Naming<'a> {
    pub fn read(world: &World<'a>) -> Self {
        let mut naming = Self {
            definitions: Vec::new(),
            members: Vec::new(),
            by_macros: BTreeSet::new(),
        };
        for (at, module) in world.modules.iter().enumerate() {
            let (mut definitions, mut members) = (BTreeSet::new(), BTreeSet::new());
            for item in module
                .items
                .iter()
                .filter(|i| !matches!(i.what, What::Module(_)))
            {
                let named = world.named(at, item.tokens).into_iter();
                let named: Vec<usize> = named.filter_map(|(target, _)| target.item()).collect();
                if item.is_exported_macro() {
                    naming.by_macros.extend(&named);
                }
                definitions.extend(named);
                let pairs = item.tokens.windows(2);
                let pairs = pairs.filter(|pair| matches!(pair[0].text, "." | "::"));
                members.extend(pairs.map(|pair| pair[1].text));
            }
            naming.definitions.push(definitions);
            naming.members.push(members);
        }
        naming
    }

    /// What those outside of a crate use of it.
    pub fn outside(&self, world: &World<'a>, member: &str) -> Outside<'a> {
        let root = world.libraries.get(&format!("lockstep_{member}"));
        let is_outside = |at: &usize| Some(&world.modules[*at].root) != root;
        let modules: Vec<usize> = (0..world.modules.len()).filter(is_outside).collect();
        let named = modules.iter().flat_map(|at| &self.definitions[*at]);
        let members = modules.iter().flat_map(|at| &self.members[*at]);
        Outside {
            definitions: named.chain(&self.by_macros).copied().collect(),
            members: members.copied().collect(),
        }
    }
}

pub struct Outside<'a> {
    definitions: BTreeSet<usize>,
    members: BTreeSet<&'a str>,
}

/// The entries of the section `Surface` in the head of a crate.
pub fn listed(head: &str) -> Vec<String> {
    let lines = head.lines().take_while(|line| line.starts_with("//!"));
    let lines = lines.skip_while(|line| *line != "//! # Surface").skip(1);
    let lines = lines.take_while(|line| !line.starts_with("//! #"));
    lines.flat_map(quoted).map(str::to_owned).collect()
}

#[test]
fn the_head_of_a_crate_lists_what_it_offers() {
    let head = "//! A crate.\n//!\n//! # Surface\n//! - [`a::B`], and `c`: why\n//! # Unsafe\n\
                //! [`d`]\nmod a;\n";
    assert_eq!(listed(head), ["a::B", "c"]);
}
