//! What people read of a source, and of a page, as prose.

use crate::sources::words::{Words, words};

/// Comments and string literals of a Rust source, one line for each run of comments.
pub fn prose_of_rust(source: &str) -> String {
    let mut prose = String::new();
    for word in words(source) {
        match word {
            // The next line goes on with the sentence, or with a literal of its own.
            Words::Comment { text, goes_on } => {
                prose.push_str(text);
                prose.push(if goes_on { ' ' } else { '\n' });
            }
            Words::Literal(text) => {
                prose.push_str(&text);
                prose.push('\n');
            }
        }
    }
    prose
}

/// A document without its code: spans in backticks stay only where they name a document.
pub fn prose_of_markdown(text: &str) -> String {
    let mut prose = String::new();
    let mut is_fenced = false;
    let mut is_after_blank = true;
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        let is_code = is_fenced || (line.starts_with("    ") && is_after_blank);
        is_after_blank = line.trim().is_empty() || is_code;
        if is_code {
            continue;
        }
        for (index, part) in line.split('`').enumerate() {
            if index % 2 == 0 {
                prose.push_str(part);
            } else if part.ends_with(".md") {
                prose.push('`');
                prose.push_str(part);
                prose.push('`');
            } else {
                prose.push_str("``");
            }
        }
        prose.push(if line.trim().is_empty() { '\n' } else { ' ' });
    }
    prose
}

/// Rules that functions are named after: `r01_…`, `s1_…`.
pub fn rule_names_of_tests(source: &str) -> Vec<String> {
    let heads = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("fn "));
    let names = heads.filter_map(|head| Some(head.split_once('_')?.0.to_uppercase()));
    names
        .filter(|name| super::citation::is_rule_name(name))
        .collect()
}
