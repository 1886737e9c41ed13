//! `lockstep snapshots list` and `verify`, and `lockstep log` on logs that start above 0, on the
//! directories of three real processes: while they run under load, after a kill, and trimmed.
//! Nothing is changed by any of them.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and a thread"
)]

mod binary;
mod lines;
mod looking;
mod place;
mod trio;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use binary::{lockstep, stderr, stdout, words};
use lockstep_archive::disk::{ColdFiles, DiskError, FileId, FilePlace};
use lockstep_archive::files::snapshot_index::SnapshotIndexFile;
use lockstep_archive::log::chain::Chain;
use lockstep_consensus::settings::config::SyncMode;
use looking::{LIST, LOG_VERIFY, VERIFY, expect_good, look, object, positions};
use place::expect_refusal;
use serde_json::Value;
use trio::{Trio, content};

/// Lets the cluster take a snapshot, and waits until all have it who take one.
fn take_snapshot(trio: &mut Trio, leader: usize, followers: [usize; 2]) {
    let newest = |trio: &Trio, id: usize| {
        let found = expect_good(&trio.directory(id), LIST);
        positions(&found).first().copied().unwrap_or(0)
    };
    let before = followers.map(|id| newest(trio, id));
    let asked = look_at_leader(&trio.directory(leader));
    assert!(asked.status.success(), "{}", words(&asked));
    trio.await_that("a snapshot", |trio| {
        (0..2).all(|n| newest(trio, followers[n]) > before[n])
    });
}

fn look_at_leader(directory: &Path) -> Output {
    lockstep(directory, &["snapshot", "--dir", "."])
}

/// What is said for people of the snapshots in `directory`, from the first on.
fn lines_of(directory: &Path) -> String {
    let text = stdout(&look(directory, VERIFY, &[]));
    let at = text.find("\nsnapshot ").expect("one was found");
    text[at + 1..].to_owned()
}

/// What of that is about the newest.
fn lines_of_newest(directory: &Path) -> String {
    let text = lines_of(directory);
    let end = text.find("\nsnapshot ").or_else(|| text.find("\nnext "));
    text[..end.expect("what the next start does")].to_owned()
}

/// Demands of the newest snapshot, which the leader fetches, that the same is said of it as where
/// it was taken, in `directory`, but for the name of the file.
fn expect_copy(trio: &mut Trio, leader: usize, directory: &Path) {
    let taken = expect_good(directory, VERIFY)["snapshots"][0].clone();
    let there = trio.directory(leader);
    trio.await_that("the leader's copy", |_| {
        positions(&expect_good(&there, LIST)).first() == taken["position"].as_i64().as_ref()
    });
    let mut copy = expect_good(&there, VERIFY)["snapshots"][0].clone();
    let position = &taken["position"];
    let (own, fetched) = (format!("1-{position}.rec"), format!("2-{position}.rec"));
    assert_eq!(
        (&taken["file"], &copy["file"]),
        (&own.as_str().into(), &fetched.as_str().into())
    );
    copy["file"] = taken["file"].clone();
    assert_eq!(copy, taken);
    let lines = lines_of_newest(&there);
    assert!(lines.contains(&fetched), "{lines}");
    assert_eq!(lines.replace(&fetched, &own), lines_of_newest(directory));
}

#[test]
fn members_say_the_same_of_equal_snapshots_and_nothing_is_changed() {
    let (mut trio, [leader, one, other]) = Trio::new(SyncMode::Data);
    for _ in 0..3 {
        trio.answer(20);
        take_snapshot(&mut trio, leader, [one, other]);
    }
    let directories = [one, other].map(|id| trio.directory(id));
    let found = directories
        .clone()
        .map(|directory| expect_good(&directory, VERIFY));
    assert_eq!(positions(&found[0]).len(), 2);
    assert_eq!(found[0]["snapshots"], found[1]["snapshots"]);
    for snapshot in found[0]["snapshots"].as_array().expect("a list") {
        assert_eq!(snapshot["log"], "same");
        assert_eq!(snapshot["header"]["cluster_uuid"], found[0]["cluster_uuid"]);
        let sections = snapshot["sections"].as_array().expect("sections");
        assert_eq!(sections[0]["name"], "header");
        assert_eq!(sections.last().expect("some")["name"], "service/echo");
    }
    assert_eq!(
        found[0]["goes_on_from"]["position"],
        found[0]["snapshots"][0]["position"]
    );
    // By eye, or with `diff`: from the first snapshot on there is no difference.
    assert_eq!(lines_of(&directories[0]), lines_of(&directories[1]));
    expect_copy(&mut trio, leader, &directories[0]);
    trio.kill(one);
    let before = content(&directories[0]);
    let killed = expect_good(&directories[0], VERIFY);
    assert_eq!(killed["snapshots"], found[0]["snapshots"]);
    assert_eq!(
        (&killed["is_running"], &killed["in_use_by"]),
        (&false.into(), &Value::Null)
    );
    let listed = stdout(&look(&directories[0], LIST, &[]));
    let newest = positions(&killed)[0];
    for part in [
        format!("1-{newest}.rec: there"),
        format!("tries the snapshot at {newest} first"),
        "log start  0, chain hash 0000000000000000".to_owned(),
    ] {
        assert!(listed.contains(&part), "\"{part}\" is missing in: {listed}");
    }
    assert!(content(&directories[0]) == before, "it was changed");
    // The next start does what was said.
    let said = trio.said(one).len();
    trio.restart(one);
    trio.await_that("its first line", |trio| {
        trio.said(one)[said..].contains(&format!("begun from the snapshot at {newest}"))
    });
}

