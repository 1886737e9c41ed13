//! What a node says about the truth of its log: recovery, damage, joining.

use super::{NodeNotice, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::LogDamaged,
        text: |detail, place, f| {
            let (directory, [end, lost, ..]) = (&place.directory, detail.values);
            write!(
                f,
                "the log in {directory} ends at {end}, before what this member acknowledged \
                 ({lost}): it does not stand for leader until its peers have filled it up"
            )
        },
        remedy: "keep the directory as it is, keep the other members running, and check the disk",
    },
    Row {
        kind: NodeNotice::LogRepaired,
        text: |detail, place, f| {
            let (directory, end) = (&place.directory, detail.values[0]);
            write!(
                f,
                "the log in {directory} has all that this member acknowledged again, up to {end}"
            )
        },
        remedy: "check the disk, that it does not happen again",
    },
];
