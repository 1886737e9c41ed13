//! Entry after entry of a log, from any position on, in bounded memory: what is damaged is named
//! and stepped over. Changes nothing; the node may run meanwhile.
//!
//! Frames never cross a term's end (`wire.md` A.7), so that the log can be read from the beginning
//! of any of its terms: whoever asks for what follows a position reads at most a term below it.

use core::ops::ControlFlow;

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::log::log_memory::LeftLog;
use lockstep_archive::log::recovery::inspection::Inspection;
use lockstep_archive::log::recovery::{Acknowledged, LogOrigin};
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::position::Position;

use super::directory_look::{DirectoryLook, OfflineError};
use super::entry_counts::{EntryParts, Seen};
use super::log_source::{FoundMemory, LogSource};
use super::verification::place_of;
use crate::log::entry_assembler::Entry;
use crate::log::frame_meaning::frame_meaning;
use crate::log::log_entry::LogEntry;

/// Which entries are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those that begin here or above.
    pub from: Position,
    /// Those that begin below.
    pub to: Position,
    /// Those that name this session.
    pub session: Option<SessionId>,
    /// Those of this kind.
    pub kind: Option<EntryKind>,
}

impl Wanted {
    /// All of them.
    pub const ALL: Self = Self {
        from: 0,
        to: Position::MAX,
        session: None,
        kind: None,
    };

    fn takes(&self, entry: &Entry<'_>) -> bool {
        let is_of_kind = self.kind.is_none_or(|kind| entry.header.kind == kind);
        entry.position >= self.from && is_of_kind && self.session.is_none_or(|s| names(entry, s))
    }

    const fn takes_all_kinds(&self) -> bool {
        self.session.is_none() && self.kind.is_none()
    }
}

/// Whether the entry is of this session. One that opens a session names none: its number is given
/// when it is applied.
fn names(entry: &Entry<'_>, session: SessionId) -> bool {
    let named = match LogEntry::decode(&entry.header, entry.body) {
        Ok(LogEntry::SessionOpen(open)) => open.resume_session == session,
        Ok(LogEntry::SessionAck(acks)) => acks.iter().any(|ack| ack.session == session),
        _ => false,
    };
    named || entry.header.session == session
}

/// What is found on the way.
#[derive(Clone, Debug)]
pub enum Listed<'a> {
    /// An entry, and the leadership term that it is of.
    Entry(Entry<'a>, LeadershipTermId),
    /// Frames that are whole and no entry: the beginning of theirs is damaged, or no leader of this
    /// version writes them.
    Unknown {
        /// Where they begin.
        position: Position,
        /// Where they end.
        end: Position,
    },
    /// Part of the log that its node has let go of while it was listed.
    Gone {
        /// Where it began.
        position: Position,
        /// Where the log starts now.
        end: Position,
    },
    /// Part of the log that cannot be read.
    Damaged {
        /// Where it begins.
        position: Position,
        /// Where the log goes on, or would end.
        end: Position,
        /// File and offset of its first byte.
        place: (String, u64),
    },
}

impl Listed<'_> {
    /// Whether it is one of those that are wanted, and no remark about the way to them.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        matches!(self, Self::Entry(..) | Self::Unknown { .. })
    }
}

/// See the module.
pub struct Listing<'a, 'b, D> {
    source: &'b mut LogSource<'a, D>,
    directory: DirectoryLook,
    memory: FoundMemory,
    is_running: bool,
}

/// What follows the last frame that could be read.
enum Beyond {
    /// The log goes on: it was written meanwhile.
    More,
    /// Damage up to here, where the log goes on.
    Gap(Position),
    /// It has been trimmed up to here meanwhile.
    Gone(Position),
    /// Damage up to here, and nothing above.
    LastGap(Position),
    /// Nothing.
    End,
}

