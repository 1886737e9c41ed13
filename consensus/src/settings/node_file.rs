//! `node.toml`, read and written: what a node is told, by `lockstep node` or by a user's own main.
//! Parsing happens here, validation in [`config`](crate::settings::config); `reading.rs` is the
//! shell that opens the file.

mod reading;
mod text;

use core::fmt::Display;
use core::net::SocketAddr;
use core::str::FromStr;
use std::path::{Path, PathBuf};

use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::fault::Faults;
use serde::{Deserialize, Deserializer};

use crate::settings::config::{
    ClusterConfig, ConfigError, IoChoice, MemberEndpoints, NodeConfig, ResponsesMode, SyncMode,
};
use crate::settings::quantity;
use crate::settings::threading::{ThreadSetting, ThreadSettings, Threading};

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// It cannot be read.
    #[error("cannot read {}: {problem}; check the path given with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        problem: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}:{line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line of the problem, from 1.
        line: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A value cannot work.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which, why, and what to do.
        problem: ConfigError,
    },
}

/// The service of a program that has one of its own: there is nothing to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnService;

/// A file names a service, and its program has only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this program has one service: leave the key out")]
pub struct NothingToChoose;

impl FromStr for OwnService {
    type Err = NothingToChoose;

    fn from_str(_text: &str) -> Result<Self, NothingToChoose> {
        Err(NothingToChoose)
    }
}

/// What the key `service` may say.
pub trait ServiceKey: FromStr<Err: Display> + Default {
    /// What is written of it, if anything.
    fn key(&self) -> Option<String>;

    /// Checks that the cluster carries what the service may answer.
    ///
    /// # Errors
    /// The limit that is too small, and what the service needs.
    fn validate(&self, cluster: &ClusterConfig) -> Result<(), ConfigError>;
}

impl ServiceKey for OwnService {
    fn key(&self) -> Option<String> {
        None
    }

