//! What a host grants is found out by using it, and said: a node starts on what works, and its
//! start line claims only what was checked. What fails later ends it by name.

mod lines;
mod place;

use std::process::Command;

use place::{LOCKSTEP, Place, Running, expect_refusal, words};

/// Forbids io_uring_enter (number 426 everywhere) to the program it runs, by a seccomp filter
/// that permits everything else, setting up rings included.
const WITHOUT_ENTER: &str = r#"
import ctypes, os, struct, sys
def code(op, yes, no, value): return struct.pack("HBBI", op, yes, no, value)
filter = code(0x20, 0, 0, 0) + code(0x15, 0, 1, 426) + code(6, 0, 0, 0x50001) \
    + code(6, 0, 0, 0x7fff0000)
memory = ctypes.create_string_buffer(filter)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(memory)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// A command that runs the node of `place` under `wrapper`; `None` where that is not to be had.
fn wrapped(place: &Place, wrapper: &[&str]) -> Option<Command> {
    let (program, arguments) = wrapper.split_first().expect("a wrapper has a name");
    let mut trial = Command::new(program);
    let output = trial
        .current_dir(place.path())
        .args(arguments)
        .arg("true")
        .output();
    if !output.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: this host does not run {program}");
        return None;
    }
    let mut command = Command::new(program);
    command.current_dir(place.path()).args(arguments);
    command.args([LOCKSTEP, "node", "--config", "node.toml"]);
    Some(command)
}

/// Makes system calls of the node fail as `injected` says.
fn with_failing_calls(place: &Place, injected: &str) -> Option<Command> {
    let inject = format!("inject={injected}");
    wrapped(
        place,
        &["strace", "-f", "-qq", "-o", "strace.log", "-e", &inject],
    )
}

fn expect_words(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "\"{part}\" is missing in: {line}");
    }
}

#[test]
fn a_ring_that_may_be_set_up_and_not_used_is_found_at_start_and_the_node_works_without() {
    let place = Place::new();
    let Some(mut command) = wrapped(&place, &["python3", "-c", WITHOUT_ENTER]) else {
        return;
    };
    let node = Running::start(&mut command);
    expect_words(
        &node.start_line,
        &[
            "network syscall: failed to ",
            "it can be set up and not be used",
            "disk: writer thread",
            "Operation not permitted",
        ],
    );
    place.expect_leads();
}

#[test]
fn a_ring_that_was_demanded_and_may_not_be_used_is_refused_at_start() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "io = \"uring\"\nsync ="),
    );
    let Some(mut command) = wrapped(&place, &["python3", "-c", WITHOUT_ENTER]) else {
        return;
    };
    let output = command.output().expect("it can be started");
    expect_refusal(
        &output,
        1,
        &["io_uring is refused by this host", "use io = auto"],
    );
}

#[test]
fn a_file_system_that_refuses_direct_writes_is_found_at_start_and_the_node_works() {
    let place = Place::new();
    let Some(mut command) = with_failing_calls(&place, "pwritev2:error=EINVAL:when=1") else {
        return;
    };
    let node = Running::start(&mut command);
    expect_words(
        &node.start_line,
        &["buffered writes", "no direct writes of 4 KiB"],
    );
    place.expect_leads();
    // Whoever traces it may be gone before it is.
    let process = place.counter(1).expect("it leads").to_string();
    let killed = Command::new("kill").args(["-9", &process]).status();
    assert!(killed.is_ok_and(|status| status.success()));
}

#[test]
fn a_directory_that_cannot_be_synced_at_start_is_refused_with_its_name_and_error_number() {
    let place = Place::new();
    let Some(mut command) = with_failing_calls(&place, "fsync:error=EIO:when=1") else {
        return;
    };
    let output = command.output().expect("it can be started");
    expect_refusal(&output, 1, &["sync of ", "data", "os error 5"]);
}

