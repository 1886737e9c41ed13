//! The bytes of a snapshot on their way from the applied state to its file.

use lockstep_service::snapshot::{SnapshotError, SnapshotSummary, SnapshotWriter};

use crate::apply::answers::Answers;
use crate::apply::applied_log::{AppliedLog, PutOff};
use crate::module::output_agreement::OutputAt;
use crate::session::session_table::SessionTable;
use crate::snapshot::header::{SnapshotHeader, TERMS_SECTION, encode_term};

/// Bytes that may wait for the file before more are made.
const PENDING_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct SnapshotStream {
    writer: SnapshotWriter,
    /// The session that is written next, while some are.
    next_session: Option<usize>,
    summary: Option<SnapshotSummary>,
}

impl SnapshotStream {
    /// Nothing of any snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            writer: SnapshotWriter::new(),
            next_session: None,
            summary: None,
        }
    }

    /// Begins the snapshot at the end of the entry that `waits`, before which everything else is
    /// applied, with these outputs. What is no service's comes first.
    ///
    /// # Errors
    /// Never: the sections are this module's own.
    pub fn begin(
        &mut self,
        waits: PutOff,
        log: &AppliedLog,
        (answers, outputs): (&Answers, impl ExactSizeIterator<Item = OutputAt>),
    ) -> Result<(), SnapshotError> {
        self.summary = None;
        self.next_session = Some(0);
        self.writer.restart();
        let writer = &mut self.writer;
        let header = SnapshotHeader::of(log, waits);
        let header = header.expect("whoever asks for a snapshot leads a term");
        writer.begin_section(SnapshotHeader::SECTION)?;
        writer.write(&header.encode())?;
        writer.end_section()?;
        writer.begin_section(TERMS_SECTION)?;
        for term in log.terms() {
            writer.write(&encode_term(term))?;
        }
        writer.end_section()?;
        answers.save(outputs, writer)
    }

    /// Whether not much waits for the file: more may be written.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer.pending().len() < PENDING_MAX
    }

    /// Writes some of the sessions. Returns whether there were any left to write.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn write_sessions(&mut self, sessions: &SessionTable) -> Result<bool, SnapshotError> {
        let Some(from) = self.next_session else {
            return Ok(false);
        };
        self.next_session = sessions.save(from, &mut self.writer)?;
        Ok(true)
    }

    /// What the service's side writes to.
    pub const fn writer(&mut self) -> &mut SnapshotWriter {
        &mut self.writer
    }

    /// All is written.
    ///
    /// # Errors
    /// When a section has not ended.
    pub fn finish(&mut self) -> Result<(), SnapshotError> {
        self.summary = Some(self.writer.finish()?);
        Ok(())
    }

    /// Hands what waits to `take`, which says how much of it it took. Returns whether anything
    /// moved.
    pub fn drain(&mut self, take: impl FnOnce(&[u8]) -> usize) -> bool {
        let pending = self.writer.pending();
        if pending.is_empty() {
            return false;
        }
        let taken = take(pending);
        self.writer.consume(taken);
        taken > 0
    }

    /// What the whole is, once, when all of it was handed over.
    pub fn take_summary(&mut self) -> Option<SnapshotSummary> {
        let is_handed_over = self.writer.pending().is_empty();
        self.summary.take_if(|_| is_handed_over)
    }
}
