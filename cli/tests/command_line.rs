//! The binary as a user meets it: exit codes, messages, and the floor over real processes.

mod binary;

use binary::{lockstep, stderr, stdout};

#[test]
fn the_version_is_printed() {
    let place = tempfile::tempdir().unwrap();
    let output = lockstep(place.path(), &["version"]);
    assert_eq!(output.status.code(), Some(0));
    let said = stdout(&output);
    assert_eq!(said.trim(), concat!("lockstep ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_in_options_and_files_exit_with_2() {
    let place = tempfile::tempdir().unwrap();
    let unknown = lockstep(place.path(), &["bench", "--messgae-length", "3"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        stderr(&unknown).contains("--message-length"),
        "{}",
        stderr(&unknown)
    );
    let missing = lockstep(place.path(), &["node", "--config", "nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("nowhere.toml"));
    std::fs::write(
        place.path().join("node.toml"),
        "[cluster]\nmembers = []\nnam = \"x\"\n",
    )
    .unwrap();
    let misspelt = lockstep(place.path(), &["node", "--config", "node.toml"]);
    assert_eq!(misspelt.status.code(), Some(2));
    let said = stderr(&misspelt);
    assert!(
        said.contains("node.toml:3") && said.contains("did you mean \"name\"?"),
        "{said}"
    );
}

#[test]
fn a_run_that_cannot_fit_the_disk_is_refused_before_it_starts() {
    let place = tempfile::tempdir().unwrap();
    let output = lockstep(
        place.path(),
        &[
            &["bench", "cluster", "--messages", "100000000"][..],
            &["--snapshot-interval", "0"],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("exceed the disk budget"),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_floor_runs_over_processes_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["bench", "floor", "--processes", "--messages", "100"];
    let output = lockstep(place.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    let result: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(result["latency_ns"]["count"], 100);
    assert!(result["write_sync_ns"].as_u64().unwrap() > 0);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
