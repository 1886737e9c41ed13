//! What people read of a source: its comments and the texts of its strings.

/// Comments and string literals of a Rust source, one line for each run of comments.
pub fn prose_of_rust(source: &str) -> String {
    let mut prose = String::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let code = &rest[at..];
        if code.starts_with("//") {
            let end = code.find('\n').unwrap_or(code.len());
            let comment = code[..end].trim_start_matches(['/', '!']);
            // The next line goes on with the sentence, or with a literal of its own.
            prose.push_str(comment.trim());
            let next = code[end..].trim_start();
            prose.push(if next.starts_with("//") { ' ' } else { '\n' });
            rest = &code[end..];
        } else if let Some(raw) = raw_string(rest, at) {
            prose.push_str(raw.0);
            prose.push('\n');
            rest = raw.1;
        } else if let Some(body) = code.strip_prefix('"') {
            let (text, after) = string(body);
            prose.push_str(&text);
            prose.push('\n');
            rest = after;
        } else if code.starts_with("'\"'") || code.starts_with("'\\") {
            rest = &code[code[1..].find('\'').map_or(1, |end| end + 2)..];
        } else {
            rest = &code[1..];
        }
    }
    prose
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
