//! A Rust source in pieces: spaces, comments, literals, names, marks.

/// A piece of a source.
#[derive(Clone, Copy, Debug)]
pub struct Lexeme<'a> {
    pub text: &'a str,
    /// Where it begins, from 1.
    pub line: usize,
    /// What follows it.
    pub after: &'a str,
}

pub fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub fn is_comment(text: &str) -> bool {
    text.starts_with("//") || text.starts_with("/*")
}

/// All pieces of a source, in order: together they are the source.
pub fn lexemes(source: &str) -> impl Iterator<Item = Lexeme<'_>> {
    let (mut rest, mut next_line) = (source, 1);
    core::iter::from_fn(move || {
        let (text, after) = rest.split_at(length_of_first(rest, rest.chars().next()?));
        let line = next_line;
        next_line += text.matches('\n').count();
        rest = after;
        Some(Lexeme { text, line, after })
    })
}

/// How many bytes the piece takes that `rest` begins with.
fn length_of_first(rest: &str, first: char) -> usize {
    let until = |end: &str| {
        rest[1..]
            .find(end)
            .map_or(rest.len(), |at| at + 1 + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until("*/");
    }
    if rest.starts_with("::") {
        return 2;
    }
    if let Some(length) = length_of_string(rest) {
        return length;
    }
    if first == '\'' {
        return length_of_quote(rest);
    }
    if rest.starts_with("b'") {
        return 1 + length_of_quote(&rest[1..]);
    }
    if is_of_word(first) {
        return rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
    }
    first.len_utf8()
}

/// Of a literal in double quotes, where `rest` begins with one.
fn length_of_string(rest: &str) -> Option<usize> {
    let is_quote = |byte| matches!(byte, b'"' | b'#');
    let prefix = rest.bytes().take(3).position(is_quote)?;
    if !matches!(&rest[..prefix], "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    let after = &rest[prefix..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let is_raw = rest[..prefix].ends_with('r');
    if !after[hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let start = prefix + hashes + 1;
    let body = &rest[start..];
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(start + body.find(&end)? + end.len());
    }
    let mut is_escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some(start + end + 1)
}

/// Of a literal in single quotes or of a lifetime.
fn length_of_quote(rest: &str) -> usize {
    let after = &rest[1..];
    if after.starts_with('\\') {
        return after[2..].find('\'').map_or(rest.len(), |at| at + 4);
    }
    let mut characters = after.char_indices();
    let (_, second) = (characters.next(), characters.next());
    match second {
        Some((at, '\'')) => 1 + at + 1,
        _ => 1 + after.find(|c| !is_of_word(c)).unwrap_or(after.len()),
    }
}
