//! The real clock of a host, read by runners once per duty cycle.

use crate::time::{Nanos, SECOND};

/// Nanoseconds on `CLOCK_MONOTONIC`: the same clock in every process of the host, never set
/// back. Read through the vDSO, without a system call (23 ns, `performance.md` 4).
#[must_use]
pub fn monotonic_now() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970-01-01 UTC on the host's wall clock, which may be set back: only to
/// tell how far the two clocks are apart when a node starts.
#[must_use]
pub fn realtime_now() -> Nanos {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec of this frame.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "every Linux has clock {clock}");
    Nanos::from(time.tv_sec) * SECOND + Nanos::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let mut before = monotonic_now();
        for _ in 0..1_000 {
            let now = monotonic_now();
            assert!(now >= before);
            before = now;
        }
    }

    #[test]
    fn the_wall_clock_is_past_2024() {
        assert!(realtime_now() > 1_704_067_200 * SECOND);
    }
}
