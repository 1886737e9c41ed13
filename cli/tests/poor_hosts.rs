//! Hosts that lack something: everything works, and the start line says what is missing and
//! what that costs.

mod lines;
mod place;

use std::process::Command;
use std::time::Duration;

use lockstep_bench::load::{LoadConfig, LoadLimit, LoadShape};
use lockstep_bench::scenario::bench_client::client;
use lockstep_bench::scenario::load_client::LoadClient;
use lockstep_bench::scenario::workload::Workload;
use lockstep_consensus::settings::config::ClusterConfig;
use lockstep_transport::agent::Agent;
use lockstep_transport::media::{NetworkPort, monotonic_now};
use lockstep_transport::time::{Nanos, SECOND};

use place::{LOCKSTEP, Mount, Place, Running, outcome, words};

/// Whether `wrapper` can run a program here.
fn runs(wrapper: &[&str]) -> bool {
    let (program, arguments) = wrapper.split_first().expect("a wrapper has a name");
    let output = Command::new(program).args(arguments).arg("true").output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs the node of `place` under `wrapper`; `None` where the wrapper is not to be had.
fn wrapped(place: &Place, wrapper: &[&str]) -> Option<Running> {
    let (program, arguments) = wrapper.split_first().expect("a wrapper has a name");
    if !runs(wrapper) {
        eprintln!("NOT TESTED: a poor host, because this one does not run {wrapper:?}");
        return None;
    }
    let mut command = Command::new(program);
    command.current_dir(place.path()).args(arguments);
    command.args([LOCKSTEP, "node", "--config", "node.toml"]);
    Some(Running::start(&mut command))
}

fn expect_words(node: &Running, parts: &[&str]) {
    for part in parts {
        let line = &node.start_line;
        assert!(line.contains(part), "\"{part}\" is missing in: {line}");
    }
}

#[test]
fn a_cluster_without_io_uring_answers_every_request_and_says_what_it_runs_on() {
    for kind in [&[][..], &["--processes"]] {
        let place = Place::new();
        let options = [
            "bench",
            "cluster",
            "--io",
            "syscall",
            "--no-floor",
            "--json",
            "-",
        ];
        let load = ["--messages", "200", "--warmup", "50ms"];
        let output = place.lockstep(&[&options[..], &load, kind].concat());
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["sent"], result["received"]);
        assert_eq!(result["latency_ns"]["count"], 200);
        let line = result["environment"]["io_backend"].as_str().unwrap();
        for part in [
            "network syscall: as configured",
            "disk: writer thread, as configured",
            "costs two thread wake-ups a sync",
        ] {
            assert!(line.contains(part), "\"{part}\" is missing in: {line}");
        }
    }
}

#[test]
fn the_start_line_names_network_disk_memory_and_thread_once_each() {
    let node = Place::new().running();
    for part in ["network ", "disk: ", "sync data", "memory ", "thread yield"] {
        assert_eq!(
            node.start_line.matches(part).count(),
            1,
            "{}",
            node.start_line
        );
    }
    assert!(
        !node.start_line.contains("disk disk"),
        "{}",
        node.start_line
    );
}

#[test]
fn without_permission_to_lock_memory_a_node_works_and_says_what_that_costs() {
    let place = Place::new();
    let limited = ["sh", "-c", "ulimit -l 0 && exec \"$@\"", "sh"];
    // The superuser may lock whatever the limit says, unless the permission is taken away.
    let humble = [
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
    ];
    let wrapper = match runs(&humble) {
        true => [&humble[..], &limited].concat(),
        false => limited.to_vec(),
    };
    let Some(node) = wrapped(&place, &wrapper) else {
        return;
    };
    expect_words(
        &node,
        &["memory not locked", "ulimit -l", "costs page faults"],
    );
}

#[test]
fn without_a_free_core_a_node_works_and_says_what_that_costs() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync = \"data\"", "idle = \"busy-spin\""),
    );
    let Some(node) = wrapped(&place, &["taskset", "-c", "0"]) else {
        return;
    };
    expect_words(
        &node,
        &[
            "thread yield, not pinned",
            "yield instead of busy-spin",
            "1 cores",
            "no core is free",
            "costs waiting for turns",
        ],
    );
}

#[test]
fn a_core_that_the_process_may_not_use_is_named_and_the_node_works() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync = \"data\"", "core = 999"),
    );
    let node = place.running();
    expect_words(
        &node,
        &[
            "not pinned",
            "may not use core 999",
            "costs moves between cores",
        ],
    );
}

#[test]
fn a_node_and_its_service_on_one_core_take_turns_and_say_so() {
    let place = Place::new();
    let split = "idle = \"busy-spin\"\ncore = 0\nthreading = \"split\"\n\
                 service_core = 0\nservice_idle = \"busy-spin\"";
    place.write("node.toml", &place.config_with("sync = \"data\"", split));
    let Some(node) = wrapped(&place, &["taskset", "-c", "0"]) else {
        return;
    };
    let parts = [
        "node yield on core 0",
        "service not pinned: node has core 0",
        "service has yield instead of busy-spin",
    ];
    expect_words(&node, &parts);
}

