//! What a node says about itself: one kind per cause, with its text and its counter.
//!
//! Agents note a kind and its numbers (`NodeNotices`); words are made here, by whoever prints
//! them. To add a cause: a variant at the end of its group in `kind`, numbered on from the last,
//! and a row at the end of its group's table in `notice/`. A kind's counter is slot
//! `NOTICE_SLOT_FIRST` + its number in `counters.dat`, so numbers never change meaning.
//! A remedy is safe to follow: none asks for a directory of a formed cluster to be emptied,
//! copied or put back.

pub mod absence;
mod clients;
mod directories;
pub(crate) mod disk;
pub(crate) mod divergence;
mod kind;
mod log_stream;
pub(crate) mod members;
pub(crate) mod port;
mod recovery;
mod row;
mod sessions;

use core::fmt::{Display, Formatter, Result};

use lockstep_transport::notices::{Notice, NoticeKind};

pub use self::kind::NodeNotice;
pub(crate) use self::kind::NodeNotices;
use self::kind::{GROUP_MAX, GROUPS};
pub use self::row::{Place, Row};

/// All tables, in the order of their groups.
const TABLES: [&[Row]; GROUPS] = [
    members::ROWS,
    log_stream::ROWS,
    directories::ROWS,
    recovery::ROWS,
    disk::ROWS,
    divergence::ROWS,
    clients::ROWS,
    sessions::ROWS,
];

impl NodeNotice {
    /// Every kind's row, in the order of their numbers.
    pub fn rows() -> impl Iterator<Item = &'static Row> {
        TABLES.into_iter().flatten()
    }
}

/// A notice as a line: `text; remedy (n more since)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoticeLine<'a> {
    /// What is told.
    pub notice: Notice<NodeNotice>,
    /// Where.
    pub place: &'a Place,
}

impl Display for NoticeLine<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let kind = self.notice.kind;
        let group = TABLES[kind.index() / GROUP_MAX];
        let row = group.iter().find(|row| row.kind == kind);
        let row = row.expect("a test holds that every kind has its row");
        (row.text)(&self.notice.detail, self.place, formatter)?;
        if !row.remedy.is_empty() {
            write!(formatter, "; {}", row.remedy)?;
        }
        match self.notice.suppressed {
            0 => Ok(()),
            more => write!(formatter, " ({more} more since)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::notices::Detail;

    use super::*;

    /// Names and numbers of the variants, as they stand in this file.
    fn variants() -> Vec<(String, usize)> {
        let source = include_str!("notice/kind.rs");
        let (_, rest) = source.split_once("pub enum NodeNotice {").unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        body.lines()
            .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
            .map(|(name, number)| (name.to_owned(), number.parse().unwrap()))
            .collect()
    }

    #[test]
    fn every_kind_has_one_row_in_the_table_of_its_group() {
        let variants = variants();
        let rows: Vec<_> = NodeNotice::rows()
            .map(|row| (format!("{:?}", row.kind), row.kind.index()))
            .collect();
        assert_eq!(rows, variants);
        for (group, rows) in TABLES.iter().enumerate() {
            let first = group * GROUP_MAX;
            let own = first..first + GROUP_MAX;
            assert!(rows.iter().all(|row| own.contains(&row.kind.index())));
        }
    }

    #[test]
    fn every_kind_makes_a_line_of_its_own_that_ends_in_a_safe_remedy() {
        let place = Place::default();
        let mut lines = std::collections::BTreeSet::new();
        for row in NodeNotice::rows() {
            let notice = Notice {
                kind: row.kind,
                detail: Detail::default(),
                suppressed: 3,
                at: 0,
            };
            let place = &place;
            let line = NoticeLine { notice, place }.to_string();
            assert!(line.ends_with(" (3 more since)"), "{line}");
            for unsafe_word in ["empty", "copy", "restore", "delete", "remove"] {
                assert!(!row.remedy.contains(unsafe_word), "{line}");
            }
            assert!(lines.insert(line), "{:?}", row.kind);
        }
    }
}
