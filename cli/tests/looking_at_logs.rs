//! `lockstep log show` and `lockstep log verify` on the directories of three real processes: while
//! they run, after a kill, with a byte flipped, from memory, read-only; and on what is none.
//! Nothing is changed by either.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and a thread"
)]

mod binary;
mod lines;
mod place;
mod trio;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use binary::{lockstep, stderr, stdout};
use lockstep_consensus::node::shared_file::forget;
use lockstep_consensus::settings::config::SyncMode;
use place::{Mount, Place, Running, expect_refusal};
use serde_json::Value;
use trio::{Trio, content};

const REQUESTS: usize = 200;

fn log(directory: &Path, verb: &str, options: &[&str]) -> Output {
    let at = directory.to_str().expect("a path in UTF-8");
    let arguments = [&["log", verb, "--dir", at], options].concat();
    lockstep(directory.parent().expect("a place"), &arguments)
}

/// What `verify` says of the directory, for machines, and the code it ends with.
fn verify(directory: &Path) -> (Value, Option<i32>) {
    let output = log(directory, "verify", &["--json"]);
    let said = stdout(&output);
    let object = serde_json::from_str(&said);
    let object = object.unwrap_or_else(|error| panic!("{error}: {said}{}", stderr(&output)));
    (object, output.status.code())
}

#[track_caller]
fn expect_whole(directory: &Path) -> Value {
    let (found, code) = verify(directory);
    assert_eq!(
        (&found["verdict"]["name"], code),
        (&"whole".into(), Some(0)),
        "{found:#}"
    );
    found
}

/// What `show` prints for machines.
fn show(directory: &Path, options: &[&str]) -> Vec<Value> {
    let output = log(directory, "show", &[&["--json"], options].concat());
    let said = stdout(&output);
    let lines = said.lines().map(serde_json::from_str);
    lines.map(|line| line.expect("an object")).collect()
}

#[test]
fn a_log_is_whole_and_shown_while_its_nodes_write_it_and_after_they_are_killed() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let (mut trio, ids) = Trio::new(sync);
        let directories = ids.map(|id| trio.directory(id));
        let is_done = Arc::new(AtomicBool::new(false));
        let looker = std::thread::spawn({
            let (is_done, directories) = (Arc::clone(&is_done), directories.clone());
            move || {
                let mut looks = 0;
                while !is_done.load(Ordering::Relaxed) {
                    for directory in &directories {
                        let found = expect_whole(directory);
                        assert_eq!(found["is_running"], true);
                        let shown = log(directory, "show", &["--last", "5"]);
                        assert!(shown.status.success(), "{}", stderr(&shown));
                        looks += 1;
                    }
                }
                looks
            }
        });
        trio.answer_to(10 * REQUESTS, &[7; 700]);
        is_done.store(true, Ordering::Relaxed);
        let looks = looker.join().expect("every look found a whole log");
        assert!(looks >= 6, "{looks} looks");
        for id in ids {
            trio.kill(id);
            let directory = trio.directory(id);
            let before = content(&directory);
            let found = expect_whole(&directory);
            assert_eq!(found["entries"]["Request"], 10 * REQUESTS);
            assert_eq!(
                (&found["standing"], &found["cluster"]),
                (&"voter".into(), &"trio".into())
            );
            let shown = show(&directory, &[]);
            let counts = found["entries"].as_object().expect("counts").values();
            let total: u64 = counts.filter_map(Value::as_u64).sum();
            assert_eq!(shown.len() as u64, total);
            assert_eq!(shown.last().map(|last| &last["end"]), Some(&found["end"]));
            assert!(content(&directory) == before, "it was changed");
            // What the next start says of itself.
            let said = trio.said(id).len();
            trio.restart(id);
            trio.await_that("its first line", |trio| {
                trio.said(id)[said..].contains("; sync ")
            });
            let line = trio.said(id)[said..].to_owned();
            let taken = found["only_in_log_buffer"].as_u64().expect("a number");
            let words = format!("took {taken} bytes of log from the log buffer");
            assert_eq!(line.contains(&words), taken > 0, "{words}: {line}");
            assert!(!line.contains("LEARNER"), "{line}");
            trio.kill(id);
        }
    }
}

