//! Each call that storage makes of a file system fails once, and what follows is as
//! `rules.md` D4 and D12 demand: final, named with file and error number, never a success.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::calls::FileCalls;
use super::directory::NodeDirectory;
use super::error::StorageError;
use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError, FileId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Open,
    Read,
    Write,
    WriteSynced,
    Sync,
    ForgetCached,
    Rename,
    Remove,
}

/// Real calls, of which the chosen ones fail.
#[derive(Debug, Default)]
struct FailingCalls {
    /// Call, end of the path, error number, how often.
    fault: Mutex<Option<(Call, &'static str, i32, u32)>>,
    made: Mutex<Vec<(Call, PathBuf)>>,
}

impl FailingCalls {
    fn fail(&self, call: Call, path: &'static str, error: i32) {
        *self.fault.lock().unwrap() = Some((call, path, error, 1));
    }

    fn fail_for_ever(&self, call: Call, path: &'static str, error: i32) {
        *self.fault.lock().unwrap() = Some((call, path, error, u32::MAX));
    }

    fn has_failed(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }

    fn take(&self) -> Vec<(Call, PathBuf)> {
        std::mem::take(&mut *self.made.lock().unwrap())
    }

    fn note(&self, call: Call, path: &Path) -> io::Result<()> {
        self.made.lock().unwrap().push((call, path.to_path_buf()));
        let mut fault = self.fault.lock().unwrap();
        match &mut *fault {
            Some((failing, end, error, left))
                if *failing == call && path.to_string_lossy().ends_with(*end) =>
            {
                let error = io::Error::from_raw_os_error(*error);
                *left -= 1;
                if *left == 0 {
                    *fault = None;
                }
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Real;
impl FileCalls for Real {}

impl FileCalls for FailingCalls {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        self.note(Call::Open, path)?;
        Real.open(path, options)
    }

    fn read(&self, file: &File, path: &Path, target: &mut [u8], offset: u64) -> io::Result<()> {
        self.note(Call::Read, path)?;
        Real.read(file, path, target, offset)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.note(Call::Write, path)?;
        Real.write(file, path, bytes, offset)
    }

    fn write_synced(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.note(Call::WriteSynced, path)?;
        Real.write_synced(file, path, bytes)
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.note(Call::Sync, path)?;
        Real.sync(file, path)
    }

    fn forget_cached(&self, file: &File, path: &Path) -> io::Result<()> {
        self.note(Call::ForgetCached, path)?;
        Real.forget_cached(file, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Call::Rename, to)?;
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Call::Remove, path)?;
        Real.remove(path)
    }
}

struct Stage {
    place: TempDir,
    calls: Arc<FailingCalls>,
}

impl Stage {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
            calls: Arc::new(FailingCalls::default()),
        }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn open(&self) -> Result<NodeDirectory, StorageError> {
        NodeDirectory::open_with(&self.path(), &[], self.calls.clone())
    }

    /// A directory with a file, in which the given call will fail.
    fn opened(&self) -> (NodeDirectory, FileId) {
        let mut directory = self.open().unwrap();
        let file = directory.create("x.dat", LENGTH).unwrap();
        (directory, file)
    }
}

const LENGTH: u64 = 2 * BLOCK_LENGTH as u64;

fn expect_io(error: &DiskError, operation: &str) {
    let DiskError::Io { .. } = error else {
        panic!("{error:?}");
    };
    let said = error.to_string();
    for part in [operation, "x.dat", "os error 5"] {
        assert!(said.contains(part), "\"{part}\" is missing in: {said}");
    }
}

#[test]
fn each_call_that_makes_a_file_is_named_when_it_fails_and_leaves_nothing() {
    for (call, end, operation) in [
        (Call::Open, "x.dat.tmp", "creation"),
        (Call::Write, "x.dat.tmp", "creation"),
        (Call::Sync, "x.dat.tmp", "sync"),
        (Call::Rename, "x.dat", "renaming"),
    ] {
        let stage = Stage::new();
        let mut directory = stage.open().unwrap();
        stage.calls.fail(call, end, libc::EIO);
        let error = directory.create("x.dat", LENGTH).unwrap_err();
        assert!(stage.calls.has_failed(), "{call:?} was not made");
        expect_io(&error, operation);
        assert_eq!(directory.list().unwrap(), ["node.lock"], "{call:?}");
        directory.create("x.dat", LENGTH).unwrap();
    }
}

#[test]
fn a_file_that_makes_room_for_another_loses_its_name_durably_before_its_bytes() {
    let stage = Stage::new();
    let mut directory = stage.open().unwrap();
    directory.create("old.dat", LENGTH).unwrap();
    stage.calls.take();
    let opener = directory.opener().clone();
    opener.recycle("old.dat", "x.dat", LENGTH).unwrap();
    let calls = stage.calls.take();
    let at = |call, end: &str| {
        let found = |made: &(Call, PathBuf)| made.0 == call && made.1.ends_with(end);
        calls.iter().position(found).unwrap()
    };
    let synced: Vec<usize> = (0..calls.len())
        .filter(|index| calls[*index] == (Call::Sync, stage.path()))
        .collect();
    assert_eq!(synced.len(), 2);
    assert!(at(Call::Rename, "x.dat.tmp") < synced[0]);
    assert!(synced[0] < at(Call::Write, "x.dat.tmp"));
    assert!(at(Call::Write, "x.dat.tmp") < at(Call::Sync, "x.dat.tmp"));
    assert!(at(Call::Sync, "x.dat.tmp") < at(Call::Rename, "x.dat"));
    assert!(at(Call::Rename, "x.dat") < synced[1]);
}

#[test]
fn each_call_that_makes_a_file_of_another_is_named_when_it_fails_and_what_is_left_is_one_of_both() {
    for (call, end, operation, left) in [
        (Call::Rename, "x.dat.tmp", "renaming", Some("old.dat")),
        (Call::Open, "x.dat.tmp", "creation", None),
        (Call::Write, "x.dat.tmp", "creation", None),
        (Call::Sync, "x.dat.tmp", "sync", None),
        (Call::Rename, "x.dat", "renaming", None),
    ] {
        for (number, is_full) in [(libc::EIO, false), (libc::ENOSPC, true)] {
            let stage = Stage::new();
            let mut directory = stage.open().unwrap();
            directory.create("old.dat", LENGTH).unwrap();
            let opener = directory.opener().clone();
            stage.calls.fail(call, end, number);
            let error = opener.recycle("old.dat", "x.dat", LENGTH).unwrap_err();
            assert!(stage.calls.has_failed(), "{call:?} was not made");
            assert_eq!(matches!(error, DiskError::Full { .. }), is_full);
            assert!(is_full || error.to_string().contains(operation), "{error}");
            let mut expected: Vec<&str> = left.into_iter().collect();
            expected.insert(0, "node.lock");
            assert_eq!(directory.list().unwrap(), expected, "{call:?}");
        }
    }
}

#[test]
fn a_removal_that_fails_is_named_and_no_success() {
    for (call, end, operation) in [
        (Call::Remove, "x.dat", "removal"),
        (Call::Sync, "/data", "sync of the directory"),
    ] {
        let stage = Stage::new();
        let (directory, _) = stage.opened();
        stage.calls.fail(call, end, libc::EIO);
        let error = directory.opener().remove("x.dat").unwrap_err();
        expect_io(&error, operation);
        directory.opener().remove("x.dat").unwrap();
        directory.opener().remove("x.dat").unwrap();
    }
}

#[test]
fn only_missing_space_is_called_full() {
    for (call, end) in [
        (Call::Open, "x.dat.tmp"),
        (Call::Write, "x.dat.tmp"),
        (Call::Sync, "x.dat.tmp"),
        (Call::Rename, "x.dat"),
    ] {
        for (number, is_full) in [
            (libc::ENOSPC, true),
            (libc::EDQUOT, true),
            (libc::EIO, false),
        ] {
            let stage = Stage::new();
            let mut directory = stage.open().unwrap();
            stage.calls.fail(call, end, number);
            let error = directory.create("x.dat", LENGTH).unwrap_err();
            let said_full = matches!(error, DiskError::Full { .. });
            assert_eq!(said_full, is_full, "{call:?}: {error:?}");
        }
    }
}

#[test]
fn a_failed_sync_of_the_directory_is_no_success_when_it_is_tried_again() {
    // Whatever the reason: a directory that cannot be synced for want of space is not "full".
    for number in [libc::EIO, libc::ENOSPC] {
        let stage = Stage::new();
        let mut directory = stage.open().unwrap();
        stage.calls.fail_for_ever(Call::Sync, "/data", number);
        for _ in 0..3 {
            let error = directory.create("x.dat", LENGTH).unwrap_err();
            assert!(matches!(error, DiskError::Io { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains("sync of the directory of x.dat"), "{said}");
        }
        *stage.calls.fault.lock().unwrap() = None;
        stage.calls.take();
        directory.create("x.dat", LENGTH).unwrap();
        let synced = (Call::Sync, stage.path());
        assert!(
            stage.calls.take().contains(&synced),
            "success without a sync"
        );
    }
}

#[test]
fn a_directory_is_synced_when_it_is_opened_and_so_is_what_leads_to_it() {
    let stage = Stage::new();
    let nested = stage.path().join("a/b");
    drop(NodeDirectory::open_with(&nested, &[], stage.calls.clone()).unwrap());
    let made = stage.calls.take();
    for path in [
        stage.place.path(),
        &stage.path(),
        &stage.path().join("a"),
        &nested,
    ] {
        let synced = (Call::Sync, path.to_path_buf());
        assert!(made.contains(&synced), "{} not synced", path.display());
    }
    // Again, although it was there: whoever made it may have crashed before it was durable.
    drop(NodeDirectory::open_with(&nested, &[], stage.calls.clone()).unwrap());
    let made = stage.calls.take();
    for path in [&stage.path().join("a"), &nested] {
        let synced = (Call::Sync, path.clone());
        assert!(made.contains(&synced), "{} not synced", path.display());
    }
}

#[test]
fn what_a_crash_left_of_a_file_being_made_is_gone_for_good_before_the_directory_is_used() {
    let stage = Stage::new();
    drop(stage.open().unwrap());
    let left = stage.path().join("0-0.rec.tmp");
    std::fs::write(&left, b"half").unwrap();
    stage.calls.take();
    drop(stage.open().unwrap());
    let made = stage.calls.take();
    let at = |call: &(Call, PathBuf)| made.iter().rposition(|made| made == call);
    let removed = at(&(Call::Remove, left)).expect("it is removed");
    assert!(at(&(Call::Sync, stage.path())) > Some(removed));
}

#[test]
fn a_directory_whose_sync_fails_is_refused_with_its_name_and_error_number() {
    let stage = Stage::new();
    stage.calls.fail(Call::Sync, "/data", libc::EIO);
    let said = stage.open().unwrap_err().to_string();
    for part in ["sync of ", "/data", "os error 5", "device's health"] {
        assert!(said.contains(part), "\"{part}\" is missing in: {said}");
    }
    stage.open().unwrap();
}

#[test]
fn after_a_failed_write_or_sync_a_file_is_not_used_again_by_this_process() {
    for (call, operation) in [(Call::Write, "write"), (Call::Sync, "sync")] {
        let stage = Stage::new();
        let (mut directory, file) = stage.opened();
        stage.calls.fail(call, "x.dat", libc::EIO);
        expect_io(&directory.write(file, 0, b"abc").unwrap_err(), operation);
        let mut bytes = [0; 3];
        expect_io(&directory.write(file, 0, b"abc").unwrap_err(), operation);
        expect_io(&directory.read(file, 0, &mut bytes).unwrap_err(), operation);
        expect_io(&directory.open("x.dat").unwrap_err(), operation);
        expect_io(&directory.create("x.dat", 1).unwrap_err(), operation);
    }
}

#[test]
fn what_a_restart_reads_was_synced_and_its_cached_pages_dropped_first() {
    for is_direct in [true, false] {
        let stage = Stage::new();
        let (directory, _) = stage.opened();
        drop(directory);
        stage.calls.take();
        let mut directory = stage.open().unwrap();
        if !is_direct {
            stage
                .calls
                .fail(Call::WriteSynced, "probe.tmp", libc::EINVAL);
            assert!(!directory.probe_direct_writes().unwrap());
        }
        let file = directory.open("x.dat").unwrap();
        assert!(is_direct || directory.file(file).unwrap().direct.is_none());
        directory.read(file, 0, &mut [0; 3]).unwrap();
        let made = stage.calls.take();
        let of_file = made.iter().filter(|(_, path)| path.ends_with("x.dat"));
        let order: Vec<Call> = of_file.map(|(call, _)| *call).collect();
        let expected = [Call::Sync, Call::ForgetCached, Call::Read];
        assert!(order.ends_with(&expected), "{order:?}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_synced_dropped_from_memory_or_read_is_refused_by_name() {
    for (call, operation) in [
        (Call::Open, "opening"),
        (Call::Sync, "sync"),
        (Call::ForgetCached, "dropping the cached pages"),
    ] {
        let stage = Stage::new();
        drop(stage.opened());
        let mut directory = stage.open().unwrap();
        stage.calls.fail(call, "x.dat", libc::EIO);
        expect_io(&directory.open("x.dat").unwrap_err(), operation);
    }
    let stage = Stage::new();
    let (mut directory, file) = stage.opened();
    stage.calls.fail(Call::Read, "x.dat", libc::EIO);
    expect_io(&directory.read(file, 0, &mut [0; 3]).unwrap_err(), "read");
}

#[test]
fn a_removal_that_fails_or_is_not_durable_is_named() {
    let stage = Stage::new();
    let (mut directory, _) = stage.opened();
    stage.calls.fail(Call::Remove, "x.dat", libc::EIO);
    expect_io(&directory.remove("x.dat").unwrap_err(), "removal");
    stage.calls.fail(Call::Sync, "/data", libc::EIO);
    let error = directory.remove("x.dat").unwrap_err();
    expect_io(&error, "sync of the directory of x.dat");
}

#[test]
fn a_probe_that_fails_is_an_error_with_its_place_and_only_a_refusal_means_buffered() {
    for end in [Call::Open, Call::WriteSynced] {
        let stage = Stage::new();
        let mut directory = stage.open().unwrap();
        stage.calls.fail(end, "probe.tmp", libc::EIO);
        let said = directory.probe_direct_writes().unwrap_err().to_string();
        assert!(
            said.contains("data") && said.contains("os error 5"),
            "{said}"
        );
        assert_eq!(directory.list().unwrap(), ["node.lock"]);
    }
}

#[test]
fn a_file_system_that_refuses_direct_writes_of_a_block_is_written_through_its_cache() {
    let stage = Stage::new();
    let mut directory = stage.open().unwrap();
    stage
        .calls
        .fail(Call::WriteSynced, "probe.tmp", libc::EINVAL);
    assert!(!directory.probe_direct_writes().unwrap());
    let file = directory.create("x.dat", LENGTH).unwrap();
    assert!(directory.file(file).unwrap().direct.is_none());
}
