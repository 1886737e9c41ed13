//! What reports for people have in common: units, and what comes at the end. Pure.

use std::fmt::{self, Formatter};

use lockstep_transport::time::{Nanos, SECOND};

/// Seconds, as people write them.
pub(crate) fn seconds(duration: Nanos) -> f64 {
    duration as f64 / SECOND as f64
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What a scenario was run differently for, and what went wrong: a line each.
pub(crate) fn write_end(f: &mut Formatter<'_>, notes: &[String], faults: &[String]) -> fmt::Result {
    for note in notes {
        writeln!(f, "{note}")?;
    }
    for fault in faults {
        writeln!(f, "ERROR: {fault}")?;
    }
    Ok(())
}