#[test]
fn members_that_would_spin_on_too_few_cores_are_measured_as_they_wait_instead() {
    let place = Place::new();
    let wrapper = ["taskset", "-c", "0"];
    if !runs(&wrapper) {
        return;
    }
    let mut command = Command::new(wrapper[0]);
    command.current_dir(place.path()).args(&wrapper[1..]);
    command.args([LOCKSTEP, "bench", "idle", "--idle", "busy-spin"]);
    command.args(["--samples", "1", "--pause", "200ms", "--json", "-"]);
    let output = command.output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = result["environment"]["notes"].to_string();
    assert!(notes.contains("yield instead of busy-spin"), "{notes}");
    let idles = |run: &serde_json::Value| run["idle"].clone();
    let runs: Vec<_> = result["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(idles)
        .collect();
    assert_eq!(runs, ["yield", "park"]);
}

#[test]
fn a_host_that_has_too_few_threads_to_give_is_told_so_whichever_is_missing() {
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "prlimit"];
    if !runs(&[&nobody[..], &["--nproc=9"]].concat()) {
        eprintln!("NOT TESTED: too few threads, because this user cannot be another");
        return;
    }
    let place = Place::new();
    let threads = "threading = \"dedicated\"\nio = \"syscall\"";
    place.write("node.toml", &place.config_with("sync = \"data\"", threads));
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path(), everybody).expect("it is this user's");
    let mut refusals = 0;
    for threads in 2..20 {
        let mut command = Command::new(nobody[0]);
        command.current_dir(place.path()).args(&nobody[1..]);
        command.arg(format!("--nproc={threads}"));
        command.args(["timeout", "5", LOCKSTEP, "node", "--config", "node.toml"]);
        let said = words(&outcome(&mut command));
        if !said.starts_with("lockstep: ") {
            assert!(said.starts_with("member 0 of 1"), "{threads}: {said}");
            // What has started lacks no thread.
            assert!(!said.contains("ulimit -u"), "{threads}: {said}");
            break;
        }
        assert!(said.contains("raise `ulimit -u`"), "{threads}: {said}");
        refusals += 1;
    }
    assert!(refusals >= 3, "disk, agents and notices have threads");
}

#[test]
fn every_thread_of_a_node_says_whose_it_is() {
    let place = Place::new();
    place.write("node.toml", &place.config());
    let node = place.running();
    expect_words(&node, &["thread"]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", node.id())).unwrap();
    let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    let names: Vec<String> = threads
        .map(|thread| name(thread.unwrap()).unwrap())
        .collect();
    for expected in ["lockstep-files\n", "lockstep-node-0\n"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

/// Requests that do not fit the small device, but fit it once it has grown.
const REQUESTS: u64 = 1_500;

/// What a line may take that the node says of itself.
const LINE_WITHIN: Duration = Duration::from_secs(5);

/// A client that is not answered for so long waits for something.
const STUCK_NS: Nanos = 2 * SECOND;

fn loaded_client(place: &Place) -> LoadClient<NetworkPort> {
    let cluster = ClusterConfig {
        name: "alpha".to_owned(),
        members: vec![place.member],
        ..ClusterConfig::default()
    };
    let workload = Workload::pages(1024);
    let mut client = client(&cluster, workload, 0, 0).expect("a client can be made");
    let give_up = monotonic_now() + 20 * SECOND;
    while !client.is_connected() {
        client.do_work(monotonic_now());
        assert!(monotonic_now() < give_up, "no session");
        std::thread::yield_now();
    }
    client.start(LoadConfig {
        shape: LoadShape::Closed { window: 1 },
        warmup_ns: 0,
        limit: LoadLimit::Messages(REQUESTS),
        messages_cap: REQUESTS,
    });
    client
}

/// Drives the client until it is done or stuck.
fn drive(client: &mut LoadClient<NetworkPort>) {
    let (mut seen, mut since) = (0, monotonic_now());
    while !client.is_done(monotonic_now()) && monotonic_now() - since < STUCK_NS {
        client.do_work(monotonic_now());
        std::thread::yield_now();
        if client.responses() != seen {
            (seen, since) = (client.responses(), monotonic_now());
        }
    }
}

#[test]
fn a_device_that_fills_up_holds_requests_back_until_it_has_room_and_loses_none() {
    let place = Place::new();
    // No snapshot fits before it has grown, so that nothing of the log can go.
    let service = "[node]\nservice = \"bigstate:3m\"";
    place.write("node.toml", &place.config_with("[node]", service));
    let Some(mount) = Mount::new(&place, "data", "2m") else {
        return;
    };
    let mut node = Running::start(&mut mount.node());
    let mut client = loaded_client(&place);
    drive(&mut client);
    let answered = client.responses();
    assert!(
        (100..REQUESTS).contains(&answered),
        "{answered} {:?}",
        client.faults()
    );
    assert!(node.is_running());
    mount.grow("16m");
    drive(&mut client);
    assert_eq!(
        (client.responses(), client.faults()),
        (REQUESTS, Vec::new())
    );
    // It looks ten times a second, which may be after the last answer.
    for line in [
        "node-0: no room for more log in data: requests wait; ask for a snapshot",
        "node-0: has room for log in data again",
    ] {
        node.lines.expect(LINE_WITHIN, &[line]);
    }
    assert!(node.is_running());
}