#[test]
fn snapshots_are_listed_and_verified_while_nodes_under_load_store_them() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let (mut trio, [leader, one, other]) = Trio::new(sync);
        let directories = [leader, one, other].map(|id| trio.directory(id));
        let is_done = Arc::new(AtomicBool::new(false));
        let looker = std::thread::spawn({
            let is_done = Arc::clone(&is_done);
            move || {
                let (mut looks, mut seen) = (0, Vec::new());
                while !is_done.load(Ordering::Relaxed) || looks < 6 {
                    let _asked = look_at_leader(&directories[0]);
                    for directory in &directories {
                        assert_eq!(expect_good(directory, LIST)["is_running"], true);
                        seen.extend(positions(&expect_good(directory, VERIFY)));
                        expect_good(directory, LOG_VERIFY);
                        looks += 1;
                    }
                }
                seen.sort_unstable();
                seen.dedup();
                seen.len()
            }
        });
        trio.answer_to(3000, &[7; 700]);
        is_done.store(true, Ordering::Relaxed);
        let seen = looker.join().expect("every look found all whole");
        assert!(seen >= 2, "{sync}: {seen} snapshots");
    }
}

/// The files of a directory that nobody uses, which a test may write to.
struct Files(PathBuf, Vec<String>);

impl Files {
    fn file(&self, id: FileId) -> std::fs::File {
        let path = self.0.join(&self.1[id.0 as usize]);
        let file = std::fs::File::options().read(true).write(true).open(path);
        file.expect("it can be opened")
    }
}

impl ColdFiles for Files {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        let names = std::fs::read_dir(&self.0).expect("a directory");
        let names = names.map(|entry| entry.expect("an entry").file_name().into_string());
        Ok(names.map(|name| name.expect("a name in UTF-8")).collect())
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        self.1.push(name.to_owned());
        Ok(FileId(self.1.len() as u32 - 1))
    }

    fn create(&mut self, name: &str, _length: u64) -> Result<FileId, DiskError> {
        panic!("{name} is there")
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        Ok(self.file(file).metadata().expect("it is there").len())
    }

    fn place(&mut self, _file: FileId) -> Result<FilePlace, DiskError> {
        Ok(FilePlace::default())
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.file(file)
            .read_exact_at(target, offset)
            .expect("it is read");
        Ok(())
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file(file)
            .write_all_at(bytes, offset)
            .expect("a good disk");
        Ok(())
    }

    fn sync(&mut self, _file: FileId) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        std::fs::remove_file(self.0.join(name)).expect("it is there");
        Ok(())
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        Ok(u64::MAX)
    }
}

/// Segments of a trio's logs.
const SEGMENT: i64 = 1 << 20;

/// Lets the log in the directory of a killed member start at `start`, as its index says from then
/// on; its files are left as they are.
fn trim(directory: &Path, start: i64) {
    let mut chain = Chain::new();
    for base in (0..start).step_by(SEGMENT as usize) {
        let bytes = std::fs::read(directory.join(format!("0-{base}.rec")));
        let folded = chain.fold_frames(&bytes.expect("a segment"));
        folded.expect("a whole segment of whole frames");
    }
    assert_eq!(chain.position(), start);
    let mut files = Files(directory.to_owned(), Vec::new());
    let index = SnapshotIndexFile::open(&mut files, SEGMENT as usize);
    let mut index = index.expect("a good index");
    let at = chain.checkpoint_at_or_below(start).expect("its end");
    index.want(index.durable().with_log_start(at));
    index.write(&mut files).expect("a good disk");
}

/// Removes what lies below.
fn remove_below(directory: &Path, start: i64) {
    for base in (0..start).step_by(SEGMENT as usize) {
        // Its node may have let go of it.
        let _gone = std::fs::remove_file(directory.join(format!("0-{base}.rec")));
    }
}

/// A cluster whose member was killed and has let go of the beginning of its log.
struct Trimmed {
    trio: Trio,
    member: usize,
    directory: PathBuf,
    /// What was said of the log before.
    whole: Value,
    /// Where the log starts.
    start: i64,
    /// Where its snapshots were taken, the newest first.
    taken: Vec<i64>,
}

