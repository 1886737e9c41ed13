//! A configuration as `node.toml` says it.

use std::path::Path;

use core::fmt::Display;
use core::net::SocketAddr;

use lockstep_transport::fault::Faults;
use lockstep_transport::time::Nanos;

use super::{NodeFile, ServiceKey};
use crate::settings::config::{ClusterConfig, ConfigError, NodeConfig};
use crate::settings::quantity;

/// Lines of a file, or the first value that it cannot say.
type Lines = Result<Vec<String>, ConfigError>;

/// A line of a file, or why there is none.
type Line = Result<String, ConfigError>;

impl<S: ServiceKey> NodeFile<S> {
    /// The text of a file that is read back as this.
    ///
    /// # Errors
    /// The key of a value that cannot work, or that no file can say.
    pub fn text(&self) -> Result<String, ConfigError> {
        self.validate()?;
        let mut lines = cluster_lines(&self.cluster)?;
        lines.extend(node_lines(&self.node)?);
        lines.extend(self.service.key().map(|key| named("service", &key)));
        lines.extend(fault_lines(&self.node.faults)?);
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

fn cluster_lines(cluster: &ClusterConfig) -> Lines {
    let mut lines = vec![
        "[cluster]".to_owned(),
        named("name", &cluster.name),
        named("responses", cluster.responses.name()),
    ];
    for (key, value) in [
        ("term_length", cluster.term_length),
        ("segment_length", cluster.segment_length),
        ("log_mtu", cluster.log_mtu),
        ("message_max", cluster.message_max),
        ("effect_bytes_per_cause", cluster.effect_bytes_per_cause),
        ("outbox_bytes", cluster.outbox_bytes),
    ] {
        lines.push(size(key, value as u64)?);
    }
    lines.push(format!("effects_per_cause = {}", cluster.effects_per_cause));
    lines.push(format!("sessions_max = {}", cluster.sessions_max));
    lines.push(duration("session_timeout", cluster.session_timeout_ns)?);
    lines.push("members = [".to_owned());
    for member in &cluster.members {
        let ingress = address("ingress", member.ingress)?;
        let member = address("member", member.member)?;
        lines.push(format!("  {{ {ingress}, {member} }},"));
    }
    lines.push("]\n".to_owned());
    Ok(lines)
}

fn node_lines(node: &NodeConfig) -> Lines {
    let mut lines = vec![
        "[node]".to_owned(),
        format!("member = {}", node.member),
        path("directory", &node.directory)?,
        path("shared_memory", &node.shared_memory)?,
        size("socket_buffer", node.socket_buffer_bytes as u64)?,
        named("sync", node.sync.name()),
        named("io", node.io.name()),
        duration("heartbeat_interval", node.heartbeat_interval_ns)?,
        duration("election_timeout", node.election_timeout_ns)?,
        duration("disk_delay", node.disk_delay_ns)?,
        duration("service_time", node.service_time_ns)?,
        duration("service_pause", node.service_pause_ns)?,
        size("disk_budget", node.disk_budget_bytes)?,
        size("snapshot_interval", node.snapshot_interval_bytes)?,
        size("egress_retention", node.egress_retention_bytes)?,
        size("snapshot_rate", node.snapshot_rate_bytes)?,
        duration("snapshot_on_stop", node.snapshot_on_stop_ns)?,
        size("start_scan", node.start_scan_bytes)?,
        format!("seed = {}", node.seed),
        format!("insecure = {}", node.insecure),
        format!("trace_every = {}", node.trace_every),
        named("threading", &node.threading.to_string()),
    ];
    let threads = &node.threads;
    for (prefix, thread) in [
        ("", threads.node),
        ("archive_", threads.archive),
        ("clients_", threads.clients),
        ("service_", threads.service),
    ] {
        lines.push(named(&format!("{prefix}idle"), thread.idle.name()));
        lines.extend(thread.core.map(|core| format!("{prefix}core = {core}")));
    }
    Ok(lines)
}

fn fault_lines(faults: &Faults) -> Lines {
    // A cut is made while a node runs.
    said("partitioned", faults.partitioned, !faults.partitioned)?;
    Ok(vec![
        "\n[node.faults]".to_owned(),
        probability("loss", faults.loss)?,
        probability("duplicate", faults.duplicate)?,
        probability("reorder", faults.reorder)?,
        duration("delay", faults.delay_ns)?,
        duration("jitter", faults.jitter_ns)?,
    ])
}

/// A key with a text in quotes; what needs one gets an escape.
fn named(key: &str, text: &str) -> String {
    format!("{key} = {}", toml::Value::from(text))
}

fn size(key: &'static str, value: u64) -> Line {
    let text = value.to_string();
    said(key, &text, quantity::size(&text) == Ok(value))?;
    Ok(format!("{key} = {text}"))
}

fn duration(key: &'static str, value: Nanos) -> Line {
    let text = format!("{value}ns");
    said(key, &text, quantity::duration(&text) == Ok(value))?;
    Ok(named(key, &text))
}

fn probability(key: &'static str, value: f64) -> Line {
    let text = value.to_string();
    said(key, &text, quantity::probability(&text) == Ok(value))?;
    Ok(named(key, &text))
}

fn address(key: &'static str, value: SocketAddr) -> Line {
    let text = value.to_string();
    // Its flow is not in the text of an address.
    said(key, &text, text.parse() == Ok(value))?;
    Ok(named(key, &text))
}

fn path(key: &'static str, value: &Path) -> Line {
    let text = value.to_str();
    said(key, value.display(), text.is_some())?;
    Ok(named(key, text.unwrap_or_default()))
}

/// Whether a file can say `value`, which it says by `key`.
fn said(key: &'static str, value: impl Display, is_read_back: bool) -> Result<(), ConfigError> {
    if is_read_back {
        return Ok(());
    }
    Err(ConfigError {
        key,
        problem: format!("no file is read back as {value}"),
        remedy: "use a value that a file can say, or start the node from its own program",
    })
}

#[cfg(test)]
mod tests;
