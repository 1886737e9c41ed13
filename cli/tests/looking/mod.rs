//! What the verbs that only look say of a directory.
#![allow(dead_code, reason = "shared by several tests, none of which needs all")]

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::binary::{lockstep, stdout, words};

/// What the binary says of the directory.
pub fn look(directory: &Path, what: [&str; 2], options: &[&str]) -> Output {
    let at = directory.to_str().expect("a path in UTF-8");
    let arguments = [&what[..], &["--dir", at], options].concat();
    lockstep(directory.parent().expect("a place"), &arguments)
}

/// What `what` says of the directory, for machines, and the code it ends with.
pub fn object(directory: &Path, what: [&str; 2]) -> (Value, Option<i32>) {
    let output = look(directory, what, &["--json"]);
    let object = serde_json::from_str(&stdout(&output));
    let object = object.unwrap_or_else(|error| panic!("{error}: {}", words(&output)));
    (object, output.status.code())
}

pub const LIST: [&str; 2] = ["snapshots", "list"];
pub const VERIFY: [&str; 2] = ["snapshots", "verify"];
pub const LOG_VERIFY: [&str; 2] = ["log", "verify"];

#[track_caller]
pub fn expect_good(directory: &Path, what: [&str; 2]) -> Value {
    let (found, code) = object(directory, what);
    assert_eq!(
        (&found["is_good"], code),
        (&true.into(), Some(0)),
        "{found:#}"
    );
    found
}

/// The positions of the snapshots that were found, newest first.
pub fn positions(found: &Value) -> Vec<i64> {
    let snapshots = found["snapshots"].as_array().expect("a list");
    let positions = snapshots.iter().map(|one| one["position"].as_i64());
    positions
        .map(|position| position.expect("a number"))
        .collect()
}
