//! What people read of a Rust source: its comments and the texts of its strings.

use super::lexemes::{Lexeme, lexemes};

/// A piece of it.
pub enum Words<'a> {
    /// A line of a comment, without its slashes.
    Comment {
        text: &'a str,
        /// The next line is one too.
        goes_on: bool,
    },
    /// What a literal says, in one line.
    Literal(String),
}

/// All of them, in order.
pub fn words(source: &str) -> Vec<Words<'_>> {
    let mut found = Vec::new();
    for Lexeme { text, after, .. } in lexemes(source) {
        if text.starts_with("//") {
            found.push(Words::Comment {
                text: text.trim_start_matches(['/', '!']).trim(),
                goes_on: after.trim_start().starts_with("//"),
            });
        } else if let Some(body) = body_of_string(text) {
            let is_raw = text.trim_start_matches(['b', 'c']).starts_with('r');
            let said = if is_raw {
                body.to_owned()
            } else {
                unescaped(body)
            };
            found.push(Words::Literal(said));
        }
    }
    found
}

/// What stands between the quotes, where the piece is a literal in double quotes.
fn body_of_string(text: &str) -> Option<&str> {
    let (prefix, body) = text.split_once('"')?;
    let body = body.trim_end_matches('#').strip_suffix('"')?;
    prefix.chars().all(|c| "bcr#".contains(c)).then_some(body)
}

/// The text of a literal, in one line.
fn unescaped(body: &str) -> String {
    let mut text = String::new();
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\n') => characters = characters.as_str().trim_start().chars(),
                Some('n' | 't') => text.push(' '),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            '\n' => text.push(' '),
            _ => text.push(character),
        }
    }
    text
}
