//! What the product says never advises to empty, copy or restore what a member has: who follows
//! such advice loses what a client was answered (`docs/operating.md`, "Directories").

mod sources;

use sources::words::{Words, words};
use sources::{assert_none, rust};

/// The crates whose words an operator reads.
const CRATES: [&str; 5] = ["archive", "client", "consensus", "bench", "cli"];

/// Advice, as it would be worded: a verb, and what it is done to.
const VERBS: [&str; 9] = [
    "empty",
    "delete",
    "remove",
    "wipe",
    "erase",
    "clear",
    "restore",
    "copy",
    "overwrite",
];
const OBJECTS: [&str; 12] = [
    "it",
    "its",
    "them",
    "the",
    "this",
    "that",
    "all",
    "everything",
    "another",
    "a",
    "any",
    "from",
];
const THINGS: [&str; 11] = [
    "directory",
    "directories",
    "log",
    "segment",
    "segments",
    "file",
    "files",
    "data",
    "member",
    "backup",
    "identity.dat",
];

/// The string literals of a source.
fn texts(source: &str) -> Vec<String> {
    let literal = |words| match words {
        Words::Literal(text) => Some(text),
        Words::Comment { .. } => None,
    };
    words(source).into_iter().filter_map(literal).collect()
}

/// Whether `text` tells somebody to do away with something of a member's.
fn is_unsafe_advice(text: &str) -> bool {
    let text = text.to_lowercase();
    let is_of_word = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    let words: Vec<&str> = text
        .split(|c| !is_of_word(c))
        .filter(|w| !w.is_empty())
        .collect();
    let is_about = words.iter().any(|word| THINGS.contains(word));
    let does = words
        .windows(2)
        .any(|pair| VERBS.contains(&pair[0]) && OBJECTS.contains(&pair[1]));
    // "start with an empty directory" is the same advice.
    let begins_anew = ["an empty directory", "a fresh directory"];
    let goes_elsewhere = ["choose another directory", "choose another path"];
    let begins_anew = [begins_anew, goes_elsewhere]
        .as_flattened()
        .iter()
        .any(|advice| text.contains(advice));
    (is_about && does) || begins_anew
}

#[test]
fn no_text_advises_to_empty_copy_or_restore_what_a_member_has() {
    let (mut violations, mut seen) = (Vec::new(), 0);
    for source in rust(&CRATES, &["src"]) {
        let texts = texts(source.product());
        seen += texts.len();
        let advice = texts.into_iter().filter(|text| is_unsafe_advice(text));
        violations.extend(advice.map(|text| format!("{}: {text}", source.name)));
    }
    assert!(seen > 1_000, "only {seen} texts found");
    assert_none(&violations);
}

#[test]
fn the_check_sees_what_it_must() {
    let source = concat!(
        "f(\"one \\\n    two\", '\"'); // \"no\"\n",
        "let a = \"say \\\"b\\\"\";\n"
    );
    assert_eq!(texts(source), ["one two", "say \"b\""]);
    for advice in [
        "the log in {} is damaged: empty the directory and start again",
        "copy the directory of another member",
        "delete all files in {}",
        "identity.dat is missing: restore it from a backup",
        "give it an empty directory",
        "no space left for the data directory {}: free some, or choose another directory",
    ] {
        assert!(is_unsafe_advice(advice), "{advice}");
    }
    for word in [
        "keep the directory as it is, it may hold the only copy of an answered request",
        "stop the members that were started with an emptied, copied or older directory",
        "{directory} is a copy of another directory",
    ] {
        assert!(!is_unsafe_advice(word), "{word}");
    }
}
