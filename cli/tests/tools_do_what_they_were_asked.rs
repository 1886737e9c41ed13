//! A tool fails when it did not do what it was asked: less than asked is exit code 1 and says
//! both, and what could not be done at all is refused with 2 before anything is started.

mod binary;

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Mutex;

use binary::{command, words};

/// A device that refuses every byte.
const FULL: &str = "/dev/full";

/// One cluster at a time: several at once starve each other on few cores, and one that loses its
/// leader fails for another reason than the one asked about.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs the binary in a directory of its own, which must be empty at the end.
fn lockstep(arguments: &[&str]) -> Output {
    // Of a test that failed nothing is left to protect others from.
    let _alone = ONE_AT_A_TIME.lock();
    let place = tempfile::tempdir().expect("a directory can be made");
    let output = binary::lockstep(place.path(), arguments);
    let left = std::fs::read_dir(place.path()).expect("the directory can be read");
    assert_eq!(left.count(), 0, "files left behind by {arguments:?}");
    output
}

fn expect(output: &Output, code: i32, parts: &[&str]) {
    let said = words(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is missing in: {said}");
    }
}

/// The arguments are refused, at once and with all of `parts`.
fn expect_refusal(arguments: &[&str], parts: &[&str]) {
    expect(&lockstep(arguments), 2, parts);
}

/// A short run of a cluster without floor.
fn bench(options: &[&str]) -> Output {
    let common = ["bench", "cluster", "--warmup", "0", "--no-floor"];
    lockstep(&[&common, options].concat())
}

const RELAXED: [&str; 4] = ["--sync", "none", "--responses", "direct"];

#[test]
fn a_rate_that_cannot_be_met_fails_and_every_request_that_was_due_counts() {
    let rate = ["--rate", "1000k", "--seconds", "500ms", "--json", "-"];
    let output = bench(&[&RELAXED[..], &rate].concat());
    expect(
        &output,
        1,
        &["asked for 1000000 requests/s, achieved", "never sent"],
    );
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["latency_ns"]["count"], 500_000);
    assert_eq!(result["sent"], result["received"]);
    assert!(result["sent"].as_u64().unwrap() < 500_000);
    // What was due in the first half and never sent had waited for a quarter of a second.
    assert!(result["latency_ns"]["p50"].as_u64().unwrap() > 100_000_000);
    assert!(result["throughput_per_s"].as_f64().unwrap() < 1e6);
}

#[test]
fn a_rate_that_is_met_succeeds() {
    let rate = ["--rate", "500", "--seconds", "1s"];
    expect(&bench(&[&RELAXED[..], &rate].concat()), 0, &["sent 500"]);
}

#[test]
fn a_run_that_its_disk_budget_cuts_short_fails() {
    let options = [
        "--seconds",
        "3600",
        "--message-length",
        "4k",
        "--window",
        "16",
        "--disk-budget",
        "192m",
        "--snapshot-interval",
        "0",
    ];
    let output = bench(&[&RELAXED[..], &options].concat());
    expect(
        &output,
        1,
        &["asked for 3600.0 s, measured", "raise --disk-budget"],
    );
}

#[test]
fn results_that_cannot_be_written_fail_the_run() {
    let json = ["--messages", "50", "--json", FULL];
    expect(
        &bench(&[&RELAXED[..], &json].concat()),
        1,
        &["failed to write /dev/full"],
    );
    let place = tempfile::tempdir().unwrap();
    orders_file(place.path(), 50);
    let arguments = ["orders", "--file", "orders.csv", "--fills", FULL];
    let output = command(place.path(), &arguments).output().unwrap();
    expect(&output, 1, &["failed to write /dev/full"]);
}

#[test]
fn a_report_that_nobody_can_read_fails_the_run() {
    for arguments in [
        &["version"][..],
        &["sim", "--seeds", "1", "--tank", "core"],
        &["bench", "floor", "--messages", "10", "--sync", "none"],
    ] {
        let place = tempfile::tempdir().unwrap();
        let full = std::fs::OpenOptions::new().write(true).open(FULL).unwrap();
        let mut command = command(place.path(), arguments);
        let output = command.stdout(Stdio::from(full)).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
    }
}

