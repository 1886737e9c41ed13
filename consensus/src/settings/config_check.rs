//! Checks a configuration: each value, what it has to do with the others, and what follows.

use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::module::member::MEMBERS_MAX;
use crate::settings::config::{ClusterConfig, ConfigError, LOG_MTU_MIN, NodeConfig};
use crate::settings::lengths::Lengths;

fn refuse(key: &'static str, problem: String, remedy: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError {
        key,
        problem,
        remedy,
    })
}

/// Most sessions: each costs a node some kilobytes of tables at start.
const SESSIONS_LIMIT: usize = 65_536;

/// Most bytes of an outbox: it is memory, taken at start.
const OUTBOX_BYTES_LIMIT: usize = 1 << 30;

/// Least log between two snapshots: the entries that ask for them and what members append by
/// themselves are not to bring about the next one.
const SNAPSHOT_INTERVAL_MIN: u64 = 4 * 1024;

/// Least bytes of a snapshot per second: one of a gigabyte has come within five hours, and the log
/// is not kept for longer.
const SNAPSHOT_RATE_MIN: u64 = 64 * 1024;

/// Longest session timeout: a client that has gone keeps its session's place for so long.
const SESSION_TIMEOUT_LIMIT_NS: Nanos = 24 * 3_600 * SECOND;

impl ClusterConfig {
    /// Checks every value and relation.
    ///
    /// # Errors
    /// The first violation found, with its key and remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_members()?;
        self.validate_log()?;
        self.validate_limits()
    }

    fn validate_members(&self) -> Result<(), ConfigError> {
        let members = self.members.len();
        if members == 0 || members > MEMBERS_MAX {
            let problem = format!("{members} members");
            return refuse("members", problem, "list between 1 and 7 members, best 3");
        }
        let addresses = || self.members.iter().flat_map(|m| [m.ingress, m.member]);
        for (index, address) in addresses().enumerate() {
            let ip = address.ip();
            if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
                let problem = format!("nobody can send to {address}");
                let remedy = "use the address and port at which the others reach this member";
                return refuse("members", problem, remedy);
            }
            if addresses().take(index).any(|earlier| earlier == address) {
                let problem = format!("{address} is listed twice");
                return refuse("members", problem, "give each endpoint a port of its own");
            }
        }
        let is_ipv4 = self.members[0].member.is_ipv4();
        if let Some(other) = addresses().find(|address| address.is_ipv4() != is_ipv4) {
            let problem = format!("{other} is of another address family than the first member's");
            return refuse("members", problem, "use IPv4 for all, or IPv6 for all");
        }
        Ok(())
    }

    fn validate_log(&self) -> Result<(), ConfigError> {
        if lockstep_transport::position::Geometry::new(0, self.term_length).is_none() {
            let problem = format!("{} bytes", self.term_length);
            return refuse(
                "term_length",
                problem,
                "use a power of two from 64 KiB to 1 GiB",
            );
        }
        if !self.segment_length.is_power_of_two() || self.segment_length < self.term_length {
            let problem = format!("{} bytes", self.segment_length);
            return refuse(
                "segment_length",
                problem,
                "use a power of two not below term_length",
            );
        }
        let is_in_range = (LOG_MTU_MIN..=DATAGRAM_LENGTH_MAX).contains(&self.log_mtu);
        if !is_in_range || !self.log_mtu.is_multiple_of(32) {
            let problem = format!("{} bytes", self.log_mtu);
            return refuse("log_mtu", problem, "use a multiple of 32 from 512 to 65504");
        }
        Lengths::of(self).map(|_| ())
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        if self.effect_bytes_per_cause < self.message_max {
            let problem = format!("{} bytes", self.effect_bytes_per_cause);
            return refuse(
                "effect_bytes_per_cause",
                problem,
                "use at least message_max",
            );
        }
        if self.outbox_bytes / 2 < Lengths::cause_bytes_max(self)
            || self.outbox_bytes > OUTBOX_BYTES_LIMIT
        {
            let problem = format!("{} bytes", self.outbox_bytes);
            return refuse(
                "outbox_bytes",
                problem,
                "use at least twice effect_bytes_per_cause and 128, and at most 1 GiB",
            );
        }
        if self.effects_per_cause == 0 {
            return refuse("effects_per_cause", "0".to_owned(), "use at least 1");
        }
        if self.sessions_max == 0 || self.sessions_max > SESSIONS_LIMIT {
            let problem = format!("{}", self.sessions_max);
            return refuse("sessions_max", problem, "use between 1 and 65536");
        }
        if self.session_timeout_ns < MILLISECOND
            || self.session_timeout_ns > SESSION_TIMEOUT_LIMIT_NS
        {
            let problem = format!("{} ns", self.session_timeout_ns);
            let remedy = "use between 1 ms and a day, best several seconds";
            return refuse("session_timeout", problem, remedy);
        }
        Ok(())
    }
}

