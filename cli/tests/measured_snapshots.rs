//! What a measured run says of its snapshots.

mod binary;
mod lines;
mod place;

use std::process::Command;

use place::{LOCKSTEP, expect_refusal, outcome, words};
use serde_json::Value;

/// A thousand requests per second at most: what is measured takes seconds, however fast the host.
const LOAD: [&str; 11] = [
    "bench",
    "cluster",
    "--messages",
    "3000",
    "--warmup",
    "50ms",
    "--service-pause",
    "1ms",
    "--no-floor",
    "--trace-every",
    "0",
];

/// Bytes of a segment of the log.
const SEGMENT: i64 = 64 << 20;

/// What such a run reports as JSON, and what it says on its standard error.
fn measured(options: &[&str]) -> (Value, String) {
    let place = tempfile::tempdir().expect("a directory can be made");
    let mut command = Command::new(LOCKSTEP);
    command.current_dir(place.path()).args(LOAD).args(options);
    let output = outcome(command.args(["--json", "-"]));
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = serde_json::from_slice(&output.stdout).expect("the result is JSON");
    (result, said)
}

#[test]
fn a_run_counts_its_snapshots_and_compares_the_seconds_in_which_they_were_written() {
    let (result, _) = measured(&["--nodes", "1", "--snapshot-interval", "1m"]);
    assert_eq!(result["sent"], result["received"]);
    assert_eq!(result["config"]["snapshot_interval_bytes"], 1 << 20);
    assert!(result["snapshots"].as_i64() >= Some(1), "{result}");
    assert!(result["snapshot_pause_ns"].as_i64() > Some(0), "{result}");
    // All of the log lies in its first segment, of which nothing can go.
    assert_eq!(result["trims"], 0);
    let figures = &result["snapshot_figures"];
    for count in [
        "snapshot_seconds",
        "other_seconds",
        "snapshot_tenths",
        "other_tenths",
    ] {
        assert!(figures[count].as_i64() >= Some(1), "{count}: {figures}");
    }
    let latency = |kind: &str| figures[kind].as_f64().unwrap();
    let expected = latency("p99_snapshot_seconds_ns") / latency("p99_other_seconds_ns");
    assert!(
        (latency("ratio_p99_seconds") - expected).abs() < 1e-9,
        "{figures}"
    );
    // Each waits for the service; what allocates on a host that stalls is no message.
    assert!(latency("p50_other_seconds_ns") >= 1e6, "{figures}");
    assert!(
        figures["allocations_otherwise"].as_i64() < Some(300),
        "{figures}"
    );
    let member = &result["environment"]["members"][0];
    assert_eq!(member["snapshots"], result["snapshots"]);
    assert_eq!(member["snapshots_written"], result["snapshots"]);
    assert_eq!(member["snapshots_fetched"], 0);
    // The segment that is written and the next one.
    assert!(member["disk_bytes_max"].as_i64() >= Some(2 * SEGMENT));
    assert!(member["memory"].is_null(), "it shares the client's process");
}

/// Memory that a member with so much state has before its first snapshot, in a run that shows it.
fn memory_with_state(mib: i64) -> i64 {
    let size = format!("{mib}m");
    let options = ["--processes", "--window", "8", "--state-size", &size];
    let interval = ["--snapshot-interval", "512k", "--message-length", "64"];
    let (result, said) = measured(&[&options[..], &interval].concat());
    assert_eq!(result["sent"], result["received"]);
    let config = &result["config"];
    assert_eq!(config["service"], "bigstate");
    assert_eq!(config["state_bytes"], mib << 20);
    // Room for its snapshots is put on top, which is said.
    let room = 3 * mib;
    assert_eq!(config["disk_budget_bytes"], (2_i64 << 30) + (room << 20));
    assert!(
        said.contains(&format!("{room} MiB for the 3 snapshots")),
        "{said}"
    );
    let members = result["environment"]["members"]
        .as_array()
        .expect("members");
    let with_memory = members.iter().filter(|member| !member["memory"].is_null());
    let mut before = Vec::new();
    for member in with_memory {
        let memory = &member["memory"];
        let bytes = |key: &str| memory[key].as_i64().expect("a number");
        before.push(bytes("before_bytes"));
        assert!(
            bytes("writing_max_bytes") >= bytes("before_bytes"),
            "{memory}"
        );
        // A second copy of the state would be more.
        let grown = memory["growth_percent"].as_f64().expect("a number") / 100.0;
        let grown_mib = grown * bytes("before_bytes") as f64 / f64::from(1 << 20);
        assert!(grown_mib < mib as f64 / 2.0, "{memory}");
        // Two segments, and a snapshot beside them, once it is whole.
        let least = if member["snapshots"].as_i64() >= Some(1) {
            mib << 20
        } else {
            0
        };
        assert!(member["disk_bytes_max"].as_i64() >= Some(2 * SEGMENT + least));
    }
    // Both that follow take one.
    assert!(before.len() >= 2, "{members:?}");
    before.into_iter().min().unwrap_or(0)
}

#[test]
fn processes_have_as_much_state_as_is_asked_for_and_show_their_memory_around_snapshots() {
    let more = memory_with_state(40) - memory_with_state(8);
    let expected = 32 << 20;
    assert!(more.abs_diff(expected) < 8 << 20, "{more} bytes more");
}

#[test]
fn a_state_that_the_service_or_its_messages_cannot_have_is_refused() {
    let place = place::Place::new();
    let refused = |options: &[&str], part: &str| {
        let output = place.lockstep(&[&LOAD[..], options].concat());
        expect_refusal(&output, 2, &[part]);
    };
    refused(
        &["--state-size", "1m", "--service", "orderbook"],
        "--state-size: the service orderbook has a state of its own",
    );
    refused(
        &["--state-size", "1m", "--message-length", "7"],
        "--message-length: with a state of some size use 8 to 32768 bytes",
    );
    refused(
        &["--service", "bigstate:1m", "--message-length", "7"],
        "--message-length: with a state of some size use 8 to 32768 bytes",
    );
    refused(
        &["--service", "bigstate:1m", "--state-size", "1m"],
        "--state-size: the service bigstate:1048576 has a state of its own",
    );
    for service in ["bigstate", "bigstate:much", "big"] {
        refused(
            &["--service", service],
            "use one of `echo`, `orderbook`, `bigstate:<size>`",
        );
    }
}
