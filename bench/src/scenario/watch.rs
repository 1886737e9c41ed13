//! Looks at the members twenty times per second, on a thread of its own, and says now and then how
//! far they are. SHELL: a thread, the clock, files.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: starts a thread, reads the clock"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lockstep_consensus::node::counters::{Counter, Counters};
use lockstep_transport::allocations;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{Nanos, SECOND};

use super::newest_counters;
use crate::member_summary::StoredSnapshots;
use crate::memory;
use crate::watched::{Interval, Sighting, Watched, WatchedMember};

/// Pause between two looks: short beside the tenths of a second that are told apart, long beside
/// what a look takes (`performance.md` 8).
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is said how far the run is.
const PROGRESS_INTERVAL_NS: Nanos = 10 * SECOND;

/// The thread that looks. Ended when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Watched>>,
}

impl Watch {
    /// Looks at the members that run on `directories`, by id, or will, and may have `budget` bytes
    /// on their disks.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn start(directories: Vec<PathBuf>, budget: u64) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                allocations::leave_out_this_thread();
                let mut look = Look::new(directories, budget);
                // Its partner is the swap of the end.
                while !over.load(Ordering::Acquire) {
                    look.take(monotonic_now());
                    thread::park_timeout(PAUSE);
                }
                look.take(monotonic_now());
                look.watched
            })?;
        Ok(Self {
            is_over,
            thread: Some(thread),
        })
    }

    /// Ends it. Returns what it has seen: nothing, if it came to grief.
    pub fn finish(mut self) -> Watched {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Watched> {
        self.is_over.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread goes by.
struct Look {
    members: Vec<(PathBuf, Option<Counters>)>,
    budget: u64,
    started: Nanos,
    last: Nanos,
    next_progress: Nanos,
    allocations: i64,
    watched: Watched,
}

impl Look {
    fn new(directories: Vec<PathBuf>, budget: u64) -> Self {
        let now = monotonic_now();
        let members = directories.len();
        Self {
            members: directories.into_iter().map(|path| (path, None)).collect(),
            budget,
            started: now,
            last: now,
            next_progress: now + PROGRESS_INTERVAL_NS,
            allocations: 0,
            watched: Watched {
                members: vec![WatchedMember::default(); members],
                intervals: Vec::new(),
            },
        }
    }

    fn take(&mut self, now: Nanos) {
        let mut is_storing = false;
        let mut allocations = allocations::count() as i64;
        let members = self.members.iter_mut().zip(&mut self.watched.members);
        for ((directory, counters), watched) in members {
            newest_counters::renew(counters, directory, |_| true);
            let Some(counters) = counters else { continue };
            let (sighting, counted) = look_at(directory, counters);
            is_storing |= watched.on_sighting(sighting);
            allocations += counted;
        }
        self.watched.intervals.push(Interval {
            from: self.last,
            to: now,
            is_storing,
            allocations: allocations - self.allocations,
        });
        self.allocations = allocations;
        self.last = now;
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_INTERVAL_NS;
            self.say(now);
        }
    }

    /// One line: how far the members are.
    fn say(&self, now: Nanos) {
        let counters = self
            .members
            .iter()
            .filter_map(|(_, counters)| counters.as_ref());
        let words = |of: &dyn Fn(&Counters) -> String| {
            let each = counters.clone().map(of);
            each.collect::<Vec<_>>().join(", ")
        };
        let commits = counters
            .clone()
            .map(|counters| counters.get(Counter::Commit));
        let disks = self
            .watched
            .members
            .iter()
            .map(|member| member.disk_bytes_max);
        eprintln!(
            "lockstep: {} s: {} MiB of log, by member: snapshots written + fetched {}; trims {}; \
             disk at most {} of {} MiB",
            (now - self.started) / SECOND,
            commits.max().unwrap_or(0) >> 20,
            words(&|counters| stored(counters).to_string()),
            words(&|counters| counters.get(Counter::Trims).to_string()),
            disks.max().unwrap_or(0) >> 20,
            self.budget >> 20,
        );
    }
}

fn stored(counters: &Counters) -> StoredSnapshots {
    StoredSnapshots::read(|counter| counters.get(counter))
}

/// What is seen of the member with these counters, and what it counts of allocations besides those
/// of this process.
fn look_at(directory: &Path, counters: &Counters) -> (Sighting, i64) {
    let process = u32::try_from(counters.get(Counter::ProcessId)).unwrap_or(0);
    let is_own = process == std::process::id();
    let sighting = Sighting {
        is_storing: counters.get(Counter::SnapshotWriting) == 1,
        snapshots: stored(counters).all(),
        disk_bytes: disk_bytes(directory),
        memory_bytes: memory::resident(process).filter(|_| !is_own),
    };
    let counted = if is_own {
        0
    } else {
        counters.get(Counter::Allocations)
    };
    (sighting, counted)
}

/// Sum of the lengths of the files in `directory`; what its links lead to lies in memory. What goes
/// while it is looked at has no length.
fn disk_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let lengths = entries.filter_map(|entry| entry.metadata().ok());
    let files = lengths.filter(std::fs::Metadata::is_file);
    files.map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_has_the_files_of_a_directory_and_not_what_its_links_lead_to() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(disk_bytes(&place.path().join("none")), 0);
        std::fs::write(place.path().join("a"), [0; 1_000]).unwrap();
        std::fs::write(place.path().join("b"), [0; 24]).unwrap();
        std::os::unix::fs::symlink("a", place.path().join("c")).unwrap();
        assert_eq!(disk_bytes(place.path()), 1_024);
    }

    #[test]
    fn a_watch_of_members_that_never_start_sees_nothing_and_ends() {
        let place = tempfile::tempdir().unwrap();
        let directories = vec![place.path().join("node-0"), place.path().join("node-1")];
        let watched = Watch::start(directories, 1).unwrap().finish();
        assert_eq!(watched.members.len(), 2);
        assert!(watched.snapshot_parts(SECOND).is_empty());
    }
}