impl NodeConfig {
    /// Checks every value against itself and the cluster's.
    ///
    /// # Errors
    /// The first violation found, with its key and remedy.
    pub fn validate(&self, cluster: &ClusterConfig) -> Result<(), ConfigError> {
        cluster.validate()?;
        let Some(own) = cluster.members.get(usize::from(self.member)) else {
            let problem = format!("{} of {} members", self.member, cluster.members.len());
            let remedy = "use the index of this node in members, which begins at 0";
            return refuse("member", problem, remedy);
        };
        if self.directory.as_os_str().is_empty() {
            let problem = "no path".to_owned();
            return refuse("directory", problem, "name a directory for this node alone");
        }
        let remote = !own.ingress.ip().is_loopback() || !own.member.ip().is_loopback();
        if remote && !self.insecure {
            let problem = format!("{} or {} is not loopback", own.ingress, own.member);
            let remedy =
                "the transport is not authenticated yet: set insecure = true to accept that";
            return refuse("members", problem, remedy);
        }
        if self.heartbeat_interval_ns <= 0
            || self.election_timeout_ns / 3 < self.heartbeat_interval_ns
        {
            let problem = format!(
                "{} ns with heartbeats every {} ns",
                self.election_timeout_ns, self.heartbeat_interval_ns
            );
            return refuse(
                "election_timeout",
                problem,
                "use at least three heartbeat intervals",
            );
        }
        if self.trace_every != 0 && !self.trace_every.is_power_of_two() {
            let problem = format!("{}", self.trace_every);
            return refuse("trace_every", problem, "use 0 or a power of two");
        }
        if (1..SNAPSHOT_INTERVAL_MIN).contains(&self.snapshot_interval_bytes) {
            let problem = format!("{} bytes", self.snapshot_interval_bytes);
            let remedy = "use 0 for never, or at least 4 KiB, best 256 MiB";
            return refuse("snapshot_interval", problem, remedy);
        }
        if self.egress_retention_bytes < cluster.term_length as u64 {
            let problem = format!("{} bytes", self.egress_retention_bytes);
            let remedy = "use at least term_length, best a quarter of disk_budget";
            return refuse("egress_retention", problem, remedy);
        }
        if self.snapshot_rate_bytes < SNAPSHOT_RATE_MIN {
            let problem = format!("{} bytes per second", self.snapshot_rate_bytes);
            return refuse("snapshot_rate", problem, "use at least 64 KiB, best 4 MiB");
        }
        if self.disk_budget_bytes / 2 < cluster.segment_length as u64 {
            let problem = format!(
                "{} bytes hold less than two segments of {} bytes",
                self.disk_budget_bytes, cluster.segment_length
            );
            return refuse(
                "disk_budget",
                problem,
                "raise disk_budget or lower segment_length",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::settings::config::MemberEndpoints;

    fn endpoints(ingress: &str, member: &str) -> MemberEndpoints {
        MemberEndpoints {
            ingress: ingress.parse().unwrap(),
            member: member.parse().unwrap(),
        }
    }

    fn cluster() -> ClusterConfig {
        ClusterConfig {
            members: vec![endpoints("127.0.0.1:9001", "127.0.0.1:9002")],
            ..ClusterConfig::default()
        }
    }

    fn refused_key(change: impl FnOnce(&mut ClusterConfig)) -> &'static str {
        let mut cluster = cluster();
        change(&mut cluster);
        cluster.validate().unwrap_err().key
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(cluster().validate(), Ok(()));
    }

    #[test]
    fn endpoints_that_nobody_can_reach_or_two_share_are_refused() {
        for (ingress, member) in [
            ("127.0.0.1:9001", "127.0.0.1:9001"),
            ("127.0.0.1:0", "127.0.0.1:9001"),
            ("0.0.0.0:9001", "127.0.0.1:9001"),
            ("127.0.0.1:9001", "224.0.1.1:9001"),
            ("127.0.0.1:9001", "[::1]:9002"),
        ] {
            let key = refused_key(|cluster| cluster.members.push(endpoints(ingress, member)));
            assert_eq!(key, "members", "{ingress} {member}");
        }
    }

    #[test]
    fn an_interval_of_snapshots_that_an_idle_cluster_fills_is_refused() {
        let node = |bytes| NodeConfig {
            directory: PathBuf::from("data"),
            snapshot_interval_bytes: bytes,
            ..NodeConfig::default()
        };
        for good in [0, SNAPSHOT_INTERVAL_MIN] {
            assert_eq!(node(good).validate(&cluster()), Ok(()));
        }
        for bad in [1, SNAPSHOT_INTERVAL_MIN - 1] {
            let error = node(bad).validate(&cluster()).unwrap_err();
            assert_eq!(error.key, "snapshot_interval");
        }
    }

    #[test]
    fn a_retention_that_gives_clients_no_time_is_refused() {
        let node = |bytes| NodeConfig {
            directory: PathBuf::from("data"),
            egress_retention_bytes: bytes,
            ..NodeConfig::default()
        };
        let least = cluster().term_length as u64;
        assert_eq!(node(least).validate(&cluster()), Ok(()));
        for bad in [0, least - 1] {
            let error = node(bad).validate(&cluster()).unwrap_err();
            assert_eq!(error.key, "egress_retention");
        }
    }

    #[test]
    fn a_rate_at_which_no_snapshot_ever_comes_is_refused() {
        let node = |bytes| NodeConfig {
            directory: PathBuf::from("data"),
            snapshot_rate_bytes: bytes,
            ..NodeConfig::default()
        };
        for good in [SNAPSHOT_RATE_MIN, u64::MAX] {
            assert_eq!(node(good).validate(&cluster()), Ok(()));
        }
        for bad in [0, SNAPSHOT_RATE_MIN - 1] {
            let error = node(bad).validate(&cluster()).unwrap_err();
            assert_eq!(error.key, "snapshot_rate");
        }
    }

    #[test]
    fn the_greatest_numbers_are_refused_by_name_and_never_overflow() {
        let key = refused_key(|cluster| cluster.segment_length = usize::MAX);
        assert_eq!(key, "segment_length");
        let key = refused_key(|cluster| cluster.effect_bytes_per_cause = usize::MAX);
        assert_eq!(key, "outbox_bytes");
        let key = refused_key(|cluster| cluster.outbox_bytes = usize::MAX);
        assert_eq!(key, "outbox_bytes");
        let key = refused_key(|cluster| cluster.sessions_max = usize::MAX);
        assert_eq!(key, "sessions_max");
        let key = refused_key(|cluster| cluster.session_timeout_ns = Nanos::MAX);
        assert_eq!(key, "session_timeout");
        let node = NodeConfig {
            directory: PathBuf::from("data"),
            heartbeat_interval_ns: Nanos::MAX,
            ..NodeConfig::default()
        };
        let error = node.validate(&cluster()).unwrap_err();
        assert_eq!(error.key, "election_timeout");
    }
}
