//! [`NodeDisk`]: whichever real disk this host allows, and the sentence about it; the whole of it
//! on the caller's thread, or its far end on another ([`StorageRunner`]).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_transport::agent::WakeSources;
use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::Nanos;

use super::desk::StorageDesk;
use super::directory::NodeDirectory;
use super::error::StorageError;
use super::ring::{Ring, UringDisk};
use super::thread_disk::{Calls, ThreadDisk, Writer};
use crate::disk::{Busy, Completion, Disk, DiskOp};
use crate::queued_disk::{DiskRunner, QueuedDisk};

/// The disk of a real node.
#[derive(Debug)]
pub struct NodeDisk(Way);

/// How it is reached.
#[derive(Debug)]
enum Way {
    /// Through io_uring.
    Uring(Box<UringDisk>),
    /// Through a writer thread.
    Thread(Box<ThreadDisk>),
    /// Through a [`StorageRunner`].
    Runner(Box<NearEnd>),
}

#[derive(Debug)]
struct NearEnd {
    disk: QueuedDisk<StorageDesk>,
    system_calls: Arc<AtomicU64>,
}

/// What carries out a node's operations on a thread of its own, which whoever has it drives.
#[derive(Debug)]
pub struct StorageRunner {
    way: RunnerWay,
    /// Written by this end alone. Relaxed: a statistic, it orders nothing.
    system_calls: Arc<AtomicU64>,
}

#[derive(Debug)]
enum RunnerWay {
    Uring(Box<DiskRunner<Ring>>),
    Calls(Box<DiskRunner<Calls>>),
}

/// Which way to a disk was taken, and why not the best one.
#[derive(Debug)]
pub struct DiskWay {
    direct: &'static str,
    /// Why it is not io_uring, if it is not.
    reason: Option<String>,
}

impl DiskWay {
    /// The sentence for the start line: the way, and what it costs. The disk may be
    /// [on a thread](NodeDisk::on_a_thread) of its own.
    #[must_use]
    pub fn sentence(&self, is_on_a_thread: bool) -> String {
        let direct = self.direct;
        match &self.reason {
            None => format!("disk: io_uring, {direct}"),
            Some(reason) if is_on_a_thread => format!(
                "disk: system calls of its thread, {reason}, {direct}; costs one operation at a \
                 time against io_uring"
            ),
            Some(reason) => format!(
                "disk: writer thread, {reason}, {direct}; costs two thread wake-ups a sync against \
                 io_uring"
            ),
        }
    }
}

/// Opens (and locks) a node's directory, in which its user keeps files of its own under the names
/// `of_user`; also says which way was taken.
///
/// # Errors
/// See [`StorageError`]: each names the thing, the place and the remedy.
pub fn open(
    path: &Path,
    choice: IoChoice,
    of_user: &[&str],
) -> Result<(NodeDisk, DiskWay), StorageError> {
    let mut directory = NodeDirectory::open(path, of_user)?;
    let direct = if directory.probe_direct_writes()? {
        "direct writes with RWF_DSYNC"
    } else {
        "buffered writes with RWF_DSYNC, as the file system takes no direct writes of 4 KiB (each \
         sync copies, and the page cache fills with the log)"
    };
    let started = match choice {
        IoChoice::Syscall => Err((None, directory)),
        _ => UringDisk::start(directory).map_err(|refused| {
            let (refusal, directory) = *refused;
            (Some(refusal), directory)
        }),
    };
    match started {
        Ok(disk) => {
            let reason = None;
            let disk = NodeDisk(Way::Uring(Box::new(disk)));
            Ok((disk, DiskWay { direct, reason }))
        }
        Err((refusal, directory)) => fall_back(directory, direct, choice, refusal),
    }
}

/// The writer thread: as told, or because io_uring is refused and was not demanded.
fn fall_back(
    directory: NodeDirectory,
    direct: &'static str,
    choice: IoChoice,
    refusal: Option<StorageError>,
) -> Result<(NodeDisk, DiskWay), StorageError> {
    let reason = match refusal {
        Some(refusal) if choice == IoChoice::Uring => return Err(refusal),
        Some(StorageError::UringRefused { detail }) => {
            format!("io_uring is refused by this host ({detail})")
        }
        Some(other) => other.to_string(),
        None => "as configured".to_owned(),
    };
    let disk = ThreadDisk::start(directory)?;
    let reason = Some(reason);
    let disk = NodeDisk(Way::Thread(Box::new(disk)));
    Ok((disk, DiskWay { direct, reason }))
}

