//! What the end of a log is: the end, a torn tail, or damage of what may have been acknowledged
//! (`log.md` 2.4). Pure.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::position::Position;

use super::evidence::Acknowledged;
use super::frame_scan::FrameScan;
use super::survey::Survey;
use crate::disk::BLOCK_LENGTH;
use crate::files::ack_record::LostAcks;
use crate::log::segment::WRITE_LENGTH_MAX;

/// What the end of the log is.
pub(super) struct Verdict {
    /// What is missing of what may have been acknowledged.
    pub(super) lost: Option<LostAcks>,
    /// What lies above the end is what a torn write left, and may go.
    pub(super) is_torn: bool,
}

/// Tells a torn tail from damage.
pub(super) fn judge(
    known: &Acknowledged,
    scan: &FrameScan<'_>,
    above: &Survey,
    boot_id: Option<u128>,
) -> Verdict {
    let mark = &known.mark;
    let (end, reach, last_term) = (scan.end(), scan.reach(), scan.last_term);
    let is_same_boot = mark.boot_id.is_some() && mark.boot_id == boot_id;
    // Only a synced write is torn within its own reach; and without a mark, nobody knows.
    let is_out_of_order = mark.may_have_gone(boot_id) || known.is_mark_lost;
    // Nothing whole has come since an earlier start knew of a loss: what lies above is left there,
    // and the next start in this run of the host takes all of it for acknowledged. So does this.
    let is_left = mark.lost.is_some() && end <= mark.position;
    let is_never_torn = is_same_boot || is_out_of_order || is_left;
    let is_damage = mark.position > reach || is_beyond_tearing(reach, is_never_torn, above);
    // Leadership terms do not decrease along the log.
    let found = lost_acks(known, reach, is_never_torn, above).map(|lost| LostAcks {
        term: lost.term.max(last_term),
        ..lost
    });
    let lost = [mark.lost, found].into_iter().flatten();
    let lost = lost.reduce(LostAcks::union);
    let lost = lost.filter(|lost| !lost.is_covered_by(last_term, end));
    invariant!(
        ShortLogHasLoss,
        mark.position <= reach || lost.is_some() || last_term > mark.term,
        "A2: the log ends at {end}, below the mark at {}, and nothing is missing",
        mark.position
    );
    Verdict {
        lost,
        // Where a repair has begun, what was there before it has been erased.
        is_torn: !is_damage && !is_left,
    }
}

/// Whether what lies above `end` cannot be the torn tail of the one write in flight.
fn is_beyond_tearing(end: Position, is_never_torn: bool, above: &Survey) -> bool {
    let (intact, _) = above.last_intact.unwrap_or((0, LeadershipTermId::NONE));
    let out_of_reach = end + (WRITE_LENGTH_MAX + BLOCK_LENGTH) as Position;
    (is_never_torn && above.extent > end && !above.is_cut_frame) || intact > out_of_reach
}

/// What was acknowledged above `end`, where the log was found to end.
///
/// The mark alone is not enough, it may be 10 ms old. Where only the process died, every write
/// is whole: bytes above the end are damage, and all of them may have been acknowledged. Where
/// the host died, the one write in flight may be torn: what lies within its reach is a torn tail.
/// Not so where writes were not synced one by one: any of them may be there while an older one is
/// not.
///
/// If a leader says in such a tail what it had committed above the end, this member may have
/// helped with that; or the others did, and the tail is torn. So no more than that counts, in the
/// term of the newest whole frame below it: whoever has all of it has no smaller one.
///
/// Where an earlier start knew of a loss, what lies above the last whole frame is none of what was
/// acknowledged since: the process alone has died, so that all of that is whole. It is what a torn
/// write left there before.
fn lost_acks(
    known: &Acknowledged,
    end: Position,
    is_never_torn: bool,
    above: &Survey,
) -> Option<LostAcks> {
    let mark = &known.mark;
    let (intact, intact_term) = above.last_intact.unwrap_or((0, LeadershipTermId::NONE));
    let is_beyond_tearing = is_beyond_tearing(end, is_never_torn, above);
    if !is_beyond_tearing && mark.position <= end {
        let (position, term) = above.committed;
        return (position > end).then_some(LostAcks {
            position,
            term,
            is_open: false,
        });
    }
    let position = if is_beyond_tearing && mark.lost.is_none() {
        above.extent
    } else {
        intact
    };
    // What lies above the last whole frame is of a term that cannot be read.
    let is_known = position <= intact.max(mark.position);
    let term = intact_term.max(mark.term);
    Some(LostAcks {
        position: position.max(mark.position),
        term: if is_known {
            term
        } else {
            known.term_max.max(term)
        },
        is_open: !is_known,
    })
}
