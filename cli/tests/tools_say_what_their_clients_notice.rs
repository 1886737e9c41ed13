//! What the client of a tool refuses is said on the tool's standard error, at most once a minute:
//! `bench` in one process and in several, `bench failover` and `orders`. Strangers send datagrams
//! to whatever sockets the tool has.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, sockets and the clock"
)]

mod lines;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lines::Lines;

/// One cluster at a time: several at once starve each other on few cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A tool ends within this time, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ports of the UDP sockets that a process has, on whatever address.
fn udp_ports(process: u32) -> Vec<u16> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return Vec::new();
    };
    let links = entries
        .flatten()
        .filter_map(|entry| entry.path().read_link().ok());
    let inodes: Vec<String> = links
        .filter_map(|link| {
            let name = link.to_str()?.strip_prefix("socket:[")?;
            Some(name.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_its = inodes
            .iter()
            .any(|inode| Some(&inode.as_str()) == fields.get(9));
        let (_, port) = fields.get(1).filter(|_| is_its)?.split_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().skip(1).filter_map(port).collect()
}

fn has_ended(tool: &mut Child) -> bool {
    tool.try_wait().expect("a child can be asked").is_some()
}

/// Runs the tool to its end while a stranger sends to it. Returns what it said of that.
fn lines_about_a_stranger(arguments: &[&str]) -> Vec<String> {
    // Of a test that failed nothing is left to protect others from.
    let _alone = ONE_AT_A_TIME.lock();
    let place = tempfile::tempdir().expect("a directory can be made");
    let order = |number| format!("{number},add,{number},buy,10,1,0\n");
    let orders: String = (1..=2_000).map(order).collect();
    std::fs::write(place.path().join("orders.csv"), orders).expect("the file can be written");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .current_dir(place.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool can be started");
    let lines = Lines::of(&mut tool);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = stranger.local_addr().expect("it is bound");
    let until = Instant::now() + PATIENCE;
    while !has_ended(&mut tool) {
        assert!(Instant::now() < until, "{arguments:?} does not end");
        for port in udp_ports(tool.id()) {
            // A socket that has been closed just now refuses it.
            let _ = stranger.send_to(b"stranger", ("127.0.0.1", port));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let words = "lockstep: client: a datagram came from an address that is no member's";
    let start = format!("{words} ({address}); ");
    lines
        .rest()
        .into_iter()
        .filter(|line| line.starts_with(&start))
        .collect()
}

fn expect_one_line(arguments: &[&str]) {
    let lines = lines_about_a_stranger(arguments);
    assert_eq!(lines.len(), 1, "{arguments:?}: {lines:?}");
    let remedy = "give the client all members' addresses";
    assert!(lines[0].contains(remedy), "{lines:?}");
}

const BENCH: [&str; 7] = [
    "bench",
    "cluster",
    "--warmup",
    "0",
    "--no-floor",
    "--seconds",
    "2",
];

#[test]
fn bench_in_one_process_says_what_its_client_notices() {
    expect_one_line(&BENCH);
}

#[test]
fn bench_with_processes_says_what_its_client_notices() {
    expect_one_line(&[&BENCH[..], &["--processes"]].concat());
}

#[test]
fn failover_says_what_its_client_notices() {
    expect_one_line(&["bench", "failover", "--kills", "1"]);
}

#[test]
fn orders_says_what_its_client_notices() {
    expect_one_line(&["orders", "--file", "orders.csv"]);
}
