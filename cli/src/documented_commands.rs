//! Every command line that the documents show is one that the binary takes: shown in a block, it
//! can be typed as it stands; named in a sentence, its verb and its options exist.

use std::collections::BTreeSet;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, Parser as _};

use super::CommandLine;

/// How a line of a block begins that runs the binary.
const PREFIXES: [&str; 3] = [
    "lockstep ",
    "target/release/lockstep ",
    "cargo run --release -- ",
];

/// Name and text of every document.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = std::fs::read_dir(root.join("docs")).expect("there are documents");
    let mut paths: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
    paths.push(root.join("README.md"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).expect("the document can be read");
        (name.into_owned(), text)
    };
    paths.iter().map(read).collect()
}

/// Whether each line of `text` lies in a block: fenced, or indented by four.
fn lines(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut is_fenced = false;
    text.lines().map(move |line| {
        is_fenced ^= line.trim_start().starts_with("```");
        (is_fenced || line.starts_with("    "), line)
    })
}

/// The arguments of each command line in a block of `text`, comments left out.
fn shown(text: &str) -> Vec<String> {
    let blocks = lines(text).filter(|(is_block, _)| *is_block);
    blocks
        .filter_map(|(_, line)| {
            let line = line.trim_start().trim_start_matches("$ ");
            let prefix = PREFIXES.iter().find(|prefix| line.starts_with(**prefix))?;
            let arguments = line[prefix.len()..].split('#').next().unwrap_or_default();
            Some(arguments.trim().to_owned())
        })
        .collect()
}

/// What sentences and tables of `text` quote.
fn quoted(text: &str) -> Vec<String> {
    let sentences: Vec<&str> = lines(text)
        .filter(|(is_block, line)| !is_block && !line.trim_start().starts_with("```"))
        .map(|(_, line)| line)
        .collect();
    let sentences = sentences.join(" ");
    let quotes = sentences.split('`').skip(1).step_by(2);
    quotes.map(str::to_owned).collect()
}

fn parse(arguments: &str) -> Result<(), clap::Error> {
    let words = arguments.split_whitespace();
    CommandLine::try_parse_from(std::iter::once("lockstep").chain(words)).map(drop)
}

/// All long options of `command` and those below it.
fn options(command: &Command, found: &mut BTreeSet<String>) {
    let longs = command.get_arguments().filter_map(|a| a.get_long());
    found.extend(longs.map(str::to_owned));
    for below in command.get_subcommands() {
        options(below, found);
    }
}

#[test]
fn every_command_line_shown_in_the_documents_is_taken() {
    let mut count = 0;
    for (name, text) in documents() {
        for arguments in shown(&text) {
            count += 1;
            if let Err(error) = parse(&arguments) {
                panic!("{name}: lockstep {arguments}: {error}");
            }
        }
    }
    assert!(count >= 6, "{count} command lines found prove little");
}

#[test]
fn every_verb_and_option_named_in_a_sentence_exists() {
    let mut known = BTreeSet::new();
    options(&CommandLine::command(), &mut known);
    let mut count = 0;
    for (name, text) in documents() {
        for quote in quoted(&text) {
            if let Some(arguments) = quote.strip_prefix("lockstep ") {
                count += 1;
                let arguments = arguments.replace(['[', ']'], "");
                // Not a line to type: what is required may be missing, and values be letters.
                let error = parse(&arguments).err().map(|error| error.kind());
                let is_known = matches!(
                    error,
                    None | Some(
                        ErrorKind::MissingRequiredArgument
                            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                            | ErrorKind::InvalidValue
                            | ErrorKind::ValueValidation
                    )
                );
                assert!(is_known, "{name}: `{quote}`: {error:?}");
            } else if let Some(option) = quote.strip_prefix("--") {
                count += 1;
                let option = option.split([' ', '=']).next().unwrap_or_default();
                assert!(known.contains(option), "{name}: `{quote}` is no option");
            }
        }
    }
    assert!(count >= 20, "{count} quotes found prove little");
}

#[test]
fn a_command_line_that_is_not_taken_is_found() {
    let text = "Run\n\n    lockstep bench --messgaes 3   # quickly\n\nand `lockstep figures`.";
    assert_eq!(shown(text), ["bench --messgaes 3"]);
    assert!(parse("bench --messgaes 3").is_err());
    assert_eq!(quoted(text), ["lockstep figures"]);
    let error = parse("figures").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
    let fenced = "```sh\n$ lockstep version\n```\n";
    assert_eq!(shown(fenced), ["version"]);
}
