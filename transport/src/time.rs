//! Time as an argument: agents are told the time once per duty cycle and never ask for it.

/// Nanoseconds on a monotonic clock whose origin is unspecified but common to all processes of
/// a host (`CLOCK_MONOTONIC`), or virtual nanoseconds in the simulator.
pub type Nanos = i64;

/// One microsecond in [`Nanos`].
pub const MICROSECOND: Nanos = 1_000;
/// One millisecond in [`Nanos`].
pub const MILLISECOND: Nanos = 1_000_000;
/// One second in [`Nanos`].
pub const SECOND: Nanos = 1_000_000_000;

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Nanos>, b: Option<Nanos>) -> Option<Nanos> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
