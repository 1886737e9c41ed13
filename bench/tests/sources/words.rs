//! What people read of a Rust source: its comments and the texts of its strings.

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
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let code = &rest[at..];
        if code.starts_with("//") {
            let end = code.find('\n').unwrap_or(code.len());
            found.push(Words::Comment {
                text: code[..end].trim_start_matches(['/', '!']).trim(),
                goes_on: code[end..].trim_start().starts_with("//"),
            });
            rest = &code[end..];
        } else if let Some((text, after)) = raw_string(rest, at) {
            found.push(Words::Literal(text.to_owned()));
            rest = after;
        } else if let Some(body) = code.strip_prefix('"') {
            let (text, after) = string(body);
            found.push(Words::Literal(text));
            rest = after;
        } else if code.starts_with("'\"'") || code.starts_with("'\\") {
            rest = &code[code[1..].find('\'').map_or(1, |end| end + 2)..];
        } else {
            rest = &code[1..];
        }
    }
    found
}

/// The raw string whose quote is at `at`, and what follows it.
fn raw_string(rest: &str, at: usize) -> Option<(&str, &str)> {
    let before = &rest[..at];
    let hashes = before.len() - before.trim_end_matches('#').len();
    let is_raw = before.trim_end_matches('#').ends_with('r') && rest[at..].starts_with('"');
    let end = format!("\"{}", "#".repeat(hashes));
    let body = is_raw.then(|| &rest[at + 1..])?;
    let length = body.find(&end)?;
    Some((&body[..length], &body[length + end.len()..]))
}

/// The text of a literal after its opening quote, and what follows it.
fn string(body: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &body[at + 1..]),
            '\\' => match characters.next() {
                Some((_, '\n')) => {
                    let after = characters.as_str();
                    let skipped = after.len() - after.trim_start().len();
                    for _ in after[..skipped].chars() {
                        characters.next();
                    }
                }
                Some((_, 'n' | 't')) => text.push(' '),
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            '\n' => text.push(' '),
            _ => text.push(character),
        }
    }
    (text, "")
}
