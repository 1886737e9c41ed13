//! Whole clusters through the binary: short, real sockets, real files, real kills.

mod binary;
mod lines;
mod place;

use binary::{lockstep, words};
use place::bench_cluster;

#[test]
fn an_embedded_cluster_answers_every_request_and_accounts_for_the_time() {
    let result = bench_cluster(&[]);
    assert_eq!(result["sent"], result["received"]);
    assert_eq!(result["latency_ns"]["count"], 300);
    assert_eq!(result["config"]["sync"], "data");
    assert_eq!(result["config"]["responses"], "replicated");
    for member in result["environment"]["members"].as_array().unwrap() {
        let cycles = ["cycle_mean_ns", "cycle_max_ns"].map(|key| member[key].as_u64().unwrap());
        assert!(0 < cycles[0] && cycles[0] <= cycles[1], "{member}");
        assert!(member["threads"].as_object().unwrap().is_empty());
    }
    assert!(result["floor"]["ratio_p50"].as_f64().unwrap() > 0.0);
    assert!(result["phases"]["total"]["count"].as_u64().unwrap() >= 300);
    for (name, step) in result["steps"].as_object().unwrap() {
        // The first step of a path has no duration of its own.
        let is_first = ["connect.request", "request.send"].contains(&name.as_str());
        assert_eq!(step["count"].as_u64().unwrap() == 0, is_first, "{name}");
    }
}

#[test]
fn a_service_on_a_thread_of_its_own_has_its_duty_cycles_measured() {
    for processes in [&[][..], &["--processes"]] {
        let result = bench_cluster(&[&["--threading", "split", "--no-floor"], processes].concat());
        for member in result["environment"]["members"].as_array().unwrap() {
            let threads = member["threads"].as_object().unwrap();
            assert_eq!(threads.keys().collect::<Vec<_>>(), ["service"], "{member}");
            let service = &threads["service"];
            let cycles =
                ["cycle_mean_ns", "cycle_max_ns"].map(|key| service[key].as_u64().unwrap());
            assert!(0 < cycles[0] && cycles[0] <= cycles[1], "{member}");
        }
    }
}

#[test]
fn processes_answer_directly_without_a_second_crossing() {
    let result = bench_cluster(&["--processes", "--sync", "none", "--responses", "direct"]);
    assert_eq!(result["sent"], result["received"]);
    assert_eq!(result["steps"]["response.commit"]["count"], 0);
    assert_eq!(result["errors"].as_array().unwrap().len(), 0);
}

#[test]
fn an_acknowledgement_from_memory_tells_what_the_service_put_out() {
    let result = bench_cluster(&["--sync", "none", "--no-floor"]);
    let members = result["environment"]["members"].as_array().unwrap();
    let waited = members
        .iter()
        .map(|member| member["answers_waited"].as_i64().unwrap());
    // A follower may be late at any moment; all of them would be late at every answer.
    assert!(waited.sum::<i64>() < 150, "{members:?}");
}

#[test]
fn an_open_loop_over_lossy_links_loses_nothing() {
    let result = bench_cluster(&["--rate", "2000", "--link-loss", "1%", "--no-floor"]);
    assert_eq!(result["sent"], result["received"]);
    assert!(result["floor"].is_null());
}

#[test]
fn the_matching_engine_can_be_measured_too() {
    let result = bench_cluster(&["--service", "orderbook", "--sync", "none", "--window", "8"]);
    assert_eq!(result["sent"], result["received"]);
    assert_eq!(result["config"]["message_length"], 32);
}

#[test]
fn orders_come_out_as_in_a_replay_although_the_leader_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let samples = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../service/examples/data/orders.csv"
    );
    let text = std::fs::read_to_string(samples).unwrap();
    let lines: Vec<&str> = text.lines().take(6_000).collect();
    std::fs::write(place.path().join("orders.csv"), lines.join("\n")).unwrap();
    let arguments = ["orders", "--file", "orders.csv", "--kill-leader-at", "2000"];
    let output = lockstep(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("every report equals"), "{said}");
    assert!(said.contains("leader killed"), "{said}");
}

