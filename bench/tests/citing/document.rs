//! What a document has that may be cited.

use std::collections::BTreeSet;

use crate::sources::quoted;

/// Sections, headings and rows of a document.
#[derive(Debug, Default)]
pub struct Document {
    sections: BTreeSet<String>,
    headings: BTreeSet<String>,
    rows: Vec<String>,
    /// The same rows, whole.
    lines: Vec<String>,
}

impl Document {
    /// Reads a document: a section is a heading, a bold beginning of a line, or a row of a table
    /// that begins with its number.
    pub fn parse(text: &str) -> Self {
        let mut document = Self::default();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('#') {
                let heading = heading.trim_start_matches('#').trim();
                document.headings.insert(heading.to_owned());
                document.add_section(heading);
            } else if let Some((label, _)) = line
                .strip_prefix("**")
                .and_then(|rest| rest.split_once("**"))
            {
                document.add_section(label);
            } else if let Some((cell, _)) = line
                .strip_prefix("| ")
                .and_then(|rest| rest.split_once(" |"))
            {
                document.rows.push(cell.to_owned());
                document.lines.push(line.to_owned());
                if cell.contains('.') {
                    document.add_section(cell);
                }
            }
        }
        document
    }

    fn add_section(&mut self, text: &str) {
        let label = text.split(' ').next().unwrap_or_default();
        let is_part = |part: &str| {
            let is_number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
            is_number || (part.len() == 1 && part.chars().all(|c| c.is_ascii_uppercase()))
        };
        if label.split('.').all(is_part) {
            self.sections.insert(label.to_owned());
        }
    }

    /// Whether it has a section of this number.
    pub fn has_section(&self, label: &str) -> bool {
        self.sections.contains(label)
    }

    /// Whether it has this heading.
    pub fn has_heading(&self, heading: &str) -> bool {
        self.headings.contains(heading)
    }

    /// Whether a table has a row that begins so.
    pub fn has_row(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row == name)
    }

    /// The files that the row of a rule says it is asserted in, in order.
    pub fn asserted_in(&self, name: &str) -> Vec<&str> {
        let is_of = |line: &&str| line.starts_with(&format!("| {name} |"));
        let line = self.lines.iter().map(String::as_str).find(is_of);
        let places = line.and_then(|line| line.rsplit_once("asserted in "));
        let places = places.map_or("", |(_, places)| places.split(';').next().unwrap_or(places));
        let mut files: Vec<&str> = quoted(places).collect();
        files.sort_unstable();
        files
    }

    /// What the row of a rule has between backticks: files, but for a few words.
    pub fn files_in_row(&self, name: &str) -> BTreeSet<&str> {
        let start = format!("| {name} |");
        let of_rule = self.lines.iter().find(|line| line.starts_with(&start));
        of_rule.map_or_else(BTreeSet::new, |line| quoted(line).collect())
    }

    /// The first cells of all rows.
    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    /// Names of rules with more rows than one.
    pub fn repeated_rows(&self) -> Vec<String> {
        let is_head = |row: &&String| ["name"].contains(&row.as_str()) || row.starts_with('-');
        let names = self.rows.iter().filter(|row| !is_head(row));
        let mut seen = BTreeSet::new();
        let repeated = names.filter(|name| !seen.insert(name.as_str()));
        repeated
            .map(|name| format!("{name} has two rows"))
            .collect()
    }
}

/// Paths below one of `folders`, or `docs`, that stand between backticks.
pub fn paths<'a>(text: &'a str, folders: &[&str]) -> Vec<&'a str> {
    let is_path = |span: &&str| {
        let folder = span.split_once('/').map(|(folder, _)| folder);
        let is_ours = folder.is_some_and(|f| f == "docs" || f == ".ci" || folders.contains(&f));
        is_ours && !span.contains([' ', '*', ':', '…'])
    };
    let lines = text.lines();
    lines.flat_map(quoted).filter(is_path).collect()
}
