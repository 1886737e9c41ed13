//! Citations in prose: of documents, their sections and headings, and of rules by name.

/// Letters before the number of a rule.
const FAMILIES: [&str; 13] = [
    "E", "W", "C", "L", "A", "S", "T", "LV", "D", "K", "N", "O", "R",
];

/// What some prose cites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cited {
    /// A document, by its file name.
    Document(String),
    /// A section of a document.
    Section(String, String),
    /// A heading of a document, in words.
    Heading(String, String),
    /// A rule by name.
    Rule(String),
    /// A section of no document.
    Nameless(String),
}

/// Whether `word` may only be the name of a rule.
pub fn is_rule_name(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let family = &word[..word.len() - digits.len()];
    let is_number = digits.chars().all(|digit| digit.is_ascii_digit());
    FAMILIES.contains(&family) && (1..=2).contains(&digits.len()) && is_number
}

/// All citations in `prose`, in order of their kinds.
pub fn citations(prose: &str) -> Vec<Cited> {
    let mut found = Vec::new();
    for line in prose.lines() {
        documents(line, &mut found);
        rules(line, &mut found);
        numbered(line, &mut found);
        nameless(line, &mut found);
    }
    found
}

fn documents(line: &str, found: &mut Vec<Cited>) {
    for (at, _) in line.match_indices(".md") {
        let after = &line[at + 3..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
        let start = line[..at]
            .rfind(|c| !is_word(c))
            .map_or(0, |before| before + 1);
        let path = &line[start..at + 3];
        let file = path.rsplit('/').next().unwrap_or(path).to_owned();
        if file == ".md" || after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        let is_link = after.starts_with("](");
        if !is_link {
            heading_before(&line[..start], &file, found);
            sections(after.strip_prefix('`').unwrap_or(after), &file, found);
        }
        found.push(Cited::Document(file));
    }
}

/// `"A heading" in docs/FILE.md`.
fn heading_before(before: &str, file: &str, found: &mut Vec<Cited>) {
    let before = before.trim_end_matches('`');
    let Some(quoted) = before.strip_suffix("\" in ") else {
        return;
    };
    if let Some(start) = quoted.rfind('"') {
        let heading = quoted[start + 1..].to_owned();
        found.push(Cited::Heading(file.to_owned(), heading));
    }
}

/// The list of sections, or the heading, that follows the name of a document.
fn sections(after: &str, file: &str, found: &mut Vec<Cited>) {
    let Some(mut rest) = after.strip_prefix(' ') else {
        return;
    };
    if let Some((heading, _)) = rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
        found.push(Cited::Heading(file.to_owned(), heading.to_owned()));
        return;
    }
    if rest.starts_with('§') {
        found.push(Cited::Nameless("§".to_owned()));
        return;
    }
    let mut is_range = false;
    while let Some((label, next)) = section(rest, file == "wire.md") {
        let previous = is_range.then(|| found.last().cloned()).flatten();
        if let Some(Cited::Section(_, first)) = previous {
            let between = between(&first, label).into_iter();
            found.extend(between.map(|label| Cited::Section(file.to_owned(), label)));
        }
        found.push(Cited::Section(file.to_owned(), label.to_owned()));
        let joints = [", and ", ", ", " and ", " or ", " to "];
        let Some(joint) = joints.iter().find(|joint| next.starts_with(**joint)) else {
            break;
        };
        is_range = *joint == " to ";
        rest = &next[joint.len()..];
    }
}

/// The label at the start of `text` (`3`, `3.4`, `A.12`; where letters are sections, `F`), and what
/// follows it.
fn section(text: &str, has_letters: bool) -> Option<(&str, &str)> {
    let mut end = 0;
    for part in text.split('.') {
        let length = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let is_letter = end == 0 && has_letters && part.starts_with(|c| ('A'..='H').contains(&c));
        let length = if is_letter { 1 } else { length };
        if length == 0 {
            break;
        }
        end += length + usize::from(end > 0);
        if length < part.len() {
            break;
        }
    }
    let (label, next) = text.split_at(end);
    let is_whole = !next.starts_with(|c: char| c.is_ascii_alphanumeric());
    (end > 0 && is_whole).then_some((label, next))
}

