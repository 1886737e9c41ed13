//! What comments, messages and documents cite exists: each rule that is named has its row in
//! `docs/rules.md`, each document its file, each section its place, each path of a document its
//! file. And the layouts in the documents are those of the code.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod citing;
mod sources;

use std::collections::BTreeMap;

use citing::citation::{Cited, citations, is_rule_name};
use citing::document::{Document, paths};
use citing::prose::{prose_of_markdown, prose_of_rust, rule_names_of_tests};
use citing::{assertions, layout, oracles};
use lockstep_consensus::sim::Rule;
use lockstep_transport::invariants::Invariant;
use sources::{CRATES, Source, assert_none, pages, root};

/// What is no Rust and cites all the same.
const SCRIPTS: [&str; 4] = [".ci/run", ".ci/soak", ".ci/mutants", ".clippy.toml"];

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(root().join(name)).ok()
}

/// All sources but those of this test, which has examples of citations.
fn rust() -> Vec<Source> {
    let mut all = sources::rust(&CRATES, &["src", "tests", "examples"]);
    all.retain(|source| !source.name.starts_with("bench/tests/cit"));
    all
}

/// Each page by its file name.
fn documents() -> BTreeMap<String, Document> {
    let file = |name: &str| name.trim_start_matches("docs/").to_owned();
    let pages = pages().into_iter();
    pages
        .map(|page| (file(&page.name), Document::parse(&page.text)))
        .collect()
}

/// Everything that may cite, as prose.
fn prose() -> Vec<Source> {
    let mut all = Vec::new();
    for Source { name, text } in rust() {
        let tests = rule_names_of_tests(&text).join(" ");
        let text = format!("{}\n{tests}\n", prose_of_rust(&text));
        all.push(Source { name, text });
    }
    for Source { name, text } in pages() {
        let text = prose_of_markdown(&text);
        all.push(Source { name, text });
    }
    for name in SCRIPTS {
        let text = read(name).expect("each script is there");
        let name = name.to_owned();
        all.push(Source { name, text });
    }
    all
}

/// A document may cite its own sections by number alone.
fn within(name: &str, cited: Cited) -> Cited {
    match (name.strip_prefix("docs/"), cited) {
        (Some(file), Cited::Nameless(text)) if text.starts_with('(') => {
            let label = text.trim_matches(['(', ')']).to_owned();
            Cited::Section(file.to_owned(), label)
        }
        (_, cited) => cited,
    }
}

/// What is wrong with a citation, if anything is.
fn wrong(cited: &Cited, documents: &BTreeMap<String, Document>) -> Option<String> {
    match cited {
        Cited::Document(file) => {
            (!documents.contains_key(file)).then(|| format!("{file} is no document of docs/"))
        }
        Cited::Section(file, label) => {
            let document = documents.get(file)?;
            (!document.has_section(label)).then(|| format!("docs/{file} has no section {label}"))
        }
        Cited::Heading(file, heading) => {
            let document = documents.get(file)?;
            let is_there = document.has_heading(heading);
            (!is_there).then(|| format!("docs/{file} has no heading \"{heading}\""))
        }
        Cited::Rule(name) => {
            let rules = documents.get("rules.md")?;
            (!rules.has_row(name)).then(|| format!("docs/rules.md has no row {name}"))
        }
        Cited::Nameless(text) => Some(format!("\"{text}\" does not say of which document")),
    }
}

#[test]
fn whatever_is_cited_exists() {
    let documents = documents();
    let mut violations = Vec::new();
    let (mut rules, mut sections, mut files) = (0, 0, 0);
    for Source { name, text } in prose() {
        for cited in citations(&text) {
            match cited {
                Cited::Document(_) => files += 1,
                Cited::Rule(_) => rules += 1,
                _ => sections += 1,
            }
            let cited = within(&name, cited);
            let problem = wrong(&cited, &documents);
            violations.extend(problem.map(|problem| format!("{name}: {problem}")));
        }
    }
    println!(
        "citations: {rules} of rules by name, {sections} of sections, {files} of documents; \
         {} without what they cite",
        violations.len()
    );
    assert_none(&violations);
    assert!(rules > 200 && sections > 100, "too few citations are found");
}

#[test]
fn a_rule_has_one_row() {
    let documents = documents();
    assert_none(&documents["rules.md"].repeated_rows());
}

/// Sources of product code.
fn product() -> Vec<Source> {
    let mut all = rust();
    all.retain(|source| {
        let name = &source.name;
        name.contains("/src/") && !name.contains("/sim/") && !name.ends_with("tests.rs")
    });
    all
}

