//! What a scenario has found: printed, or written as JSON.

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;

use crate::outcome::Outcome;
use crate::output_file;

/// Checks that the result can be written where it is to go.
pub(super) fn check_json(json: Option<&Path>) -> Result<(), Outcome> {
    let path = json.filter(|path| path.as_os_str() != "-");
    path.map_or(Ok(()), output_file::check)
        .map_err(|problem| Outcome::usage(format!("--json: {problem}")))
}

/// Prints a report for people, or the JSON object it is where that was asked for.
pub(super) fn print(
    report: &impl Display,
    to_json: impl Fn() -> Value,
    is_good: bool,
    json: Option<&Path>,
) -> Outcome {
    let is_json_on_stdout = json.is_some_and(|path| path.as_os_str() == "-");
    if is_json_on_stdout {
        println!("{:#}", to_json());
    } else {
        print!("{report}");
        if let Some(path) = json
            && let Err(error) = std::fs::write(path, format!("{:#}\n", to_json()))
        {
            return Outcome::failed(format!("failed to write {}: {error}", path.display()));
        }
    }
    if is_good {
        Outcome::Good
    } else {
        Outcome::failed(
            "the run did not do all that was asked, or not right: see ERROR or NOT above",
        )
    }
}
