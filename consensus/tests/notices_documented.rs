//! Whoever operates a cluster finds every line that a node may say in `docs/operating.md`, with
//! its counter and what to do.

use lockstep_consensus::node::counters::NOTICE_SLOT_FIRST;
use lockstep_consensus::notice::NodeNotice;
use lockstep_transport::notices::NoticeKind;

/// The documented meaning of each variant, as it stands in the source: its name and its number
/// end a line, its comment is the lines before.
fn meanings() -> Vec<(String, String)> {
    let source = include_str!("../src/notice/kind.rs");
    let (_, rest) = source
        .split_once("pub enum NodeNotice {")
        .expect("the enum is there");
    let (body, _) = rest.split_once("\n}").expect("it ends");
    let mut meaning = String::new();
    let mut meanings = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            if !meaning.is_empty() {
                meaning.push(' ');
            }
            meaning.push_str(words);
        } else if let Some((name, _)) = line.split_once(" = ") {
            meanings.push((name.to_owned(), std::mem::take(&mut meaning)));
        }
    }
    meanings
}

#[test]
fn every_notice_is_in_the_operators_table() {
    let rows: Vec<String> = NodeNotice::rows()
        .zip(meanings())
        .map(|(row, (name, meaning))| {
            assert_eq!(format!("{:?}", row.kind), name);
            let slot = NOTICE_SLOT_FIRST + row.kind.index();
            format!("| `{name}` | {slot} | {meaning} | {} |", row.remedy)
        })
        .collect();
    let documented: Vec<&str> = include_str!("../../docs/operating.md")
        .lines()
        .filter(|line| line.starts_with("| `") && line.split(" | ").count() == 4)
        .collect();
    assert!(
        documented == rows,
        "the table in docs/operating.md must be:\n{}\n",
        rows.join("\n")
    );
}
