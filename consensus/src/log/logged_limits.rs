//! The cluster-wide limits that a log was written with decide what its entries mean: a node
//! whose configuration has others does not start on it. Cold, at start only.

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::log::recovery::RecoveredLog;
use lockstep_archive::log::segment::length_in_segment;
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_transport::log_buffer::{HEADER_LENGTH, frames};

use crate::log::entry_body::NewLeadershipTerm;
use crate::log::log_entry::LogEntry;
use crate::settings::cluster_limits::ClusterLimits;

/// The configuration has other limits than the log in the directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log here was written with other cluster-wide limits: {differences}; they decide what its \
     entries mean: start with the values of the log, on all members"
)]
pub struct LimitsError {
    differences: String,
}

/// Checks `configured` against what the log says, if it says anything yet.
///
/// # Errors
/// Every limit that differs, with both values.
pub(crate) fn check(
    logged: Option<ClusterLimits>,
    configured: &ClusterLimits,
) -> Result<(), LimitsError> {
    let Some(logged) = logged else { return Ok(()) };
    let differences: Vec<String> = configured
        .differences(&logged)
        .map(|limit| {
            let (key, own, other) = (limit.key, limit.own, limit.other);
            format!("{key} is {own} in the configuration and {other} in the log")
        })
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(LimitsError {
        differences: differences.join(", "),
    })
}

/// The limits in the first NewLeadershipTerm entry that can be read back; all have the same. None
/// in an empty log, or where no term begins above its start. A term that begins with a PAD is
/// passed over.
///
/// # Errors
/// The disk's.
pub(crate) fn read(
    disk: &mut impl ColdFiles,
    recovered: &RecoveredLog,
) -> Result<Option<ClusterLimits>, DiskError> {
    const LENGTH: usize = HEADER_LENGTH + ENTRY_HEADER_LENGTH + NewLeadershipTerm::LENGTH;
    let start = recovered.start.position;
    for term in recovered.terms.iter().filter(|term| term.base >= start) {
        let segments = &recovered.segments;
        let Some((file, offset)) = segments.locate(term.base) else {
            continue;
        };
        let wanted = LENGTH.next_multiple_of(32);
        let length = length_in_segment(term.base, wanted, segments.segment_length());
        let mut bytes = vec![0; length];
        disk.read(file, offset, &mut bytes)?;
        let first = frames(&bytes)
            .next()
            .filter(|frame| frame.is_begin() && !frame.is_padding());
        let payload = first.as_ref().map_or(&[][..], |frame| frame.payload());
        if let Ok(LogEntry::NewLeadershipTerm(entry)) = LogEntry::decode_whole(payload) {
            return Ok(Some(entry.limits));
        }
    }
    Ok(None)
}