/// Rules that assertions of product code begin with, each with its files in order.
fn asserted() -> BTreeMap<String, Vec<String>> {
    let mut asserted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Source { name, text } in product() {
        for line in prose_of_rust(&text).lines() {
            let rule = line.split_once(": ").map(|(rule, _)| rule);
            if let Some(rule) = rule.filter(|rule| is_rule_name(rule)) {
                let files = asserted.entry(rule.to_owned()).or_default();
                if files.last() != Some(&name) {
                    files.push(name.clone());
                }
            }
        }
    }
    asserted
}

#[test]
fn the_row_of_a_rule_names_its_assertions() {
    let documents = documents();
    let rules = &documents["rules.md"];
    let asserted = asserted();
    assert!(asserted.len() > 8, "only {asserted:?} found");
    let mut violations = Vec::new();
    for rule in rules.rows() {
        let mut files = asserted.get(rule).cloned().unwrap_or_default();
        files.sort_unstable();
        if rules.asserted_in(rule) != files {
            violations.push(format!("docs/rules.md: {rule} is asserted in {files:?}"));
        }
    }
    assert_none(&violations);
}

/// Whatever begins with a rule's name says when it is evaluated, so that the simulator can tell
/// which never was.
#[test]
fn each_assertion_of_a_rule_has_its_row_among_the_marks() {
    assert_none(&assertions::differences(Invariant::ALL, &product()));
}

/// Both ways: each rule has a row and somebody who watches over it, and the row names just those.
#[test]
fn the_row_of_a_rule_names_its_oracles() {
    let of = oracles::of_rules(Rule::ALL);
    let mut watchers = sources::rust(&["consensus"], &["src/sim"]);
    watchers.retain(|source| {
        // What plants a fault names the rule that must find it.
        !source.name.ends_with("/planted.rs") && !source.name.ends_with("/tests.rs")
    });
    let documents = documents();
    assert_none(&oracles::differences(
        &of,
        &documents["rules.md"],
        &watchers,
    ));
}

#[test]
fn every_path_that_a_document_or_a_comment_names_exists() {
    let mut violations = Vec::new();
    let mut count = 0;
    let comments = rust().into_iter().map(|source| Source {
        text: prose_of_rust(&source.text),
        ..source
    });
    for Source { name, text } in pages().into_iter().chain(comments) {
        for path in paths(&text, &CRATES) {
            count += 1;
            if !root().join(path).exists() {
                violations.push(format!("{name}: {path} does not exist"));
            }
        }
    }
    println!("paths in documents and comments: {count}");
    assert_none(&violations);
    assert!(count > 200, "only {count} paths found");
}

#[test]
fn the_layouts_in_the_documents_are_those_of_the_code() {
    let mut of_documents: BTreeMap<String, Vec<layout::Table>> = BTreeMap::new();
    for file in ["wire.md", "files.md"] {
        let text = read(&format!("docs/{file}")).unwrap();
        for (path, table) in layout::of_document(&text) {
            of_documents.entry(path).or_default().push(table);
        }
    }
    let mut violations = Vec::new();
    let mut count = 0;
    for Source { name, text } in rust().iter().filter(|text| text.name.contains("/src/")) {
        let tables = layout::of_code(text);
        count += tables.len();
        let documented = of_documents.remove(name).unwrap_or_default();
        violations.extend(layout::difference(name, &tables, &documented));
    }
    let unknown = of_documents.into_keys();
    violations.extend(unknown.map(|path| format!("{path} has no layout")));
    println!("layouts: {count}");
    assert_none(&violations);
    assert!(count > 20, "only {count} layouts found");
}

