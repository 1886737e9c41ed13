//! A Rust source as tokens: words, `::`, single marks. What literals and comments say is left
//! out, except for the code in the comments of documentation.

use crate::sources::lexemes::{Lexeme, is_comment, is_of_word, lexemes};

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

/// All tokens of a source, in order.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let token = |Lexeme { text, line, .. }| {
        let first = text.chars().next()?;
        let is_plain = text.len() == first.len_utf8() || text == "::";
        let is_name = is_of_word(first) && !first.is_numeric() && !text.contains(['"', '\'']);
        let is_code = !first.is_whitespace() && !is_comment(text);
        let text = if is_plain || is_name { text } else { "" };
        is_code.then_some(Token { text, line })
    };
    lexemes(source).filter_map(token).collect()
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