/// What lies between two labels of one parent.
fn between(first: &str, last: &str) -> Vec<String> {
    let split = |label: &str| -> Option<(String, u32)> {
        let (parent, number) = label.rsplit_once('.')?;
        Some((parent.to_owned(), number.parse().ok()?))
    };
    match (split(first), split(last)) {
        (Some((parent, from)), Some((other, to))) if parent == other => (from + 1..to)
            .map(|number| format!("{parent}.{number}"))
            .collect(),
        _ => Vec::new(),
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
        .map(|word| word.trim_end_matches('.'))
}

fn rules(line: &str, found: &mut Vec<Cited>) {
    let names = words(line).filter(|word| is_rule_name(word));
    found.extend(names.map(|name| Cited::Rule(name.to_owned())));
    // E1 to E4, D1-D7.
    for joint in [" to ", "-"] {
        for (at, _) in line.match_indices(joint) {
            let first = words(&line[..at]).last().filter(|word| is_rule_name(word));
            let last = words(&line[at + joint.len()..])
                .next()
                .filter(|word| is_rule_name(word));
            let Some((first, last)) = first.zip(last) else {
                continue;
            };
            let family = first.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = |name: &str| name.strip_prefix(family)?.parse::<u32>().ok();
            if let Some((from, to)) = number(first).zip(number(last)) {
                found.extend((from + 1..to).map(|at| Cited::Rule(format!("{family}{at}"))));
            }
        }
    }
}

/// `oracle 3`, `oracles 1, 2 and 8`, `oracles 1 to 3`, `model B`, `models E, H`.
fn numbered(line: &str, found: &mut Vec<Cited>) {
    for kind in ["oracle", "model"] {
        for (at, _) in line.match_indices(kind) {
            let after = &line[at + kind.len()..];
            let after = after.strip_prefix('s').unwrap_or(after);
            let Some(mut rest) = after.strip_prefix(' ') else {
                continue;
            };
            while let Some((label, next)) = label_of(kind, rest) {
                found.push(Cited::Rule(format!("{kind} {label}")));
                let joint = [", ", " and ", " to "]
                    .into_iter()
                    .find(|j| next.starts_with(j));
                let Some(joint) = joint else { break };
                rest = &next[joint.len()..];
            }
        }
    }
}

fn label_of<'a>(kind: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let is_label = |c: char| match kind {
        "oracle" => c.is_ascii_digit(),
        _ => ('A'..='H').contains(&c),
    };
    let end = text.find(|c| !is_label(c)).unwrap_or(text.len());
    let (label, next) = text.split_at(end);
    // A sentence may begin with the letter A.
    let is_article = kind == "model" && next.starts_with(' ') && !next.starts_with(" and ");
    let is_whole = !next.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!label.is_empty() && is_whole && !is_article).then_some((label, next))
}

/// A number of a section without its document: `(6.3)`, `rule 5.7`.
fn nameless(line: &str, found: &mut Vec<Cited>) {
    for (at, _) in line.match_indices('(') {
        let inner = line[at + 1..]
            .split([')', ';', ','])
            .next()
            .unwrap_or_default();
        let is_section = inner.split_once('.').is_some_and(|(chapter, item)| {
            let is_number = |part: &str| matches!(part.parse::<u32>(), Ok(1..=99));
            is_number(chapter) && is_number(item)
        });
        if is_section {
            found.push(Cited::Nameless(format!("({inner})")));
        }
    }
    for (at, _) in line.match_indices("rule ") {
        let after = &line[at + "rule ".len()..];
        if let Some((label, _)) = section(after, false) {
            found.push(Cited::Nameless(format!("rule {label}")));
        }
    }
}