macro_rules! whichever {
    ($self:ident, $disk:ident => $call:expr) => {
        match &mut $self.0 {
            Way::Uring($disk) => $call,
            Way::Thread($disk) => $call,
            Way::Runner(near) => {
                let $disk = &mut near.disk;
                $call
            }
        }
    };
}

impl NodeDisk {
    /// The same disk, whose operations are carried out by whoever drives the runner, on another
    /// thread as a rule. Without io_uring no writer thread is left: the runner makes the calls.
    ///
    /// # Panics
    /// When operations were submitted before, or it has a runner.
    #[must_use]
    pub fn on_a_thread(self) -> (Self, StorageRunner) {
        let (disk, way) = match self.0 {
            Way::Uring(disk) => {
                let (near, far) = disk.in_two(Ring::unused);
                (near, RunnerWay::Uring(Box::new(far)))
            }
            Way::Thread(disk) => {
                let (near, far) = disk.in_two(Writer::without_thread);
                (near, RunnerWay::Calls(Box::new(far)))
            }
            Way::Runner(_) => panic!("a disk has one runner"),
        };
        let system_calls = Arc::new(AtomicU64::new(0));
        let runner = StorageRunner {
            way,
            system_calls: Arc::clone(&system_calls),
        };
        let near = NearEnd { disk, system_calls };
        (Self(Way::Runner(Box::new(near))), runner)
    }

    /// Names what brings completions to the thread that polls for them.
    pub fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        whichever!(self, disk => disk.name_wake_sources(sources));
    }

    /// System calls made for hot operations so far, by the thread that carries them out; where
    /// that is a writer thread, those that hand over to it.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        match &self.0 {
            Way::Uring(disk) => disk.system_calls(),
            Way::Thread(disk) => disk.system_calls(),
            Way::Runner(near) => near.system_calls.load(Ordering::Relaxed),
        }
    }
}

impl Disk for NodeDisk {
    type Files = NodeDirectory;

    fn files(&mut self) -> &mut Self::Files {
        whichever!(self, disk => disk.files())
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        whichever!(self, disk => disk.submit(now, operation))
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        whichever!(self, disk => disk.poll_completion(now))
    }

    fn flush(&mut self, now: Nanos) {
        whichever!(self, disk => disk.flush(now));
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match &self.0 {
            Way::Uring(disk) => disk.next_deadline(),
            Way::Thread(disk) => disk.next_deadline(),
            Way::Runner(near) => near.disk.next_deadline(),
        }
    }
}

macro_rules! either {
    ($way:expr, $runner:ident => $call:expr) => {
        match $way {
            RunnerWay::Uring($runner) => $call,
            RunnerWay::Calls($runner) => $call,
        }
    };
}

impl StorageRunner {
    /// See [`DiskRunner::do_work`].
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let work = either!(&mut self.way, runner => runner.do_work(now));
        let calls = either!(&self.way, runner => runner.system_calls());
        self.system_calls.store(calls, Ordering::Relaxed);
        work
    }

    /// See [`DiskRunner::next_deadline`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        either!(&self.way, runner => runner.next_deadline())
    }

    /// See [`DiskRunner::has_ended`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        either!(&self.way, runner => runner.has_ended())
    }

    /// See [`DiskRunner::name_wake_sources`].
    pub fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        either!(&mut self.way, runner => runner.name_wake_sources(sources));
    }

    /// System calls its thread has made for operations so far.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        either!(&self.way, runner => runner.system_calls())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(choice: IoChoice) -> Result<(NodeDisk, DiskWay), StorageError> {
        let place = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(place.path(), &[])?;
        let refusal = StorageError::UringRefused {
            detail: "Operation not permitted".to_owned(),
        };
        fall_back(directory, "direct writes", choice, Some(refusal))
    }

    #[test]
    fn a_host_that_refuses_io_uring_gets_the_writer_thread_and_is_told_what_that_costs() {
        let (disk, way) = refused(IoChoice::Auto).unwrap();
        assert!(matches!(disk.0, Way::Thread(_)));
        let sentence = way.sentence(false);
        assert!(sentence.contains("refused by this host (Operation not permitted)"));
        assert!(sentence.contains("costs two thread wake-ups"), "{sentence}");
        // Of which none is left where the disk has a thread.
        let sentence = way.sentence(true);
        assert!(sentence.contains("refused by this host (Operation not permitted)"));
        assert!(!sentence.contains("writer thread"), "{sentence}");
    }

    #[test]
    fn io_uring_that_was_demanded_and_is_refused_is_an_error_with_its_remedy() {
        let error = refused(IoChoice::Uring).unwrap_err();
        assert!(error.to_string().contains("use io = auto"), "{error}");
    }
}
