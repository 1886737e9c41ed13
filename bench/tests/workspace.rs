//! The style guide as a test (`docs/STYLE.md`): columns, heads, names, import direction,
//! unsafe fences. There is no list of exceptions. Circles of files, what is public, and sizes are
//! the matter of `house.rs`.

mod reading;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;

use reading::tokens::{Token, tokens};
use sources::{CRATES, DIRECTION, Source, assert_none, pages, root, rust};

const TEST_MODULE_LINES_MAX: usize = 200;
const COLUMNS_MAX: usize = 100;
const HEAD_LINES_MAX: usize = 15;

const BANNED_FILE_NAMES: [&str; 7] = [
    "util", "utils", "helpers", "common", "misc", "impls", "types",
];

/// Where `unsafe` may appear: folders and files, relative to the workspace.
const FENCES: [&str; 6] = [
    "transport/src/allocations.rs",
    "transport/src/concurrent/",
    "transport/src/media/",
    "archive/src/storage/",
    "bench/src/floor.rs",
    "bench/src/floor/",
];

fn sources() -> Vec<Source> {
    let sources = rust(&CRATES, &["src", "tests", "examples", "benches"]);
    assert!(sources.len() > 20, "only {} found", sources.len());
    sources
}

#[test]
fn long_tests_stand_in_files_of_their_own() {
    let mut violations = Vec::new();
    for source in sources() {
        let product = source.product().lines().count();
        let tests = source.text.lines().count() - product;
        if tests > TEST_MODULE_LINES_MAX + 1 {
            violations.push(format!(
                "{}: {tests} lines of tests, move them",
                source.name
            ));
        }
    }
    assert_none(&violations);
}

