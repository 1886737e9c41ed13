//! Facts about this host, for start lines and reports. Read once, on a cold path.
//!
//! Nothing here fails: what the host does not tell is `None` or "unknown".

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use io_uring::IoUring;

use super::error::RingRefusal;

/// What a result depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Processor model, as the kernel names it.
    pub cpu_model: String,
    /// Cores that are online.
    pub cores_online: usize,
    /// Cores this process may run on, ascending.
    pub cores_allowed: Vec<usize>,
    /// Kernel release, for example `6.18.44`.
    pub kernel_release: String,
    /// Bytes this process may lock in memory (`RLIMIT_MEMLOCK`); `None`: without limit.
    pub memory_lock_limit: Option<u64>,
    /// Why io_uring cannot be used; `None`: it can.
    pub uring_refusal: Option<String>,
    /// Frequency governor of the first core, where the host shows one.
    pub governor: Option<String>,
}

impl HostFacts {
    /// Asks the host.
    #[must_use]
    pub fn read() -> Self {
        Self {
            cpu_model: cpu_model(),
            cores_online: cores_online(),
            cores_allowed: cores_allowed(),
            kernel_release: line_of("/proc/sys/kernel/osrelease")
                .unwrap_or_else(|| UNKNOWN.to_owned()),
            memory_lock_limit: memory_lock_limit(),
            uring_refusal: uring_refusal().map(|refusal| refusal.to_string()),
            governor: line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }
}

const UNKNOWN: &str = "unknown";

/// The first line of a file of `/proc` or `/sys`.
fn line_of(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// Names the processor. On aarch64 the kernel gives no name, only numbers.
fn cpu_model() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| format!("{UNKNOWN} ({})", std::env::consts::ARCH))
}

fn cores_online() -> usize {
    // SAFETY: takes and returns numbers only.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// Cores this thread may run on (`sched_getaffinity`), ascending; empty when the host does not
/// tell.
#[must_use]
pub fn cores_allowed() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    cores.sort_unstable();
    cores
}

fn memory_lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit of this frame.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Why io_uring cannot be used here, found by using one; `None`: it can.
#[must_use]
pub fn uring_refusal() -> Option<RingRefusal> {
    let ring: io::Result<IoUring> = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(2);
    match ring {
        Err(error) => Some(RingRefusal::from(error)),
        // Nothing to submit and nothing to wait for: whether the call is permitted at all.
        Ok(ring) => ring.submit_and_wait(0).err().map(|_| RingRefusal::Unusable),
    }
}

/// Raises this process's limit of open files to `wanted`, as far as the host permits, and returns
/// what it is then.
#[must_use]
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit of this frame.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 0;
    }
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    let raised = libc::rlimit {
        rlim_cur: wanted.min(limit.rlim_max),
        rlim_max: limit.rlim_max,
    };
    // SAFETY: the pointer is to a live rlimit of this frame.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } {
        0 => raised.rlim_cur,
        _ => limit.rlim_cur,
    }
}

/// Gives the calling thread a name that `top -H` and `perf` show: its first 15 bytes.
pub fn name_thread(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: the name ends in a zero byte, and the kernel copies what it takes of it.
    let _ = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Locks all memory this process has now, so that none of it is ever paged out. Call it when
/// everything is allocated. Returns the bytes that are locked then, as the kernel counts them;
/// `None` when the host refuses (see [`HostFacts::memory_lock_limit`]): a warning, no more.
///
/// Future memory is left out on purpose: under a limit it would make later allocations fail.
#[must_use]
pub fn lock_memory() -> Option<u64> {
    // SAFETY: takes flags only; what it changes about memory is never its contents.
    let is_locked = unsafe { libc::mlockall(libc::MCL_CURRENT) == 0 };
    is_locked.then(locked_bytes)
}

/// Bytes of this process that the kernel counts as locked (`VmLck`).
fn locked_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The type of the file system that holds `directory`, or its number in hexadecimal.
#[must_use]
pub fn file_system(directory: &Path) -> String {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else {
        return UNKNOWN.to_owned();
    };
    let mut facts = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends in a zero byte, and the result has room for one statfs.
    let result = unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) };
    if result != 0 {
        return UNKNOWN.to_owned();
    }
    // SAFETY: plain numbers, zeroed before and filled in by the call that succeeded.
    let facts = unsafe { facts.assume_init() };
    file_system_name(facts.f_type)
}

/// Names of `statfs(2)`. The three ext file systems share one number.
fn file_system_name(magic: i64) -> String {
    let name = match magic & 0xFFFF_FFFF {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlayfs",
        0xF2F5_2010 => "f2fs",
        0x2FC1_2FC1 => "zfs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xCA45_1A4E => "bcachefs",
        0x0102_1997 => "9p",
        other => return format!("{other:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_what_it_is() {
        let facts = HostFacts::read();
        assert!(facts.cores_online >= 1);
        assert!(facts.cores_allowed.len() <= facts.cores_online.max(1));
        assert!(facts.cores_allowed.is_sorted());
        assert!(facts.kernel_release.contains('.'));
        assert!(!facts.cpu_model.is_empty());
    }

    #[test]
    fn a_thread_is_called_what_it_was_named() {
        name_thread("somebody-else-altogether");
        let comm = fs::read_to_string("/proc/thread-self/comm").unwrap();
        assert_eq!(comm.trim_end(), "somebody-else-a");
    }

    #[test]
    fn file_systems_have_names() {
        assert_eq!(file_system_name(0xEF53), "ext4");
        assert_eq!(file_system_name(0x1234), "0x1234");
        assert_eq!(file_system(Path::new("/no/such/directory")), UNKNOWN);
        assert_ne!(file_system(&std::env::temp_dir()), UNKNOWN);
    }
}
