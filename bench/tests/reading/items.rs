//! The items of a source: what they are called, who may see them, what their heads show.

use super::tokens::Token;

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// With its items when they stand in the same file.
    Module(Option<Vec<Item<'a>>>),
    Use(Vec<Import<'a>>),
    /// A struct, an enum, an alias or a trait.
    Type,
    Function,
    Constant,
    /// The path of the type, and the items inside. Called `for` when it implements a trait.
    Implementation(Vec<&'a str>, Vec<Item<'a>>),
    /// A macro that is defined, or one that defines these names.
    Macro(Vec<&'a str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    ByAll,
    WithinCrate,
    WithinModule,
}

/// One name of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import<'a> {
    pub path: Vec<&'a str>,
    /// What it is called here; `*` for all names of a module.
    pub name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    pub what: What<'a>,
    pub name: &'a str,
    pub seen: Seen,
    /// Where its head is, after the attributes.
    pub line: usize,
    /// Compiled for tests only.
    pub is_test: bool,
    pub attributes: &'a [Token<'a>],
    /// All of it.
    pub tokens: &'a [Token<'a>],
    /// What a user of it sees: a function's head, a struct's public fields, an enum as a whole.
    pub shown: Vec<&'a [Token<'a>]>,
}

impl Item<'_> {
    pub fn is_exported_macro(&self) -> bool {
        self.attributes
            .iter()
            .any(|token| token.text == "macro_export")
    }
}

/// The items that `tokens` consist of.
pub fn items<'a>(tokens: &'a [Token<'a>]) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let (item, length) = first_item(rest);
        items.extend(item);
        rest = &rest[length..];
    }
    items
}

