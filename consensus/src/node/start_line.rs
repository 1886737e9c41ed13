//! What a node runs on, in one line for people: what was checked, what was granted, and what
//! costs where the host gives less than was asked for.

use std::path::{Path, PathBuf};

use lockstep_transport::media::NetworkChoice;

use crate::module::membership::Forfeit;
use crate::node::shared_file::SharedFileError;
use crate::settings::config::{ClusterConfig, NodeConfig, SyncMode};

/// What the host was found to grant.
#[derive(Debug)]
pub(crate) struct Granted<'a> {
    /// The network backend, and why.
    pub network: &'a NetworkChoice,
    /// Bytes of socket buffer asked for, each way.
    pub socket_asked: usize,
    /// Bytes of the smallest receive buffer granted.
    pub socket_receive: usize,
    /// Bytes of the smallest send buffer granted.
    pub socket_send: usize,
    /// The disk's sentence.
    pub disk: &'a str,
    /// Whether the host tells one of its runs from another.
    pub has_boot_id: bool,
    /// Why the log buffer is not in shared memory although it should be.
    pub log_memory: Option<SharedFileError>,
    /// Where another log buffer lies aside.
    pub log_kept: Option<PathBuf>,
    /// What was found and granted once everything was allocated.
    pub started: Started,
}

/// What is known once the node has started.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// Bytes of memory that are locked; `None`: refused.
    pub memory_locked: Option<u64>,
    /// Why this member's directory counts for nothing, where it gave up its voice.
    pub forfeit: Option<Forfeit>,
    /// Bytes of the log that were taken from the log buffer of the life before.
    pub taken: u64,
    /// From what it begins, in words.
    pub begun: String,
}

/// The line.
#[must_use]
pub(crate) fn start_line(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    granted: &Granted<'_>,
) -> String {
    let own = cluster.members[usize::from(node.member)];
    format!(
        "member {} of {} at {} (clients) and {} (members); network {}: {}; {}; {}; sync {}{}{}{}; \
         responses {}; memory {}{}{}",
        node.member,
        cluster.members.len(),
        own.ingress,
        own.member,
        granted.network.backend.name(),
        granted.network.reason,
        socket_words(granted),
        granted.disk,
        node.sync,
        sync_words(node.sync, granted),
        taken_words(granted.started.taken),
        kept_words(granted.log_kept.as_deref()),
        cluster.responses,
        memory_words(granted.started.memory_locked),
        granted.started.begun,
        standing_words(granted.started.forfeit),
    )
}

fn sync_words(sync: SyncMode, granted: &Granted<'_>) -> String {
    if sync == SyncMode::Data {
        return String::new();
    }
    let cost = "a host crash may lose acknowledged messages, and makes this member a learner";
    match (granted.has_boot_id, &granted.log_memory) {
        (false, _) => format!(
            ": {cost}; as this host shows no boot id (/proc/sys/kernel/random/boot_id), so does \
             every end of the process but by SIGTERM or SIGINT"
        ),
        (true, None) => format!(" (log buffer in shared memory): {cost}"),
        (true, Some(refusal)) => format!(
            " (in the page cache, which costs latency, for the log buffer is not in shared \
             memory: {refusal}): {cost}"
        ),
    }
}

fn taken_words(taken: u64) -> String {
    if taken == 0 {
        return String::new();
    }
    format!("; took {taken} bytes of log from the log buffer of the process before")
}

fn kept_words(kept: Option<&Path>) -> String {
    kept.map_or_else(String::new, |kept| {
        format!(
            "; {} is a log buffer that another state of this directory, or another directory in \
             this place, has left: it was kept aside, and a start in that state takes it; see \
             \"Running without syncs\" in docs/operating.md",
            kept.display()
        )
    })
}

fn standing_words(forfeit: Option<Forfeit>) -> String {
    forfeit.map_or_else(String::new, |forfeit| {
        format!(
            "; LEARNER, which neither votes nor counts, because {}",
            forfeit.reason()
        )
    })
}

fn socket_words(granted: &Granted<'_>) -> String {
    let asked = granted.socket_asked;
    let lacking: Vec<String> = [
        ("receive", granted.socket_receive, "rmem"),
        ("send", granted.socket_send, "wmem"),
    ]
    .into_iter()
    .filter(|(_, bytes, _)| *bytes < asked)
    .map(|(way, bytes, name)| {
        format!(
            "only {} KiB to {way} granted (`sysctl -w net.core.{name}_max={asked}` permits more)",
            bytes / 1024
        )
    })
    .collect();
    let words = format!("socket buffers {} KiB", asked / 1024);
    if lacking.is_empty() {
        return words;
    }
    format!(
        "{words}: {}; costs datagrams lost in bursts",
        lacking.join(", ")
    )
}

fn memory_words(locked: Option<u64>) -> String {
    match locked {
        Some(bytes) if bytes > 0 => {
            let mebibytes = bytes >> 20;
            format!("locked ({mebibytes} MiB; what sessions take later is not)")
        }
        Some(_) => "not locked: the kernel took the call and locked nothing".to_owned(),
        None => "not locked (RLIMIT_MEMLOCK, see `ulimit -l`): costs page faults when memory is \
                 short"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::media::Backend;

    use super::*;

    #[test]
    fn what_was_not_granted_is_said_with_its_remedy_and_nothing_else_is() {
        let network = NetworkChoice {
            backend: Backend::Syscall,
            reason: "as configured".to_owned(),
        };
        let mut granted = Granted {
            network: &network,
            socket_asked: 4 << 20,
            socket_receive: 4 << 20,
            socket_send: 4 << 20,
            disk: "disk: writer thread",
            has_boot_id: true,
            log_memory: None,
            log_kept: None,
            started: Started::default(),
        };
        let words = socket_words(&granted);
        assert_eq!(words, "socket buffers 4096 KiB");
        granted.socket_receive = 208 << 10;
        let words = socket_words(&granted);
        for part in [
            "only 208 KiB to receive",
            "net.core.rmem_max=4194304",
            "costs",
        ] {
            assert!(words.contains(part), "\"{part}\" is missing in: {words}");
        }
        assert!(!words.contains("to send"), "{words}");
        assert!(memory_words(Some(90 << 20)).starts_with("locked (90 MiB"));
        assert!(memory_words(Some(0)).starts_with("not locked"));
        assert!(memory_words(None).contains("ulimit -l"));
        let words = sync_words(SyncMode::None, &granted);
        assert!(words.contains("in shared memory") && !words.contains("boot id"));
        assert_eq!(sync_words(SyncMode::Data, &granted), "");
        granted.log_memory = Some(SharedFileError::Foreign {
            file: "x".to_owned(),
        });
        let words = sync_words(SyncMode::None, &granted);
        assert!(
            words.contains("page cache, which costs latency") && words.contains("another user")
        );
        granted.has_boot_id = false;
        assert!(sync_words(SyncMode::None, &granted).contains("shows no boot id"));
        assert!(taken_words(77).contains("took 77 bytes") && taken_words(0).is_empty());
        let words = kept_words(Some(Path::new("/dev/shm/x.kept")));
        assert!(words.starts_with("; /dev/shm/x.kept is") && words.contains("takes it; see"));
        assert_eq!((kept_words(None), standing_words(None)), Default::default());
        assert!(standing_words(Some(Forfeit::UnsyncedLog)).contains("ran with sync = none"));
    }
}
