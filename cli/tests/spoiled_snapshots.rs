//! `lockstep snapshots list` and `verify` with all that can be wrong with a snapshot's file or with
//! the index that names it: each is said with its place and a remedy, and nothing is changed.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and the clock"
)]

mod binary;
mod lines;
mod looking;
mod place;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use binary::words;
use looking::{LIST, VERIFY, expect_good, look, object, positions};
use place::{LOCKSTEP, Place, expect_refusal, outcome};

/// A member of a cluster of one that was killed and has one snapshot, and its place.
fn killed_with_snapshot() -> (Place, PathBuf, String) {
    let place = Place::new();
    let node = place.running();
    place.expect_leads();
    let directory = place.path().join("data");
    let asked = place.lockstep(&["snapshot", "--dir", "data"]);
    assert!(asked.status.success(), "{}", words(&asked));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while positions(&expect_good(&directory, LIST)).is_empty() {
        assert!(std::time::Instant::now() < until, "no snapshot was stored");
    }
    node.kill();
    let taken = positions(&expect_good(&directory, VERIFY))[0];
    (place, directory, format!("1-{taken}.rec"))
}

/// Demands that both verbs, and `log verify`, say so much of the directory, end with these codes,
/// and change nothing.
#[track_caller]
fn expect_said(place: &Place, codes: [i32; 2], parts: &[&str]) {
    let before = place.listing();
    for (verb, code) in ["list", "verify"].into_iter().zip(codes) {
        let output = place.lockstep(&["snapshots", verb, "--dir", "data"]);
        match code {
            0 => assert!(output.status.success(), "{verb}: {}", words(&output)),
            _ => expect_refusal(&output, code, parts),
        }
        if code < 2 {
            let (found, also) = object(&place.path().join("data"), ["snapshots", verb]);
            assert_eq!((found["is_good"] == true, also), (code == 0, Some(code)));
        }
    }
    let output = place.lockstep(&["log", "verify", "--dir", "data"]);
    assert!(!words(&output).contains("panicked"), "{}", words(&output));
    assert!(place.listing() == before, "it was changed");
}

#[test]
fn whatever_is_wrong_with_a_snapshots_file_is_said_with_place_and_remedy() {
    let (place, directory, name) = killed_with_snapshot();
    let path = directory.join(&name);
    let good = std::fs::read(&path).expect("a snapshot");
    let remedy = "keep the directory as it is";
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("a good disk");
    for length in [0, 1, 100, good.len() - 4096, good.len() - 1] {
        write(&good[..length]);
        let cut = format!("cut short to {length} bytes of {}", good.len());
        expect_said(&place, [1, 1], &[&name, &cut, remedy]);
    }
    write(&[&good[..], &[0; 4096]].concat());
    expect_said(&place, [1, 1], &[&name, "bytes, of which", remedy]);
    let stored = expect_length(&directory);
    for at in (0..stored).step_by(41) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        write(&bytes);
        expect_said(&place, [0, 1], &[&name, "cannot be used", remedy]);
    }
    // Magic and format 2, with their checksum.
    let mut newer = good.clone();
    newer[8] = 2;
    newer[12..16].copy_from_slice(&0x2654_E18E_u32.to_le_bytes());
    write(&newer);
    expect_said(
        &place,
        [0, 1],
        &[&name, "format 2, newer than 1", "newer version", remedy],
    );
}

#[test]
fn whatever_lies_in_the_place_of_a_snapshots_file_is_said_with_place_and_remedy() {
    let (place, directory, name) = killed_with_snapshot();
    let path = directory.join(&name);
    let good = std::fs::read(&path).expect("a snapshot");
    let remedy = "keep the directory as it is";
    let remove = || std::fs::remove_file(&path).expect("it is there");
    remove();
    expect_said(&place, [1, 1], &[&name, "missing", "beginning", remedy]);
    std::fs::create_dir(&path).expect("a directory can be made");
    expect_said(&place, [1, 1], &[&name, "it is no file", remedy]);
    std::fs::remove_dir(&path).expect("it is there");
    // Whoever compares what is in the place before and after reads all of it, and would wait.
    let expect_refused = |words: &str| {
        for verb in ["list", "verify"] {
            let output = place.lockstep(&["snapshots", verb, "--dir", "data"]);
            expect_refusal(&output, 1, &[&name, words, remedy]);
        }
        remove();
    };
    symlink("nowhere", &path).expect("a link can be made");
    expect_refused("missing");
    symlink("/dev/zero", &path).expect("a link can be made");
    expect_refused("it is no file");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo can be started").success());
    expect_refused("it is no file");
    std::fs::write(&path, &good).expect("a good disk");
    let refuse = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(&path, refuse).expect("it is there");
    let output = outcome(without_privilege(&path).current_dir(place.path()).args([
        "snapshots",
        "verify",
        "--dir",
        "data",
    ]));
    expect_refusal(
        &output,
        1,
        &[&name, "ermission denied", "this user may read"],
    );
    let permit = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, permit).expect("it is there");
    std::fs::write(directory.join("1-99968.rec"), b"?").expect("a good disk");
    expect_said(&place, [0, 0], &[]);
    let listed = words(&place.lockstep(&["snapshots", "list", "--dir", "data"]));
    assert!(
        listed.contains("1-99968.rec, 1 bytes is not named"),
        "{listed}"
    );
}

