//! The page of faults (`docs/faults.md`) as a test: each test that it names exists, and each of
//! the twenty numbers has rows for what was wrong, numbered without a gap.

mod sources;

use std::collections::BTreeMap;

use sources::{quoted, root, test_text};

const PAGE: &str = include_str!("../../docs/faults.md");

/// Kinds of faults, counted from 0.
const NUMBERS: u32 = 20;

/// A row of the page: its number and place, and whether it is of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    number: u32,
    place: u32,
    is_fault: bool,
    /// File and name of each test.
    tests: Vec<(String, String)>,
}

/// The row that `line` is, if it is one; a line that looks like one and is none is an error.
fn row(line: &str) -> Result<Option<Row>, String> {
    let cells: Vec<&str> = line.trim().split('|').map(str::trim).collect();
    let is_row = cells.len() > 2 && cells[1].starts_with(|first: char| first.is_ascii_digit());
    if !is_row {
        return Ok(None);
    }
    let wrong = || format!("is no row: {line}");
    let [_, id, what, tests, _] = cells[..] else {
        return Err(wrong());
    };
    let (id, kind) = id.split_once(' ').ok_or_else(wrong)?;
    let (number, place) = id.split_once('.').ok_or_else(wrong)?;
    let is_fault = kind == "f";
    if what.is_empty() || (!is_fault && kind != "h") {
        return Err(wrong());
    }
    let mut file = String::new();
    let mut named = Vec::new();
    for word in quoted(tests) {
        if word.ends_with(".rs") {
            word.clone_into(&mut file);
        } else {
            named.push((file.clone(), word.to_owned()));
        }
    }
    Ok(Some(Row {
        number: number.parse().map_err(|_| wrong())?,
        place: place.parse().map_err(|_| wrong())?,
        is_fault,
        tests: named,
    }))
}

fn rows(page: &str) -> Vec<Row> {
    let rows = page.lines().map(row).collect::<Result<Vec<_>, _>>();
    let rows = rows.unwrap_or_else(|problem| panic!("docs/faults.md: {problem}"));
    rows.into_iter().flatten().collect()
}

/// What is wrong with the rows: a name without its test, or a row without a name.
fn missing(rows: &[Row], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut files: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut missing = Vec::new();
    for row in rows {
        if row.tests.is_empty() {
            missing.push(format!("{}.{} names no test", row.number, row.place));
        }
        for (file, name) in &row.tests {
            let text = files.entry(file).or_insert_with(|| read(file));
            let found = text.as_ref().and_then(|text| test_text(text, name));
            if found.is_none() {
                let (number, place) = (row.number, row.place);
                missing.push(format!("{number}.{place}: no test {name} in {file}"));
            }
        }
    }
    missing
}

#[test]
fn every_test_that_holds_a_fault_exists() {
    let rows = rows(PAGE);
    assert!(rows.len() > 80, "only {} rows found", rows.len());
    let read = |file: &str| std::fs::read_to_string(root().join(file)).ok();
    let missing = missing(&rows, read);
    assert!(
        missing.is_empty(),
        "docs/faults.md:\n{}\nname the test that holds it now",
        missing.join("\n")
    );
}

#[test]
fn every_number_has_its_rows() {
    let rows = rows(PAGE);
    for number in 0..NUMBERS {
        let of_number: Vec<&Row> = rows.iter().filter(|row| row.number == number).collect();
        let places: Vec<u32> = of_number.iter().map(|row| row.place).collect();
        let expected: Vec<u32> = (1..=places.len() as u32).collect();
        assert!(
            !places.is_empty() && places == expected,
            "number {number}: {places:?}"
        );
        let has_fault = of_number.iter().any(|row| row.is_fault);
        assert!(has_fault, "number {number} has no row of what was wrong");
    }
    let is_sorted = rows.is_sorted_by_key(|row| (row.number, row.place));
    assert!(is_sorted && rows.iter().all(|row| row.number < NUMBERS));
}

#[test]
fn the_check_sees_what_it_must() {
    let found = row("| 3.1 f | a thing | `a/b.rs` `one`, `two`, `c.rs` `three` |");
    let test = |file: &str, name: &str| (file.to_owned(), name.to_owned());
    let expected = Row {
        number: 3,
        place: 1,
        is_fault: true,
        tests: vec![
            test("a/b.rs", "one"),
            test("a/b.rs", "two"),
            test("c.rs", "three"),
        ],
    };
    assert_eq!(found, Ok(Some(expected)));
    assert_eq!(row("| | what | tests |"), Ok(None));
    assert!(row("| 3.1 | a thing | `a/b.rs` `one` |").is_err());
    assert!(row("| 3.1 x | a thing | `a/b.rs` `one` |").is_err());
    let text = "#[test]\n#[cfg(x)]\nfn one() {}\n#[cfg(x)]\nfn two() {}\nfn three() {}\n";
    assert_eq!(test_text(text, "one").as_deref(), Some("fn one() {}"));
    for other in ["on", "two", "three"] {
        assert_eq!(test_text(text, other), None);
    }
    let rows =
        rows("| 3.1 f | a | `a.rs` `one` |\n| 3.2 h | b | none |\n| 3.3 h | c | `b.rs` `x` |");
    let read = |file: &str| (file == "a.rs").then(|| text.to_owned());
    assert_eq!(missing(&rows, read).len(), 2);
}
