//! What is counted: each counter is set by product code, and somebody reads it or can look up what
//! it means.

mod reading;
mod sources;

use reading::tokens::tokens;
use sources::{CRATES, Source, assert_none, root, rust};

/// Where a node's counters are named.
const NAMES: &str = "consensus/src/node/counters.rs";

/// A counter of a node: its number, its name, and the blocks that it is written into.
type Named = (u32, String, String);

/// What stands in this source between `head` and the brace that ends it, `end` before.
fn body<'a>(source: &'a str, head: &str, end: &str) -> &'a str {
    let body = source.split(head).nth(1);
    let body = body.and_then(|rest| rest.split(end).next());
    body.expect("the counters are named")
}

/// The words of this source that follow `path`, as `Clients` follows `Block::`.
fn following<'a>(source: &'a str, path: &str) -> Vec<&'a str> {
    let words = source.split(path).skip(1);
    let word = |rest: &'a str| rest.split(|c: char| !c.is_alphanumeric()).next();
    words.filter_map(word).collect()
}

/// The counters of a node, as this source names them.
fn named(source: &str) -> Vec<Named> {
    let arms = body(source, "const fn is_of(", "\n    }\n");
    let arms = arms.split_whitespace().collect::<Vec<_>>().join(" ");
    let blocks_of = |name: &str| {
        let from = format!("Self::{name} ");
        let arm = arms.split(&from).nth(1).unwrap_or_default();
        let arm = arm.split_once("=>").map_or("", |(_, blocks)| blocks);
        let blocks = arm.split(')').next().unwrap_or_default();
        let blocks = following(blocks, "Block::").join(", ");
        blocks.replace("Thread", " thread").to_lowercase()
    };
    let one = |line: &str| {
        let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
        Some((number.parse().ok()?, name.to_owned(), blocks_of(name)))
    };
    let lines = body(source, "pub enum Counter {", "\n}").lines();
    lines.filter_map(one).collect()
}

/// The counters that a row of this page explains.
fn explained(page: &str) -> Vec<Named> {
    let one = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, name, blocks, meaning, _] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let is_row = !meaning.is_empty() && name.starts_with(char::is_uppercase);
        Some((number.parse().ok()?, name.to_owned(), blocks.to_owned())).filter(|_| is_row)
    };
    page.lines().filter_map(one).collect()
}

/// A field that counts, and the type it is a field of.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    of: String,
    name: String,
}

/// The numbers in the types of this source that are called counters.
fn counts(source: &str) -> Vec<Count> {
    let mut found = Vec::new();
    for part in source.split("pub struct ").skip(1) {
        let Some((of, body)) = part.split_once(" {\n") else {
            continue;
        };
        if !of.ends_with("Counters") {
            continue;
        }
        let body = body.split("\n}").next().unwrap_or_default();
        let fields = body
            .lines()
            .filter_map(|line| line.trim().strip_suffix(": u64,"));
        found.extend(fields.map(|field| Count {
            of: of.to_owned(),
            name: field.rsplit(' ').next().unwrap_or(field).to_owned(),
        }));
    }
    found
}

/// Whether this source reads the count: a field of that name otherwise than to count, or all
/// counts of the type by name. Comments are no code.
fn reads(source: &str, Count { of, name }: &Count) -> bool {
    let tokens = tokens(source);
    let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    let is_field = texts
        .windows(4)
        .any(|next| next[0] == "." && next[1] == name && next[2] != "(" && next[2..] != ["+", "="]);
    let takes_apart = |next: &[&str]| next[0] == "let" && next[1] == of && next[2] == "{";
    is_field || (texts.contains(&&name[..]) && texts.windows(3).any(takes_apart))
}

fn dense(source: &Source) -> String {
    source.product().split_whitespace().collect()
}

#[test]
fn a_nodes_counters_are_set_and_explained() {
    let source = std::fs::read_to_string(root().join(NAMES)).expect("it is there");
    let page = std::fs::read_to_string(root().join("docs/files.md")).expect("it is there");
    let names = named(&source);
    assert!(names.len() > 20, "only {} counters found", names.len());
    assert_eq!(names, explained(&page), "docs/files.md 9.2 explains others");
    let sources = rust(&["consensus"], &["src"]);
    let is_product = |source: &&Source| !source.is_test() && !source.name.contains("/sim/");
    let product: Vec<String> = sources.iter().filter(is_product).map(dense).collect();
    let is_there = |words: &str| product.iter().any(|text| text.contains(words));
    // By its name, or as one of those that threads count, which are set all alike.
    let of_threads = body(&source, "const fn work_of(", "\n    }\n");
    let of_threads = following(of_threads, "Self::");
    assert!(is_there(
        "inCounter::work_of(first).into_iter().zip(values){block.set(counter,value)"
    ));
    let is_set =
        |name: &str| is_there(&format!(".set(Counter::{name},")) || of_threads.contains(&name);
    let unset = names.iter().filter(|(_, name, _)| !is_set(name));
    let violations: Vec<String> = unset
        .map(|(_, name, _)| format!("{name} is never set"))
        .collect();
    assert_none(&violations);
}

#[test]
fn the_pages_have_the_length_of_the_counters_file() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("it is there");
    let source = read(NAMES);
    let blocks = body(&source, "const BLOCKS: [Block; ", "]");
    let blocks: usize = blocks.parse().expect("a number");
    let (kib, bytes) = (blocks * 4, blocks * 4096);
    let bytes = format!("{},{:03}", bytes / 1000, bytes % 1000);
    let files = format!("`counters.dat`, {bytes} bytes");
    assert!(read("docs/files.md").contains(&files), "{files}");
    let operating = read("docs/operating.md");
    for said in [
        format!("room for {kib} KiB"),
        format!("each of its {blocks} blocks of 4,096"),
    ] {
        assert!(operating.contains(&said), "{said}");
    }
}

#[test]
fn what_is_counted_is_read_somewhere() {
    let sources = rust(&CRATES, &["src", "tests", "examples"]);
    let mut violations = Vec::new();
    let mut count = 0;
    for source in &sources {
        for counted in counts(source.product()) {
            let Count { of, name } = &counted;
            count += 1;
            let set = format!("{name} += ");
            let is_counted = |other: &&Source| !other.is_test() && other.product().contains(&set);
            if !sources.iter().any(|other| is_counted(&other)) {
                violations.push(format!("{of}::{name} is never counted"));
            }
            if !sources.iter().any(|other| reads(&other.text, &counted)) {
                violations.push(format!("{of}::{name} is counted, and nobody reads it"));
            }
        }
    }
    assert!(count > 40, "only {count} counts found");
    assert_none(&violations);
}

#[test]
fn a_count_that_is_only_counted_is_found() {
    let source = "pub struct PortCounters {\n    /// Sent.\n    pub sent: u64,\n}\n\
                  fn f() { counters.sent += 1; }\n";
    let count = Count {
        of: "PortCounters".to_owned(),
        name: "sent".to_owned(),
    };
    assert_eq!(&counts(source)[..], core::slice::from_ref(&count));
    let reads = |source: &str| reads(source, &count);
    assert!(!reads(source));
    for other in [
        "self.sent_total > 0",
        "let sent = 1;",
        "// .sent ==",
        "a.sent();",
    ] {
        assert!(!reads(other), "{other}");
    }
    assert!(reads("if port.counters().sent > 0 {}"));
    assert!(reads("let PortCounters { sent, .. } = counters;"));
}
