//! Whatever is written is read back the same, or refused by its key.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lockstep_transport::agent::IdleStrategy;
use proptest::prelude::*;

use super::*;
use crate::settings::config::{IoChoice, MemberEndpoints, ResponsesMode, SyncMode};
use crate::settings::node_file::OwnService;
use crate::settings::threading::{ThreadSetting, ThreadSettings, Threading};

type File = NodeFile<OwnService>;

fn read(text: &str) -> File {
    File::parse(Path::new("node.toml"), text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn file() -> File {
    let endpoints = MemberEndpoints {
        ingress: SocketAddr::from(([127, 0, 0, 1], 7001)),
        member: SocketAddr::from(([127, 0, 0, 1], 7002)),
    };
    NodeFile {
        cluster: ClusterConfig {
            members: vec![endpoints],
            ..ClusterConfig::default()
        },
        node: NodeConfig {
            directory: PathBuf::from("data"),
            ..NodeConfig::default()
        },
        service: OwnService,
    }
}

/// Of bytes: most are no text.
fn paths() -> impl Strategy<Value = PathBuf> {
    let of_text = any::<String>().prop_map(PathBuf::from);
    let bytes = prop::collection::vec(any::<u8>(), 1..8);
    prop_oneof![
        4 => of_text,
        1 => bytes.prop_map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes))),
    ]
}

/// As often small as of any size, and below zero now and then.
fn times() -> impl Strategy<Value = Nanos> {
    prop_oneof![8 => 0_i64..1 << 40, 1 => any::<i64>()]
}

fn chances() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0, 1 => any::<f64>()]
}

fn faults() -> impl Strategy<Value = Faults> {
    let chances = (chances(), chances(), chances());
    let times = (times(), times());
    (chances, times, prop::bool::weighted(0.1)).prop_map(
        |((loss, duplicate, reorder), (delay_ns, jitter_ns), partitioned)| Faults {
            loss,
            duplicate,
            reorder,
            delay_ns,
            jitter_ns,
            partitioned,
        },
    )
}

fn members() -> impl Strategy<Value = Vec<MemberEndpoints>> {
    let addresses = (any::<[u8; 16]>(), any::<bool>(), any::<u32>(), 0..8_u32);
    addresses.prop_map(|(ip, is_ipv4, scope, flow)| {
        let address = |port: u16| {
            if is_ipv4 {
                let ip = IpAddr::from([ip[0], ip[1], ip[2], ip[3]]);
                return SocketAddr::new(ip, port);
            }
            let flow = if flow == 7 { flow } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(ip.into(), port, flow, scope))
        };
        let of = |id: u16| MemberEndpoints {
            ingress: address(7000 + 2 * id),
            member: address(7001 + 2 * id),
        };
        (0..3).map(of).collect()
    })
}

fn clusters() -> impl Strategy<Value = ClusterConfig> {
    let lengths = (16..31_u32, 0..33_u32);
    let limits = (
        any::<u32>(),
        1..65_536_usize,
        1_000_000..86_400_000_000_000_i64,
    );
    (any::<String>(), members(), lengths, limits, any::<bool>()).prop_map(
        |(name, members, lengths, limits, is_direct)| ClusterConfig {
            name,
            members,
            term_length: 1 << lengths.0,
            segment_length: 1 << (lengths.0 + lengths.1),
            message_max: 1024,
            log_mtu: 1024,
            effects_per_cause: limits.0,
            sessions_max: limits.1,
            session_timeout_ns: limits.2,
            responses: if is_direct {
                ResponsesMode::Direct
            } else {
                ResponsesMode::Replicated
            },
            ..ClusterConfig::default()
        },
    )
}