/// How many tokens the group takes that `tokens` begin with, brackets included.
pub fn group_length(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// How many of `tokens` are attributes.
pub fn attributes_length(tokens: &[Token<'_>]) -> usize {
    let mut at = 0;
    while tokens.get(at).is_some_and(|token| token.text == "#") {
        at += 1;
        at += usize::from(tokens.get(at).is_some_and(|token| token.text == "!"));
        at += group_length(&tokens[at..]);
    }
    at
}

fn visibility(tokens: &[Token<'_>]) -> (Seen, usize) {
    match tokens {
        [first, second, ..] if first.text == "pub" && second.text == "(" => {
            (Seen::WithinCrate, 1 + group_length(&tokens[1..]))
        }
        [first, ..] if first.text == "pub" => (Seen::ByAll, 1),
        _ => (Seen::WithinModule, 0),
    }
}

/// The first token outside of round and square brackets that is one of `marks`.
pub fn find(tokens: &[Token<'_>], marks: &[&str]) -> Option<usize> {
    let mut at = 0;
    while at < tokens.len() {
        let text = tokens[at].text;
        if marks.contains(&text) {
            return Some(at);
        }
        at += match text {
            "(" | "[" | "{" => group_length(&tokens[at..]),
            _ => 1,
        };
    }
    None
}

/// The item that `tokens` begin with, and how many of them it takes.
fn first_item<'a>(tokens: &'a [Token<'a>]) -> (Option<Item<'a>>, usize) {
    let attributes = attributes_length(tokens);
    let (seen, length) = visibility(&tokens[attributes..]);
    let head = attributes + length;
    let Some(first) = tokens.get(head) else {
        return (None, tokens.len());
    };
    let rest = &tokens[head..];
    let is_function = |token: &Token<'_>| {
        matches!(
            token.text,
            "fn" | "const" | "async" | "unsafe" | "extern" | ""
        )
    };
    let word = rest
        .iter()
        .position(|token| !is_function(token))
        .unwrap_or(0);
    let is_function = word > 0 && rest[word - 1].text == "fn";
    let ends_at_mark = matches!(first.text, "const" | "static" | "type" | "use") && !is_function;
    let end = match ends_at_mark {
        true => find(rest, &[";"]).map_or(rest.len(), |at| at + 1),
        false => match find(rest, &["{", ";"]) {
            Some(at) => at + group_length(&rest[at..]),
            None => rest.len(),
        },
    };
    let body = &rest[..end];
    let (what, name, shown) = read(body, is_function.then_some(word));
    let item = what.map(|what| Item {
        what,
        name,
        seen,
        line: first.line,
        is_test: is_test_only(&tokens[..attributes]),
        attributes: &tokens[..attributes],
        tokens: &tokens[..head + end],
        shown,
    });
    (item, head + end)
}

fn is_test_only(attributes: &[Token<'_>]) -> bool {
    let has = |word| attributes.iter().any(|token| token.text == word);
    has("test") && !has("any") && !has("not")
}

type Reading<'a> = (Option<What<'a>>, &'a str, Vec<&'a [Token<'a>]>);

/// What the item is, its name and what it shows; `function` is where a function's name stands.
fn read<'a>(body: &'a [Token<'a>], function: Option<usize>) -> Reading<'a> {
    let text = |at: usize| body.get(at).map_or("", |token: &Token<'_>| token.text);
    if let Some(name) = function {
        let end = find(body, &["{", ";"]).unwrap_or(body.len());
        return (Some(What::Function), text(name), vec![&body[name + 1..end]]);
    }
    let skipped = usize::from(text(0) == "unsafe");
    match text(skipped) {
        "mod" => {
            let inner = find(body, &["{"]).map(|at| items(&body[at + 1..body.len() - 1]));
            (Some(What::Module(inner)), text(1), Vec::new())
        }
        "use" => {
            let mut imports = Vec::new();
            read_use(&body[1..], &mut imports);
            (Some(What::Use(imports)), "", Vec::new())
        }
        "struct" | "union" => (Some(What::Type), text(1), shown_of_struct(body)),
        "enum" | "type" => (Some(What::Type), text(1), vec![&body[2..]]),
        "trait" => (Some(What::Type), text(skipped + 1), shown_of_trait(body)),
        "const" | "static" => {
            let name = 1 + usize::from(text(1) == "mut");
            let end = find(body, &["="]).unwrap_or(body.len());
            (
                Some(What::Constant),
                text(name),
                vec![&body[name + 1..end.max(name + 1)]],
            )
        }
        "impl" => read_implementation(body),
        "macro_rules" => (Some(What::Macro(defined(body))), text(2), Vec::new()),
        _ if find(body, &["!"]).is_some() => (Some(What::Macro(defined(body))), "", Vec::new()),
        _ => (None, "", Vec::new()),
    }
}

/// Names that stand after a keyword which defines something.
fn defined<'a>(body: &'a [Token<'a>]) -> Vec<&'a str> {
    let defines = |text| matches!(text, "struct" | "enum" | "fn" | "const" | "trait");
    let pairs = body.windows(2).filter(|pair| defines(pair[0].text));
    pairs
        .map(|pair| pair[1].text)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Its head, and those fields that are public.
fn shown_of_struct<'a>(body: &'a [Token<'a>]) -> Vec<&'a [Token<'a>]> {
    let start = body
        .iter()
        .position(|token| matches!(token.text, "(" | "{"));
    let start = start.unwrap_or(body.len());
    let mut shown = vec![&body[2.min(start)..start]];
    if start == body.len() {
        return shown;
    }
    let end = start + group_length(&body[start..]);
    let mut rest = &body[start + 1..end - 1];
    while !rest.is_empty() {
        let length = find_field_end(rest);
        let field = &rest[attributes_length(rest)..length];
        if visibility(field).0 == Seen::ByAll {
            shown.push(&field[1..]);
        }
        rest = &rest[(length + 1).min(rest.len())..];
    }
    shown.push(&body[end..]);
    shown
}

/// The comma after a field: one outside of brackets, angles included.
pub fn find_field_end(tokens: &[Token<'_>]) -> usize {
    let (mut at, mut angles) = (0, 0i32);
    while at < tokens.len() {
        match tokens[at].text {
            "(" | "[" | "{" => at += group_length(&tokens[at..]) - 1,
            "<" => angles += 1,
            ">" if at == 0 || tokens[at - 1].text != "-" => angles -= 1,
            "," if angles == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

/// Its head, and the heads of its functions.
fn shown_of_trait<'a>(body: &'a [Token<'a>]) -> Vec<&'a [Token<'a>]> {
    let start = find(body, &["{"]).unwrap_or(body.len());
    let mut shown = vec![&body[..start]];
    if start < body.len() {
        for item in items(&body[start + 1..body.len() - 1]) {
            shown.extend(item.shown);
        }
    }
    shown
}

fn read_implementation<'a>(body: &'a [Token<'a>]) -> Reading<'a> {
    let start = find(body, &["{"]).unwrap_or(body.len());
    let mut head = &body[1..start];
    if head.first().is_some_and(|token| token.text == "<") {
        let mut angles = 0i32;
        let closes = |(at, token): (usize, &Token<'_>)| {
            let is_arrow = at > 0 && head[at - 1].text == "-";
            angles += i32::from(token.text == "<");
            angles -= i32::from(token.text == ">" && !is_arrow);
            angles == 0
        };
        let length = head.iter().enumerate().position(closes);
        head = &head[length.map_or(head.len(), |at| at + 1)..];
    }
    let for_trait = head.iter().enumerate().position(|(at, token)| {
        token.text == "for" && head.get(at + 1).is_none_or(|next| next.text != "<")
    });
    let target = &head[for_trait.map_or(0, |at| at + 1)..];
    let inside = match start < body.len() {
        true => items(&body[start + 1..body.len() - 1]),
        false => Vec::new(),
    };
    let path = target
        .iter()
        .take_while(|token| token.is_word() || token.text == "::");
    let path: Vec<&str> = path
        .filter(|token| token.is_word())
        .map(|t| t.text)
        .collect();
    if for_trait.is_none() {
        return (Some(What::Implementation(path, inside)), "", Vec::new());
    }
    // What a trait's implementation shows of its own are its types.
    let is_type = |item: &&Item<'_>| item.what == What::Type;
    let types = inside.iter().filter(is_type);
    let shown = types.flat_map(|item| item.shown.clone()).collect();
    (Some(What::Implementation(path, inside)), "for", shown)
}

/// Adds what the tree after a `use` imports.
pub fn read_use<'a>(tokens: &'a [Token<'a>], imports: &mut Vec<Import<'a>>) {
    let mut at = 0;
    read_tree(tokens, &mut at, &[], imports);
}

fn read_tree<'a>(
    tokens: &'a [Token<'a>],
    at: &mut usize,
    prefix: &[&'a str],
    imports: &mut Vec<Import<'a>>,
) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.text {
            "::" => {}
            "{" => {
                while tokens.get(*at).is_some_and(|token| token.text != "}") {
                    read_tree(tokens, at, &path, imports);
                    *at += usize::from(tokens.get(*at).is_some_and(|t| t.text == ","));
                }
                *at += 1;
                return;
            }
            "*" => {
                imports.push(Import { path, name: "*" });
                return;
            }
            "as" => {
                let name = tokens.get(*at).map_or("", |token| token.text);
                *at += 1;
                imports.push(Import { path, name });
                return;
            }
            "," | "}" | ";" => {
                *at -= 1;
                break;
            }
            word => path.push(word),
        }
    }
    if path.len() > 1 && path.last() == Some(&"self") {
        path.pop();
    }
    if let Some(name) = path.last().copied() {
        imports.push(Import { path, name });
    }
}

#[test]
fn items_are_told_apart() {
    let source = "#[cfg(test)]\nmod tests { fn a() {} }\npub use crate::a::{self, B, c::D as E};\n\
                  pub(crate) struct F { pub g: H, i: J }\nimpl F { pub const fn k(&self) -> L {} }\
                  \npub const M: [N; 2] = [1; 2];\nimpl O for F { type P = Q; }\nfn last() {}\n";
    let tokens = super::tokens::tokens(source);
    let items = items(&tokens);
    assert!(items[0].is_test);
    assert!(matches!(&items[0].what, What::Module(Some(inner)) if inner.len() == 1));
    let What::Use(imports) = &items[1].what else {
        panic!("{:?}", items[1])
    };
    let names: Vec<&str> = imports.iter().map(|import| import.name).collect();
    assert_eq!(names, ["a", "B", "E"]);
    assert_eq!(imports[2].path, ["crate", "a", "c", "D"]);
    let shown = |item: &Item<'_>| {
        let all = item.shown.iter().flat_map(|tokens| tokens.iter());
        all.filter(|token| token.is_word())
            .map(|token| token.text)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        (items[2].seen, shown(&items[2])),
        (Seen::WithinCrate, "g H".to_owned())
    );
    let What::Implementation(path, inside) = &items[3].what else {
        panic!("{:?}", items[3])
    };
    assert_eq!(
        (&path[..], inside[0].name, shown(&inside[0])),
        (&["F"][..], "k", "self L".to_owned())
    );
    assert_eq!((items[4].name, shown(&items[4])), ("M", "N 2".to_owned()));
    assert_eq!((items[5].name, shown(&items[5])), ("for", "Q".to_owned()));
    assert_eq!((items[6].name, items[6].line), ("last", 8));
}
