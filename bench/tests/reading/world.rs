//! The modules of all crates and what a path means in each of them.

use std::collections::BTreeMap;

use super::items::{Item, Seen, What, attributes_length, find_field_end, group_length, items};
use super::tokens::Token;

/// How often an import may lead to another one: only a circle of imports goes on for longer.
const IMPORTS_MAX: usize = 16;

/// A file: its name in the workspace, its crate, its tokens.
pub struct File<'a> {
    pub name: &'a str,
    pub member: &'a str,
    pub tokens: &'a [Token<'a>],
}

pub struct Module<'a> {
    /// The first one of a crate, or of a file that is none's.
    pub root: usize,
    pub parent: Option<usize>,
    pub file: usize,
    /// Of a test, itself or with what is around it.
    pub is_test: bool,
    pub names: BTreeMap<&'a str, Vec<Name<'a>>>,
    pub items: Vec<Item<'a>>,
}

/// What a name may stand for in a module.
#[derive(Clone)]
pub enum Name<'a> {
    Module(usize, Seen),
    Definition(usize),
    Import(Vec<&'a str>, Seen),
    All(Vec<&'a str>, Seen),
}

/// An item that a path can mean.
pub struct Definition<'a> {
    pub name: &'a str,
    pub module: usize,
    pub seen: Seen,
    pub line: usize,
    pub shown: Vec<&'a [Token<'a>]>,
    /// Whether the item stands in a source as it is: a macro may define it too.
    pub is_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Module(usize),
    Definition(usize),
}

impl Target {
    pub fn item(self) -> Option<usize> {
        match self {
            Self::Definition(definition) => Some(definition),
            Self::Module(_) => None,
        }
    }
}

#[derive(Default)]
pub struct World<'a> {
    pub files: Vec<File<'a>>,
    pub modules: Vec<Module<'a>>,
    pub definitions: Vec<Definition<'a>>,
    /// The first module of each library, by the crate's name in paths.
    pub libraries: BTreeMap<String, usize>,
    by_name: BTreeMap<&'a str, usize>,
}

impl<'a> World<'a> {
    /// Everything that `files` consist of.
    pub fn read(files: Vec<File<'a>>) -> Self {
        let mut world = Self {
            by_name: files
                .iter()
                .enumerate()
                .map(|(at, file)| (file.name, at))
                .collect(),
            files,
            ..Self::default()
        };
        for file in 0..world.files.len() {
            let File { name, member, .. } = world.files[file];
            let in_source = name
                .strip_prefix(member)
                .and_then(|rest| rest.strip_prefix("/src/"));
            match in_source {
                Some("lib.rs") => {
                    let root = world.add_root(file, false);
                    world.libraries.insert(format!("lockstep_{member}"), root);
                }
                Some("main.rs") => drop(world.add_root(file, false)),
                Some(_) => {}
                // A file outside of `src` is looked at by itself.
                None => drop(world.add_root(file, true)),
            }
        }
        world
    }

    fn add_root(&mut self, file: usize, is_test: bool) -> usize {
        let items = items(self.files[file].tokens);
        let root = self.modules.len();
        let name = self.files[file].name;
        let folder = name[..name.rfind('/').map_or(0, |at| at + 1)].to_owned();
        self.add_module(None, (file, folder), items, is_test);
        root
    }

    /// `place` is the file and the folder where the files of its modules lie.
    fn add_module(
        &mut self,
        parent: Option<usize>,
        place: (usize, String),
        items: Vec<Item<'a>>,
        is_test: bool,
    ) -> usize {
        let module = self.modules.len();
        let (file, folder) = place;
        self.modules.push(Module {
            root: parent.map_or(module, |parent| self.modules[parent].root),
            parent,
            file,
            is_test,
            names: BTreeMap::new(),
            items: Vec::new(),
        });
        for item in &items {
            self.add_item(module, item, &folder);
        }
        self.modules[module].items = items;
        module
    }