#[test]
fn a_flipped_byte_is_found_by_file_and_position_and_the_next_start_says_the_same() {
    let (mut trio, [_, rotten, _]) = Trio::new(SyncMode::Data);
    trio.answer(REQUESTS);
    trio.kill(rotten);
    let directory = trio.directory(rotten);
    let whole = show(&directory, &[]);
    let hit = &whole[whole.len() / 2];
    let (position, end) = (
        hit["position"].as_u64().unwrap(),
        hit["end"].as_u64().unwrap(),
    );
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(directory.join("0-0.rec"));
    let file = file.expect("the segment can be opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position + 40)
        .expect("it is there");
    file.write_all_at(&[byte[0] ^ 4], position + 40)
        .expect("a good disk");
    let before = content(&directory);
    let (found, code) = verify(&directory);
    let verdict = &found["verdict"];
    assert_eq!(
        (code, &verdict["name"]),
        (Some(1), &"damaged".into()),
        "{found:#}"
    );
    assert_eq!(
        (&verdict["file"], &verdict["offset"]),
        (&"0-0.rec".into(), &position.into())
    );
    assert_eq!(
        (&verdict["position"], &verdict["damage_end"]),
        (&position.into(), &end.into())
    );
    let text = log(&directory, "verify", &[]);
    assert!(stdout(&text).contains(&format!(
        "{} bytes from offset {position} of 0-0.rec on",
        end - position
    )));
    assert!(stderr(&text).contains("keep the directory as it is"));
    let shown = log(&directory, "show", &[]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(stdout(&shown).contains(&format!("DAMAGED: {} bytes", end - position)));
    let left = show(&directory, &[]);
    assert_eq!(left.len(), whole.len());
    assert_eq!(left[whole.len() / 2]["damaged"]["position"], position);
    assert_eq!(left.last(), whole.last());
    assert!(content(&directory) == before, "it was changed");
    let acknowledged = &verdict["acknowledged"];
    trio.restart(rotten);
    let words =
        format!("ends at {position}, before what this member acknowledged ({acknowledged})");
    assert!(
        verdict["words"].as_str().expect("words").contains(&words),
        "{words}: {verdict}"
    );
    trio.await_words(rotten, &words);
    trio.await_words(rotten, "has all that this member acknowledged again");
    assert_eq!(expect_whole(&directory)["is_running"], true);
}

#[test]
fn a_log_buffer_that_was_removed_is_missed_as_the_next_start_misses_it() {
    let (mut trio, [_, lost, _]) = Trio::new(SyncMode::None);
    trio.answer(REQUESTS);
    trio.kill(lost);
    let directory = trio.directory(lost);
    let file = std::fs::read_link(directory.join("log-buffer.dat")).expect("a link");
    std::fs::remove_file(file).expect("it was left");
    let (found, code) = verify(&directory);
    assert_eq!(
        (&found["log_buffer"], code),
        (&"gone".into(), Some(1)),
        "{found:#}"
    );
    assert_eq!(found["verdict"]["name"], "not known");
    let words = "because it ran with sync = none, was killed, and log-buffer.dat";
    assert!(
        found["next_start"].as_str().expect("words").contains(words),
        "{found:#}"
    );
    trio.restart(lost);
    trio.await_words(lost, words);
    trio.kill(lost);
    assert_eq!(verify(&directory).0["standing"], "learner");
}

/// Copies a directory whose node runs. A file that the node is just making may be gone under `cp`.
fn copy_of_running(place: &Place, from: &str, to: &str) {
    for _ in 0..20 {
        let copied = std::process::Command::new("cp")
            .args(["-a", "-T", from, to])
            .current_dir(place.path())
            .status();
        if copied.expect("cp can be started").success() {
            return;
        }
        std::fs::remove_dir_all(place.path().join(to)).expect("it was begun");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{from} could not be copied");
}

#[test]
fn a_copy_and_a_read_only_file_system_are_looked_at_and_left_as_they_are() {
    let place = Place::new();
    let node = place.running();
    place.expect_leads();
    let copy = place.path().join("copy");
    copy_of_running(&place, "data", "copy");
    node.kill();
    assert_eq!(
        expect_whole(&place.path().join("data"))["standing"],
        "voter"
    );
    let before = place.listing();
    assert_eq!(expect_whole(&copy)["standing"], "copy");
    assert!(place.listing() == before, "it was changed");
    let Some(mount) = Mount::new(&place, "mounted", "32m") else {
        return;
    };
    // A ring's files are closed a while after a kill, and until then nothing is read-only.
    let config = place.config_with("\"data\"\nsync", "\"mounted\"\nio = \"syscall\"\nsync");
    place.write("node.toml", &config);
    let node = Running::start(&mut mount.node());
    let verify = |options: &[&str]| {
        let mut command = mount.lockstep();
        command
            .args(["log", "verify", "--dir", "mounted"])
            .args(options);
        command.output().expect("it can be started")
    };
    let running = verify(&[]);
    assert!(running.status.success(), "{}", stderr(&running));
    assert!(stdout(&running).contains(&format!("in use by process {}", node.id())));
    node.kill();
    mount.set_writable(false);
    let looked = verify(&[]);
    assert_eq!(
        looked.status.code(),
        Some(0),
        "{}{}",
        stdout(&looked),
        stderr(&looked)
    );
    assert!(
        stdout(&looked).contains("verdict    whole"),
        "{}",
        stdout(&looked)
    );
    forget(&mount.seen(), "counters.dat");
}

#[test]
fn what_is_none_or_cannot_be_read_is_refused_with_place_and_remedy() {
    let place = Place::new();
    let node = place.running();
    place.expect_leads();
    node.kill();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let output = place.lockstep(&[&["log"], arguments].concat());
        expect_refusal(&output, 2, parts);
    };
    for verb in ["show", "verify"] {
        refused(
            &[verb, "--dir", "nowhere"],
            &["nowhere", "correct the path"],
        );
        refused(
            &[verb, "--dir", "node.toml"],
            &["node.toml is not a directory", "give the data"],
        );
        refused(
            &[verb, "--dir", "."],
            &["no node's directory", "configuration file names"],
        );
        refused(&[verb], &["--dir"]);
    }
    let end = expect_whole(&place.path().join("data"))["end"].to_string();
    let from = ["show", "--dir", "data", "--from", "99999999"];
    refused(
        &from,
        &[
            "--from 99999999",
            &format!("the end of the log, {end}"),
            "--last",
        ],
    );
    refused(&["show", "--dir", "data", "--from", "-1"], &["-1"]);
    refused(
        &["show", "--dir", "data", "--kind", "letter"],
        &["letter", "SessionOpen"],
    );
    refused(
        &["show", "--dir", "data", "--from", "1", "--last", "1"],
        &["--last"],
    );
    let from = place.lockstep(&[
        "log", "show", "--dir", "data", "--from", "1", "--to", "99999",
    ]);
    assert!(from.status.success(), "{}", stderr(&from));
    let catalog = place.path().join("data/archive.catalog");
    std::fs::write(&catalog, [0xA5; 8192]).expect("a good disk");
    let parts = [
        "data: archive.catalog is missing, or damaged",
        "keep the directory as it is",
    ];
    refused(&["verify", "--dir", "data"], &parts);
    refused(&["show", "--dir", "data"], &parts);
}

#[test]
fn entries_are_shown_with_what_they_say_and_a_reader_may_leave() {
    let (mut trio, [leader, follower, _]) = Trio::new(SyncMode::Data);
    trio.answer_to(50, b"letters");
    let committed = trio.committed(leader);
    trio.expect_kept(&committed, &[follower]);
    let directory = trio.directory(follower);
    let requests = show(&directory, &["--kind", "request", "--payload"]);
    assert_eq!(requests.len(), 50);
    for (index, request) in requests.iter().enumerate() {
        assert_eq!(request["number"], index + 1);
        assert_eq!(request["payload_text"], "letters");
        assert_eq!(request["payload_hex"], "6c657474657273");
        let time = request["time"].as_str().expect("a time");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    let responses = show(&directory, &["--kind", "Response"]);
    let causes = requests.iter().zip(&responses);
    assert!(causes.into_iter().all(|(request, response)| {
        (&response["cause"], &response["ordinal"]) == (&request["position"], &0.into())
    }));
    let text = stdout(&log(&directory, "show", &["--payload"]));
    for part in [
        "NewLeadershipTerm",
        "leads term",
        "SessionOpen",
        "opened at 127.0.0.1",
        "|letters|",
    ] {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
    let tenth = requests[9]["position"].to_string();
    let from = show(&directory, &["--from", &tenth, "--limit", "1"]);
    assert_eq!(
        from,
        show(
            &directory,
            &["--kind", "request", "--from", &tenth, "--limit", "1"]
        )
    );
    let above = log(
        &directory,
        "show",
        &[
            "--from",
            &(requests[9]["position"].as_u64().unwrap() + 1).to_string(),
            "--limit",
            "1",
        ],
    );
    assert!(
        stderr(&above).contains("the first of these entries at"),
        "{}",
        stderr(&above)
    );
    let last = show(&directory, &["--last", "3", "--kind", "request"]);
    let numbers: Vec<&Value> = last.iter().map(|request| &request["number"]).collect();
    assert_eq!(numbers, [48, 49, 50]);
    let mut reader = binary::command(&directory, &["log", "show", "--payload", "--dir", "."]);
    let mut child = reader
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
}
