//! How far a node has come that is about to end.

use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    /// It waits for a snapshot.
    Snapshot(AwaitedSnapshot),
    /// It hands over, if it leads.
    HandOver {
        /// It ends then whatever is still missing.
        until: Nanos,
        /// Whether it led when it began to.
        has_led: bool,
    },
    /// It may end.
    Left,
}

/// A snapshot that a node waits for before it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwaitedSnapshot {
    /// One that was taken here, or above.
    pub position: Position,
    /// It waits no longer.
    pub until: Nanos,
    /// When its leader is told again.
    pub next_ask: Nanos,
    /// When it last knew who leads.
    pub led_at: Nanos,
}