    fn add_item(&mut self, module: usize, item: &Item<'a>, folder: &str) {
        match &item.what {
            What::Module(inner) => {
                let is_test = item.is_test || self.modules[module].is_test;
                let folder = format!("{folder}{}/", item.name);
                let inside = match inner {
                    Some(items) => Some((self.modules[module].file, items.clone())),
                    None => self.file_of_module(&folder).map(|file| {
                        let items = items(self.files[file].tokens);
                        (file, items)
                    }),
                };
                if let Some((file, items)) = inside {
                    let child = self.add_module(Some(module), (file, folder), items, is_test);
                    self.add_name(module, item.name, Name::Module(child, item.seen));
                }
            }
            What::Use(imports) => {
                for import in imports {
                    let path = import.path.clone();
                    let name = match import.name {
                        "*" => Name::All(path, item.seen),
                        _ => Name::Import(path, item.seen),
                    };
                    self.add_name(module, import.name, name);
                }
            }
            What::Type | What::Function | What::Constant => {
                self.define(module, item.name, Some(item));
            }
            What::Macro(names) => {
                let home = if item.is_exported_macro() {
                    self.modules[module].root
                } else {
                    module
                };
                for name in names
                    .iter()
                    .chain([&item.name])
                    .filter(|name| !name.is_empty())
                {
                    self.define(home, name, None);
                }
            }
            What::Implementation(..) => {}
        }
    }

    fn define(&mut self, module: usize, name: &'a str, item: Option<&Item<'a>>) {
        let definition = self.definitions.len();
        self.definitions.push(Definition {
            name,
            module,
            seen: item.map_or(Seen::ByAll, |item| item.seen),
            line: item.map_or(1, |item| item.line),
            shown: item.map_or(Vec::new(), |item| item.shown.clone()),
            is_written: item.is_some(),
        });
        self.add_name(module, name, Name::Definition(definition));
    }

    fn add_name(&mut self, module: usize, name: &'a str, means: Name<'a>) {
        self.modules[module]
            .names
            .entry(name)
            .or_default()
            .push(means);
    }

    /// The file of the module whose own modules lie in `folder`.
    fn file_of_module(&self, folder: &str) -> Option<usize> {
        let beside = format!("{}.rs", folder.trim_end_matches('/'));
        let inside = format!("{folder}mod.rs");
        let found = self
            .by_name
            .get(&beside[..])
            .or(self.by_name.get(&inside[..]));
        found.copied()
    }

    pub fn file_of(&self, definition: usize) -> usize {
        self.modules[self.definitions[definition].module].file
    }

    /// How a path from its crate's head would name it.
    pub fn path_of(&self, definition: usize) -> String {
        let Definition { name, module, .. } = self.definitions[definition];
        let mut path = name.to_owned();
        let mut at = module;
        while let Some(parent) = self.modules[at].parent {
            let is_it = |name: &Name<'_>| matches!(name, Name::Module(child, _) if *child == at);
            let mut names = self.modules[parent].names.iter();
            let found = names.find(|(_, means)| means.iter().any(is_it));
            path = format!("{}::{path}", found.map_or("?", |(name, _)| name));
            at = parent;
        }
        path
    }

    /// What a path means in a module; nothing where it leads to another's crate.
    pub fn resolve(&self, from: usize, path: &[&str]) -> Vec<Target> {
        self.resolve_within(from, path, IMPORTS_MAX)
    }