/// The binary as one who may not read `refused`, which nobody may: whoever runs this may be the
/// superuser, who may all the same until that is taken away.
fn without_privilege(refused: &Path) -> Command {
    if std::fs::read(refused).is_err() {
        return Command::new(LOCKSTEP);
    }
    let privileges = "-dac_override,-dac_read_search";
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set={privileges}"))
        .arg(format!("--inh-caps={privileges}"))
        .arg(LOCKSTEP);
    command
}

/// Bytes of the snapshot.
fn expect_length(directory: &Path) -> usize {
    let (found, _) = object(directory, LIST);
    found["snapshots"][0]["length"].as_u64().expect("a number") as usize
}

#[test]
fn a_snapshot_of_another_cluster_is_said_with_place_and_remedy() {
    let (place, directory, name) = killed_with_snapshot();
    let (_other_place, other, other_name) = killed_with_snapshot();
    let remedy = "keep the directory as it is";
    let theirs = std::fs::read(other.join(&other_name)).expect("a snapshot");
    std::fs::write(directory.join(&other_name), &theirs).expect("a good disk");
    assert_eq!(name, other_name, "both did the same");
    expect_said(
        &place,
        [0, 1],
        &[&name, "not the one that was stored there", remedy],
    );
    let index = "snapshots.idx";
    std::fs::copy(other.join(index), directory.join(index)).expect("a good disk");
    expect_said(
        &place,
        [0, 1],
        &[&other_name, "it is of another cluster, ", remedy],
    );
}

#[test]
fn a_bad_index_is_said_with_place_and_remedy() {
    let (place, directory, _) = killed_with_snapshot();
    let index = directory.join("snapshots.idx");
    let good = std::fs::read(&index).expect("an index");
    let remedy = "keep the directory as it is";
    // The log begins at 0: nothing but the snapshots is lost with the index.
    for bytes in [&good[..100], &vec![0xA5; good.len()], &[][..]] {
        std::fs::write(&index, bytes).expect("a good disk");
        let parts = [
            "snapshots.idx is missing, or damaged in both of its places",
            "anew",
            remedy,
        ];
        expect_said(&place, [1, 1], &parts);
    }
    std::fs::remove_file(&index).expect("it is there");
    expect_said(
        &place,
        [1, 1],
        &["snapshots.idx is missing", "anew", remedy],
    );
    std::fs::create_dir(&index).expect("a directory can be made");
    expect_said(
        &place,
        [2, 2],
        &["snapshots.idx", "it is no file", "may read"],
    );
    std::fs::remove_dir(&index).expect("it is there");
    // One of its two places is enough.
    let mut half = good.clone();
    half[100] ^= 1;
    std::fs::write(&index, &half).expect("a good disk");
    expect_said(&place, [0, 0], &[]);
    let text = words(&look(&directory, LIST, &[]));
    assert!(
        text.contains("one of the two places of snapshots.idx is spoiled"),
        "{text}"
    );
    for at in (0..good.len()).step_by(97) {
        let mut both = good.clone();
        both[at % 4096] ^= 2;
        both[4096 + at % 4096] ^= 2;
        std::fs::write(&index, &both).expect("a good disk");
        let output = look(&directory, VERIFY, &[]);
        assert!(
            !words(&output).contains("panicked"),
            "{at}: {}",
            words(&output)
        );
    }
    for what in [LIST, VERIFY] {
        let refused = |at: &str, parts: &[&str]| {
            let output = place.lockstep(&[what[0], what[1], "--dir", at]);
            expect_refusal(&output, 2, parts);
        };
        refused("nowhere", &["nowhere", "correct the path"]);
        refused("node.toml", &["node.toml is not a directory"]);
        refused(".", &["no node's directory"]);
    }
}