#[test]
fn killed_members_cost_no_request_and_no_byte_of_log() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "failover", "--kills", "3"];
    let output = lockstep(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let said = words(&output);
    for proof in [
        "3 kills under load: 2 of leaders, 1 of followers",
        "exactly once and in order",
        "logs of all 3 members equal byte for byte",
    ] {
        assert!(said.contains(proof), "{proof}: {said}");
    }
    assert!(!said.contains("NOT"), "{said}");
}

#[test]
fn restarts_with_snapshots_of_members_and_client_cost_no_request() {
    for kill in ["by-turns", "all"] {
        let place = tempfile::tempdir().unwrap();
        let arguments = ["bench", "failover", "--kills", "2", "--kill", kill];
        let arguments = [&arguments[..], &["--snapshots", "--client-restarts"]].concat();
        let output = lockstep(place.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{kill}: {}", words(&output));
        let said = words(&output);
        for proof in [
            "2 snapshots taken on the way",
            "2 times the client was killed, and another process went on with its session",
            "exactly once and in order",
            "logs of all 3 members equal byte for byte",
        ] {
            assert!(said.contains(proof), "{proof}: {said}");
        }
        // Of two members that follow, one at least is among those that start again.
        assert!(!said.contains(", 0 starts"), "{said}");
        assert!(!said.contains("NOT"), "{said}");
    }
}

#[test]
fn starts_with_a_log_and_a_snapshot_are_measured_until_members_vote() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "restart", "--log-size", "3m", "--restarts", "1"];
    let others = ["--above-snapshot", "1m", "--json", "restart.json"];
    let output = lockstep(place.path(), &[&arguments[..], &others].concat());
    let text = std::fs::read_to_string(place.path().join("restart.json"));
    let result = text.unwrap_or_else(|_| panic!("{}", words(&output)));
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(0));
    assert!(result["log_bytes"].as_u64() >= Some(4 << 20), "{result}");
    assert!(result["above_snapshot_bytes"].as_u64() >= Some(1 << 20));
    for kind in ["follower", "all"] {
        let restart = &result[kind][0];
        let moment = |name: &str| restart[name].as_i64().unwrap();
        assert!(0 < moment("recovered_ns"), "{restart}");
        assert!(moment("recovered_ns") <= moment("voting_ns"), "{restart}");
        assert!(moment("recovered_ns") <= moment("replayed_ns"), "{restart}");
    }
    // However long it takes on this host: what is said of it is what the exit code says.
    let code = if result["is_good"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{}", words(&output));
    let within = if code == 0 {
        "voting within 5.0 s"
    } else {
        "voting NOT within 5.0 s"
    };
    assert!(words(&output).contains(within), "{}", words(&output));
}