fn nodes() -> impl Strategy<Value = NodeConfig> {
    let places = (paths(), paths());
    let times = (times(), times(), times(), times());
    let sizes = (any::<u64>(), any::<usize>(), 0..64_u32);
    let bytes = prop_oneof![4 => 31..48_u32, 1 => 48..64_u32];
    (places, times, sizes, bytes, faults(), any::<u64>(), 0..3_u8).prop_map(
        |(places, times, sizes, bytes, faults, seed, member)| NodeConfig {
            member,
            directory: places.0,
            shared_memory: places.1,
            sync: SyncMode::None,
            io: IoChoice::Uring,
            heartbeat_interval_ns: times.0,
            election_timeout_ns: times.0.saturating_mul(3).saturating_add(times.1),
            disk_delay_ns: times.2,
            service_time_ns: times.3,
            service_pause_ns: times.0,
            disk_budget_bytes: (1 << bytes) + sizes.0 % (1 << bytes),
            snapshot_interval_bytes: sizes.0 >> sizes.2,
            egress_retention_bytes: sizes.0 >> sizes.2,
            snapshot_rate_bytes: sizes.0 >> (sizes.2 / 2),
            snapshot_on_stop_ns: times.1,
            start_scan_bytes: sizes.0,
            socket_buffer_bytes: sizes.1 >> sizes.2,
            trace_every: 1 << sizes.2,
            faults,
            threading: threading(seed),
            threads: ThreadSettings {
                node: ThreadSetting {
                    core: (seed % 5 == 0).then_some(sizes.1),
                    idle: IdleStrategy::Park,
                },
                service: ThreadSetting {
                    core: (seed % 3 == 0).then_some(sizes.1),
                    idle: IdleStrategy::Backoff,
                },
                ..ThreadSettings::waiting(IdleStrategy::Adaptive)
            },
            seed,
            insecure: true,
        },
    )
}

fn threading(seed: u64) -> Threading {
    let text = match seed % 4 {
        0 => "shared",
        1 => "split",
        2 => "dedicated",
        _ => "consensus+archive, clients+service",
    };
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_or_refused_by_its_key(
        cluster in clusters(),
        node in nodes(),
    ) {
        let file = NodeFile { cluster, node, service: OwnService };
        match file.text() {
            Ok(text) => prop_assert_eq!(read(&text), file),
            Err(error) => prop_assert!(KEYS.contains(&error.key), "{}", error),
        }
    }
}

/// What [`nodes`] and [`clusters`] draw so widely that it may be refused.
const KEYS: [&str; 27] = [
    "members",
    "ingress",
    "member",
    "segment_length",
    "effects_per_cause",
    "effect_bytes_per_cause",
    "outbox_bytes",
    "directory",
    "shared_memory",
    "socket_buffer",
    "election_timeout",
    "heartbeat_interval",
    "disk_delay",
    "service_time",
    "service_pause",
    "disk_budget",
    "snapshot_interval",
    "egress_retention",
    "snapshot_rate",
    "snapshot_on_stop",
    "start_scan",
    "loss",
    "duplicate",
    "reorder",
    "partitioned",
    "delay",
    "jitter",
];

#[test]
fn a_seed_keeps_its_64_bits_and_a_text_its_odd_characters() {
    let mut file = file();
    file.node.seed = u64::MAX;
    file.cluster.name = "tab\t, bell\u{7}, \"quote\", \\, \u{200b} and\na line".to_owned();
    file.node.directory = PathBuf::from("a\u{301}\u{1b}[m 'b' \"\"\"");
    let text = file.text().expect("a file can say this");
    assert_eq!(read(&text), file);
}

#[test]
fn a_value_that_no_file_can_say_is_refused_by_its_key() {
    let refused = |change: fn(&mut File)| {
        let mut file = file();
        assert!(file.text().is_ok());
        change(&mut file);
        let refused = file.text().expect_err("no file can say this");
        assert!(refused.problem.contains("read back"), "{refused}");
        refused.key
    };
    let no_text = || PathBuf::from(OsStr::from_bytes(b"a\xff"));
    assert_eq!(
        refused(|file| file.node.faults.partitioned = true),
        "partitioned"
    );
    assert_eq!(refused(|file| file.node.faults.loss = f64::NAN), "loss");
    assert_eq!(refused(|file| file.node.faults.delay_ns = -1), "delay");
    assert_eq!(
        refused(|file| file.node.disk_delay_ns = (1 << 53) + 1),
        "disk_delay"
    );
    assert_eq!(
        refused(|file| file.node.disk_budget_bytes = u64::MAX),
        "disk_budget"
    );
    let mut file = file();
    file.node.directory = no_text();
    assert_eq!(file.text().map_err(|error| error.key), Err("directory"));
}
