//! No refusal without a word, as a test over the sources: product code neither swallows an error
//! nor counts a refusal without a cause, unless a comment says why that harms nobody.

mod sources;

use sources::{CRATES, Source, rust};

/// What swallows: an error that is dropped, and a count of refusals that says no cause.
const SWALLOWS: [&str; 6] = [
    "Err(_) =>",
    "Err(_)) =>",
    "let _ =",
    "refused += 1",
    "rejected += 1",
    "dropped += 1",
];

/// Whether it is a source of the product: no test, and not of the simulator.
fn is_product(source: &Source) -> bool {
    !source.is_test() && !source.name.contains("/sim/")
}

/// Lines of code that one comment may explain: what it stands above, and what that holds.
const EXPLAINED_LINES: usize = 3;

/// Lines that swallow, by number, where no comment stands behind them or in the lines above;
/// lines that swallow one after the other share their comment.
fn silent_lines(text: &str) -> Vec<(usize, &str)> {
    let mut silent = Vec::new();
    let mut explained = 0;
    for (index, line) in text.lines().enumerate() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        if code.trim().is_empty() {
            if !comment.is_empty() && !comment.starts_with(['/', '!']) {
                explained = EXPLAINED_LINES;
            }
            continue;
        }
        let is_swallowing = SWALLOWS.iter().any(|what| code.contains(what))
            || (code.trim_end().ends_with(".ok();") && !code.contains('='));
        if is_swallowing && explained == 0 && comment.is_empty() {
            silent.push((index + 1, line.trim()));
        }
        if !is_swallowing {
            explained = explained.saturating_sub(1);
        }
    }
    silent
}

#[test]
fn no_error_is_swallowed_and_no_refusal_counted_without_a_reason() {
    let mut violations = Vec::new();
    let sources = rust(&CRATES, &["src"]);
    for source in sources.iter().filter(|source| is_product(source)) {
        for (number, line) in silent_lines(source.product()) {
            violations.push(format!("{}:{number}: {line}", source.name));
        }
    }
    assert!(
        violations.is_empty(),
        "\n{}\nnote a cause (transport::notices), pass the error on, or say in a comment why \
         nobody needs to know\n",
        violations.join("\n")
    );
}

#[test]
fn the_check_sees_what_it_must() {
    let silent = |text| {
        let lines = silent_lines(text).into_iter();
        lines.map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(silent("    Err(_) => None,\n"), [1]);
    assert_eq!(silent("/// Documented.\nlet _ = f();\n"), [2]);
    assert_eq!(silent("// Why.\nlet _ = f();\nlet _ = g();\n"), []);
    assert_eq!(silent("// Why.\nif a {\nlet _ = f();\n"), []);
    assert_eq!(silent("// Why.\na();\nb();\nc();\nlet _ = g();\n"), [5]);
    assert_eq!(silent("self.refused += 1; // Why.\nf.ok();\n"), [2]);
    assert_eq!(silent("let a = f.ok();\n"), []);
}
