//! Members as processes of their own: `lockstep node`, started, watched and killed.
//!
//! Readiness and results come through the mapped counters and trace file of each member's
//! directory, as for any other observer.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use lockstep_archive::disk::SegmentName;
use lockstep_archive::log::log_memory::LOG_MEMORY_FILE;
use lockstep_archive::log::segment::LOG_RECORDING_ID;
use lockstep_consensus::node::counters::{COUNTERS_FILE, Counter, Counters};
use lockstep_consensus::node::shared_file::forget;
use lockstep_consensus::node::tracers::TRACE_FILE;
use lockstep_consensus::settings::node_file::NodeFile;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::newest_counters;
use super::service_choice::ServiceChoice;
use crate::cpu_time::cpu_time;

/// What the first line of a node has where its start went on from a snapshot.
const BEGUN_FROM_SNAPSHOT: &str = "; begun from the snapshot at ";

/// A member's process. Killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    binary: PathBuf,
    config_path: PathBuf,
    directory: PathBuf,
    child: Child,
    counters: Option<Counters>,
}

impl NodeProcess {
    /// Writes the configuration into the node's directory and starts `binary` with it. What
    /// the node says goes to `node.log` beside it.
    ///
    /// # Errors
    /// The operating system's, or which value of `file` no file can say.
    pub fn start(binary: &Path, file: &NodeFile<ServiceChoice>) -> io::Result<Self> {
        let directory = &file.node.directory;
        std::fs::create_dir_all(directory)?;
        let config_path = directory.join("node.toml");
        let text = file.text().map_err(io::Error::other)?;
        std::fs::write(&config_path, text)?;
        let child = spawn(binary, &config_path, directory)?;
        Ok(Self {
            binary: binary.to_owned(),
            config_path,
            directory: directory.clone(),
            child,
            counters: None,
        })
    }

    /// The member's data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Processor time that the process has used so far.
    pub(super) fn cpu_time(&self) -> Option<Nanos> {
        cpu_time(self.child.id())
    }

    /// The member's counters, once this very process has published them: those of its newest node.
    pub fn counters(&mut self) -> Option<&mut Counters> {
        let own = i64::from(self.child.id());
        let is_own = |counters: &Counters| counters.get(Counter::ProcessId) == own;
        newest_counters::renew(&mut self.counters, &self.directory, is_own);
        self.counters.as_mut()
    }

    /// One counter, or 0 while the process has published none.
    pub fn counter(&mut self, counter: Counter) -> i64 {
        self.counters().map_or(0, |counters| counters.get(counter))
    }

    /// Whether the process leads and accepts clients.
    pub fn is_open(&mut self) -> bool {
        self.counter(Counter::IngressOpen) == 1
    }

    /// What the node said when it started.
    #[must_use]
    pub fn start_line(&self) -> String {
        let said = std::fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    }

    /// From which snapshot each start in this directory went on, if from one, over all processes.
    pub(super) fn starts(&self) -> Vec<Option<Position>> {
        let said = std::fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
        let starts = said.lines().filter(|line| line.starts_with("member "));
        let begun_from = |line: &str| {
            let (_, after) = line.split_once(BEGUN_FROM_SNAPSHOT)?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        starts.map(begun_from).collect()
    }

    /// How many of these went on from one.
    pub(super) fn starts_from_snapshots(&self) -> usize {
        self.starts().iter().flatten().count()
    }

    /// Length of its snapshot at `position`, its own or another member's; 0 if it has none there.
    pub(super) fn length_of_snapshot(&self, position: Position) -> u64 {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let is_meant = |entry: &std::fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_str().and_then(SegmentName::parse);
            name.is_some_and(|name| {
                name.recording_id != LOG_RECORDING_ID && name.position == position
            })
        };
        let snapshots = entries.flatten().filter(is_meant);
        let lengths = snapshots.filter_map(|entry| entry.metadata().ok());
        lengths.map(|metadata| metadata.len()).max().unwrap_or(0)
    }

    /// The last words of a process that has ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let said = std::fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing");
        Some(format!("{status}: {last}"))
    }

    /// Kills the process as a crash would (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> io::Result<()> {
        self.strike()?;
        self.child.wait().map(|_| ())
    }

    /// Kills the process and does not wait: others are to be killed at the same time.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn strike(&mut self) -> io::Result<()> {
        self.counters = None;
        self.child.kill()
    }

    /// Tells the process to stop (SIGTERM), and does not wait.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn tell_to_stop(&mut self) -> io::Result<()> {
        self.counters = None;
        let process = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &process]).status()?;
        let problem = || io::Error::other(format!("kill: {status}"));
        status.success().then_some(()).ok_or_else(problem)
    }

    /// How the process has ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Starts the process again in the same directory.
    ///
    /// # Errors
    /// The operating system's.
    pub fn restart(&mut self) -> io::Result<()> {
        self.counters = None;
        self.child = spawn(&self.binary, &self.config_path, &self.directory)?;
        Ok(())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for name in [COUNTERS_FILE, TRACE_FILE, LOG_MEMORY_FILE] {
            forget(&self.directory, name);
        }
    }
}

#[allow(
    clippy::disallowed_types,
    reason = "shell: a child's output goes to a file"
)]
fn spawn(binary: &Path, config_path: &Path, directory: &Path) -> io::Result<Child> {
    let said = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("node.log"))?;
    Command::new(binary)
        .arg("node")
        .arg("--config")
        .arg(config_path)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
}
