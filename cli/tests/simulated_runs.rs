//! Runs of the simulator from the command line: the same in every process, and a failing one can
//! be made small, kept in a file and repeated.

mod binary;

use std::path::Path;
use std::process::Output;

use binary::{lockstep, stderr, stdout};

fn sim(directory: &Path, arguments: &[&str]) -> Output {
    lockstep(directory, &[&["sim"], arguments].concat())
}

#[test]
fn fifty_seeds_come_out_alike_in_two_processes() {
    let place = tempfile::tempdir().unwrap();
    let run = || sim(place.path(), &["--seeds", "50", "--from", "9000"]);
    let (first, second) = (run(), run());
    assert!(first.status.success(), "{}", stderr(&first));
    let told = stdout(&first);
    assert_eq!(
        told.matches("50 seeds from 9000: no violation, hash")
            .count(),
        2,
        "{told}"
    );
    assert_eq!(told, stdout(&second));
}

/// The setting `key` of a scenario.
fn value(scenario: &str, key: &str) -> i64 {
    let line = scenario.lines().find_map(|line| line.strip_prefix(key));
    let value = line.and_then(|line| line.strip_prefix(" = "));
    value
        .expect("the scenario has it")
        .parse()
        .expect("it is a number")
}

#[test]
fn a_run_that_shows_a_planted_fault_is_made_small_and_repeats_from_its_file() {
    let place = tempfile::tempdir().unwrap();
    let planted = ["--tank", "node", "--planted", "commit-floor-ignored"];
    let shrink = |file| {
        sim(
            place.path(),
            &[&planted[..], &["--seeds", "50", "--shrink", file]].concat(),
        )
    };
    let (first, second) = (shrink("small.toml"), shrink("again.toml"));
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(second.status.success(), "{}", stderr(&second));
    let read = |file| std::fs::read_to_string(place.path().join(file)).unwrap();
    let small = read("small.toml");
    assert_eq!(small, read("again.toml"));
    let faults = small.matches("[[fault]]").count();
    assert!(faults <= 12, "{faults} faults are left:\n{small}");
    assert!(value(&small, "requests") < 120, "{small}");

    let repeat = || sim(place.path(), &["--scenario", "small.toml"]);
    let (third, fourth) = (repeat(), repeat());
    assert_eq!(third.status.code(), Some(1));
    assert!(
        stderr(&third).contains("9.3 commit floor"),
        "{}",
        stderr(&third)
    );
    assert_eq!(stderr(&third), stderr(&fourth));

    let clean: String = small
        .lines()
        .filter(|line| !line.starts_with("planted"))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(place.path().join("clean.toml"), clean).unwrap();
    let mended = sim(place.path(), &["--scenario", "clean.toml"]);
    assert!(mended.status.success(), "{}", stderr(&mended));
    assert!(stdout(&mended).contains("no violation, hash"));
}

#[test]
fn a_scenario_that_cannot_be_read_and_one_that_cannot_be_written_are_refused() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("odd.toml"), "seed = 3\n").unwrap();
    for (arguments, words) in [
        (&["--scenario", "none.toml"][..], "cannot read none.toml"),
        (&["--scenario", "odd.toml"], "odd.toml: "),
        (
            &["--scenario", "odd.toml", "--seeds", "3"],
            "cannot be used with",
        ),
        (
            &["--shrink", "no/small.toml"],
            "--shrink: cannot write no/small.toml",
        ),
        (
            &["--planted", "all", "--shrink", "small.toml"],
            "plant one fault",
        ),
        (
            &["--tank", "core", "--shrink", "small.toml"],
            "ask for --tank node",
        ),
    ] {
        let output = sim(place.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
