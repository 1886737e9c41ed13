//! Nodes whose agents have threads of their own: the whole path works, and the threads are seen.

mod lines;
mod place;

use std::process::Command;

use lockstep_transport::media::host::cores_allowed;
use place::{LOCKSTEP, Place, Running, bench_cluster, outcome, words};

/// A run without the floor, which has no threads of agents.
fn bench(options: &[&str]) -> serde_json::Value {
    bench_cluster(&[options, &["--no-floor"]].concat())
}

fn expect_all_answered(options: &[&str]) {
    let result = bench(options);
    assert_eq!(result["sent"], result["received"], "{options:?}");
    assert_eq!(result["errors"], serde_json::json!([]), "{options:?}");
    let allocations = result["allocations_per_message"].as_f64();
    assert_eq!(allocations, Some(0.0), "{options:?}");
}

#[test]
fn a_cluster_whose_agents_have_threads_answers_every_request_without_an_allocation() {
    expect_all_answered(&["--threading", "dedicated"]);
    expect_all_answered(&["--threading", "dedicated", "--processes"]);
    expect_all_answered(&["--threading", "dedicated", "--io", "syscall"]);
    expect_all_answered(&["--threading", "dedicated", "--idle", "adaptive"]);
    let unsynced = ["--sync", "none", "--responses", "direct"];
    expect_all_answered(&[&["--threading", "dedicated", "--processes"], &unsynced[..]].concat());
}

#[test]
fn a_thread_beside_a_member_has_the_core_named_for_it_and_not_its_drivers() {
    let allowed = cores_allowed();
    let &[first, second, ..] = &allowed[..] else {
        eprintln!("NOT TESTED: this host gives one core");
        return;
    };
    // With few cores the client's thread drives the member, and the second one nobody.
    let beside = if allowed.len() < 5 {
        second
    } else {
        allowed[2]
    };
    let cores = format!("{first},{second},{beside}");
    let threads = ["--nodes", "1", "--threading", "dedicated"];
    let result = bench(&[&threads[..], &["--cores", &cores]].concat());
    let said = result["environment"]["io_backend"].as_str();
    let said = said.expect("what the member said at its start");
    let archive = format!("; archive yield on core {beside}; clients yield, not pinned");
    assert!(said.contains(&archive), "{said}");
}

#[test]
fn any_grouping_of_agents_by_threads_works() {
    for threading in [
        "consensus+clients, archive, service",
        "consensus+service, archive+clients",
        "consensus, archive+clients+service",
    ] {
        expect_all_answered(&["--threading", threading]);
    }
}

/// The names of a process' threads.
fn thread_names(node: &Running) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.id())).expect("it runs");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.expect("a thread of it").path().join("comm");
        let name = std::fs::read_to_string(path).expect("a thread has a name");
        name.trim().to_owned()
    };
    tasks.map(name).collect()
}

#[test]
fn the_threads_of_a_node_are_seen_by_their_names_and_said_in_its_start_line() {
    let place = Place::new();
    let threads = "threading = \"dedicated\"\nclients_core = 999\narchive_idle = \"adaptive\"";
    place.write("node.toml", &place.config_with("sync = \"data\"", threads));
    let node = place.running();
    let names = thread_names(&node);
    for name in ["lockstep-node-0", "archive-0", "clients-0", "service-0"] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
    for part in [
        "threads: node yield, not pinned; archive adaptive, not pinned",
        "clients not pinned: this process may not use core 999",
    ] {
        let line = &node.start_line;
        assert!(line.contains(part), "\"{part}\" is missing in: {line}");
    }
}

#[test]
fn a_threading_that_leaves_an_agent_out_is_refused_by_what_is_missing() {
    let place = Place::new();
    let threads = "threading = \"consensus+clients, service\"";
    place.write("node.toml", &place.config_with("sync = \"data\"", threads));
    let mut command = Command::new(LOCKSTEP);
    command.current_dir(place.path());
    let output = outcome(command.args(["node", "--config", "node.toml"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("archive is missing"),
        "{}",
        words(&output)
    );
}
