//! What a node says about the stream of the log.

use core::fmt::{Formatter, Result};

use lockstep_transport::notices::Detail;

use super::kind::NodeNotice;
use super::row::{Row, Source, system_error};

/// What to do about frames that are not what the leader sent.
const ALTERED: &str = "it was dropped and will be asked for again; if it goes on, look for \
                       a network that alters datagrams";

/// What to do about frames that were on their way while leadership changed.
const LATE_FRAMES: &str = "it was dropped; right after a change of leader some are late, if it \
                           goes on look for two processes with one member's address";

fn frame(detail: &Detail, what: &str, f: &mut Formatter<'_>) -> Result {
    let (member, source) = (detail.subject, Source(detail.source));
    write!(f, "member {member} at {source} sent {what}")
}

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::DamagedLogDatagram,
        text: |detail, _, f| frame(detail, "a datagram that is no frame of the protocol", f),
        remedy: ALTERED,
    },
    Row {
        kind: NodeNotice::OtherLogStream,
        text: |detail, place, f| {
            frame(detail, "a frame of another cluster's log", f)?;
            write!(f, ", not of \"{}\"", place.cluster)
        },
        remedy: "make the cluster names in both configuration files equal, or correct the address \
                 of that member",
    },
    Row {
        kind: NodeNotice::LogNotFollowed,
        text: |detail, _, f| frame(detail, "the log although it is not followed here", f),
        remedy: LATE_FRAMES,
    },
    Row {
        kind: NodeNotice::LogFrameMisplaced,
        text: |detail, _, f| frame(detail, "a frame of the log at no place of the log", f),
        remedy: ALTERED,
    },
    Row {
        kind: NodeNotice::LogFrameDamaged,
        text: |detail, _, f| {
            frame(detail, "a damaged frame of the log", f)?;
            write!(f, " for position {}", detail.values[0])
        },
        remedy: ALTERED,
    },
    Row {
        kind: NodeNotice::LogFrameOfOtherTerm,
        text: |detail, _, f| {
            let [position, term, ..] = detail.values;
            frame(detail, "a frame of the log", f)?;
            write!(
                f,
                " of term {term} for position {position}, which is of another term"
            )
        },
        remedy: LATE_FRAMES,
    },
    Row {
        kind: NodeNotice::LogPacketUnexpected,
        text: |detail, _, f| frame(detail, "a packet that has no place in the log's stream", f),
        remedy: ALTERED,
    },
    Row {
        kind: NodeNotice::LogUnreadable,
        text: |detail, place, f| {
            let (member, to) = (detail.subject, Source(detail.source));
            let (directory, [position, error, ..]) = (&place.directory, detail.values);
            write!(
                f,
                "the log in {directory} cannot be read back at {position}"
            )?;
            if error != 0 {
                write!(f, " ({})", system_error(error))?;
            }
            write!(f, ", so that member {member} at {to} does not get it")
        },
        remedy: "check the disk; with all other members running, restart this one: another leads, \
                 and this one's log is filled up from its peers",
    },
    Row {
        kind: NodeNotice::LogStuck,
        text: |detail, _, f| {
            let (member, leader) = (detail.subject, Source(detail.source));
            let [end, commit, seconds, _] = detail.values;
            write!(
                f,
                "the log ends at {end} here and is committed up to {commit}, but nothing has come \
                 from the leader, member {member} at {leader}, for {seconds} s"
            )
        },
        remedy: "see what the leader says: it may not be able to read its log, or to reach this \
                 member",
    },
    Row {
        kind: NodeNotice::LogStatusUnexpected,
        text: |detail, _, f| {
            frame(
                detail,
                "reports on a log that is not sent to it from here",
                f,
            )
        },
        remedy: LATE_FRAMES,
    },
    Row {
        kind: NodeNotice::LogReceiverLost,
        text: |detail, _, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            write!(
                f,
                "what member {member} at {source} reports does not fit the log sent to it: it is \
                 sent again from {}",
                detail.values[0]
            )
        },
        remedy: ALTERED,
    },
    Row {
        kind: NodeNotice::LogFrameContradicts,
        text: |detail, _, f| {
            let position = detail.values[0];
            write!(
                f,
                "what the leader sends of its log at {position} contradicts its own list of \
                 leadership terms, with a good checksum: nothing of it was taken"
            )
        },
        remedy: "run the same version of lockstep on all members, and check the leader's memory",
    },
];
