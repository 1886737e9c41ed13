//! Processor time of another process, as the kernel counts it.

use lockstep_transport::time::{Nanos, SECOND};

/// Units per second of the times in `/proc/<pid>/stat`: 100 on every architecture that Lockstep
/// runs on, whatever the kernel's own ticks are.
const TICKS_PER_SECOND: Nanos = 100;

/// Places of the times in user and in kernel mode behind the name, which may hold anything.
const USER_TICKS: usize = 11;

/// Processor time that the threads of `process` have used so far; `None` where it has gone, or
/// `/proc` is not to be seen.
#[must_use]
pub(crate) fn cpu_time(process: u32) -> Option<Nanos> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Nanos> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(USER_TICKS);
    let mut next = || ticks.next()?.parse::<Nanos>().ok();
    let both = next()? + next()?;
    Some(both * (SECOND / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_whatever_the_process_is_called() {
        let stat = "7 (a ) 9) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 1 0 99 1 2";
        assert_eq!(parse(stat), Some(2 * SECOND));
        assert_eq!(parse("7 (a) S 1 7"), None);
    }

    #[test]
    fn this_process_has_used_some_time_and_one_that_is_not_there_none() {
        assert!(cpu_time(std::process::id()).is_some());
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