#[test]
fn a_node_whose_write_fails_ends_and_names_file_operation_and_error_number() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "io = \"syscall\"\nsync ="),
    );
    // The first two are the probe's and the incarnation's; whichever it is that fails later,
    // it is the log's, the vote's or the ack mark's.
    let Some(mut command) = with_failing_calls(&place, "pwritev2:error=EIO:when=3+") else {
        return;
    };
    let output = command.output().expect("it can be started");
    let parts = [
        "node-0 has halted: write of ",
        "failed: ",
        "os error 5",
        "check the device",
    ];
    expect_refusal(&output, 1, &parts);
    assert!(!words(&output).contains("a write or sync failed"));
}

#[test]
fn socket_buffers_that_were_not_granted_are_said_with_the_remedy() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "socket_buffer = \"1g\"\nsync ="),
    );
    // The superuser may have what the limit refuses, unless the permission is taken away.
    let humble = [
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
    ];
    let Some(mut command) = wrapped(&place, &humble) else {
        return;
    };
    let node = Running::start(&mut command);
    let remedy = "sysctl -w net.core.rmem_max=1073741824";
    expect_words(
        &node.start_line,
        &[
            "socket buffers 1048576 KiB: only",
            "to receive granted",
            remedy,
            "costs datagrams",
        ],
    );
    drop(node);
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "socket_buffer = \"64k\"\nsync ="),
    );
    let node = place.running();
    expect_words(&node.start_line, &["socket buffers 64 KiB;"]);
}

#[test]
fn a_budget_of_more_segments_than_may_be_open_is_cut_at_start_and_said() {
    let place = Place::new();
    let few = ["sh", "-c", "ulimit -n 328 && exec \"$@\"", "sh"];
    let Some(mut command) = wrapped(&place, &few) else {
        return;
    };
    // 64 MiB in segments of 64 KiB are 1,024; (328 - 128) / 2 may be open.
    let node = Running::start(&mut command);
    let said = [
        "log at most 6 MiB, not the 64 MiB of disk_budget",
        "328 open files",
        "ulimit -n",
    ];
    expect_words(&node.start_line, &said);
    let node = Place::new().running();
    assert!(
        !node.start_line.contains("log at most"),
        "{}",
        node.start_line
    );
}

/// Bytes that the kernel says about a process under `key`.
fn memory_of(process: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .expect("a line of it");
    let kibibytes = line.trim().split(' ').next().expect("a number");
    kibibytes.parse::<u64>().expect("a number") * 1024
}

#[test]
fn memory_is_locked_after_it_exists_and_the_line_says_how_much() {
    let place = Place::new();
    let large = place.config().replace("\"64k\"", "\"16m\"");
    place.write("node.toml", &large);
    let node = place.running();
    let Some((_, said)) = node.start_line.split_once("memory locked (") else {
        expect_words(&node.start_line, &["memory not locked"]);
        eprintln!("NOT TESTED: this host locks no memory");
        return;
    };
    let said: u64 = said
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .expect("a number of MiB");
    let locked = memory_of(node.id(), "VmLck:");
    // Three terms of log, at least.
    assert!(locked >= 48 << 20, "{locked} bytes are locked");
    assert!(
        locked.abs_diff(said << 20) <= 2 << 20,
        "{locked} bytes, said {said} MiB"
    );
}

#[test]
fn no_file_of_the_data_directory_is_mapped_and_tools_still_find_the_counters() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "trace_every = 1\nsync ="),
    );
    let node = place.running();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", node.id())).expect("it runs");
    let data = place.path().join("data").display().to_string();
    let mapped: Vec<&str> = maps.lines().filter(|line| line.contains(&data)).collect();
    assert!(mapped.is_empty(), "{mapped:?}");
    for name in ["-counters.dat", "-trace.dat"] {
        assert!(maps.contains(name), "{name}");
    }
    place.expect_leads();
}

#[test]
fn shared_memory_that_is_no_memory_is_refused_by_name() {
    let place = Place::new();
    place.write(
        "node.toml",
        &place.config_with("sync =", "shared_memory = \"/proc\"\nsync ="),
    );
    expect_refusal(
        &place.node(),
        1,
        &["shared_memory = /proc", "not in memory", "tmpfs"],
    );
}