/// Something may be left below.
fn trimmed() -> Trimmed {
    let (mut trio, [leader, member, other]) = Trio::new(SyncMode::Data);
    for _ in 0..2 {
        trio.answer_to(1500, &[7; 700]);
        take_snapshot(&mut trio, leader, [member, other]);
    }
    trio.answer_to(1500, &[7; 700]);
    trio.kill(member);
    let directory = trio.directory(member);
    let whole = expect_good(&directory, LOG_VERIFY);
    let taken = positions(&expect_good(&directory, LIST));
    let start = taken[1] / SEGMENT * SEGMENT;
    assert!(start >= SEGMENT && taken[0] > start + SEGMENT, "{taken:?}");
    if whole["start"] == 0 {
        trim(&directory, start);
    }
    let start = expect_good(&directory, LOG_VERIFY)["start"].as_i64();
    Trimmed {
        trio,
        member,
        directory,
        whole,
        start: start.expect("a number"),
        taken,
    }
}

#[test]
fn a_trimmed_log_is_whole_from_its_start_on_whatever_is_left_below() {
    let Trimmed {
        mut trio,
        member,
        directory,
        whole,
        start,
        taken,
    } = trimmed();
    let left = directory.join("0-0.rec");
    for is_left in [true, false] {
        if !is_left {
            remove_below(&directory, start);
        } else if !left.exists() {
            std::fs::write(&left, vec![0; SEGMENT as usize]).expect("a good disk");
        }
        let before = content(&directory);
        let found = expect_good(&directory, LOG_VERIFY);
        assert_eq!(
            (&found["start"], &found["verdict"]["name"]),
            (&start.into(), &"whole".into())
        );
        assert_eq!(
            (&found["end"], &found["chain_hash"], &found["terms"]),
            (&whole["end"], &whole["chain_hash"], &whole["terms"])
        );
        assert_eq!(found["goes_on_from"]["position"], taken[0]);
        assert_eq!(found["segments"][0]["is_below_start"], is_left);
        let text = stdout(&look(&directory, LOG_VERIFY, &[]));
        assert!(text.contains(&format!("log        {start} to ")), "{text}");
        assert_eq!(
            text.contains("which the next start removes"),
            is_left,
            "{text}"
        );
        let shown = look(&directory, ["log", "show"], &["--json", "--limit", "1"]);
        let first: Value = serde_json::from_str(&stdout(&shown)).expect("an entry");
        assert_eq!(first["position"], start);
        assert!(stderr(&shown).contains(&format!("starts at {start}: what lay below")));
        let snapshots = expect_good(&directory, VERIFY);
        assert_eq!(
            (&snapshots["start"], &snapshots["snapshots"][0]["log"]),
            (&start.into(), &"same".into())
        );
        assert!(content(&directory) == before, "it was changed");
    }
    trio.restart(member);
    trio.await_words(member, &format!("begun from the snapshot at {}", taken[0]));
    trio.answer(50);
    assert!(expect_good(&directory, LOG_VERIFY)["start"].as_i64() >= Some(start));
}

/// While the files of these names are somewhere else.
fn without(directory: &Path, names: &[String], look: impl FnOnce()) {
    let away = directory.join("away");
    std::fs::create_dir(&away).expect("a directory can be made");
    let rename = |from: &Path, to: &Path| {
        for name in names {
            std::fs::rename(from.join(name), to.join(name)).expect("it is there");
        }
    };
    rename(directory, &away);
    look();
    rename(&away, directory);
    std::fs::remove_dir(&away).expect("it is empty");
}

#[test]
fn what_is_missing_of_a_trimmed_log_is_named_with_a_remedy() {
    let Trimmed {
        // With it its directories go.
        trio: _trio,
        directory,
        start,
        taken,
        ..
    } = trimmed();
    remove_below(&directory, start);
    let segment = format!("0-{start}.rec");
    let newest = taken[0];
    without(&directory, std::slice::from_ref(&segment), || {
        let (found, code) = object(&directory, LOG_VERIFY);
        let verdict = &found["verdict"];
        assert_eq!((code, &verdict["name"]), (Some(1), &"missing below".into()));
        assert_eq!(
            (&verdict["position"], &verdict["damage_end"]),
            (&start.into(), &newest.into())
        );
        let said = look(&directory, LOG_VERIFY, &[]);
        let range = format!("{start} to {newest}");
        let missing = format!("of {segment}, which is missing");
        let parts = [&range, &missing, "goes on from", "keep the directory"];
        expect_refusal(&said, 1, &parts);
        let said = look(&directory, VERIFY, &[]);
        let end = format!("up to {start} only");
        expect_refusal(
            &said,
            1,
            &[&end, "lockstep log verify", "keep the directory"],
        );
    });
    let snapshots: Vec<String> = taken.iter().map(|at| format!("1-{at}.rec")).collect();
    for (names, words) in [
        // Nothing says what the log follows from.
        (&snapshots[..], "the next start is refused"),
        (&["snapshots.idx".to_owned()], "snapshots.idx is missing"),
    ] {
        without(&directory, names, || {
            for what in [LOG_VERIFY, VERIFY, LIST] {
                let said = look(&directory, what, &[]);
                expect_refusal(&said, 1, &[words, "keep the directory as it is"]);
            }
        });
    }
    expect_good(&directory, LOG_VERIFY);
    expect_good(&directory, VERIFY);
}
