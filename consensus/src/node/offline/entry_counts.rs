//! Puts the frames of a scan together to entries: counts them, or hands each to whoever wants it.

use core::ops::ControlFlow;

use lockstep_archive::log::recovery::LogFrame;
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::Frame;
use lockstep_transport::position::Position;

use crate::log::entry_assembler::{Assembled, Entry, EntryAssembler};
use crate::log::log_entry::LogEntry;

/// Kinds have numbers below this.
const KINDS: usize = 12;

/// How many entries there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    by_kind: [u64; KINDS],
    /// Entries that no leader of this version writes, and frames without the beginning of theirs.
    pub unknown: u64,
    /// The first of them.
    pub first_unknown: Option<Position>,
}

impl EntryCounts {
    /// The kinds that there are, with their numbers.
    pub fn kinds(&self) -> impl Iterator<Item = (EntryKind, u64)> {
        (0..=u8::MAX)
            .map_while(|number| Some((number, *self.by_kind.get(usize::from(number))?)))
            .filter_map(|(number, count)| Some((EntryKind::from_number(number)?, count)))
            .filter(|(_, count)| *count > 0)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind.iter().sum()
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Entry(entry, _) => {
                self.by_kind[entry.header.kind as usize] += 1;
                if LogEntry::decode(&entry.header, entry.body).is_err() {
                    self.note_unknown(entry.position);
                }
            }
            Seen::Unknown { position, .. } => self.note_unknown(*position),
        }
    }

    fn note_unknown(&mut self, position: Position) {
        self.unknown += 1;
        self.first_unknown.get_or_insert(position);
    }
}

/// What a frame completed.
pub(super) enum Seen<'a> {
    /// An entry, of this leadership term.
    Entry(Entry<'a>, LeadershipTermId),
    /// It belongs to no entry: its first frame is missing, or its header is none.
    Unknown {
        /// Where the frame begins.
        position: Position,
        /// Where it ends.
        end: Position,
    },
}

/// Hands out entry after entry.
pub(super) struct EntryParts {
    assembler: EntryAssembler,
}

impl EntryParts {
    /// Of a log with terms of this length: no entry is longer.
    pub(super) fn new(term_length: usize) -> Self {
        Self {
            assembler: EntryAssembler::new(term_length),
        }
    }

    /// The log is left here: what is unfinished stays so.
    pub(super) fn reset(&mut self) {
        self.assembler.reset();
    }

    /// Takes the next frame of the scan.
    pub(super) fn take(
        &mut self,
        frame: &LogFrame<'_>,
        see: impl FnOnce(&Seen<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(whole) = Frame::first(frame.bytes) else {
            return ControlFlow::Continue(());
        };
        let end = frame.position + whole.aligned_length() as Position;
        match self.assembler.push(frame.position, &whole) {
            Assembled::Entry(entry) => see(&Seen::Entry(entry, frame.term)),
            Assembled::Incomplete => ControlFlow::Continue(()),
            Assembled::Malformed => see(&Seen::Unknown {
                position: frame.position,
                end,
            }),
        }
    }
}
