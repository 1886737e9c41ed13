//! Memory as the kernel counts it: what this machine, or the container in it, can still give, and
//! what a process has.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes of a page, in which `/proc/<pid>/statm` counts: what the targets of this version have.
const PAGE_LENGTH: u64 = 4_096;

/// Where control groups are, and which one this process is in.
const GROUPS: &str = "/sys/fs/cgroup";
const OWN_GROUP: &str = "/proc/self/cgroup";

/// Bytes that new work can have without swapping; `None` where the host does not tell. Limits of
/// control groups count where these are of version 2; those of version 1 are not seen.
#[must_use]
pub(crate) fn available() -> Option<u64> {
    let of_host = kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let own = read_to_string(OWN_GROUP).unwrap_or_default();
    let name = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let left = left_in_groups(Path::new(GROUPS), name.unwrap_or_default());
    Some(left.map_or(of_host, |left| left.min(of_host)))
}

/// The least that is left in the group called `name` below `top` and in those that it is in: the
/// limit of each is for all that are in it, and its files count these too. `None` where none has a
/// limit.
fn left_in_groups(top: &Path, name: &str) -> Option<u64> {
    let group = top.join(name);
    let groups = group.ancestors().take_while(|group| group.starts_with(top));
    let left = groups.filter_map(|group| {
        let file = |name: &str| read_to_string(group.join(name)).unwrap_or_default();
        left_in_group(
            &file("memory.max"),
            &file("memory.current"),
            &file("memory.stat"),
        )
    });
    left.min()
}

/// What a control group can still have: its limit less what it has and cannot give back. `None`
/// without a limit.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (max, current) = (number(max)?, number(current)?);
    // What is read again from its file. `file` has shared memory too, which goes nowhere.
    let kept = ["active_file ", "inactive_file "].map(|key| {
        let bytes = stat.lines().find_map(|line| line.strip_prefix(key));
        bytes.and_then(number).unwrap_or(0)
    });
    Some(max.saturating_sub(current.saturating_sub(kept.iter().sum())))
}

/// The bytes of the line of `text` that begins with `key` and counts in kB.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line.split_ascii_whitespace().next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}

/// Bytes of memory that `process` has now (RSS), with what it has touched of files and of shared
/// memory that others may have too: those of several processes have no sum. `None` where it has
/// gone, or `/proc` is not to be seen.
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
        let stat = "anon 600\nfile 300\nshmem 200\ninactive_file 70\nactive_file 30\n";
        assert_eq!(left_in_group("max\n", "500\n", stat), None);
        // Shared memory is among its files, and stays.
        assert_eq!(left_in_group("1000\n", "900\n", stat), Some(200));
        assert_eq!(left_in_group("1000\n", "1200\n", "anon 1200\n"), Some(0));
        assert_eq!(left_in_group("", "", ""), None);
    }

    #[test]
    fn a_group_can_have_no_more_than_those_that_it_is_in() {
        let place = tempfile::tempdir().unwrap();
        let limit = |group: &str, max: &str| {
            let group = place.path().join(group);
            std::fs::create_dir_all(&group).unwrap();
            std::fs::write(group.join("memory.max"), max).unwrap();
            std::fs::write(group.join("memory.current"), "100\n").unwrap();
        };
        limit("outer/inner", "max\n");
        assert_eq!(left_in_groups(place.path(), "outer/inner"), None);
        limit("outer", "1000\n");
        assert_eq!(left_in_groups(place.path(), "outer/inner"), Some(900));
        limit("outer/inner", "400\n");
        assert_eq!(left_in_groups(place.path(), "outer/inner"), Some(300));
        assert_eq!(left_in_groups(place.path(), "outer"), Some(900));
        assert_eq!(left_in_groups(place.path(), ""), None);
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        let text = "MemTotal:       24 kB\nMemAvailable:   3 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(3_072));
        assert!(available() > Some(0));
    }
}
