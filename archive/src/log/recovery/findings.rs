//! What a log is found to be before anything is done about it. Cold; changes nothing.

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::{Geometry, Position};

use super::evidence::{Acknowledged, FrameMeaning, RecoveryError};
use super::frame_scan::FrameScan;
use super::survey::{Survey, survey};
use super::verdict::{Verdict, judge};
use crate::disk::{ColdFiles, DiskError};
use crate::files::ack_record::LostAcks;
use crate::files::catalog::Catalog;

/// The shape of the log that `catalog` describes, if there can be such a one.
pub(super) fn geometry_of(catalog: &Catalog) -> Result<Geometry, RecoveryError> {
    Geometry::new(catalog.initial_term_id, catalog.term_length)
        .filter(|_| catalog.segment_length.is_power_of_two())
        .filter(|_| catalog.segment_length >= catalog.term_length)
        .ok_or(RecoveryError::Geometry)
}

/// What the end is that `scan` came to. Changes nothing.
pub(super) fn conclude(
    disk: &mut impl ColdFiles,
    known: &Acknowledged,
    scan: &mut FrameScan<'_>,
    meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
) -> Result<(Survey, Verdict), DiskError> {
    // What a cut that a crash interrupted has left is known to be no part of the log.
    let above = if known.is_cut() {
        Survey::default()
    } else {
        let span = (scan.reach(), known.mark.position);
        let last_term = scan.last_term;
        survey(disk, &mut scan.window, span, last_term, meaning_of)?
    };
    let verdict = judge(known, scan, &above, disk.boot_id());
    Ok((above, verdict))
}

/// What kind of log this start has found.
pub(super) fn mark_findings(
    known: &Acknowledged,
    lost: Option<LostAcks>,
    (end, above): (Position, &Survey),
) {
    match (known.mark.lost, lost) {
        (None, None) if above.extent > end => sometimes(Mark::RecoveryCutsTornTail),
        (None, Some(_)) => sometimes(Mark::RecoveryFindsLoss),
        (Some(_), Some(_)) => sometimes(Mark::RecoveryKnowsLoss),
        (Some(_), None) => sometimes(Mark::RecoveryFindsLossCovered),
        (None, None) => {}
    }
    if known.mark.is_unsynced {
        sometimes(Mark::RecoveryOfUnsyncedLog);
    }
    if known.is_mark_lost {
        sometimes(Mark::RecoveryWithoutMark);
    }
}
