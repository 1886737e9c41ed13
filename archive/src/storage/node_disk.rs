//! [`NodeDisk`]: whichever real disk this host allows, and the sentence about it.

use std::path::Path;

use lockstep_transport::agent::WakeSources;
use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::Nanos;

use super::directory::NodeDirectory;
use super::error::StorageError;
use super::thread_disk::ThreadDisk;
use super::uring_disk::UringDisk;
use crate::disk::{Busy, Completion, Disk, DiskOp};

/// The disk of a real node.
#[derive(Debug)]
pub enum NodeDisk {
    /// Through io_uring.
    Uring(Box<UringDisk>),
    /// Through a writer thread.
    Thread(Box<ThreadDisk>),
}

/// Opens (and locks) a node's directory, in which its user keeps files of its own under the names
/// `of_user`; also gives the sentence for the start line: which way was taken, and what that costs.
///
/// # Errors
/// See [`StorageError`]: each names the thing, the place and the remedy.
pub fn open(
    path: &Path,
    choice: IoChoice,
    of_user: &[&str],
) -> Result<(NodeDisk, String), StorageError> {
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
            let sentence = format!("disk: io_uring, {direct}");
            Ok((NodeDisk::Uring(Box::new(disk)), sentence))
        }
        Err((refusal, directory)) => fall_back(directory, direct, choice, refusal),
    }
}

/// The writer thread: as told, or because io_uring is refused and was not demanded.
fn fall_back(
    directory: NodeDirectory,
    direct: &str,
    choice: IoChoice,
    refusal: Option<StorageError>,
) -> Result<(NodeDisk, String), StorageError> {
    let reason = match refusal {
        Some(refusal) if choice == IoChoice::Uring => return Err(refusal),
        Some(StorageError::UringRefused { detail }) => {
            format!("io_uring is refused by this host ({detail})")
        }
        Some(other) => other.to_string(),
        None => "as configured".to_owned(),
    };
    let disk = ThreadDisk::start(directory)?;
    let sentence = format!(
        "disk: writer thread, {reason}, {direct}; costs two thread wake-ups a sync against \
         io_uring"
    );
    Ok((NodeDisk::Thread(Box::new(disk)), sentence))
}

macro_rules! either {
    ($self:ident, $disk:ident => $call:expr) => {
        match $self {
            NodeDisk::Uring($disk) => $call,
            NodeDisk::Thread($disk) => $call,
        }
    };
}

impl NodeDisk {
    /// Names what brings completions to the thread that polls for them.
    pub fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        either!(self, disk => disk.name_wake_sources(sources));
    }

    /// System calls the caller's thread has made for hot operations so far.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        either!(self, disk => disk.system_calls())
    }
}

impl Disk for NodeDisk {
    type Files = NodeDirectory;

    fn files(&mut self) -> &mut Self::Files {
        either!(self, disk => disk.files())
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        either!(self, disk => disk.submit(now, operation))
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        either!(self, disk => disk.poll_completion(now))
    }

    fn flush(&mut self, now: Nanos) {
        either!(self, disk => disk.flush(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(choice: IoChoice) -> Result<(NodeDisk, String), StorageError> {
        let place = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(place.path(), &[])?;
        let refusal = StorageError::UringRefused {
            detail: "Operation not permitted".to_owned(),
        };
        fall_back(directory, "direct writes", choice, Some(refusal))
    }

    #[test]
    fn a_host_that_refuses_io_uring_gets_the_writer_thread_and_is_told_what_that_costs() {
        let (disk, sentence) = refused(IoChoice::Auto).unwrap();
        assert!(matches!(disk, NodeDisk::Thread(_)));
        assert!(sentence.contains("refused by this host (Operation not permitted)"));
        assert!(sentence.contains("costs two thread wake-ups"), "{sentence}");
    }

    #[test]
    fn io_uring_that_was_demanded_and_is_refused_is_an_error_with_its_remedy() {
        let error = refused(IoChoice::Uring).unwrap_err();
        assert!(error.to_string().contains("use io = auto"), "{error}");
    }
}