impl<'a, 'b, D: ColdFiles> Listing<'a, 'b, D> {
    /// Looks at the directory.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn open(source: &'b mut LogSource<'a, D>) -> Result<Self, OfflineError> {
        let is_running = (source.is_in_use)();
        let directory = DirectoryLook::read(source.disk)?;
        let memory = source.memory(&directory)?;
        Ok(Self {
            source,
            directory,
            memory,
            is_running,
        })
    }

    /// The small files.
    #[must_use]
    pub const fn directory(&self) -> &DirectoryLook {
        &self.directory
    }

    /// Hands out what is wanted, until `see` has seen enough. Returns where it ended: at the end of
    /// the log, unless it was ended before.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn list(
        &mut self,
        wanted: &Wanted,
        mut see: impl FnMut(&Listed<'_>) -> ControlFlow<()>,
    ) -> Result<Position, OfflineError> {
        let catalog = self.directory.catalog;
        let known = self.directory.acknowledged();
        let left = self.memory.left();
        let origin = LogOrigin::unknown_below(self.directory.log_start);
        let shape = (&catalog, &origin);
        let mut inspection = Inspection::begin(self.source.disk, &known, shape, left.as_ref())?;
        let start = self.term_start(wanted.from);
        if start > inspection.end() {
            inspection.join_at(start);
        }
        let mut walk = Walk {
            disk: &mut *self.source.disk,
            directory: &self.directory,
            is_running: self.is_running,
            read_again_at: None,
        };
        let mut parts = EntryParts::new(catalog.term_length);
        let meaning_of = |frame: &[u8]| frame_meaning(frame).0;
        loop {
            let mut flow = ControlFlow::Continue(());
            inspection.accept(walk.disk, &meaning_of, |frame| {
                flow = parts.take(&frame, |seen| wanted.hand_out(seen, &mut see));
                flow
            })?;
            if flow.is_break() {
                return Ok(inspection.end());
            }
            if inspection.lay_over() {
                continue;
            }
            let position = inspection.end();
            let (end, is_last) = match walk.beyond(&mut inspection)? {
                Beyond::More => continue,
                Beyond::End => return Ok(position),
                Beyond::Gone(end) => {
                    let is_wanted = end > wanted.from && position < wanted.to;
                    if is_wanted && see(&Listed::Gone { position, end }).is_break() {
                        return Ok(position);
                    }
                    parts.reset();
                    inspection.join_at(end);
                    continue;
                }
                Beyond::Gap(end) => (end, false),
                Beyond::LastGap(end) => (end, true),
            };
            if position >= wanted.to {
                return Ok(position);
            }
            let place = place_of(position, catalog.segment_length);
            let damaged = Listed::Damaged {
                position,
                end,
                place,
            };
            if (end > wanted.from && see(&damaged).is_break()) || is_last {
                return Ok(position);
            }
            parts.reset();
            inspection.join_at(end);
        }
    }

    /// Where the newest term begins that has anything in it.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub(super) fn newest_term(&mut self) -> Result<Position, OfflineError> {
        let (catalog, known) = (self.directory.catalog, self.directory.acknowledged());
        let left = self.memory.left();
        let origin = LogOrigin::unknown_below(self.directory.log_start);
        let shape = (&catalog, &origin);
        let mut inspection = Inspection::begin(self.source.disk, &known, shape, left.as_ref())?;
        let in_memory = left.as_ref().map_or(0, LeftLog::end);
        let lowest = self.term_start(in_memory - 1).max(inspection.end());
        let mut start = self.term_start(inspection.segments_end() - 1);
        while start > lowest && !inspection.is_used(self.source.disk, start)? {
            start -= catalog.term_length as Position;
        }
        Ok(start.max(lowest))
    }

    /// Where the log ends, as far as it can be read.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn end(&mut self) -> Result<Position, OfflineError> {
        let from = self.newest_term()?;
        self.list(
            &Wanted {
                from,
                ..Wanted::ALL
            },
            |_| ControlFlow::Continue(()),
        )
    }

    /// Beginning of the term that `position` lies in.
    const fn term_start(&self, position: Position) -> Position {
        position & !(self.directory.catalog.term_length as Position - 1)
    }
}

impl Wanted {
    fn hand_out(
        &self,
        seen: &Seen<'_>,
        see: &mut impl FnMut(&Listed<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (Seen::Entry(Entry { position, .. }, _) | Seen::Unknown { position, .. }) = seen;
        if *position >= self.to {
            return ControlFlow::Break(());
        }
        match seen {
            Seen::Entry(entry, term) if self.takes(entry) => see(&Listed::Entry(*entry, *term)),
            Seen::Unknown { position, end } if *position >= self.from && self.takes_all_kinds() => {
                see(&Listed::Unknown {
                    position: *position,
                    end: *end,
                })
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What one listing needs to tell the end of a log from damage.
struct Walk<'a, D> {
    disk: &'a mut D,
    directory: &'a DirectoryLook,
    is_running: bool,
    /// Where a running node's log was read anew because its mark says that there is more.
    read_again_at: Option<Position>,
}

impl<D: ColdFiles> Walk<'_, D> {
    fn beyond(&mut self, inspection: &mut Inspection<'_>) -> Result<Beyond, OfflineError> {
        let position = inspection.end();
        let now = DirectoryLook::read(self.disk)?;
        // Its lock is not seen from here, it may be.
        self.is_running |= now.mark != self.directory.mark;
        let known = now.acknowledged();
        let marked = known.mark.position;
        let log_start = now.log_start.position;
        if position < log_start {
            return Ok(Beyond::Gone(log_start));
        }
        if self.is_running {
            if inspection.has_all(&known) {
                return Ok(Beyond::End);
            }
            if self.read_again_at != Some(position) {
                self.read_again_at = Some(position);
                inspection.look_again(self.disk, marked)?;
                return Ok(Beyond::More);
            }
        }
        if position < marked {
            // Without a look at all that lies above: a log has as many damaged places as it has.
            let next = inspection.next_intact(self.disk, marked)?;
            if let Some(next) = next {
                return Ok(Beyond::Gap(next));
            }
        }
        self.at_the_end(inspection, &known).map_err(Into::into)
    }

    /// Where nothing whole is left, or nothing was acknowledged: what a start would say.
    fn at_the_end(
        &mut self,
        inspection: &mut Inspection<'_>,
        known: &Acknowledged,
    ) -> Result<Beyond, DiskError> {
        let meaning_of = |frame: &[u8]| frame_meaning(frame).0;
        let log = inspection.conclude(self.disk, known, &meaning_of)?;
        Ok(match (log.lost, log.next_intact) {
            (None, _) => Beyond::End,
            (Some(_), Some(next)) => Beyond::Gap(next),
            (Some(lost), None) if lost.position.max(log.extent) > log.end => {
                Beyond::LastGap(lost.position.max(log.extent))
            }
            (Some(_), None) => Beyond::End,
        })
    }
}
