//! The house stays tidy (`docs/STYLE.md`): no circle between files of a crate, nothing public
//! that nobody outside needs, no file and no function too long to be read; and what pages name of
//! a crate is there. There is no list of exceptions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod reading;
mod sources;

use reading::tokens::{Token, documented_code, tokens};
use reading::world::{File, Target, World, paths};
use reading::{circles, items, surface};
use sources::{CRATES, Source, assert_none, pages, quoted, rust};

/// Before the name of a source or a page whose examples are a source of their own.
const DOCUMENTATION: &str = "documentation/";

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// All sources, and the code in their documentation and in the pages, as sources of their own.
fn everything() -> Vec<Source> {
    let mut all = rust(&CRATES, &["src", "tests", "examples", "benches"]);
    assert!(all.len() > 20, "only {} found", all.len());
    let of_sources = all.iter().map(|source| (source, false));
    let pages = pages();
    let documents = of_sources.chain(pages.iter().map(|page| (page, true)));
    let documents = documents.map(|(Source { name, text }, is_page)| Source {
        name: format!("{DOCUMENTATION}{name}"),
        text: documented_code(text, is_page),
    });
    let documents: Vec<Source> = documents.filter(|source| !source.text.is_empty()).collect();
    all.extend(documents);
    all
}

/// Reads everything and hands it over.
fn with_world(check: impl FnOnce(&World<'_>, &[Source])) {
    let sources = everything();
    let read: Vec<Vec<Token<'_>>> = sources.iter().map(|source| tokens(&source.text)).collect();
    let files = sources.iter().zip(&read);
    let files = files.map(|(source, tokens)| File {
        name: &source.name,
        member: source.name.split('/').next().unwrap(),
        tokens,
    });
    check(&World::read(files.collect()), &sources);
}

#[test]
fn the_files_of_a_crate_use_each_other_in_no_circle() {
    with_world(|world, _| {
        let mut violations = Vec::new();
        let (mut circles, mut files) = (0, 0);
        for member in CRATES {
            let uses = circles::uses(world, member);
            let found = circles::circles(&uses);
            println!("in {member}: {} circles", found.len());
            circles += found.len();
            files += found.iter().map(Vec::len).sum::<usize>();
            let found = found
                .iter()
                .map(|files| circles::describe(world, files, &uses));
            violations.extend(found);
        }
        println!("circles between files: {circles}, with {files} files");
        assert_none(&violations);
    });
}

#[test]
fn what_is_public_is_used_outside_or_offered() {
    with_world(|world, sources| {
        let naming = surface::Naming::read(world);
        let mut violations = Vec::new();
        let (mut public, mut unused, mut offered) = (0, 0, 0);
        for member in CRATES {
            let Some(surface) = surface::Surface::read(world, member) else {
                continue;
            };
            let head = format!("{member}/src/lib.rs");
            let source = sources.iter().find(|source| source.name == head);
            let listed = surface::listed(&source.unwrap().text);
            let findings = surface.compare(&naming.outside(world, member), &listed);
            println!(
                "in {member}: {} public, {} unused",
                findings.public,
                findings.unused.len()
            );
            public += findings.public;
            unused += findings.unused.len();
            offered += listed.len();
            violations.extend(findings.unused);
            let needless = findings.needless.iter();
            violations.extend(needless.map(|entry| format!("{head}: {entry}")));
        }
        println!("public items: {public}, {unused} unused, {offered} offered by a head");
        assert!(public > 100, "only {public} found");
        assert_none(&violations);
    });
}

/// A function's name, the line it begins in, and how many it has.
type Extent<'a> = (&'a str, usize, usize);

/// The functions in `tokens`, wherever they stand: in traits, in macros and in each other too.
fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Extent<'a>> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        let rest = &tokens[at..];
        if keyword.text == "fn"
            && name.is_word()
            && let Some(end) = items::find(rest, &["{", ";"])
        {
            let last = end + items::group_length(&rest[end..]) - 1;
            found.push((name.text, name.line, rest[last].line + 1 - name.line));
        }
    }
    found
}

#[test]
fn files_and_functions_are_short_enough_to_be_read() {
    with_world(|world, sources| {
        let (mut violations, mut longest, mut longest_function) = (Vec::new(), 0, 0);
        for source in sources.iter().filter(|source| source.name.ends_with(".rs")) {
            let is_documentation = source.name.starts_with(DOCUMENTATION);
            let lines = source.text.lines().count();
            if lines > FILE_LINES_MAX && !is_documentation {
                violations.push(format!(
                    "{}: {lines} lines, find the second noun",
                    source.name
                ));
            }
            longest = longest.max(if is_documentation { 0 } else { lines });
        }
        for File { name, tokens, .. } in &world.files {
            for (function, line, lines) in functions(tokens) {
                longest_function = longest_function.max(lines);
                if lines > FUNCTION_LINES_MAX {
                    violations.push(format!("{name}:{line}: {function} has {lines} lines"));
                }
            }
        }
        println!("sizes: longest file {longest} lines, longest function {longest_function}");
        assert_none(&violations);
    });
}

#[test]
fn a_function_is_found_wherever_it_stands() {
    let source = "trait A { fn b(&self) {\n} }\nm! { fn c(f: fn(u8) -> u8) {\n\n} }\n\
                  fn d() { fn e(); }\n";
    let found = functions(&tokens(source));
    assert_eq!(found, [("b", 1, 2), ("c", 3, 3), ("d", 6, 1), ("e", 6, 1)]);
}

/// The path in words of a page that name something of a crate, as `archive::log::chain::Chain`.
fn path_of(words: &str) -> Option<Vec<&str>> {
    let words = words.split(['(', '<']).next()?;
    let words = words.strip_prefix("lockstep_").unwrap_or(words);
    let path: Vec<&str> = words.split("::").collect();
    (path.len() > 1 && CRATES.contains(&path[0])).then_some(path)
}

#[test]
fn what_pages_name_of_a_crate_is_there() {
    with_world(|world, _| {
        let (mut violations, mut count) = (Vec::new(), 0);
        for Source { name, text } in pages() {
            for words in text.lines().flat_map(quoted) {
                let Some(path) = path_of(words) else { continue };
                count += 1;
                let root = world.libraries.get(&format!("lockstep_{}", path[0]));
                if root.is_none_or(|root| world.resolve(*root, &path[1..]).is_empty()) {
                    violations.push(format!("{name}: there is no {words}"));
                }
            }
            // A path in code is an item's, not that of a module of the same name.
            let code = documented_code(&text, true);
            for path in paths(&tokens(&code)) {
                let Some(root) = world.libraries.get(path[0]) else {
                    continue;
                };
                count += 1;
                let found = world.resolve(*root, &path[1..]);
                if !matches!(found[..], [Target::Definition(_)]) {
                    violations.push(format!("{name}: there is no item {}", path.join("::")));
                }
            }
        }
        assert!(count > 10, "only {count} found");
        assert_none(&violations);
    });
}
