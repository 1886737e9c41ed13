//! Where a consumer of the log is, entry by entry.
//!
//! What one read yields is a *run* of frames: it is looked for once and passed frame by frame.
//! A consumer may stop behind any frame of it; a new run begins where it stands then. The reader
//! is handed in, for one may serve several cursors.

use lockstep_archive::log::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_archive::log::log_view::LogView;
use lockstep_transport::log_buffer::Frame;
use lockstep_transport::position::Position;

use crate::log::entry_assembler::{Assembled, Entry, EntryAssembler};
use crate::node::fault::NodeFault;

/// Bytes taken from the log at once.
const RUN_LENGTH: usize = 64 * 1024;

/// Whether there is something to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// There is.
    Begun,
    /// Nothing below the limit.
    Nothing,
    /// It has to come from disk first.
    Pending,
}

/// One frame further.
#[derive(Debug)]
pub(crate) enum Passed<'a> {
    /// It completed this entry.
    Entry(Entry<'a>),
    /// Padding, or a part of an entry whose rest is to come.
    Part,
    /// No frame: the run is over.
    RunOver,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct EntryCursor {
    position: Position,
    run_end: Position,
    assembler: EntryAssembler,
    /// What is left of an entry whose beginning it does not have is passed over.
    is_within_entry: bool,
}

impl EntryCursor {
    /// A cursor at the beginning of the log, for entries whose body has at most `body_max` bytes.
    #[must_use]
    pub fn new(body_max: usize) -> Self {
        Self {
            position: 0,
            run_end: 0,
            assembler: EntryAssembler::new(body_max),
            is_within_entry: false,
        }
    }

    /// Everything below is passed.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Goes to `position`, where an entry begins.
    pub(crate) fn move_to(&mut self, position: Position) {
        self.position = position;
        self.run_end = position;
        self.assembler.reset();
        self.is_within_entry = false;
    }

    /// Goes to `position`, where a frame begins, perhaps of an entry that began before.
    pub(crate) fn move_to_frame(&mut self, position: Position) {
        self.move_to(position);
        self.is_within_entry = true;
    }

    /// Looks for the next run below `limit`.
    ///
    /// # Errors
    /// When the log cannot be read back here.
    pub(crate) fn begin_run(
        &mut self,
        reader: &mut LogReader,
        view: LogView<'_>,
        limit: Position,
    ) -> Result<Run, NodeFault> {
        let position = self.position;
        let span = ReadSpan {
            position,
            limit,
            length_max: RUN_LENGTH,
        };
        self.run_end = position;
        match reader.read(span, view) {
            LogRead::Pending => Ok(Run::Pending),
            LogRead::Damaged => Err(NodeFault::DamagedLog { position }),
            LogRead::Gone => {
                let start = view.segments.log_start();
                Err(NodeFault::LogGone { position, start })
            }
            LogRead::Frames { advance: 0, .. } => Ok(Run::Nothing),
            LogRead::Frames { advance, .. } => {
                self.run_end = position + advance as Position;
                Ok(Run::Begun)
            }
        }
    }

    /// Passes the next frame of the run that was begun with this reader.
    ///
    /// # Errors
    /// When no leader writes such a frame there.
    pub fn next<'a>(
        &'a mut self,
        reader: &'a LogReader,
        view: LogView<'a>,
    ) -> Result<Passed<'a>, NodeFault> {
        match self.frame(reader, view) {
            Some(frame) => self.pass(&frame),
            None => Ok(Passed::RunOver),
        }
    }

    /// The next frame of the run that was begun with this reader, to be [passed](Self::pass);
    /// `None` once the run is over.
    pub(crate) fn frame<'a>(&self, reader: &'a LogReader, view: LogView<'a>) -> Option<Frame<'a>> {
        let position = self.position;
        (position < self.run_end).then(|| reader.frame_at(position, view))
    }

    /// Passes `frame`, the next one.
    ///
    /// # Errors
    /// When no leader writes such a frame there.
    pub(crate) fn pass<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Passed<'a>, NodeFault> {
        let position = self.position;
        self.position += frame.aligned_length() as Position;
        if self.is_within_entry && !frame.is_padding() {
            if !frame.is_begin() {
                return Ok(Passed::Part);
            }
            self.is_within_entry = false;
        }
        match self.assembler.push(position, frame) {
            Assembled::Entry(entry) => Ok(Passed::Entry(entry)),
            Assembled::Incomplete => Ok(Passed::Part),
            Assembled::Malformed => Err(NodeFault::MalformedEntry { position }),
        }
    }
}

#[cfg(test)]
mod tests;