#[test]
fn no_time_and_no_number_of_things_is_refused() {
    expect_refusal(&["bench", "--seconds", "0"], &["no time at all"]);
    expect_refusal(&["bench", "--messages", "0"], &["--messages"]);
    expect_refusal(&["bench", "--rate", "0"], &["a rate must be above 0"]);
    expect_refusal(&["bench", "--window", "0"], &["at least 1"]);
    expect_refusal(&["bench", "floor", "--messages", "0"], &["--messages"]);
    expect_refusal(&["bench", "failover", "--kills", "0"], &["--kills"]);
    expect_refusal(&["sim", "--seeds", "0"], &["--seeds"]);
}

#[test]
fn more_in_flight_than_a_client_can_have_is_refused() {
    let parts = ["--window: 5000", "1 to 4096"];
    expect_refusal(&["bench", "--window", "5000"], &parts);
    expect_refusal(&["bench", "failover", "--window", "5000"], &parts);
    expect_refusal(&["orders", "--file", "x", "--window", "5000"], &parts);
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    expect_refusal(
        &["bench", "--service", "orderbook", "--message-length", "1k"],
        &["--message-length: orders have a length of their own"],
    );
    expect_refusal(
        &["bench", "--nodes", "1", "--link-loss", "1%"],
        &["--link-loss: one member has no links"],
    );
    expect_refusal(
        &["bench", "--nodes", "1", "--follower-disk-delay", "1ms"],
        &["one member has no followers"],
    );
    expect_refusal(
        &["bench", "--sync", "none", "--leader-disk-delay", "1ms"],
        &["nobody waits for the disk"],
    );
}

#[test]
fn seeds_that_do_not_exist_and_faults_that_are_not_found_fail() {
    let last = u64::MAX.to_string();
    expect_refusal(
        &["sim", "--seeds", "100", "--from", &last],
        &["there are no 100 seeds from 18446744073709551615 on"],
    );
    expect_refusal(&["sim", "--planted", "gremlins"], &["no such fault"]);
    let nowhere = [
        "sim",
        "--tank",
        "core",
        "--seeds",
        "1",
        "--planted",
        "append-before-own-first-entry-applied",
    ];
    expect(&lockstep(&nowhere), 1, &["not found within 1 seeds"]);
}

/// Orders that all rest, `count` of them.
fn orders_file(directory: &Path, count: u64) {
    let order = |number| format!("{number},add,{number},buy,10,1,0\n");
    let text: String = (1..=count).map(order).collect();
    std::fs::write(directory.join("orders.csv"), text).expect("the file can be written");
}

#[test]
fn a_first_line_that_is_no_header_is_not_skipped() {
    let place = tempfile::tempdir().unwrap();
    let lines = "seq1,add,1,buy,10,1,0\n2,add,2,sell,10,1,0\n";
    std::fs::write(place.path().join("orders.csv"), lines).unwrap();
    let arguments = ["orders", "--file", "orders.csv"];
    let output = command(place.path(), &arguments).output().unwrap();
    expect(&output, 2, &["orders.csv: line 1, column 1: seq"]);
}

#[test]
fn a_leader_that_was_to_be_killed_is_killed_or_the_run_fails() {
    let place = tempfile::tempdir().unwrap();
    orders_file(place.path(), 100);
    let arguments = ["orders", "--file", "orders.csv", "--kill-leader-at", "99"];
    let output = command(place.path(), &arguments).output().unwrap();
    match output.status.code() {
        Some(0) => expect(&output, 0, &["leader killed; first response"]),
        _ => expect(&output, 1, &["the leader was to be killed at 99 answers"]),
    }
}

#[test]
fn a_node_whose_cluster_cannot_carry_its_service_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let text = r#"[cluster]
name = "alpha"
effects_per_cause = 16
members = [{ ingress = "127.0.0.1:9001", member = "127.0.0.1:9002" }]

[node]
member = 0
directory = "data"
service = "orderbook"
"#;
    std::fs::write(place.path().join("node.toml"), text).unwrap();
    let output = command(place.path(), &["node", "--config", "node.toml"]).output();
    expect(
        &output.unwrap(),
        2,
        &[
            "effects_per_cause: 16, and the service orderbook needs",
            "raise it",
        ],
    );
    assert!(!place.path().join("data").exists());
}
