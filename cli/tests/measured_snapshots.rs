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
    assert!(result["trims"].is_i64());
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
    assert!(member["disk_bytes_max"].as_i64() >= Some(64 << 20));
    assert!(member["memory"].is_null(), "it shares the client's process");
}

#[test]
fn processes_have_as_much_state_as_is_asked_for_and_show_their_memory_around_snapshots() {
    let options = ["--processes", "--window", "8", "--state-size", "8m"];
    let interval = ["--snapshot-interval", "512k", "--message-length", "64"];
    let (result, said) = measured(&[&options[..], &interval].concat());
    assert_eq!(result["sent"], result["received"]);
    let config = &result["config"];
    assert_eq!(config["service"], "bigstate");
    assert_eq!(config["state_bytes"], 8 << 20);
    // Room for its snapshots is put on top, which is said.
    assert_eq!(config["disk_budget_bytes"], (2_i64 << 30) + (24 << 20));
    assert!(said.contains("24 MiB for the 3 snapshots"), "{said}");
    let members = result["environment"]["members"].as_array().unwrap();
    let written = members.iter().filter(|member| !member["memory"].is_null());
    let mut count = 0;
    for member in written {
        count += 1;
        let memory = &member["memory"];
        for bytes in ["before_bytes", "writing_max_bytes"] {
            assert!(memory[bytes].as_i64() > Some(8 << 20), "{memory}");
        }
        assert!(memory["growth_percent"].is_f64(), "{memory}");
        assert!(member["disk_bytes_max"].as_i64() > Some(8 << 20));
    }
    assert!(count >= 1, "{members:?}");
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
