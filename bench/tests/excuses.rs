//! What the node tank is excused from reaching: each such thing has tests that make it happen, and
//! they look at what marks or counts it.

mod sources;

use lockstep_consensus::sim::tank::coverage::{Coverage, CoverageItem};
use sources::words::{Words, words};
use sources::{assert_none, root, rust, test_text};

/// What a test that looks at `item` has in its text: the name of the mark, notice or counter.
fn word(item: &CoverageItem) -> &str {
    item.name.rsplit(' ').next().unwrap_or(&item.name)
}

/// How often `text` has `word` as a whole word.
fn mentions(text: &str, word: &str) -> usize {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_';
    text.split(|character: char| !is_of_word(character))
        .filter(|other| *other == word)
        .count()
}

/// Whether `code` has `word` as a whole word, and not merely in its comments.
fn looks_at(code: &str, word: &str) -> bool {
    let comments = words(code).into_iter().filter_map(|words| match words {
        Words::Comment { text, .. } => Some(text),
        Words::Literal(_) => None,
    });
    let in_comments: usize = comments.map(|text| mentions(text, word)).sum();
    mentions(code, word) > in_comments
}

/// What is wrong with the tests of one item.
fn complaint(
    item: &CoverageItem,
    (file, name): (&str, &str),
    read: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let Some(text) = read(file).and_then(|text| test_text(&text, name)) else {
        return Some(format!("{}: no test {name} in {file}", item.name));
    };
    let is_seen = looks_at(&text, word(item));
    (!is_seen).then(|| format!("{}: {name} in {file} does not look at it", item.name))
}

#[test]
fn whatever_the_tank_is_excused_from_is_made_and_looked_at_by_a_test() {
    let items = Coverage::items();
    let is_excused = |item: &&CoverageItem| item.impossible.or(item.rare).is_some();
    let excused: Vec<&CoverageItem> = items.iter().filter(is_excused).collect();
    assert!(excused.len() > 40, "only {} found", excused.len());
    let read = |file: &str| std::fs::read_to_string(root().join(file)).ok();
    let complaints = excused.into_iter().flat_map(|item| {
        let of_test = |place: &(&str, &str)| complaint(item, *place, read);
        let nothing = format!("{}: no test is named", item.name);
        let nothing = item.tests.is_empty().then_some(nothing);
        let found: Vec<String> = item.tests.iter().filter_map(of_test).collect();
        nothing.into_iter().chain(found)
    });
    assert_none(&complaints.collect::<Vec<_>>());
}

/// The excuse of four notices is that no member refuses a request for these reasons.
#[test]
fn no_member_refuses_for_a_reason_that_is_said_never_to_be_sent() {
    let sources = rust(&["consensus"], &["src"]);
    for reason in ["BackPressured", "AlreadyApplied", "WrongTerm", "Draining"] {
        let path = format!("RefusalReason::{reason}");
        let names = sources.iter().filter(|source| source.text.contains(&path));
        let names: Vec<&str> = names.map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["consensus/src/notice/sessions.rs"], "{reason}");
    }
}

#[test]
fn the_check_sees_what_it_must() {
    let items = Coverage::items();
    let item = items.iter().find(|item| item.name == "TermListPaged");
    let item = item.expect("there is such a mark");
    let file = |body: &str| {
        let text =
            format!("#[test]\nfn pages() {{\n{body}\n}}\n\nfn other() {{ TermListPaged }}\n");
        move |_: &str| Some(text.clone())
    };
    let found = |name: &str, body: &str| complaint(item, ("a.rs", name), file(body));
    assert_eq!(found("pages", "    see(Mark::TermListPaged);"), None);
    for body in [
        "    see(Mark::TermListPagedTwice);",
        "    // TermListPaged is not looked at.\n    see(Mark::Other); // TermListPaged",
    ] {
        let unseen = found("pages", body);
        assert!(unseen.is_some_and(|words| words.contains("does not look")));
    }
    for missing in ["other", "page", "ages"] {
        let words = found(missing, "    see(Mark::TermListPaged);");
        assert!(words.is_some_and(|words| words.contains("no test")));
    }
}
