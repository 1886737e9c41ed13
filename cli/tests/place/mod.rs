//! Where the tests of the binary run it: a directory of their own, the configuration of one
//! member in it, and what can be seen from outside.
#![allow(
    dead_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shared by several tests, none of which needs all; processes, files and clocks"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep_bench::scenario::addresses::reserve;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::shared_file::forget;
use lockstep_consensus::settings::config::MemberEndpoints;
use lockstep_transport::stable_hash::stable_hash;
use tempfile::TempDir;

use crate::lines::Lines;

/// The binary under test.
pub const LOCKSTEP: &str = env!("CARGO_BIN_EXE_lockstep");

/// Everything below a directory: relative path, and length and hash of the bytes; directories
/// have none.
pub type Listing = BTreeMap<PathBuf, Option<(usize, u64)>>;

/// Everything below `path` but two kinds of files: the lock, for whoever tries a directory writes
/// its own number into it, and segments that a killed node had not finished making: no name, no
/// byte of log, and removed by whoever opens the directory next.
pub fn listing(path: &Path) -> Listing {
    let mut found = Listing::new();
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("the directory can be read") {
            let entry = entry.expect("the entry can be read").path();
            let name = entry.strip_prefix(path).expect("it lies below").to_owned();
            let is_unfinished = entry.to_string_lossy().ends_with(".rec.tmp");
            if entry.is_dir() {
                found.insert(name, None);
                open.push(entry);
            } else if !is_of_process(&entry) && !is_unfinished {
                let bytes = std::fs::read(&entry).expect("the file can be read");
                found.insert(name, Some((bytes.len(), stable_hash(&bytes))));
            }
        }
    }
    found
}

/// Whether it is there for the process alone, and is no data.
fn is_of_process(entry: &Path) -> bool {
    let name = entry.file_name();
    ["node.lock", "control.sock"]
        .map(OsStr::new)
        .map(Some)
        .contains(&name)
}

/// What a program said, on both streams.
pub fn words(output: &Output) -> String {
    let (said, cried) = (&output.stdout, &output.stderr);
    let (said, cried) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(cried),
    );
    format!("{said}{cried}")
}

/// Whatever is refused, or done, is so well within this.
const OUTCOME_WITHIN: Duration = Duration::from_secs(120);

/// A node that stands alone leads within this.
const LEADS_WITHIN: Duration = Duration::from_secs(20);