#[test]
fn a_member_whose_log_the_others_have_no_more_is_caught_up_under_load() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "catch-up", "--rounds", "1", "--steady", "1"];
    let sizes = ["--state-size", "1m", "--snapshot-interval", "2m"];
    let json = ["--json", "catch-up.json"];
    let output = lockstep(place.path(), &[&arguments[..], &sizes, &json].concat());
    let text = std::fs::read_to_string(place.path().join("catch-up.json"));
    let result = text.unwrap_or_else(|_| panic!("{}", words(&output)));
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(0));
    assert_eq!(result["sent"], result["received"]);
    let round = &result["rounds"][0];
    assert!(round["snapshot_bytes"].as_u64() >= Some(1 << 20), "{round}");
    let took = round["caught_up_ns"].as_i64();
    assert!(round["snapshot_ns"].as_i64() <= took, "{round}");
    for part in ["all_up", "one_down", "caught_up"] {
        assert!(round[part]["count"].as_u64() > Some(100), "{part}: {round}");
    }
    // However much is noticed of it on this host: what is said of it is what the exit code says.
    let code = if result["is_good"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{}", words(&output));
    let said = words(&output);
    let within = if code == 0 {
        "p90 are within 10 %"
    } else {
        "p90 are NOT within 10 %"
    };
    for part in [within, "answered, exactly once and in order"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Who is told that it failed is told where to look.
    assert_eq!(said.contains("see ERROR or NOT above"), code == 1, "{said}");
    let never = ["bench", "catch-up", "--snapshot-interval", "0"];
    let output = lockstep(place.path(), &never);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
}

#[test]
fn a_log_for_which_the_disk_has_no_room_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "restart", "--log-size", "4096g"];
    let output = lockstep(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    let said = words(&output);
    for part in ["--log-size", "MiB are free for", "choose a --dir"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let left = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(left, 0, "files left behind");
}

#[test]
fn a_service_that_computes_and_one_that_pauses_show_in_every_answer() {
    for option in ["--service-time", "--service-pause"] {
        for place_of_members in [&["--no-floor"][..], &["--no-floor", "--processes"]] {
            let place = tempfile::tempdir().unwrap();
            let arguments = ["bench", "cluster", "--messages", "20", "--warmup", "0"];
            let slow = [option, "2ms", "--json", "-"];
            let arguments = [&arguments[..], &slow, place_of_members].concat();
            let output = lockstep(place.path(), &arguments);
            assert_eq!(output.status.code(), Some(0), "{}", words(&output));
            let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let key = format!("{}_ns", option.trim_start_matches("--").replace('-', "_"));
            assert_eq!(result["config"][key], 2_000_000);
            assert!(
                result["latency_ns"]["min"].as_u64() >= Some(2_000_000),
                "{option}"
            );
        }
    }
}

#[test]
fn all_members_killed_at_once_cost_no_request_whatever_is_synced() {
    for sync in ["none", "data"] {
        let place = tempfile::tempdir().unwrap();
        let arguments = ["bench", "failover", "--kill", "all", "--kills", "2"];
        let arguments = [&arguments[..], &["--sync", sync]].concat();
        let output = lockstep(place.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{sync}: {}", words(&output));
        let said = words(&output);
        assert!(said.contains("2 kills of all 3 members at once"), "{said}");
        assert!(said.contains("exactly once and in order"), "{said}");
        assert!(!said.contains("NOT"), "{said}");
    }
}

#[test]
fn cores_that_are_not_there_and_spinners_without_a_core_are_told_and_done_without() {
    let result = bench_cluster(&["--cores", "99999,0", "--no-floor"]);
    let notes = result["environment"]["notes"].to_string();
    assert!(notes.contains("may not use core 99999"), "{notes}");
    let processes = ["--cores", "0,0,0,0", "--idle", "busy-spin", "--processes"];
    let result = bench_cluster(&[&processes[..], &["--no-floor"]].concat());
    let notes = result["environment"]["notes"].to_string();
    assert!(notes.contains("several threads on core 0"), "{notes}");
    assert!(notes.contains("yield instead of busy-spin"), "{notes}");
    assert_eq!(result["config"]["idle"], "yield");
    // Each process of the floor has its place in the list, the third one too.
    let place = tempfile::tempdir().unwrap();
    let floor = ["bench", "floor", "--processes", "--messages", "20"];
    let output = lockstep(place.path(), &[&floor[..], &["--cores", "0,1,0"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("threads on core 0") || said.contains("may not use core 1"));
}

#[test]
fn an_idle_cluster_is_measured_beside_the_two_others() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "idle", "--samples", "3", "--pause", "200ms"];
    let others = ["--threading", "dedicated", "--json", "idle.json"];
    let arguments = [&arguments[..], &others].concat();
    let output = lockstep(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("% of a core, by member"), "{said}");
    assert!(said.contains("threading dedicated"), "{said}");
    let text = std::fs::read_to_string(place.path().join("idle.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["config"]["threading"], "dedicated");
    for (run, idle) in ["adaptive", "yield", "park"].into_iter().enumerate() {
        let run = &result["runs"][run];
        assert_eq!(run["idle"], idle);
        assert_eq!(run["cpu_shares"].as_array().map(Vec::len), Some(3));
        assert_eq!((&run["sent"], &run["received"]), (&4.into(), &4.into()));
        assert_eq!(
            run["latency_ns"]["count"], 3,
            "the first one came after no pause"
        );
        assert!(said.contains(idle), "{said}");
    }
}
