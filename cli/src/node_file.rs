//! `node.toml`: what was written, turned into the configuration of the crates it configures.
//! Parsing happens here, validation in `consensus::config`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lockstep_bench::scenario::cluster_bench::ServiceChoice;
use lockstep_consensus::config::{
    ClusterConfig, ConfigError, IoChoice, LinkFaults, MemberEndpoints, NodeConfig, ResponsesMode,
    SyncMode,
};
use lockstep_transport::agent::IdleStrategy;
use serde::{Deserialize, Deserializer};

use crate::quantity;

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

/// The services that the binary carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceName {
    /// Answers each message with the same bytes.
    #[default]
    Echo,
    /// The matching engine.
    OrderBook,
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFile {
    /// What all members agree on.
    pub cluster: ClusterConfig,
    /// What this node chooses.
    pub node: NodeConfig,
    /// The service to run.
    pub service: ServiceName,
    /// Core to pin the node's thread to.
    pub core: Option<usize>,
    /// How the thread waits: `yield`, `busy-spin`, `backoff` or `park`.
    pub idle: String,
}

impl ServiceName {
    /// The service of that name.
    #[must_use]
    pub const fn choice(self) -> ServiceChoice {
        match self {
            Self::Echo => ServiceChoice::Echo,
            Self::OrderBook => ServiceChoice::OrderBook,
        }
    }
}

