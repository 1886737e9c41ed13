//! Memory as the kernel counts it: what this machine, or the container in it, can still give, and
//! what a process has.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes of a page, in which `/proc/<pid>/statm` counts: what the targets of this version have.
const PAGE_LENGTH: u64 = 4_096;

/// Where control groups are, and which one this process is in.
const GROUPS: &str = "/sys/fs/cgroup";
const OWN_GROUP: &str = "/proc/self/cgroup";

/// Bytes that new work can have without swapping; `None` where the host does not tell.
#[must_use]
pub(crate) fn available() -> Option<u64> {
    let of_host = kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let own = read_to_string(OWN_GROUP).unwrap_or_default();
    let name = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let group = Path::new(GROUPS).join(name.unwrap_or_default());
    let file = |name: &str| read_to_string(group.join(name)).unwrap_or_default();
    let left = left_in_group(
        &file("memory.max"),
        &file("memory.current"),
        &file("memory.stat"),
    );
    Some(left.map_or(of_host, |left| left.min(of_host)))
}

/// What a control group can still have: its limit less what it has and cannot give back. `None`
/// without a limit.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (max, current) = (number(max)?, number(current)?);
    let cached = stat.lines().find_map(|line| line.strip_prefix("file "));
    let cached = cached.and_then(number).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(cached)))
}

/// The bytes of the line of `text` that begins with `key` and counts in kB.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line.split_ascii_whitespace().next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}

/// Bytes of memory that `process` has now (RSS); `None` where it has gone, or `/proc` is not to
/// be seen.
#[must_use]
pub(crate) fn resident(process: u32) -> Option<u64> {
    parse_resident(&read_to_string(format!("/proc/{process}/statm")).ok()?)
}

fn parse_resident(statm: &str) -> Option<u64> {
    let pages = statm.split_ascii_whitespace().nth(1)?;
    Some(pages.parse::<u64>().ok()? * PAGE_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_the_second_number() {
        assert_eq!(parse_resident("900 7 3 1 0 200 0"), Some(7 * 4_096));
        assert_eq!(parse_resident("900"), None);
        assert!(resident(std::process::id()) > Some(0));
        assert_eq!(resident(u32::MAX), None);
    }

    #[test]
    fn a_group_with_a_limit_can_have_what_is_left_of_it_and_what_it_can_give_back() {
        assert_eq!(left_in_group("max\n", "500\n", "file 100\n"), None);
        assert_eq!(
            left_in_group("1000\n", "700\n", "anon 600\nfile 100\n"),
            Some(400)
        );
        assert_eq!(left_in_group("1000\n", "1200\n", "anon 1200\n"), Some(0));
        assert_eq!(left_in_group("", "", ""), None);
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        let text = "MemTotal:       24 kB\nMemAvailable:   3 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(3_072));
        assert!(available() > Some(0));
    }
}
