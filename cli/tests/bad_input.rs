//! Bad input at every door of the binary: what it says (thing, place, remedy), with which code
//! it ends, and that nothing was written or lost.

#![allow(
    clippy::disallowed_types,
    reason = "takes a port from outside the binary"
)]

mod lines;
mod place;

use std::net::UdpSocket;

use place::{Mount, Place, expect_refusal, listing, outcome};

/// Writes `text` as the configuration; the node must refuse it with `parts` and touch nothing.
fn refused_config(place: &Place, text: &str, parts: &[&str]) {
    place.write("node.toml", text);
    let before = place.listing();
    expect_refusal(&place.node(), 2, &[&["node.toml"], parts].concat());
    assert_eq!(place.listing(), before, "{parts:?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let place = Place::new();
    let missing = place.lockstep(&["node", "--config", "nowhere.toml"]);
    expect_refusal(&missing, 2, &["cannot read nowhere.toml", "check the path"]);
    let directory = place.lockstep(&["node", "--config", "."]);
    expect_refusal(&directory, 2, &["cannot read .", "check the path"]);
    std::fs::write(place.path().join("node.toml"), [0xFF, 0xFE, 0x00]).unwrap();
    expect_refusal(&place.node(), 2, &["cannot read node.toml", "UTF-8"]);
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line_and_remedy() {
    let place = Place::new();
    let change = |from: &str, to: &str| place.config_with(from, to);
    let (sync, member) = ("sync = \"data\"", "member = 0");
    refused_config(
        &place,
        &change(sync, "snyc = \"data\""),
        &[
            "node.toml:11",
            "unknown key \"snyc\": did you mean \"sync\"?",
        ],
    );
    refused_config(
        &place,
        &change(sync, "sync = \"dat\""),
        &[
            "node.toml:11",
            "unknown value \"dat\": did you mean \"data\"?",
        ],
    );
    refused_config(
        &place,
        &change(sync, "colour = \"blue\""),
        &["unknown key \"colour\": use one of", "heartbeat_interval"],
    );
    refused_config(
        &place,
        &change(member, "member = \"zero\""),
        &["node.toml:9", "expected u8", "in: member = \"zero\""],
    );
    refused_config(
        &place,
        &change("directory = \"data\"\n", ""),
        &["node.toml:8", "\"directory\" is missing here: add it"],
    );
    refused_config(
        &place,
        &change(&place.member.ingress.to_string(), "localhost:9001"),
        &[
            "node.toml:6",
            "socket address",
            "127.0.0.1:9001",
            "not looked up",
        ],
    );
    refused_config(&place, &change("[node]", "[node"), &["node.toml:8"]);
    refused_config(&place, "", &["node.toml:1", "\"cluster\" is missing"]);
}

#[test]
fn a_value_that_cannot_work_is_named_with_its_key_and_remedy() {
    let place = Place::new();
    let change = |from: &str, to: &str| place.config_with(from, to);
    let add = |line: &str| place.config_with("sync = \"data\"", line);
    let (term, own) = ("term_length = \"64k\"", place.member.member.to_string());
    refused_config(
        &place,
        &change("member = 0", "member = 3"),
        &["member: 3 of 1 members", "use the index of this node"],
    );
    refused_config(
        &place,
        &change(term, "term_length = 100000"),
        &["term_length: 100000 bytes", "power of two from 64 KiB"],
    );
    refused_config(
        &place,
        &add("heartbeat_interval = \"50ms\"\nelection_timeout = \"149ms\""),
        &["election_timeout: 149000000 ns", "at least three heartbeat"],
    );
    refused_config(
        &place,
        &change(&own, "192.0.2.1:9002"),
        &[
            "members",
            "192.0.2.1:9002 is not loopback",
            "insecure = true",
        ],
    );
    refused_config(
        &place,
        &change("disk_budget = \"64m\"", "disk_budget = \"100k\""),
        &[
            "disk_budget: 102400 bytes",
            "two segments",
            "raise disk_budget",
        ],
    );
}

#[test]
fn an_address_or_a_unit_that_cannot_work_is_named_with_its_key_and_remedy() {
    let place = Place::new();
    let change = |from: &str, to: &str| place.config_with(from, to);
    let add = |line: &str| place.config_with("sync = \"data\"", line);
    let (term, own) = ("term_length = \"64k\"", place.member.member.to_string());
    refused_config(
        &place,
        &change(&own, &place.member.ingress.to_string()),
        &["members", "is listed twice", "a port of its own"],
    );
    refused_config(
        &place,
        &change(&own, "127.0.0.1:0"),
        &[
            "members",
            "nobody can send to 127.0.0.1:0",
            "use the address",
        ],
    );
    refused_config(
        &place,
        &add("idle = \"spin\""),
        &[
            "node.toml:11: unknown value \"spin\"",
            "use one of busy-spin, yield",
        ],
    );
    refused_config(
        &place,
        &change(term, &format!("{term}\nsessions_max = 1000000000000000000")),
        &[
            "sessions_max: 1000000000000000000",
            "use between 1 and 65536",
        ],
    );
    refused_config(
        &place,
        &add("disk_delay = \"99999999999s\""),
        &["node.toml:11", "longer than a year"],
    );
    refused_config(
        &place,
        &change("\"data\"\nsync", "\"\"\nsync"),
        &["directory: no path"],
    );
}

#[test]
fn a_port_in_use_is_named_before_anything_is_written() {
    let place = Place::new();
    let before = place.listing();
    for address in [place.member.member, place.member.ingress] {
        let _taken = UdpSocket::bind(address).unwrap();
        let address = address.to_string();
        let parts = [&*address, "port is in use", "configure another port"];
        expect_refusal(&place.node(), 1, &parts);
        assert_eq!(place.listing(), before);
    }
    let foreign = place.config_with(&place.member.ingress.to_string(), "192.0.2.1:9001");
    let foreign = foreign.replace("[node]", "[node]\ninsecure = true");
    place.write("node.toml", &foreign);
    expect_refusal(&place.node(), 1, &["192.0.2.1:9001", "no interface"]);
    assert!(!place.path().join("data").exists());
}

#[test]
fn the_directory_of_another_cluster_is_refused_and_stays_as_it_was() {
    let place = Place::new();
    place.running().kill();
    let data = place.path().join("data");
    let before = listing(&data);
    place.write("node.toml", &place.config_with("\"alpha\"", "\"beta\""));
    let parts = [
        "data: ",
        "made for member 0 of cluster \"alpha\"",
        "not for member 0 of cluster \"beta\"",
        "nothing in it was changed",
    ];
    expect_refusal(&place.node(), 1, &parts);
    assert_eq!(listing(&data), before);
    let (small, large) = ("_length = \"64k\"", "_length = \"128k\"");
    place.write("node.toml", &place.config_with(small, large));
    let parts = ["data: term_length is 65536", "set it back to 65536"];
    expect_refusal(&place.node(), 1, &parts);
    assert_eq!(listing(&data), before);
    place.write("node.toml", &place.config());
    place.running().kill();
}

#[test]
fn a_damaged_catalog_or_a_lost_part_is_refused_and_stays_as_it_was() {
    let place = Place::new();
    place.running().kill();
    let data = place.path().join("data");
    let good = std::fs::read(data.join("archive.catalog")).unwrap();
    let mut torn = good.clone();
    // One damaged copy would be mended from the other.
    torn[20] ^= 1;
    torn[4096 + 20] ^= 1;
    std::fs::write(data.join("archive.catalog"), torn).unwrap();
    let before = listing(&data);
    let parts = [
        "data: archive.catalog is missing or damaged",
        "keep the directory as it is",
    ];
    expect_refusal(&place.node(), 1, &parts);
    assert_eq!(listing(&data), before);
    std::fs::write(data.join("archive.catalog"), good).unwrap();
    place.running().kill();
}

#[test]
fn a_directory_in_use_is_refused_with_the_process_that_has_it() {
    let place = Place::new();
    let mut first = place.running();
    let holder = format!("in use by process {}", first.id());
    let parts = ["data", &*holder, "stop that process"];
    expect_refusal(&place.node(), 1, &parts);
    let other = Place::new();
    let data = place.path().join("data").display().to_string();
    other.write(
        "node.toml",
        &other.config_with("\"data\"\nsync", &format!("{data:?}\nsync")),
    );
    expect_refusal(&other.node(), 1, &parts);
    assert!(first.is_running());
    first.kill();
    place.running().kill();
}

#[test]
fn a_file_in_place_of_the_directory_is_refused_and_kept() {
    let place = Place::new();
    place.write("data", "mine");
    let before = place.listing();
    let parts = ["data is not a directory", "correct the path"];
    expect_refusal(&place.node(), 1, &parts);
    assert_eq!(place.listing(), before);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_and_loses_nothing() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place, "data", "8m") else {
        return;
    };
    let seen = mount.seen();
    let parts = [
        "data directory data cannot be written",
        "Read-only",
        "another directory is only for a member that never ran",
    ];
    mount.set_writable(false);
    expect_refusal(&outcome(&mut mount.node()), 1, &parts);
    assert_eq!(listing(&seen).len(), 0);
    mount.set_writable(true);
    place::Running::start(&mut mount.node()).kill();
    mount.set_writable(false);
    let before = listing(&seen);
    expect_refusal(&outcome(&mut mount.node()), 1, &parts);
    assert_eq!(listing(&seen), before);
    mount.set_writable(true);
    place::Running::start(&mut mount.node()).kill();
}

#[test]
fn a_file_that_cannot_be_opened_is_refused_by_name_with_what_to_do() {
    let place = Place::new();
    // A node that is killed before its cluster has formed leaves less to refuse.
    let node = place.running();
    place.expect_leads();
    node.kill();
    for name in ["identity.dat", "archive.catalog", "ack-mark.dat", "0-0.rec"] {
        let file = place.path().join("data").join(name);
        let aside = place.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        let parts = [
            name,
            "os error 21",
            "keep the directory as it is",
            "this user may read and write each file in it",
        ];
        expect_refusal(&place.node(), 1, &parts);
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    }
    place.running().kill();
}

#[test]
fn a_full_directory_is_refused_and_loses_nothing() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place, "data", "2m") else {
        return;
    };
    let seen = mount.seen();
    let full = ["no space left", "data", "free some on its file system"];
    mount.fill("filler");
    let before = listing(&seen);
    expect_refusal(&outcome(&mut mount.node()), 1, &full);
    assert_eq!(listing(&seen), before);
    // Room for the small files, none for the log: refused with the arithmetic, at once.
    let filler_file = std::fs::File::options()
        .write(true)
        .open(seen.join("filler"));
    filler_file
        .unwrap()
        .set_len((2 << 20) - (100 << 10))
        .unwrap();
    let before = listing(&seen);
    let tight = [
        "data: ",
        "131072 bytes are needed",
        "bytes free",
        "free some",
    ];
    expect_refusal(&outcome(&mut mount.node()), 1, &tight);
    assert_eq!(listing(&seen), before);
    std::fs::remove_file(seen.join("filler")).unwrap();
    place::Running::start(&mut mount.node()).kill();
    mount.fill("filler");
    let before = listing(&seen);
    expect_refusal(&outcome(&mut mount.node()), 1, &full);
    assert_eq!(listing(&seen), before);
    std::fs::remove_file(seen.join("filler")).unwrap();
    place::Running::start(&mut mount.node()).kill();
}

