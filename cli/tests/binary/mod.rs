//! The binary under test, run to its end.
#![allow(dead_code, reason = "shared by several tests, none of which needs all")]

use std::path::Path;
use std::process::{Command, Output};

/// The binary in `directory` with these arguments.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.current_dir(directory).args(arguments);
    command
}

/// What it left when it was run so.
pub fn lockstep(directory: &Path, arguments: &[&str]) -> Output {
    let output = command(directory, arguments).output();
    output.expect("the binary under test can be started")
}

/// What a program said, on both streams.
pub fn words(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// What it said on its standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it said on its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
