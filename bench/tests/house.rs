//! The house stays tidy (`docs/STYLE.md`): no circle between files of a crate, nothing public
//! that nobody outside needs, no file and no function too long to be read. There is no list of
//! exceptions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod reading;
mod sources;

use reading::items::{Item, What};
use reading::tokens::{Token, documented_code, tokens};
use reading::world::{File, World};
use reading::{circles, surface};
use sources::{CRATES, Source, assert_none, pages, rust};

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

/// The functions in `items`, with those of implementations and of modules in the same file.
fn functions<'i, 'a>(items: &'i [Item<'a>]) -> Vec<&'i Item<'a>> {
    let mut found = Vec::new();
    for item in items {
        match &item.what {
            What::Function => found.push(item),
            What::Module(Some(inside)) | What::Implementation(_, inside) => {
                found.extend(functions(inside));
            }
            _ => {}
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
            for function in functions(&reading::items::items(tokens)) {
                let lines = function.last_line + 1 - function.line;
                longest_function = longest_function.max(lines);
                if lines > FUNCTION_LINES_MAX {
                    let Item {
                        name: function,
                        line,
                        ..
                    } = function;
                    violations.push(format!("{name}:{line}: {function} has {lines} lines"));
                }
            }
        }
        println!("sizes: longest file {longest} lines, longest function {longest_function}");
        assert_none(&violations);
    });
}