    fn resolve_within(&self, from: usize, path: &[&str], imports: usize) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else {
            return vec![Target::Module(from)];
        };
        if imports == 0 {
            return Vec::new();
        }
        let module = &self.modules[from];
        let starts = match *first {
            "crate" => vec![Target::Module(module.root)],
            "self" => vec![Target::Module(from)],
            "super" => module.parent.map(Target::Module).into_iter().collect(),
            name => match self.libraries.get(name) {
                Some(root) => vec![Target::Module(*root)],
                None => self.look_up(from, name, imports),
            },
        };
        let mut found = Vec::new();
        for start in starts {
            match start {
                Target::Module(inner) if inner == from && *first != "crate" && *first != "self" => {
                }
                Target::Module(inner) => found.extend(self.walk(inner, rest, imports)),
                Target::Definition(_) => found.push(start),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Follows names from a module on; a path ends at the item that it meets.
    fn walk(&self, module: usize, path: &[&str], imports: usize) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else {
            return vec![Target::Module(module)];
        };
        if matches!(*first, "super" | "self") {
            return self.resolve_within(module, path, imports - 1);
        }
        let mut found = Vec::new();
        for target in self.look_up(module, first, imports) {
            match target {
                Target::Module(inner) => found.extend(self.walk(inner, rest, imports)),
                Target::Definition(_) => found.push(target),
            }
        }
        found
    }

    fn look_up(&self, module: usize, name: &str, imports: usize) -> Vec<Target> {
        let names = &self.modules[module].names;
        let mut found = Vec::new();
        for means in names.get(name).into_iter().flatten() {
            match means {
                Name::Module(child, _) => found.push(Target::Module(*child)),
                Name::Definition(definition) => found.push(Target::Definition(*definition)),
                Name::Import(path, _) | Name::All(path, _) => {
                    found.extend(self.resolve_within(module, path, imports - 1));
                }
            }
        }
        if found.is_empty() {
            for means in names.get("*").into_iter().flatten() {
                let Name::All(path, _) = means else { continue };
                for target in self.resolve_within(module, path, imports - 1) {
                    if let Target::Module(other) = target
                        && other != module
                    {
                        found.extend(self.walk(other, &[name], imports - 1));
                    }
                }
            }
        }
        found
    }

    /// What the code of `tokens` names, with the words of each path.
    pub fn named(&self, module: usize, tokens: &[Token<'_>]) -> Vec<(Target, String)> {
        let mut named = Vec::new();
        for path in paths(tokens) {
            for target in self.resolve(module, &path) {
                named.push((target, path.join("::")));
            }
        }
        named
    }
}

/// All paths that stand in `tokens`, single names too, but no fields and no methods.
pub fn paths<'a>(tokens: &'a [Token<'a>]) -> Vec<Vec<&'a str>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text);
        if tokens[at].text == "enum" {
            let (within, length) = paths_of_enum(&tokens[at..]);
            paths.extend(within);
            at += length;
            continue;
        }
        if tokens[at].text == "use" && tokens.get(at + 1).is_some_and(Token::is_word) {
            let length = tokens[at..].iter().position(|token| token.text == ";");
            let end = length.map_or(tokens.len(), |length| at + length);
            let mut imports = Vec::new();
            super::items::read_use(&tokens[at + 1..end], &mut imports);
            paths.extend(imports.into_iter().map(|import| import.path));
            at = end;
        } else if tokens[at].is_word() && !matches!(before, "." | "::") {
            let mut path = vec![tokens[at].text];
            while tokens.get(at + 1).is_some_and(|token| token.text == "::")
                && tokens.get(at + 2).is_some_and(Token::is_word)
            {
                path.push(tokens[at + 2].text);
                at += 2;
            }
            paths.push(path);
        }
        at += 1;
    }
    paths
}

/// Those in an enum, whose variants are no paths, and how many tokens it takes.
fn paths_of_enum<'a>(tokens: &'a [Token<'a>]) -> (Vec<Vec<&'a str>>, usize) {
    let Some(start) = tokens.iter().position(|token| token.text == "{") else {
        return (Vec::new(), 1);
    };
    let end = start + group_length(&tokens[start..]);
    let mut within = paths(&tokens[2.min(start)..start]);
    let mut rest = &tokens[start + 1..(end - 1).max(start + 1)];
    while !rest.is_empty() {
        let length = find_field_end(rest);
        let name = attributes_length(&rest[..length]);
        within.extend(paths(&rest[..name]));
        within.extend(paths(&rest[(name + 1).min(length)..length]));
        rest = &rest[(length + 1).min(rest.len())..];
    }
    (within, end)
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn a_path_means_the_item_it_leads_to() {
        let sources = [
            ("a/src/lib.rs", "pub mod b;\nmod c;\npub use c::D;\n"),
            (
                "a/src/b.rs",
                "use super::c;\nuse crate::D as E;\nfn f() { c::D::new(); E; }\n",
            ),
            ("a/src/c/mod.rs", "mod d;\npub use d::*;\n"),
            ("a/src/c/d.rs", "pub struct D;\n"),
        ];
        let tokens: Vec<Vec<Token<'_>>> = sources.iter().map(|(_, text)| tokens(text)).collect();
        let file = |((name, _), tokens): (&(&'static str, &str), _)| File {
            name,
            member: "a",
            tokens,
        };
        let files = sources.iter().zip(tokens.iter().map(|tokens| &tokens[..]));
        let world = World::read(files.map(file).collect());
        let module = |name| {
            let mut modules = world.modules.iter();
            modules
                .position(|module| world.files[module.file].name == name)
                .unwrap()
        };
        let found = world
            .definitions
            .iter()
            .position(|item| item.name == "D")
            .unwrap();
        let found = vec![Target::Definition(found)];
        let from = module("a/src/b.rs");
        assert_eq!(world.resolve(from, &["c", "D", "new"]), found);
        assert_eq!(world.resolve(from, &["E"]), found);
        assert_eq!(world.resolve(from, &["lockstep_a", "D"]), found);
        assert_eq!(world.resolve(from, &["super", "b", "f"]).len(), 1);
        assert_eq!(world.resolve(from, &["std", "D"]), []);
    }
}
