//! Planted faults that are rules which a node breaks (`node::planting`).

use lockstep_transport::time::Nanos;

use crate::sim::PlantedFault;
use crate::sim::tank::tank_node::TankNode;

/// A node has just started.
pub fn at_start(planted: Option<PlantedFault>, node: &mut TankNode) {
    match planted {
        Some(PlantedFault::DuplicatesApplied) => node.apply_duplicates(),
        Some(PlantedFault::ResumeWithoutWaiting) => node.never_wait_for_takeovers(),
        Some(PlantedFault::ResponsesNotCompared) => node.compare_no_output(),
        Some(PlantedFault::ExecutedTooEarly) => node.take_handed_for_executed(),
        Some(PlantedFault::AppliedBeyondCommit) => node.apply_all(),
        Some(PlantedFault::BlankMemberCounted) => node.count_all_directories(),
        Some(PlantedFault::SnapshotWithoutOutbox) => node.leave_out_outbox(),
        Some(PlantedFault::FetchedUnchecked) => node.name_fetched_unchecked(),
        Some(PlantedFault::IndexBeforeData) => node.name_snapshots_early(),
        Some(PlantedFault::AnyTokenTaken) => node.take_any_token(),
        Some(PlantedFault::TrimmedAboveFloor) => node.overlook_what_is_owed(),
        _ => {}
    }
}

/// A node is about to run.
pub fn before_cycle(planted: Option<PlantedFault>, node: &mut TankNode, now: Nanos) {
    match planted {
        Some(PlantedFault::AppendBeforeOwnFirstEntryApplied) => node.open_leadership_early(now),
        Some(PlantedFault::SessionsNeverTimedOut) => node.overlook_silence(now),
        _ => {}
    }
}