#[test]
fn lines_fit_a_hundred_columns() {
    let mut violations = Vec::new();
    for source in sources().iter().chain(&pages()) {
        let is_page = !source.name.ends_with(".rs");
        for (index, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            // A row of a table cannot be broken.
            let is_row = is_page && line.trim_start().starts_with('|');
            if columns > COLUMNS_MAX && !is_row {
                violations.push(format!("{}:{}: {columns} columns", source.name, index + 1));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut violations = Vec::new();
    for source in sources() {
        let head = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let lines = head.count();
        let is_crate_root = source.name.ends_with("lib.rs") || source.name.ends_with("main.rs");
        if lines == 0 {
            violations.push(format!("{}: no //! head", source.name));
        } else if lines > HEAD_LINES_MAX && !is_crate_root && !has_table(&source) {
            violations.push(format!("{}: a head of {lines} lines", source.name));
        }
    }
    assert_none(&violations);
}

/// Layout tables belong where they are encoded and may be as long as the layout.
fn has_table(source: &Source) -> bool {
    let mut head = source
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"));
    head.any(|line| line.starts_with("//! |") || line.starts_with("//! ```"))
}

#[test]
fn no_file_is_named_after_nothing() {
    let mut violations = Vec::new();
    for source in sources() {
        let stem = Path::new(&source.name).file_stem().unwrap();
        let stem = stem.to_str().unwrap();
        if BANNED_FILE_NAMES.contains(&stem) || stem == "manager" {
            violations.push(format!("{}: name the noun it is about", source.name));
        }
    }
    assert_none(&violations);
}

#[test]
fn unsafe_stays_within_its_fences() {
    let mut violations = Vec::new();
    for source in sources() {
        if FENCES.iter().any(|fence| source.name.starts_with(fence)) {
            continue;
        }
        let tokens = tokens(&source.text).into_iter();
        let found = tokens.filter(|token| token.text == "unsafe");
        violations.extend(found.map(|token| format!("{}:{}: unsafe", source.name, token.line)));
    }
    assert_none(&violations);
}

#[test]
fn every_crate_denies_unsafe_at_its_head() {
    for (member, _) in DIRECTION {
        let source = root().join(member).join("src");
        let text = std::fs::read_to_string(source.join("lib.rs"))
            .or_else(|_| std::fs::read_to_string(source.join("main.rs")))
            .unwrap();
        let expected = match member {
            "transport" | "archive" | "bench" => "#![deny(unsafe_code)]",
            _ => "#![forbid(unsafe_code)]",
        };
        assert!(text.contains(expected), "{member}: {expected} is missing");
    }
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let mut violations = Vec::new();
    let allowed: BTreeMap<&str, &[&str]> = DIRECTION.into_iter().collect();
    let check = |member: &str, used: &str, place: &str, violations: &mut Vec<String>| {
        if used != member && !allowed[member].contains(&used) {
            violations.push(format!("{place}: {member} must not use {used}"));
        }
    };
    for (member, _) in DIRECTION {
        let manifest = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        for line in manifest.lines() {
            if let Some(rest) = line.strip_prefix("lockstep-") {
                let used = rest.split(['.', ' ', '=']).next().unwrap();
                check(
                    member,
                    used,
                    &format!("{member}/Cargo.toml"),
                    &mut violations,
                );
            }
        }
    }
    for source in sources() {
        let member = source.name.split('/').next().unwrap().to_owned();
        for Token { text, line } in tokens(&source.text) {
            let used = text.strip_prefix("lockstep_");
            if let Some(used) = used.filter(|used| allowed.contains_key(used)) {
                let place = format!("{}:{line}", source.name);
                check(&member, used, &place, &mut violations);
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn simulated_twins_are_out_of_reach_of_product_code() {
    let mut violations = Vec::new();
    for source in sources() {
        let is_product = source.name.contains("/src/") && !source.name.contains("/sim/");
        let is_simulator = source.name.starts_with("bench/") || source.name.starts_with("cli/");
        if !is_product || is_simulator || source.is_test() {
            continue;
        }
        let tokens = tokens(source.product());
        let leads_there = |next: &&[Token<'_>]| has(next, &["::", "sim", "::"]);
        for next in tokens.windows(3).filter(leads_there) {
            let line = next[1].line;
            violations.push(format!("{}:{line}: uses a simulated twin", source.name));
        }
    }
    assert_none(&violations);
}

/// A layout has its fields in the order of the codec's calls and no offsets. The simulator's
/// oracles read on their own, so that no error of the codec is theirs too.
#[test]
fn fields_are_written_and_read_with_the_codec_alone() {
    let mut violations = Vec::new();
    for source in rust(&["archive", "client", "consensus"], &["src"]) {
        if source.is_test() || source.name.contains("/sim/") {
            continue;
        }
        for statement in tokens(source.product()).split(|token| token.text == ";") {
            if is_field_by_hand(statement) {
                let line = statement[0].line;
                violations.push(format!("{}:{line}: by hand", source.name));
            }
        }
    }
    assert_none(&violations);
}

/// A number that is taken from bytes, or laid into some, without the codec.
fn is_field_by_hand(statement: &[Token<'_>]) -> bool {
    let names = |name| statement.iter().any(|token| token.text == name);
    names("from_le_bytes") || (names("copy_from_slice") && names("to_le_bytes"))
}

/// Whether these are the words and marks of `tokens`.
fn has(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens
        .iter()
        .map(|token| token.text)
        .eq(texts.iter().copied())
}

#[test]
fn nothing_is_left_lying_about() {
    let marks = [
        ["to", "do!("].concat(),
        ["db", "g!("].concat(),
        ["unimpl", "emented!("].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[ign", "ore"].concat(),
    ];
    let mut violations = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.name, index + 1);
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                violations.push(format!("{place}: {mark}"));
            }
            if is_commented_out_code(line) {
                violations.push(format!("{place}: commented-out code"));
            }
        }
    }
    assert_none(&violations);
}

/// A plain comment that ends as only code ends.
fn is_commented_out_code(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("// ") else {
        return false;
    };
    let comment = comment.trim();
    let is_statement = comment.ends_with(';')
        && ["let ", "use ", "return", "self.", "pub "]
            .iter()
            .any(|start| comment.starts_with(start));
    is_statement || comment.ends_with(") {") || comment == "}"
}

#[test]
fn the_checks_see_what_they_must() {
    assert!(is_commented_out_code("    // let x = 3;"));
    assert!(is_commented_out_code("// if a == b() {"));
    assert!(!is_commented_out_code(
        "// Release; pairs with the Acquire in `poll`."
    ));
    let is_by_hand = |code: &str| is_field_by_hand(&tokens(code));
    assert!(is_by_hand("let x = u64::from_le_bytes(raw)"));
    assert!(is_by_hand("raw.map(u64::from_le_bytes)"));
    assert!(is_by_hand(
        "b[2..4]\n.copy_from_slice(\n&x.to_le_bytes()\n)"
    ));
    assert!(!is_by_hand("hash.extend_from_slice(&x.to_le_bytes())"));
    let source = Source {
        name: "x/src/a.rs".to_owned(),
        text: "a\nb\n#[cfg(test)]\nmod tests {\n}\n".to_owned(),
    };
    assert_eq!(source.product(), "a\nb\n");
}
