//! Members as processes of their own: `lockstep node`, started, watched and killed.
//!
//! Readiness and results come through the mapped counters and trace file of each member's
//! directory, as for any other observer.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockstep_consensus::config::{ClusterConfig, IoChoice, NodeConfig, ResponsesMode, SyncMode};
use lockstep_consensus::counters::{COUNTERS_FILE, Counter, Counters};
use lockstep_consensus::node::TRACE_FILE;
use lockstep_consensus::shared_file::forget;

/// What `lockstep node` is told besides the two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeExtras {
    /// Service: `echo` or `orderbook`.
    pub service: &'static str,
    /// Core to pin to.
    pub core: Option<usize>,
    /// Idle strategy.
    pub idle: String,
}

/// The text of a `node.toml` for `lockstep node --config`.
#[must_use]
pub fn node_file(cluster: &ClusterConfig, node: &NodeConfig, extras: &NodeExtras) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_cluster(&mut text, cluster);
    let _ = write_node(&mut text, node, extras);
    text
}

fn write_cluster(text: &mut String, cluster: &ClusterConfig) -> std::fmt::Result {
    let responses = match cluster.responses {
        ResponsesMode::Replicated => "replicated",
        ResponsesMode::Direct => "direct",
    };
    writeln!(text, "[cluster]\nname = {:?}", cluster.name)?;
    writeln!(text, "responses = \"{responses}\"")?;
    for (key, value) in [
        ("term_length", cluster.term_length),
        ("segment_length", cluster.segment_length),
        ("log_mtu", cluster.log_mtu),
        ("message_max", cluster.message_max),
        ("effects_per_cause", cluster.effects_per_cause as usize),
        ("effect_bytes_per_cause", cluster.effect_bytes_per_cause),
        ("outbox_bytes", cluster.outbox_bytes),
        ("sessions_max", cluster.sessions_max),
    ] {
        writeln!(text, "{key} = {value}")?;
    }
    let timeout = cluster.session_timeout_ns;
    writeln!(text, "session_timeout = \"{timeout}ns\"\nmembers = [")?;
    for member in &cluster.members {
        let (ingress, member) = (member.ingress, member.member);
        writeln!(
            text,
            "  {{ ingress = \"{ingress}\", member = \"{member}\" }},"
        )?;
    }
    writeln!(text, "]\n")
}

fn write_node(text: &mut String, node: &NodeConfig, extras: &NodeExtras) -> std::fmt::Result {
    let sync = match node.sync {
        SyncMode::Data => "data",
        SyncMode::None => "none",
    };
    let io = match node.io {
        IoChoice::Auto => "auto",
        IoChoice::Uring => "uring",
        IoChoice::Syscall => "syscall",
    };
    writeln!(text, "[node]\nmember = {}", node.member)?;
    writeln!(
        text,
        "directory = {:?}",
        node.directory.display().to_string()
    )?;
    let memory = node.shared_memory.display().to_string();
    writeln!(text, "shared_memory = {memory:?}")?;
    writeln!(text, "socket_buffer = {}", node.socket_buffer_bytes)?;
    writeln!(text, "sync = \"{sync}\"\nio = \"{io}\"")?;
    for (key, value) in [
        ("heartbeat_interval", node.heartbeat_interval_ns),
        ("election_timeout", node.election_timeout_ns),
        ("disk_delay", node.disk_delay_ns),
    ] {
        writeln!(text, "{key} = \"{value}ns\"")?;
    }
    writeln!(text, "disk_budget = {}", node.disk_budget_bytes)?;
    // TOML integers are signed: a seed keeps 63 bits.
    writeln!(text, "seed = {}", node.seed & (u64::MAX >> 1))?;
    writeln!(text, "insecure = {}", node.insecure)?;
    writeln!(text, "trace_every = {}", node.trace_every)?;
    writeln!(
        text,
        "service = {:?}\nidle = {:?}",
        extras.service, extras.idle
    )?;
    if let Some(core) = extras.core {
        writeln!(text, "core = {core}")?;
    }
    let faults = node.faults;
    writeln!(text, "\n[node.faults]")?;
    for (key, value) in [
        ("loss", faults.loss),
        ("duplicate", faults.duplicate),
        ("reorder", faults.reorder),
    ] {
        writeln!(text, "{key} = \"{value}\"")?;
    }
    writeln!(text, "delay = \"{}ns\"", faults.delay_ns)?;
    writeln!(text, "jitter = \"{}ns\"", faults.jitter_ns)
}

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
    /// The operating system's.
    pub fn start(
        binary: &Path,
        cluster: &ClusterConfig,
        node: &NodeConfig,
        extras: &NodeExtras,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&node.directory)?;
        let config_path = node.directory.join("node.toml");
        std::fs::write(&config_path, node_file(cluster, node, extras))?;
        let child = spawn(binary, &config_path, &node.directory)?;
        Ok(Self {
            binary: binary.to_owned(),
            config_path,
            directory: node.directory.clone(),
            child,
            counters: None,
        })
    }

    /// The member's data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The member's counters, once this very process has published them.
    pub fn counters(&mut self) -> Option<&mut Counters> {
        if self.counters.is_none() {
            let own = i64::from(self.child.id());
            let opened = Counters::open(&self.directory).ok().flatten();
            self.counters = opened.filter(|counters| counters.get(Counter::ProcessId) == own);
        }
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
        self.counters = None;
        self.child.kill()?;
        self.child.wait().map(|_| ())
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
        for name in [COUNTERS_FILE, TRACE_FILE] {
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