#[test]
fn a_trace_that_does_not_fit_is_refused_and_not_left_behind() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place, "memory", "8m") else {
        return;
    };
    let traced = format!(
        "trace_every = 1\nshared_memory = {:?}",
        mount.path().display().to_string()
    );
    place.write("node.toml", &place.config_with("sync = \"data\"", &traced));
    let output = outcome(&mut mount.node());
    let parts = ["-trace.dat", "No space left", "not full", "shared_memory"];
    expect_refusal(&output, 1, &parts);
    let left = std::fs::read_dir(mount.seen()).unwrap().count();
    assert_eq!(left, 0, "something is left behind");
}

#[test]
fn options_of_a_bench_that_cannot_work_are_refused_before_it_starts() {
    let place = Place::new();
    place.write("taken", "mine");
    let before = place.listing();
    let refused = |options: &[&str], parts: &[&str]| {
        let output = place.lockstep(&[&["bench", "cluster"], options].concat());
        expect_refusal(&output, 2, parts);
        assert_eq!(place.listing(), before, "{options:?}");
    };
    refused(
        &["--messages", "100000000", "--snapshot-interval", "0"],
        &[
            "100000000 messages x 768 bytes",
            "76800000000 bytes per node",
            "--disk-budget",
        ],
    );
    refused(
        &["--disk-budget", "100m"],
        &["--disk-budget: 104857600 bytes", "raise"],
    );
    refused(&["--nodes", "8"], &["--nodes: use 1 to 7 members"]);
    refused(&["--nodes", "0"], &["--nodes: use 1 to 7 members"]);
    for length in ["0", "1000g", "33k"] {
        refused(
            &["--message-length", length],
            &["--message-length: use 1 to 32768 bytes"],
        );
    }
    refused(
        &["--message-length", "9999t"],
        &["--message-length", "unknown unit"],
    );
    refused(&["--window", "0"], &["--window", "at least 1"]);
    refused(&["--messages", "0"], &["--messages"]);
    refused(&["--rate", "0"], &["--rate", "above 0"]);
    refused(
        &["--seconds", "inf"],
        &["--seconds", "does not start with a number"],
    );
    refused(
        &["--link-loss", "200%"],
        &["--link-loss", "between 0 and 100 %"],
    );
    refused(
        &["--idle", "spin"],
        &["--idle", "possible values: busy-spin, yield"],
    );
    refused(&["--io", "dpdk"], &["--io", "possible values", "syscall"]);
    refused(
        &["--trace-every", "3"],
        &["--trace-every: 3", "power of two"],
    );
    refused(
        &["--json", "no/x.json"],
        &["--json: cannot write no/x.json", "choose a file"],
    );
    let output = place.lockstep(&["bench", "cluster", "--dir", "taken"]);
    expect_refusal(&output, 1, &["taken/run-", "choose another --dir"]);
    assert_eq!(place.listing(), before);
}