/// What an unknown way to wait is answered with.
const IDLE_REMEDY: &str = "choose busy-spin, yield, backoff or park";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    cluster: ClusterText,
    node: NodeText,
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
    responses: Option<ResponsesText>,
    session_timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberText {
    ingress: SocketAddr,
    member: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    member: u8,
    directory: PathBuf,
    sync: Option<SyncText>,
    io: Option<IoText>,
    heartbeat_interval: Option<Duration>,
    election_timeout: Option<Duration>,
    disk_budget: Option<Size>,
    shared_memory: Option<PathBuf>,
    socket_buffer: Option<Size>,
    disk_delay: Option<Duration>,
    seed: Option<u64>,
    insecure: Option<bool>,
    trace_every: Option<u64>,
    service: Option<ServiceName>,
    core: Option<usize>,
    idle: Option<String>,
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

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResponsesText {
    Replicated,
    Direct,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SyncText {
    Data,
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum IoText {
    Auto,
    Uring,
    Syscall,
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

/// Reads, parses and validates the file at `path`.
///
/// # Errors
/// What is wrong, in which line, and what to do.
pub fn read(path: &Path) -> Result<NodeFile, NodeFileError> {
    let text = std::fs::read_to_string(path).map_err(|problem| NodeFileError::Unreadable {
        path: path.to_owned(),
        problem,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<NodeFile, NodeFileError> {
    let parsed: FileText = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].matches('\n').count() + 1;
        let written = text.lines().nth(line - 1).unwrap_or_default().trim();
        NodeFileError::Malformed {
            path: path.to_owned(),
            line,
            problem: explain(error.message(), written),
        }
    })?;
    let file = NodeFile {
        service: parsed.node.service.unwrap_or_default(),
        core: parsed.node.core,
        idle: parsed
            .node
            .idle
            .clone()
            .unwrap_or_else(|| "yield".to_owned()),
        cluster: cluster(parsed.cluster),
        node: node(parsed.node),
    };
    validate(&file).map_err(|problem| NodeFileError::Invalid {
        path: path.to_owned(),
        problem,
    })?;
    Ok(file)
}

fn validate(file: &NodeFile) -> Result<(), ConfigError> {
    if IdleStrategy::checked(&file.idle, 1, usize::MAX).is_err() {
        return Err(ConfigError {
            key: "idle",
            problem: format!("\"{}\" is unknown", file.idle),
            remedy: IDLE_REMEDY,
        });
    }
    file.node.validate(&file.cluster)?;
    file.service.choice().validate(&file.cluster)
}

fn bytes(size: Option<Size>, default: usize) -> usize {
    size.map_or(default, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    })
}

fn cluster(text: ClusterText) -> ClusterConfig {
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
        responses: match text.responses {
            Some(ResponsesText::Direct) => ResponsesMode::Direct,
            Some(ResponsesText::Replicated) => ResponsesMode::Replicated,
            None => default.responses,
        },
        session_timeout_ns: text
            .session_timeout
            .map_or(default.session_timeout_ns, |timeout| timeout.0),
    }
}

fn node(text: NodeText) -> NodeConfig {
    let default = NodeConfig::default();
    let time = |duration: Option<Duration>, default| duration.map_or(default, |d| d.0);
    NodeConfig {
        member: text.member,
        directory: text.directory,
        sync: match text.sync {
            Some(SyncText::None) => SyncMode::None,
            Some(SyncText::Data) => SyncMode::Data,
            None => default.sync,
        },
        io: match text.io {
            Some(IoText::Auto) => IoChoice::Auto,
            Some(IoText::Uring) => IoChoice::Uring,
            Some(IoText::Syscall) => IoChoice::Syscall,
            None => default.io,
        },
        heartbeat_interval_ns: time(text.heartbeat_interval, default.heartbeat_interval_ns),
        election_timeout_ns: time(text.election_timeout, default.election_timeout_ns),
        disk_budget_bytes: text
            .disk_budget
            .map_or(default.disk_budget_bytes, |size| size.0),
        shared_memory: text.shared_memory.unwrap_or(default.shared_memory),
        socket_buffer_bytes: bytes(text.socket_buffer, default.socket_buffer_bytes),
        disk_delay_ns: time(text.disk_delay, default.disk_delay_ns),
        faults: text.faults.map_or(default.faults, faults),
        seed: text.seed.unwrap_or(default.seed),
        insecure: text.insecure.unwrap_or(default.insecure),
        trace_every: text.trace_every.unwrap_or(default.trace_every),
    }
}

fn faults(text: FaultsText) -> LinkFaults {
    let chance = |probability: Option<Probability>| probability.map_or(0.0, |p| p.0);
    let time = |duration: Option<Duration>| duration.map_or(0, |d| d.0);
    LinkFaults {
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
        value if value.starts_with("unknown variant") => "value",
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
mod tests {
    use lockstep_bench::scenario::node_process::{NodeExtras, node_file};

    use super::*;

    const GOOD: &str = r#"
[cluster]
responses = "direct"
term_length = "1m"
session_timeout = "5s"
members = [{ ingress = "127.0.0.1:9001", member = "127.0.0.1:9002" }]

[node]
member = 0
directory = "data/0"
sync = "none"
disk_delay = "200us"
service = "orderbook"
faults = { loss = "0.1%" }
"#;

    fn refused(text: &str) -> String {
        parse(Path::new("node.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_what_is_configured() {
        let file = parse(Path::new("node.toml"), GOOD).unwrap();
        assert_eq!(file.cluster.responses, ResponsesMode::Direct);
        assert_eq!(file.cluster.term_length, 1 << 20);
        assert_eq!(file.cluster.session_timeout_ns, 5_000_000_000);
        assert_eq!(file.node.sync, SyncMode::None);
        assert_eq!(file.node.disk_delay_ns, 200_000);
        assert!((file.node.faults.loss - 0.001).abs() < 1e-12);
        assert_eq!(file.service, ServiceName::OrderBook);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_a_proposal() {
        let message = refused(&GOOD.replace("disk_delay", "disc_delay"));
        assert_eq!(
            message,
            "node.toml:12: unknown key \"disc_delay\": did you mean \"disk_delay\"?"
        );
    }

    #[test]
    fn a_bad_quantity_is_named_with_its_line() {
        let message = refused(&GOOD.replace("200us", "200"));
        assert!(message.starts_with("node.toml:12: "), "{message}");
        assert!(message.contains("needs a unit"), "{message}");
    }

    #[test]
    fn a_value_that_cannot_work_is_refused_by_the_crate_it_configures() {
        let message = refused(&GOOD.replace("\"1m\"", "\"1000\""));
        assert!(message.contains("term_length"), "{message}");
        let message = refused(&GOOD.replace("member = 0", "member = 3"));
        assert!(message.contains("member"), "{message}");
    }

    #[test]
    fn what_the_bench_writes_for_its_nodes_is_read_back_the_same() {
        let endpoints = |id: u16| MemberEndpoints {
            ingress: SocketAddr::from(([127, 0, 0, 1], 7001 + 2 * id)),
            member: SocketAddr::from(([127, 0, 0, 1], 7002 + 2 * id)),
        };
        let cluster = ClusterConfig {
            name: "round-trip".to_owned(),
            members: (0..3).map(endpoints).collect(),
            responses: ResponsesMode::Direct,
            ..ClusterConfig::default()
        };
        let node = NodeConfig {
            member: 2,
            directory: PathBuf::from("some \"odd\" place"),
            sync: SyncMode::None,
            io: IoChoice::Uring,
            disk_delay_ns: 1_234,
            faults: LinkFaults {
                loss: 0.001,
                jitter_ns: 5,
                ..LinkFaults::default()
            },
            seed: 77,
            trace_every: 16,
            ..NodeConfig::default()
        };
        let extras = NodeExtras {
            service: "orderbook",
            core: Some(1),
            idle: "backoff".to_owned(),
        };
        let text = node_file(&cluster, &node, &extras);
        let file = parse(Path::new("node.toml"), &text).unwrap();
        assert_eq!(file.cluster, cluster);
        assert_eq!(file.node, node);
        assert_eq!(file.service, ServiceName::OrderBook);
        assert_eq!((file.core, file.idle.as_str()), (Some(1), "backoff"));
    }
}
