//! A Rust source as tokens: words, `::`, single marks. What literals and comments say is left
//! out, except for the code in the comments of documentation.

/// A word, `::`, or a mark; a literal or a lifetime is an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    /// From 1.
    pub line: usize,
}

impl Token<'_> {
    /// A keyword or a name.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_of_word)
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// All tokens of a source, in order.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let length = length_of_first(rest, first);
        let text = &rest[..length];
        let is_comment = text.starts_with("//") || text.starts_with("/*");
        if !first.is_whitespace() && !is_comment {
            let is_plain = length == first.len_utf8() || text == "::";
            let is_name = first.is_alphabetic() || first == '_';
            let is_name = is_name && !text.contains(['"', '\'']);
            let text = if is_plain || is_name { text } else { "" };
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// How many bytes the token, comment or space takes that `rest` begins with.
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

/// The code between fences in the documentation of a source, or in a page.
pub fn documented_code(text: &str, is_page: bool) -> String {
    let mut code = String::new();
    let (mut is_inside, mut is_rust) = (false, false);
    for line in text.lines() {
        let line = line.trim_start();
        let comment = line.strip_prefix("//!").or(line.strip_prefix("///"));
        let Some(line) = comment.or(is_page.then_some(line)) else {
            is_inside = false;
            continue;
        };
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_inside = !is_inside;
            is_rust = language == "rust" || (!is_page && language.is_empty());
        } else if is_inside && is_rust {
            code.push_str(line.trim_start().trim_start_matches("# "));
            code.push('\n');
        }
    }
    code
}

#[test]
fn a_source_falls_into_words_and_marks() {
    let texts = |source| {
        let tokens: Vec<Token<'_>> = tokens(source);
        let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
        texts.join(" ")
    };
    assert_eq!(texts("use a::b; // x"), "use a :: b ;");
    assert_eq!(texts(r#"f("a \" b", '"', b'\'', r"c")"#), "f (  ,  ,  ,  )");
    assert_eq!(texts("x: &'a str"), "x : &  str");
    assert_eq!(texts("#[a] r#\"\"\"#"), "# [ a ] ");
    let lines: Vec<usize> = tokens("a\n\"\n\"\nb").iter().map(|t| t.line).collect();
    assert_eq!(lines, [1, 2, 4]);
    let documented = "//! ```\n//! use a::B;\n//! ```\n//! words\n";
    assert_eq!(documented_code(documented, false), "use a::B;\n");
}
