//! How much state the members of a run can have, and what disk its snapshots take. Pure.

use lockstep_archive::files::snapshot_index;
use lockstep_service::samples::big_state::PAGE_LENGTH;

/// What a node may have on its disk of snapshots: the two that it keeps and the one that is being
/// written.
const SNAPSHOTS_MAX: u64 = snapshot_index::SNAPSHOTS_MAX as u64 + 1;

/// Part of what memory there is that all states may take together: the rest is for the page cache,
/// through which each snapshot goes, and for everybody else.
const STATES_SHARE: u64 = 2;

/// A state that was made to fit is a whole number of these.
const STEP: u64 = 1 << 20;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatePlan {
    /// Bytes of state of each member.
    pub state_bytes: u64,
    /// Most bytes that each may have on its disk.
    pub disk_budget_bytes: u64,
    /// What is other than asked for, and why.
    pub notes: Vec<String>,
}

impl StatePlan {
    /// For `nodes` members with `asked` bytes of state each, where `available` bytes of memory are
    /// there, as far as that is known, and `budget` bytes of disk for each without its snapshots.
    pub fn new(asked: u64, nodes: usize, available: Option<u64>, budget: u64) -> Self {
        let mut notes = Vec::new();
        let fits = available.map(|available| available / STATES_SHARE / nodes as u64 / STEP * STEP);
        let state_bytes = match fits {
            Some(fits) if asked > fits => {
                let fits = fits.max(PAGE_LENGTH as u64);
                notes.push(format!(
                    "state of {} MiB per member instead of {} MiB: {} MiB of memory are \
                     available, half of it for {nodes} states",
                    fits >> 20,
                    asked >> 20,
                    available.unwrap_or(0) >> 20,
                ));
                fits
            }
            _ => asked,
        };
        let room = SNAPSHOTS_MAX * state_bytes;
        let disk_budget_bytes = budget.saturating_add(room);
        if room > 0 {
            notes.push(format!(
                "disk budget of {} MiB per member: {} MiB, and {} MiB for the {SNAPSHOTS_MAX} \
                 snapshots that may be there at once",
                disk_budget_bytes >> 20,
                budget >> 20,
                room >> 20,
            ));
        }
        Self {
            state_bytes,
            disk_budget_bytes,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_state_that_fits_is_as_large_as_asked_for_and_its_snapshots_have_room() {
        let plan = StatePlan::new(GIB, 3, Some(6 * GIB), GIB);
        assert_eq!((plan.state_bytes, plan.disk_budget_bytes), (GIB, 4 * GIB));
        assert_eq!(plan.notes.len(), 1);
        assert!(plan.notes[0].contains("4096 MiB per member: 1024 MiB"));
        let unknown = StatePlan::new(GIB, 3, None, GIB);
        assert_eq!(unknown, plan);
    }

    #[test]
    fn a_state_that_does_not_fit_is_made_smaller_and_that_is_said() {
        let plan = StatePlan::new(GIB, 3, Some(3 * GIB), GIB);
        assert_eq!(plan.state_bytes, 512 << 20);
        assert!(
            plan.notes[0].contains("512 MiB per member instead of 1024 MiB"),
            "{:?}",
            plan.notes
        );
        let least = StatePlan::new(GIB, 3, Some(0), GIB);
        assert_eq!(least.state_bytes, PAGE_LENGTH as u64);
    }

    #[test]
    fn without_a_state_nothing_is_changed() {
        let plan = StatePlan::new(0, 3, Some(0), GIB);
        assert_eq!((plan.state_bytes, plan.disk_budget_bytes), (0, GIB));
        assert!(plan.notes.is_empty());
    }
}
