//! What a node says about the truth of its log: recovery, damage, joining.

use super::kind::NodeNotice;
use super::row::{ChainHashes, Row, Source};

/// What to do about two members whose logs differ.
const STOP_THE_OTHER: &str = "keep the directories of all members as they are, and stop the \
                              member that was started with another cluster's, an older or a \
                              mixed-up directory";

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
    Row {
        kind: NodeNotice::FollowerLogDiffers,
        text: |detail, _, f| {
            let (source, position) = (Source(detail.source), detail.values[0]);
            write!(
                f,
                "member {} at {source} has another log below {position} ({}): it does not follow \
                 and counts for nothing",
                detail.subject,
                ChainHashes(detail)
            )
        },
        remedy: STOP_THE_OTHER,
    },
    Row {
        kind: NodeNotice::LeaderLogDiffers,
        text: |detail, _, f| {
            let (source, position) = (Source(detail.source), detail.values[0]);
            write!(
                f,
                "the leader, member {} at {source}, has another log below {position} ({}): this \
                 member neither follows, acknowledges nor cuts its log",
                detail.subject,
                ChainHashes(detail)
            )
        },
        remedy: STOP_THE_OTHER,
    },
    Row {
        kind: NodeNotice::LogGoneAtLeader,
        text: |detail, _, f| {
            let (source, [needed, start, position, _]) = (Source(detail.source), detail.values);
            write!(
                f,
                "the log here ends at {needed}, and that of the leader, member {} at {source}, \
                 starts at {start}: ",
                detail.subject
            )?;
            match position {
                0 => f.write_str("no member is known to have a snapshot from there on"),
                _ => write!(f, "the snapshot at {position} is fetched instead"),
            }
        },
        remedy: "it starts again from the snapshot by itself; where none comes, see that the other \
                 members are up",
    },
    Row {
        kind: NodeNotice::AnswersMissing,
        text: |detail, _, f| {
            write!(
                f,
                "clients are owed answers that may lie below {}, where this member's log begins: \
                 it votes and acknowledges, and does not stand for leader",
                detail.values[0]
            )
        },
        remedy: "nothing is to be done: this ends when those clients have taken their answers from \
                 another leader, or their sessions are closed",
    },
];