/// Runs a program that must end by itself: one that is not refused, and runs, fails the test.
pub fn outcome(command: &mut Command) -> Output {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let started = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if started.elapsed() > OUTCOME_WITHIN {
            let _ = child.kill();
            let output = child.wait_with_output().expect("a child can be awaited");
            panic!("still running: {command:?} said: {}", words(&output));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().expect("a child can be awaited")
}

/// What a short run of `bench cluster` with these options reports; it leaves nothing behind.
pub fn bench_cluster(options: &[&str]) -> serde_json::Value {
    let place = tempfile::tempdir().expect("a directory can be made");
    let common = [
        "bench",
        "cluster",
        "--messages",
        "300",
        "--warmup",
        "50ms",
        "--json",
        "-",
    ];
    let mut command = Command::new(LOCKSTEP);
    command.current_dir(place.path()).args(common).args(options);
    let output = outcome(&mut command);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let left = std::fs::read_dir(place.path()).expect("the directory can be read");
    assert_eq!(left.count(), 0, "files left behind");
    serde_json::from_slice(&output.stdout).expect("the result is JSON")
}

/// Demands that `output` ended with `code` and names everything in `parts` in one message.
pub fn expect_refusal(output: &Output, code: i32, parts: &[&str]) {
    let said = words(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// A directory with `node.toml` in it.
pub struct Place {
    directory: TempDir,
    pub member: MemberEndpoints,
}

impl Place {
    pub fn new() -> Self {
        let members = reserve(1).expect("loopback has free ports");
        let this = Self {
            directory: tempfile::tempdir().expect("a directory can be made"),
            member: members[0],
        };
        this.write("node.toml", &this.config());
        this
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A configuration that works: one member, small segments, data in `data`.
    pub fn config(&self) -> String {
        let MemberEndpoints { ingress, member } = self.member;
        format!(
            r#"[cluster]
name = "alpha"
term_length = "64k"
segment_length = "64k"
message_max = "4k"
members = [{{ ingress = "{ingress}", member = "{member}" }}]

[node]
member = 0
directory = "data"
sync = "data"
disk_budget = "64m"
"#
        )
    }

    /// The configuration with one thing changed.
    pub fn config_with(&self, from: &str, to: &str) -> String {
        let config = self.config();
        assert!(config.contains(from), "{from}");
        config.replace(from, to)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("the file can be written");
    }

    pub fn listing(&self) -> Listing {
        listing(self.path())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(LOCKSTEP);
        command.current_dir(self.path());
        command
    }

    pub fn lockstep(&self, arguments: &[&str]) -> Output {
        outcome(self.command().args(arguments))
    }

    /// A counter of the node in `data`, as another process reads it.
    pub fn counter(&self, slot: usize) -> Option<i64> {
        let bytes = std::fs::read(self.path().join("data/counters.dat")).ok()?;
        // Each of the node's agents has a page of its own.
        let blocks = bytes.chunks_exact(4096);
        let slots = blocks.filter_map(|block| block.get(slot * 8..)?.first_chunk());
        slots
            .map(|value| i64::from_le_bytes(*value))
            .reduce(|one, other| one + other)
    }

    /// Waits until the node, which stands alone, leads: its cluster has formed, and it works.
    pub fn expect_leads(&self) {
        let until = Instant::now() + LEADS_WITHIN;
        while self.counter(Counter::IngressOpen as usize) != Some(1) {
            assert!(Instant::now() < until, "it never led");
            std::thread::yield_now();
        }
    }

    /// Starts a node that must be refused.
    pub fn node(&self) -> Output {
        self.lockstep(&["node", "--config", "node.toml"])
    }

    /// Starts a node that must start.
    pub fn running(&self) -> Running {
        Running::start(self.command().args(["node", "--config", "node.toml"]))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in ["counters.dat", "trace.dat", "log-buffer.dat"] {
            forget(&self.path().join("data"), name);
        }
    }
}

/// A node that has started. Killed when dropped.
pub struct Running {
    child: Child,
    pub start_line: String,
    /// What it says on its standard error.
    pub lines: Lines,
}

impl Running {
    /// Starts `command` and waits for the line that a node says when it has recovered.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the node can be started");
        let lines = Lines::of(&mut child);
        let mut start_line = String::new();
        let said = child.stdout.as_mut().expect("stdout is piped");
        let mut said = BufReader::new(said);
        said.read_line(&mut start_line).expect("it says something");
        if !start_line.starts_with("member ") {
            let cried = lines.rest().join("\n");
            panic!("the node did not start: {start_line}{cried}");
        }
        Self {
            child,
            start_line,
            lines,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process dies as in a crash, and is gone on return.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A memory file system mounted over a directory of a place, seen only by the processes started in
/// here, and gone with this value.
pub struct Mount {
    place: PathBuf,
    path: PathBuf,
    holder: Child,
    end: Option<ChildStdin>,
}

impl Mount {
    /// Mounts one of `size` (as `mount` understands it) over a new directory `name` in `place`;
    /// says why not where the host does not permit it.
    pub fn new(place: &Place, name: &str, size: &str) -> Option<Self> {
        let path = place.path().join(name);
        std::fs::create_dir(&path).expect("a directory can be made");
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && echo ready && read -r end"#;
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg("sh")
            .arg(&path)
            .arg(size)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| eprintln!("NOT TESTED: a mounted directory, because {error}"))
            .ok()?;
        let mut said = String::new();
        let stdout = holder.stdout.as_mut().expect("stdout is piped");
        let _ = BufReader::new(stdout).read_line(&mut said);
        let end = holder.stdin.take();
        let mut this = Self {
            place: place.path().to_owned(),
            path,
            holder,
            end,
        };
        if said.trim() == "ready" {
            return Some(this);
        }
        drop(this.end.take());
        let mut cried = String::new();
        let stderr = this.holder.stderr.as_mut().expect("stderr is piped");
        let _ = stderr.read_to_string(&mut cried);
        eprintln!("NOT TESTED: a mounted directory, because {}", cried.trim());
        None
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The binary under test, run in the place, where the mount is seen.
    pub fn lockstep(&self) -> Command {
        self.command(&self.place, LOCKSTEP)
    }

    /// A node that has the place's configuration.
    pub fn node(&self) -> Command {
        let mut command = self.lockstep();
        command.args(["node", "--config", "node.toml"]);
        command
    }

    fn command(&self, directory: &Path, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.holder.id().to_string())
            .arg("env")
            .arg("-C")
            .arg(directory)
            .arg(program);
        command
    }

    /// Mounts it again without permission to write, or with.
    pub fn set_writable(&self, is_writable: bool) {
        let mode = if is_writable { "rw" } else { "ro" };
        self.remount(&format!("remount,{mode}"));
    }

    /// Gives it another size.
    pub fn grow(&self, size: &str) {
        self.remount(&format!("remount,size={size}"));
    }

    fn remount(&self, options: &str) {
        let path = &self.path;
        // The kernel closes a killed process's io_uring files a moment after its end.
        let is_mounted = (0..200).any(|_| {
            let mut command = self.command(path, "mount");
            let output = command.args(["-o", options]).arg(path).output();
            output.expect("mount can be started").status.success()
        });
        assert!(is_mounted, "mount -o {options} {}", path.display());
    }

    /// Where this process finds what the others find in the directory.
    pub fn seen(&self) -> PathBuf {
        let below = self.path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(below)
    }

    /// Fills what is left of the file system with a file of this name.
    pub fn fill(&self, name: &str) {
        let mut file = std::fs::File::create(self.seen().join(name)).expect("a file can be made");
        let page = [0xEE; 4096];
        while file.write_all(&page).is_ok() {}
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.holder.wait();
    }
}
