//! The ends of a process.

/// How a member ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies and the host lives.
    Kill,
    /// The host loses power.
    PowerLoss,
    /// Whichever of the two it was, it has happened in the middle of a duty cycle.
    InCycle,
}
