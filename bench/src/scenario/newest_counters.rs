//! The counters of a member's newest node, seen from outside.

use std::path::Path;

use lockstep_consensus::node::counters::{Counter, Counters};

/// Opens the counters in `directory`, if they are meant, where none are `kept`, and anew where
/// those are of a node that has halted: it may be started again in its process, with a file of its
/// own.
pub(super) fn renew(
    kept: &mut Option<Counters>,
    directory: &Path,
    is_meant: impl FnOnce(&Counters) -> bool,
) {
    let has_halted = |counters: &Counters| counters.get(Counter::Halted) == 1;
    if kept.as_ref().is_none_or(has_halted) {
        let opened = Counters::open(directory).ok().flatten();
        *kept = opened.filter(is_meant).or(kept.take());
    }
}
