//! `lockstep log show`: one line for each entry.

use core::ops::ControlFlow;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lockstep_archive::disk::ColdFiles;
use lockstep_consensus::node::offline::directory_look::OfflineError;
use lockstep_consensus::node::offline::listing::{Listed, Listing, Wanted};
use lockstep_consensus::node::offline::log_source::LogSource;
use lockstep_consensus::node::offline::newest_entries::NewestEntries;
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;
use serde_json::json;

use super::entry_words::{HEAD, line, name, object, payload_lines};
use crate::lines::Lines;
use crate::looked_at::{LookedAt, with_source};
use crate::outcome::Outcome;

/// Options of `lockstep log show`.
#[derive(Args, Debug)]
pub struct ShowArguments {
    #[command(flatten)]
    at: LookedAt,
    /// Begin with the first entry at this position or above.
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<Position>,
    /// End before the first entry at this position or above.
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<Position>,
    /// Only the newest so many.
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    last: Option<u64>,
    /// Only entries that name this session; the one that opens it names none yet.
    #[arg(long, value_name = "ID")]
    session: Option<i64>,
    /// Only entries of this kind.
    #[arg(long, ignore_case = true, value_parser = kinds())]
    kind: Option<EntryKind>,
    /// At most so many lines.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The bytes of each entry too, hexadecimal and as text. Those of a `SessionOpen` hold the
    /// secret by which its client continues the session.
    #[arg(long)]
    payload: bool,
}

/// Reads a kind by its name.
fn kinds() -> impl TypedValueParser<Value = EntryKind> {
    let all = || (0..=u8::MAX).filter_map(EntryKind::from_number);
    PossibleValuesParser::new(all().map(name)).try_map(move |text| {
        let is_it = |kind: &EntryKind| name(*kind).eq_ignore_ascii_case(&text);
        all().find(is_it).ok_or("no kind of entry")
    })
}

/// Prints the entries.
pub fn run(arguments: &ShowArguments) -> Outcome {
    let directory = &arguments.at.dir;
    with_source(directory, |source| show(arguments, source))
}

fn show(
    arguments: &ShowArguments,
    source: &mut LogSource<'_, impl ColdFiles>,
) -> Result<Outcome, OfflineError> {
    let mut listing = Listing::open(source)?;
    let mut wanted = Wanted {
        from: arguments.from.unwrap_or(0),
        to: arguments.to.unwrap_or(Position::MAX),
        session: arguments.session.map(SessionId::new),
        kind: arguments.kind,
    };
    let mut skipped = 0;
    if let Some(count) = arguments.last {
        let newest = NewestEntries::find(&mut listing, &wanted, count)?;
        (wanted.from, wanted.to, skipped) = (newest.from, newest.to, newest.skipped);
    }
    if let Some(from) = arguments.from {
        let end = listing.end()?;
        if from > end {
            let directory = arguments.at.dir.display();
            return Ok(Outcome::usage(format!(
                "{directory}: --from {from} lies beyond the end of the log, {end}: choose a \
                 position up to there, or --last"
            )));
        }
    }
    let start = listing.directory().log_start.position;
    let mut printed = Printed::new(arguments, start, skipped);
    let end = listing.list(&wanted, |listed| printed.put(listed))?;
    Ok(printed.finish(end))
}

/// What has been printed.
struct Printed<'a> {
    arguments: &'a ShowArguments,
    /// Where the log started when it was looked at.
    start: Position,
    lines: Lines,
    /// Entries still to be passed over.
    skipped: u64,
    count: u64,
    damaged: u64,
    first: Option<Position>,
}

impl<'a> Printed<'a> {
    fn new(arguments: &'a ShowArguments, start: Position, skipped: u64) -> Self {
        let mut lines = Lines::new();
        if !arguments.at.json {
            lines.put(HEAD);
        }
        Self {
            arguments,
            start,
            lines,
            skipped,
            count: 0,
            damaged: 0,
            first: None,
        }
    }

    fn put(&mut self, listed: &Listed<'_>) -> ControlFlow<()> {
        if self.skipped > 0 {
            self.skipped -= u64::from(listed.is_counted());
            return ControlFlow::Continue(());
        }
        if self
            .arguments
            .limit
            .is_some_and(|limit| self.count >= limit)
        {
            return ControlFlow::Break(());
        }
        let is_read = match listed {
            Listed::Entry(entry, term) => {
                self.first.get_or_insert(entry.position);
                self.count += 1;
                if self.arguments.at.json {
                    let object = object(entry, *term, self.arguments.payload);
                    self.lines.put(&object.to_string())
                } else {
                    let is_read = self.lines.put(&line(entry, *term));
                    let body = if self.arguments.payload {
                        entry.body
                    } else {
                        &[]
                    };
                    is_read && payload_lines(body).all(|line| self.lines.put(&line))
                }
            }
            Listed::Unknown { position, end } => {
                self.damaged += 1;
                self.put_range("unknown", (*position, *end), None)
            }
            Listed::Gone { position, end } => self.put_range("gone", (*position, *end), None),
            Listed::Damaged {
                position,
                end,
                place,
            } => {
                self.damaged += 1;
                self.put_range("damaged", (*position, *end), Some(place))
            }
        };
        if is_read {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn put_range(
        &mut self,
        what: &str,
        (position, end): (Position, Position),
        place: Option<&(String, u64)>,
    ) -> bool {
        let length = end - position;
        if self.arguments.at.json {
            let mut object = json!({ "position": position, "end": end, "length": length });
            if let Some((file, offset)) = place {
                object["file"] = json!(file);
                object["offset"] = json!(offset);
            }
            return self.lines.put(&json!({ what: object }).to_string());
        }
        let words = match place {
            None if what == "gone" => {
                format!("GONE: {length} bytes that the node has let go of meanwhile")
            }
            Some((file, offset)) => format!(
                "DAMAGED: {length} bytes of log cannot be read, from offset {offset} of {file} on"
            ),
            None => format!("NOT KNOWN: {length} bytes that are whole and belong to no entry"),
        };
        self.lines.put(&format!("{position:>14} {end:>14} {words}"))
    }

    /// What is to be said besides, on standard error.
    fn finish(self, end: Position) -> Outcome {
        let directory = self.arguments.at.dir.display();
        let start = self.start;
        if self.arguments.last.is_none() && self.arguments.from.unwrap_or(0) < start {
            eprintln!(
                "lockstep: the log in {directory} starts at {start}: what lay below has been let \
                 go of"
            );
        }
        match (self.arguments.from, self.first) {
            (Some(from), Some(first)) if from != first => {
                eprintln!("lockstep: the first of these entries at {from} or above is at {first}");
            }
            (_, None) if end == start => eprintln!("lockstep: the log in {directory} is empty"),
            (_, None) => eprintln!("lockstep: no such entry below {end}, where this ended"),
            _ => {}
        }
        let outcome = match self.damaged {
            0 => Outcome::Good,
            damaged => Outcome::failed(format!(
                "{damaged} places of the log in {directory} cannot be read, see above; `lockstep \
                 log verify` says what was acknowledged there"
            )),
        };
        self.lines.finish(outcome)
    }
}
