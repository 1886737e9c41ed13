//! Tables of layouts: in the comments of the code that encodes them, and in the documents.

/// The rows of a table, its head first.
pub type Table = Vec<String>;

fn is_layout(table: &Table) -> bool {
    let heads = ["| offset ", "| template "];
    table
        .first()
        .is_some_and(|head| heads.iter().any(|start| head.starts_with(start)))
}

/// A row without what only one of both places marks up.
fn plain(row: &str) -> String {
    row.trim().replace(['[', ']', '`'], "")
}

/// The layouts in the doc comments of a source, in order.
pub fn of_code(source: &str) -> Vec<Table> {
    let mut tables = vec![Table::new()];
    for line in source.lines() {
        let line = line.trim();
        let comment = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"));
        let row = comment.map(str::trim).filter(|text| text.starts_with('|'));
        match row {
            Some(row) => tables.last_mut().expect("there is one").push(plain(row)),
            None => tables.push(Table::new()),
        }
    }
    tables.retain(is_layout);
    tables
}

/// The layouts in a document, each with the path that stands before it on a line of its own; until
/// other text comes, further tables are of the same path.
pub fn of_document(text: &str) -> Vec<(String, Table)> {
    let mut found: Vec<(String, Table)> = Vec::new();
    let mut path = None;
    let mut is_in_table = false;
    for line in text.lines() {
        let named = line
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix("`:"));
        let is_row = line.starts_with('|');
        if named.is_some() {
            path = named;
        } else if let Some(path) = path.filter(|_| is_row) {
            if !is_in_table {
                found.push((path.to_owned(), Table::new()));
            }
            let table = &mut found.last_mut().expect("one was begun").1;
            table.push(plain(line));
        } else if !line.is_empty() {
            path = None;
        }
        is_in_table = is_row;
    }
    found
}

/// In what the layouts of the source `name` differ from those that the documents have of it.
pub fn difference(name: &str, code: &[Table], documents: &[Table]) -> Option<String> {
    if code.len() != documents.len() {
        let (here, there) = (code.len(), documents.len());
        return Some(format!(
            "{name} has {here} layouts, docs/ has {there} of them"
        ));
    }
    let (code, documents) = (code.concat(), documents.concat());
    let pairs = code.iter().zip(&documents);
    let row = pairs.into_iter().find(|(own, other)| own != other);
    if let Some((own, other)) = row {
        return Some(format!("{name} says\n  {own}\nand docs/\n  {other}"));
    }
    let is_longer = code.len() != documents.len();
    is_longer.then(|| format!("{name} and docs/ have layouts of different lengths"))
}
