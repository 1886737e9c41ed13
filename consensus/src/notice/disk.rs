//! What a node says about its disk: room, failures, what was probed, stalls.

use super::{NodeNotice, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::LogFull,
        text: |_, place, f| {
            write!(
                f,
                "no room for more log in {}: requests wait",
                place.directory
            )
        },
        remedy: "free some space there, or start it with a greater disk_budget",
    },
    Row {
        kind: NodeNotice::LogHasRoom,
        text: |_, place, f| write!(f, "has room for log in {} again", place.directory),
        remedy: "nothing is to be done",
    },
];
