//! What a node says about its disk: room, failures, what was probed, stalls.

use core::fmt::Formatter;

use lockstep_archive::disk::SegmentName;
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::log::segment::LOG_RECORDING_ID;

use super::kind::NodeNotice;
use super::row::{Row, Source};
use crate::directory::spoiled_slots::FILES;
use crate::module::member::MemberId;

/// The log's segment whose first byte is at `position`.
const fn log_segment(position: i64) -> SegmentName {
    SegmentName {
        recording_id: LOG_RECORDING_ID,
        position,
    }
}

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
        remedy: "ask for a snapshot (`lockstep snapshot`), which frees log, start it with a \
                 greater `disk_budget`, or free the disk of what is none of this node's files",
    },
    Row {
        kind: NodeNotice::LogHasRoom,
        text: |_, place, f| write!(f, "has room for log in {} again", place.directory),
        remedy: "nothing is to be done",
    },
    Row {
        kind: NodeNotice::DiskStalled,
        text: |detail, place, f| {
            let (directory, [milliseconds, is_mark, segment, _]) =
                (&place.directory, detail.values);
            f.write_str("a write to ")?;
            match is_mark {
                0 => write!(f, "{}", log_segment(segment).file_name())?,
                _ => f.write_str(ACK_MARK_FILE.name)?,
            }
            write!(
                f,
                " in {directory} has been under way for {milliseconds} ms"
            )
        },
        remedy: "where the archive shares a thread with the service, see first whether the \
                 service holds it; else look at the device (the kernel's log, other load on it); \
                 requests are answered while the disks of a majority do their writes",
    },
    Row {
        kind: NodeNotice::SlotSpoiled,
        text: |detail, place, f| {
            let file = FILES.get(usize::from(detail.subject));
            write!(
                f,
                "one of the two slots of {} in {} could not be read at start: torn or rotten; \
                 nothing is lost, for the other one is good",
                file.unwrap_or(&"a file"),
                place.directory
            )
        },
        remedy: "after a crash of the host a write may have been torn, and nothing is to be done; \
                 else it has rotted: check the disk",
    },
    Row {
        kind: NodeNotice::SnapshotNotStored,
        text: |detail, place, f| {
            let [position, error, needed, budget] = detail.values;
            let directory = &place.directory;
            write!(
                f,
                "the snapshot at {position} could not be stored in {directory}"
            )?;
            if needed > 0 {
                return write!(
                    f,
                    ": with the ones before it and two segments of log that takes {needed} bytes \
                     at least, and disk_budget is {budget}"
                );
            }
            match i32::try_from(error) {
                Ok(number) if number > 0 => {
                    write!(f, ": {}", std::io::Error::from_raw_os_error(number))
                }
                _ => Ok(()),
            }
        },
        remedy: "free space there or raise disk_budget, and check the disk: the log is kept from \
                 the snapshot before on, and the next one is tried when it is asked for",
    },
    Row {
        kind: NodeNotice::SnapshotNotFetched,
        text: |detail, place, f| {
            let [position, why, value, second] = detail.values;
            write!(f, "the snapshot at {position} of another member ")?;
            let from = |f: &mut Formatter<'_>| {
                let member = value as MemberId;
                let address = Source(place.member_address(member));
                write!(f, "member {member} at {address} ")
            };
            match why {
                SNAPSHOT_SILENT => {
                    f.write_str("does not come: ")?;
                    from(f)?;
                    f.write_str("is silent")
                }
                SNAPSHOT_OTHER_BYTES => {
                    f.write_str("came, its end from ")?;
                    from(f)?;
                    f.write_str("and is not what its name says")
                }
                SNAPSHOT_LOST => f.write_str("does not come: nobody has it any more"),
                SNAPSHOT_DISK => {
                    write!(f, "could not be stored in {}", place.directory)?;
                    match i32::try_from(value) {
                        Ok(number) if number > 0 => {
                            write!(f, ": {}", std::io::Error::from_raw_os_error(number))
                        }
                        _ => Ok(()),
                    }
                }
                SNAPSHOT_NO_ROOM => write!(
                    f,
                    "is not fetched: with those that are here and two segments of log it takes \
                     {value} bytes, and disk_budget is {second}"
                ),
                SNAPSHOT_UNREADABLE_THERE => {
                    f.write_str("does not come: ")?;
                    from(f)?;
                    f.write_str("cannot read it from its disk")
                }
                SNAPSHOT_FOREIGN => f.write_str("came and is of another log"),
                SNAPSHOT_UNREADABLE_LOG => f.write_str(
                    "came and could not be compared with the log here, which cannot be read there",
                ),
                _ => {
                    f.write_str("does not come: ")?;
                    from(f)?;
                    f.write_str("cannot give it any more")
                }
            }
        },
        remedy: "it is asked of another member, or the next one is; if this goes on, look after \
                 that member, the disks of both and disk_budget",
    },
    Row {
        kind: NodeNotice::SnapshotUnreadable,
        text: |detail, place, f| {
            let (position, directory) = (detail.values[0], &place.directory);
            write!(
                f,
                "the snapshot at {position} in {directory} cannot be read for another member"
            )
        },
        remedy: "check the disk there; the next start passes over that snapshot, and the next one \
                 that is taken takes its place",
    },
];

/// Why one does not come, as the notice has it: whoever was asked cannot give it,
pub(crate) const SNAPSHOT_REFUSED: i64 = 0;
/// or is silent,
pub(crate) const SNAPSHOT_SILENT: i64 = 1;
/// or what came is not what the name says,
pub(crate) const SNAPSHOT_OTHER_BYTES: i64 = 2;
/// or nobody has it any more,
pub(crate) const SNAPSHOT_LOST: i64 = 3;
/// or the disk does not take it,
pub(crate) const SNAPSHOT_DISK: i64 = 4;
/// or it is of another log,
pub(crate) const SNAPSHOT_FOREIGN: i64 = 5;
/// or whoever was asked cannot read it from its disk,
pub(crate) const SNAPSHOT_UNREADABLE_THERE: i64 = 7;
/// or the disk budget does not hold it,
pub(crate) const SNAPSHOT_NO_ROOM: i64 = 8;
/// or the own log cannot be read where it was taken.
pub(crate) const SNAPSHOT_UNREADABLE_LOG: i64 = 6;