#[test]
fn a_bench_on_a_full_device_names_the_directory_and_leaves_nothing() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place, "data", "100m") else {
        return;
    };
    for kind in [
        &["--trace-every", "0"][..],
        &["--processes", "--trace-every", "0"],
    ] {
        let mut command = mount.lockstep();
        command.args(["bench", "cluster", "--no-floor", "--dir", "data"]);
        let output = outcome(command.args(kind));
        let parts = ["did not start: ", "data/run-", "134217728 bytes are needed"];
        expect_refusal(&output, 1, &parts);
        assert_eq!(listing(&mount.seen()).len(), 0);
    }
}

#[test]
fn an_orders_file_that_cannot_be_played_is_refused_with_line_and_column() {
    let place = Place::new();
    let good = "seq,action,order_id,side,price,quantity,symbol\n1,add,1,buy,99.5,10,0\n";
    place.write("good.csv", good);
    place.write("side.csv", &format!("{good}2,add,2,bid,99.5,10,0\n"));
    place.write("short.csv", &format!("{good}2,add,2\n"));
    place.write("price.csv", &format!("{good}2,add,2,sell,1e9,10,0\n"));
    place.write("empty.csv", "");
    place.write(
        "header.csv",
        "seq,action,order_id,side,price,quantity,symbol\n",
    );
    std::fs::write(place.path().join("binary.csv"), [0xFF, 0x00]).unwrap();
    let before = place.listing();
    let refused = |options: &[&str], parts: &[&str]| {
        let output = place.lockstep(&[&["orders"], options].concat());
        expect_refusal(&output, 2, parts);
        assert_eq!(place.listing(), before, "{options:?}");
    };
    refused(
        &["--file", "no.csv"],
        &["--file: cannot read no.csv", "check the path"],
    );
    refused(
        &["--file", "."],
        &["--file: cannot read .", "check the path"],
    );
    refused(
        &["--file", "binary.csv"],
        &["--file: cannot read binary.csv", "UTF-8"],
    );
    let correct = "correct it, nothing has been sent";
    refused(
        &["--file", "side.csv"],
        &[
            "side.csv: line 3, column 9: side is neither buy nor sell",
            correct,
        ],
    );
    refused(
        &["--file", "short.csv"],
        &["short.csv: line 3, column", "is missing", correct],
    );
    refused(
        &["--file", "price.csv"],
        &["price.csv: line 3, column 14: price", correct],
    );
    for empty in ["empty.csv", "header.csv"] {
        refused(
            &["--file", empty],
            &[empty, "holds no orders", "seq,action,order_id"],
        );
    }
    refused(
        &["--file", "good.csv", "--kill-leader-at", "1"],
        &[
            "--kill-leader-at: 1 is not before the end of good.csv",
            "use less than 1",
        ],
    );
    refused(
        &["--file", "good.csv", "--window", "0"],
        &["--window", "at least 1"],
    );
    refused(
        &["--file", "good.csv", "--fills", "no/fills.csv"],
        &["--fills: cannot write no/fills.csv", "choose a file"],
    );
}
