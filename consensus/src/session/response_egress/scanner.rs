//! Reads the log for sessions that lag (`log.md` 7): once for all of them, in position order.

use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::LogView;
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use super::sending::{EgressContext, applied_number, response_header, send_or_queue};
use crate::apply::void_responses::VoidResponses;
use crate::log::entry_assembler::Entry;
use crate::log::entry_cursor::{EntryCursor, Passed, Run};
use crate::node::fault::NodeFault;
use crate::session::egress_rows::EgressRows;
use crate::session::session_table::SessionTable;

/// Bytes of log scanned for sessions that lag, per duty cycle: keeps a cycle short while
/// clients catch up over a long log.
const SCAN_BYTES_PER_CYCLE: usize = 128 * 1024;

/// Reads the log once for all sessions that lag.
#[derive(Debug)]
pub(super) struct Scanner {
    /// A pass is under way: everything below the cursor is scanned in it.
    pub(super) is_passing: bool,
    pub(super) cursor: EntryCursor,
    pub(super) passes: u64,
}

/// What the scanner serves, and up to where.
pub(super) struct Scan<'a> {
    pub(super) rows: &'a mut EgressRows,
    pub(super) void: &'a VoidResponses,
    pub(super) term: LeadershipTermId,
    pub(super) applied: Position,
    pub(super) table: &'a SessionTable,
}

impl Scanner {
    /// How far the present pass has come.
    pub(super) fn position(&self) -> Option<Position> {
        self.is_passing.then(|| self.cursor.position())
    }

    pub(super) fn run(
        &mut self,
        scan: &mut Scan<'_>,
        context: &mut EgressContext<'_>,
        reader: &mut LogReader,
        view: LogView<'_>,
    ) -> Result<usize, NodeFault> {
        if self.is_passing && scan.rows.is_pass_over() {
            self.is_passing = false;
        }
        if !self.is_passing
            && scan.rows.is_pass_wanted()
            && let Some(from) = scan.rows.begin_pass()
        {
            self.is_passing = true;
            self.cursor.move_to_frame(from);
            sometimes(Mark::EgressPass);
            self.passes += 1;
        }
        if !self.is_passing {
            return Ok(0);
        }
        let from = self.cursor.position();
        self.advance(scan, context, reader, view)?;
        if self.cursor.position() >= scan.applied {
            scan.rows.end_pass();
            self.is_passing = false;
        }
        let has_moved = self.cursor.position() > from;
        Ok(usize::from(has_moved || !self.is_passing))
    }

    /// Scans a share of the log.
    fn advance(
        &mut self,
        scan: &mut Scan<'_>,
        context: &mut EgressContext<'_>,
        reader: &mut LogReader,
        view: LogView<'_>,
    ) -> Result<(), NodeFault> {
        let share = self.cursor.position() + SCAN_BYTES_PER_CYCLE as Position;
        let end = scan.applied.min(share);
        while self.cursor.position() < end && !scan.rows.is_pass_over() {
            if self.cursor.begin_run(reader, view, scan.applied)? != Run::Begun {
                break;
            }
            loop {
                match self.cursor.next(reader, view)? {
                    Passed::Entry(entry) => scan.deliver(context, &entry),
                    Passed::Part => {}
                    Passed::RunOver => break,
                }
            }
        }
        Ok(())
    }
}

impl Scan<'_> {
    fn deliver(&mut self, context: &mut EgressContext<'_>, entry: &Entry<'_>) {
        if entry.header.kind != EntryKind::Response || self.void.contains(entry.position) {
            return;
        }
        let index = self.rows.find(entry.header.session);
        let Some(index) = index.filter(|index| self.rows.lacks(*index, entry.position)) else {
            return;
        };
        let Some(row) = self.rows.at(index).copied() else {
            return;
        };
        let header = response_header(self.term, entry, applied_number(&row, self.table));
        send_or_queue(self.rows, context, (index, row.channel), &header, entry);
    }
}