    fn validate(&self, _cluster: &ClusterConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// A whole configuration, in a program that chooses its service by `S`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFile<S = OwnService> {
    /// What all members agree on.
    pub cluster: ClusterConfig,
    /// What this node chooses.
    pub node: NodeConfig,
    /// The service to run.
    pub service: S,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: FromStr<Err: Display>"))]
struct FileText<S> {
    cluster: ClusterText,
    node: NodeText<S>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterText {
    name: Option<String>,
    members: Vec<MemberText>,
    term_length: Option<Size>,
    segment_length: Option<Size>,
    log_mtu: Option<Size>,
    message_max: Option<Size>,
    effects_per_cause: Option<u32>,
    effect_bytes_per_cause: Option<Size>,
    outbox_bytes: Option<Size>,
    sessions_max: Option<usize>,
    responses: Option<Named<ResponsesMode>>,
    session_timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberText {
    ingress: SocketAddr,
    member: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: FromStr<Err: Display>"))]
struct NodeText<S> {
    member: u8,
    directory: PathBuf,
    sync: Option<Named<SyncMode>>,
    io: Option<Named<IoChoice>>,
    threading: Option<Named<Threading>>,
    archive_core: Option<usize>,
    archive_idle: Option<Named<IdleStrategy>>,
    clients_core: Option<usize>,
    clients_idle: Option<Named<IdleStrategy>>,
    service_core: Option<usize>,
    service_idle: Option<Named<IdleStrategy>>,
    heartbeat_interval: Option<Duration>,
    election_timeout: Option<Duration>,
    disk_budget: Option<Size>,
    snapshot_interval: Option<Size>,
    egress_retention: Option<Size>,
    snapshot_rate: Option<Size>,
    snapshot_on_stop: Option<Duration>,
    start_scan: Option<Size>,
    shared_memory: Option<PathBuf>,
    socket_buffer: Option<Size>,
    disk_delay: Option<Duration>,
    service_time: Option<Duration>,
    service_pause: Option<Duration>,
    seed: Option<u64>,
    insecure: Option<bool>,
    trace_every: Option<u64>,
    service: Option<Named<S>>,
    core: Option<usize>,
    idle: Option<Named<IdleStrategy>>,
    faults: Option<FaultsText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsText {
    loss: Option<Probability>,
    duplicate: Option<Probability>,
    reorder: Option<Probability>,
    delay: Option<Duration>,
    jitter: Option<Duration>,
}

/// One of a few names.
struct Named<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Declares a quantity that may be written as text with a unit or as a bare number.
macro_rules! quantity {
    ($name:ident, $value:ty, $parse:path) => {
        struct $name($value);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = match toml::Value::deserialize(deserializer)? {
                    toml::Value::String(text) => text,
                    other => other.to_string(),
                };
                $parse(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }
    };
}

quantity!(Size, u64, quantity::size);
quantity!(Duration, i64, quantity::duration);
quantity!(Probability, f64, quantity::probability);

impl<S: ServiceKey> NodeFile<S> {
    /// What `text` says, which was found at `path`.
    ///
    /// # Errors
    /// What is wrong, in which line, and what to do.
    pub fn parse(path: &Path, text: &str) -> Result<Self, NodeFileError> {
        let parsed: FileText<S> = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text[..start.min(text.len())].matches('\n').count() + 1;
            let written = text.lines().nth(line - 1).unwrap_or_default().trim();
            NodeFileError::Malformed {
                path: path.to_owned(),
                line,
                problem: explain(error.message(), written),
            }
        })?;
        let file = read_file(parsed);
        file.validate().map_err(|problem| NodeFileError::Invalid {
            path: path.to_owned(),
            problem,
        })?;
        Ok(file)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.node.validate(&self.cluster)?;
        self.service.validate(&self.cluster)
    }
}

fn read_file<S: ServiceKey>(text: FileText<S>) -> NodeFile<S> {
    let FileText { cluster, mut node } = text;
    NodeFile {
        cluster: read_cluster(cluster),
        service: node.service.take().map_or_else(S::default, |named| named.0),
        node: read_node(node),
    }
}

fn bytes(size: Option<Size>, default: usize) -> usize {
    size.map_or(default, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    })
}

fn read_cluster(text: ClusterText) -> ClusterConfig {
    let default = ClusterConfig::default();
    let endpoints = |member: MemberText| MemberEndpoints {
        ingress: member.ingress,
        member: member.member,
    };
    ClusterConfig {
        name: text.name.unwrap_or(default.name),
        members: text.members.into_iter().map(endpoints).collect(),
        term_length: bytes(text.term_length, default.term_length),
        segment_length: bytes(text.segment_length, default.segment_length),
        log_mtu: bytes(text.log_mtu, default.log_mtu),
        message_max: bytes(text.message_max, default.message_max),
        effects_per_cause: text.effects_per_cause.unwrap_or(default.effects_per_cause),
        effect_bytes_per_cause: bytes(text.effect_bytes_per_cause, default.effect_bytes_per_cause),
        outbox_bytes: bytes(text.outbox_bytes, default.outbox_bytes),
        sessions_max: text.sessions_max.unwrap_or(default.sessions_max),
        responses: text.responses.map_or(default.responses, |named| named.0),
        session_timeout_ns: text
            .session_timeout
            .map_or(default.session_timeout_ns, |timeout| timeout.0),
    }
}

fn read_node<S>(text: NodeText<S>) -> NodeConfig {
    let default = NodeConfig::default();
    let time = |duration: Option<Duration>, default| duration.map_or(default, |d| d.0);
    NodeConfig {
        member: text.member,
        directory: text.directory,
        sync: text.sync.map_or(default.sync, |named| named.0),
        io: text.io.map_or(default.io, |named| named.0),
        threading: text.threading.map_or(default.threading, |named| named.0),
        threads: ThreadSettings {
            node: read_thread(text.core, text.idle),
            archive: read_thread(text.archive_core, text.archive_idle),
            clients: read_thread(text.clients_core, text.clients_idle),
            service: read_thread(text.service_core, text.service_idle),
        },
        heartbeat_interval_ns: time(text.heartbeat_interval, default.heartbeat_interval_ns),
        election_timeout_ns: time(text.election_timeout, default.election_timeout_ns),
        disk_budget_bytes: text
            .disk_budget
            .map_or(default.disk_budget_bytes, |size| size.0),
        snapshot_interval_bytes: text
            .snapshot_interval
            .map_or(default.snapshot_interval_bytes, |size| size.0),
        egress_retention_bytes: text
            .egress_retention
            .map_or(default.egress_retention_bytes, |size| size.0),
        snapshot_rate_bytes: text
            .snapshot_rate
            .map_or(default.snapshot_rate_bytes, |size| size.0),
        snapshot_on_stop_ns: time(text.snapshot_on_stop, default.snapshot_on_stop_ns),
        start_scan_bytes: text
            .start_scan
            .map_or(default.start_scan_bytes, |size| size.0),
        shared_memory: text.shared_memory.unwrap_or(default.shared_memory),
        socket_buffer_bytes: bytes(text.socket_buffer, default.socket_buffer_bytes),
        disk_delay_ns: time(text.disk_delay, default.disk_delay_ns),
        service_time_ns: time(text.service_time, default.service_time_ns),
        service_pause_ns: time(text.service_pause, default.service_pause_ns),
        faults: text.faults.map_or(default.faults, read_faults),
        seed: text.seed.unwrap_or(default.seed),
        insecure: text.insecure.unwrap_or(default.insecure),
        trace_every: text.trace_every.unwrap_or(default.trace_every),
    }
}

fn read_thread(core: Option<usize>, idle: Option<Named<IdleStrategy>>) -> ThreadSetting {
    let default = ThreadSetting::default();
    ThreadSetting {
        core,
        idle: idle.map_or(default.idle, |named| named.0),
    }
}

fn read_faults(text: FaultsText) -> Faults {
    let chance = |probability: Option<Probability>| probability.map_or(0.0, |p| p.0);
    let time = |duration: Option<Duration>| duration.map_or(0, |d| d.0);
    Faults {
        loss: chance(text.loss),
        duplicate: chance(text.duplicate),
        reorder: chance(text.reorder),
        delay_ns: time(text.delay),
        jitter_ns: time(text.jitter),
        partitioned: false,
    }
}

/// The parser's sentence with what it does not know: the line as `written`, "did you mean", and
/// what an address looks like.
fn explain(message: &str, written: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let what = match message {
        key if key.starts_with("unknown field") => "key",
        value if value.starts_with("unknown value") => "value",
        missing if missing.starts_with("missing field") => {
            let key = quoted.next().unwrap_or_default();
            return format!("the key \"{key}\" is missing here: add it");
        }
        address if address.contains("socket address") => {
            return format!(
                "{message} in: {written}; use an IP address and a port, such as \
                 \"127.0.0.1:9001\" (names are not looked up)"
            );
        }
        _ => return format!("{message} in: {written}"),
    };
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let nearest = known.iter().min_by_key(|known| distance(unknown, known));
    match nearest {
        Some(nearest) if distance(unknown, nearest) <= unknown.len() / 2 => {
            format!("unknown {what} \"{unknown}\": did you mean \"{nearest}\"?")
        }
        _ => format!(
            "unknown {what} \"{unknown}\": use one of {}",
            known.join(", ")
        ),
    }
}

/// Edits that turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