#[test]
fn a_planted_wrong_citation_is_found() {
    let mut documents = BTreeMap::new();
    let log = "## 3 Terms\n\n**3.1** x\n**3.2** y\n### A majority is lost\n";
    documents.insert("log.md".to_owned(), Document::parse(log));
    let rules = "| name | rule |\n|---|---|\n| W1 | x |\n| oracle 1 | y |\n";
    documents.insert("rules.md".to_owned(), Document::parse(rules));
    let problems = |source: &str| -> Vec<String> {
        let cited = citations(&prose_of_rust(source));
        cited
            .iter()
            .filter_map(|cited| wrong(cited, &documents))
            .collect()
    };
    let good =
        "// See `log.md` 3.1, 3.2 (W1; oracle 1), or \"A majority is lost\" in docs/log.md.\n";
    assert_eq!(problems(good), Vec::<String>::new());
    for (planted, problem) in [
        ("/// By `log.md` 3.3.\n", "docs/log.md has no section 3.3"),
        (
            "/// By `log.md` 3.1 to\n/// 3.3.\n",
            "docs/log.md has no section 3.3",
        ),
        (
            "let x = \"see log.md 4\";\n",
            "docs/log.md has no section 4",
        ),
        (
            "//! As `logs.md` says.\n",
            "logs.md is no document of docs/",
        ),
        ("assert!(a, \"W2: {a}\");\n", "docs/rules.md has no row W2"),
        ("// oracles 1 and 9\n", "docs/rules.md has no row oracle 9"),
        (
            "// Numbers are taken once (6.3).\n",
            "\"(6.3)\" does not say of which document",
        ),
        ("// `log.md` §3\n", "\"§\" does not say of which document"),
        (
            "let x = \"see \\\"A majority \\\n         is gone\\\" in docs/log.md\";\n",
            "docs/log.md has no heading \"A majority is gone\"",
        ),
    ] {
        assert_eq!(problems(planted), [problem], "{planted}");
    }
}

#[test]
fn a_layout_that_was_changed_in_one_place_only_is_found() {
    let code =
        "/// | offset | size | field |\n/// |---|---|---|\n/// | 0 | 8 | [`x`] |\nstruct A;\n";
    let page = |size: u32| {
        format!(
            "`a.rs`:\n\n| offset | size | field |\n|---|---|---|\n| 0 | {size} | `x` |\n\nEnd.\n"
        )
    };
    let compared = |size| {
        let documented = layout::of_document(&page(size));
        let tables: Vec<_> = documented.into_iter().map(|(_, table)| table).collect();
        layout::difference("a.rs", &layout::of_code(code), &tables)
    };
    assert_eq!(compared(8), None);
    assert!(compared(4).is_some());
    assert!(layout::difference("a.rs", &layout::of_code(code), &[]).is_some());
    let text = "See `a/b.rs`, `docs/x.md` and `a b/c`; `c/d` is elsewhere.";
    assert_eq!(paths(text, &["a"]), ["a/b.rs", "docs/x.md"]);
    let twice = Document::parse("| W1 | x |\n| W1 | y |\n");
    assert_eq!(twice.repeated_rows(), ["W1 has two rows"]);
}

#[test]
fn an_assertion_without_its_row_is_found() {
    let problems = |text: &str| {
        let (name, text) = ("a/src/a.rs".to_owned(), text.to_owned());
        assertions::differences(&[Invariant::TermRises], &[Source { name, text }])
    };
    let call = "invariant!(TermRises, b > a, \"E2: {a} to {b}\");\n";
    assert_eq!(problems(call), Vec::<String>::new());
    for wrong in [
        "",
        &call.repeat(2),
        &call.replace("E2", "E1"),
        &call.replace("E2: ", ""),
        &call.replace("TermRises", "TermFalls"),
        &[call, "assert!(a, \"W1: no row\");\n"].concat(),
    ] {
        assert!(!problems(wrong).is_empty(), "{wrong}");
    }
    let in_tests = format!("{call}#[cfg(test)]\nmod tests {{\n{call}}}\n");
    assert_eq!(problems(&in_tests), Vec::<String>::new());
}

#[test]
fn a_row_that_names_another_oracle_than_its_own_is_found() {
    let of = oracles::of_rules(&[Rule::OneLog, Rule::C1]);
    let file = |name: &str, text: &str| Source {
        name: format!("consensus/src/sim/{name}"),
        text: text.to_owned(),
    };
    let watchers = [
        file("a.rs", "Rule::OneLog"),
        file("b.rs", "Rule::C1,"),
        file("c.rs", "Rule::C12"),
    ];
    let problems = |rows: &str| oracles::differences(&of, &Document::parse(rows), &watchers).len();
    let one = "| oracle 1 | x | `consensus/src/sim/a.rs` |\n";
    let quorum = "| C1 | y | `other/src/b.rs`, `consensus/src/sim/b.rs` |\n";
    assert_eq!(problems(&[one, quorum].concat()), 0);
    assert_eq!(problems(one), 1, "no row");
    let more = quorum.replace("b.rs` |", "b.rs`, `consensus/src/sim/c.rs` |");
    assert_eq!(problems(&[one, &more].concat()), 1, "one that is none");
    let none = "| oracle 1 | x | tests |\n";
    assert_eq!(problems(&[none, quorum].concat()), 1, "one that is missing");
    let unwatched = oracles::differences(&of, &Document::parse(&[one, quorum].concat()), &[]);
    assert!(unwatched.iter().any(|problem| problem.contains("nobody")));
}
