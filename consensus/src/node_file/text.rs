//! A configuration as `node.toml` says it.

use core::fmt;

use super::{NodeFile, ServiceKey};
use crate::config::{ClusterConfig, NodeConfig};

impl<S: ServiceKey> fmt::Display for NodeFile<S> {
    /// The text of a file that is read back as this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_cluster(f, &self.cluster)?;
        write_node(f, &self.node)?;
        if let Some(service) = self.service.key() {
            writeln!(f, "service = {service:?}")?;
        }
        writeln!(f, "idle = {:?}", self.idle.name())?;
        if let Some(core) = self.core {
            writeln!(f, "core = {core}")?;
        }
        write_faults(f, &self.node)
    }
}

fn write_cluster(f: &mut fmt::Formatter<'_>, cluster: &ClusterConfig) -> fmt::Result {
    writeln!(f, "[cluster]\nname = {:?}", cluster.name)?;
    writeln!(f, "responses = \"{}\"", cluster.responses)?;
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
        writeln!(f, "{key} = {value}")?;
    }
    let timeout = cluster.session_timeout_ns;
    writeln!(f, "session_timeout = \"{timeout}ns\"\nmembers = [")?;
    for member in &cluster.members {
        let (ingress, member) = (member.ingress, member.member);
        writeln!(f, "  {{ ingress = \"{ingress}\", member = \"{member}\" }},")?;
    }
    writeln!(f, "]\n")
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &NodeConfig) -> fmt::Result {
    writeln!(f, "[node]\nmember = {}", node.member)?;
    let directory = node.directory.display().to_string();
    writeln!(f, "directory = {directory:?}")?;
    let memory = node.shared_memory.display().to_string();
    writeln!(f, "shared_memory = {memory:?}")?;
    writeln!(f, "socket_buffer = {}", node.socket_buffer_bytes)?;
    writeln!(f, "sync = \"{}\"\nio = \"{}\"", node.sync, node.io)?;
    for (key, value) in [
        ("heartbeat_interval", node.heartbeat_interval_ns),
        ("election_timeout", node.election_timeout_ns),
        ("disk_delay", node.disk_delay_ns),
    ] {
        writeln!(f, "{key} = \"{value}ns\"")?;
    }
    writeln!(f, "disk_budget = {}", node.disk_budget_bytes)?;
    // TOML integers are signed: a seed keeps 63 bits.
    writeln!(f, "seed = {}", node.seed & (u64::MAX >> 1))?;
    writeln!(f, "insecure = {}", node.insecure)?;
    writeln!(f, "trace_every = {}", node.trace_every)
}

fn write_faults(f: &mut fmt::Formatter<'_>, node: &NodeConfig) -> fmt::Result {
    let faults = node.faults;
    writeln!(f, "\n[node.faults]")?;
    for (key, value) in [
        ("loss", faults.loss),
        ("duplicate", faults.duplicate),
        ("reorder", faults.reorder),
    ] {
        writeln!(f, "{key} = \"{value}\"")?;
    }
    writeln!(f, "delay = \"{}ns\"", faults.delay_ns)?;
    writeln!(f, "jitter = \"{}ns\"", faults.jitter_ns)
}
