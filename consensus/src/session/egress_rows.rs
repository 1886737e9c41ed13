//! One row of egress per session whose client is there: what it has, what waits for it.
//!
//! A row is *live* while everything applied was sent or is queued on its ring; otherwise it
//! *lags*, and the shared scanner brings it up from the first position it lacks.

use lockstep_transport::ids::SessionId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::session::closed_session::ClosedSession;
use crate::session::egress_channels::Slot;
use crate::session::session_table::session_hash;
use crate::slots::{SlotHeap, SlotIndex, SlotList, SlotTable};

/// Responses that may be queued per session. Beyond it the session lags: what a client that
/// does not read costs is bounded.
const RING_LENGTH: usize = 1024;

/// Where one session's egress stands.
#[derive(Clone, Copy, Debug)]
pub struct EgressRow {
    /// The session.
    pub session: SessionId,
    /// Where its responses go.
    pub channel: Slot,
    /// Responses at or below this position are the client's already, or queued.
    pub after: Position,
    /// While it lags: a frame boundary at or below the first response it lacks.
    pub lags_from: Option<Position>,
    /// The session is closed: what is left to deliver ends here.
    pub closed: Option<ClosedSession>,
}

/// All rows, and the orders in which they want attention.
#[derive(Debug)]
pub(crate) struct EgressRows {
    table: SlotTable<EgressRow>,
    sessions: SlotIndex,
    rings: PositionRings,
    /// Rows whose channel can take something, or that are over.
    ready: SlotList,
    /// Rows that lag and can be served, by where their scan begins.
    waiting: SlotHeap,
    /// Rows that the pass of the scanner serves.
    in_pass: SlotList,
    /// Rows of closed sessions, oldest first.
    closed: SlotList,
}

impl EgressRows {
    /// Room for `capacity` rows.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            table: SlotTable::new(capacity),
            sessions: SlotIndex::new(capacity),
            rings: PositionRings::new(capacity),
            ready: SlotList::new(capacity),
            waiting: SlotHeap::new(capacity),
            in_pass: SlotList::new(capacity),
            closed: SlotList::new(capacity),
        }
    }

    /// Rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// Rows there are and may be.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fill(&self) -> (usize, usize) {
        (self.table.count(), self.table.capacity())
    }

    /// Rows of closed sessions.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn closed(&self) -> usize {
        self.closed.len()
    }

    /// Looks at rows since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.table.visits()
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        self.in_pass.clear();
        self.closed.clear();
        for index in 0..self.table.end() {
            self.rings.clear(index);
        }
        self.table.clear();
        self.sessions.clear();
    }

    /// The row of this session.
    #[must_use]
    pub fn find(&self, session: SessionId) -> Option<u32> {
        let is_it = |index| {
            self.table
                .at(index)
                .is_some_and(|row| row.session == session)
        };
        self.sessions.find(session_hash(session), is_it)
    }

    /// A row.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&EgressRow> {
        self.table.at(index)
    }

    /// Adds a row.
    pub fn insert(&mut self, row: EgressRow) {
        let session = row.session;
        let slot = self
            .table
            .insert(row)
            .expect("there is a row for every session and every closed one");
        self.sessions.insert(session_hash(session), slot.index());
    }

    /// Removes a row and all that waits for it.
    pub fn remove(&mut self, index: u32) -> Option<EgressRow> {
        let row = self.table.remove(index)?;
        self.sessions.remove(session_hash(row.session), index);
        self.rings.clear(index);
        self.ready.remove(index);
        self.waiting.remove(index);
        self.in_pass.remove(index);
        self.closed.remove(index);
        Some(row)
    }

    /// Whether nothing waits for this session.
    #[must_use]
    pub fn is_up_to_date(&self, index: u32) -> bool {
        let is_live = self.at(index).is_some_and(|row| row.lags_from.is_none());
        is_live && self.rings.is_empty(index)
    }

    /// Whether the row is live with nothing queued: a response may be sent at once.
    #[must_use]
    pub fn may_send(&self, index: u32) -> bool {
        self.rings.is_empty(index)
    }

    /// The response at `position` was sent.
    pub fn on_sent(&mut self, index: u32, position: Position) {
        if let Some(row) = self.table.at_mut(index) {
            row.after = position;
        }
    }

    /// Queues the response at `position`; when the ring is full the row lags from there.
    pub fn queue(&mut self, index: u32, position: Position) {
        if self.rings.push(index, position) {
            self.on_sent(index, position);
        } else {
            self.lag(index, position);
        }
    }

    /// The row lags from `position` on: a frame boundary at or below what it lacks.
    pub fn lag(&mut self, index: u32, position: Position) {
        self.in_pass.remove(index);
        if let Some(row) = self.table.at_mut(index) {
            row.lags_from = Some(position);
        }
    }

    /// What is queued has left memory: the row lags from there, with nothing queued.
    pub fn lag_from_queued(&mut self, index: u32) {
        let Some(position) = self.rings.front(index) else {
            return;
        };
        self.rings.clear(index);
        self.lag(index, position);
        self.on_sent(index, position - 1);
    }

    /// The response queued first.
    #[must_use]
    pub fn queued(&self, index: u32) -> Option<Position> {
        self.rings.front(index)
    }

    /// The response queued first was sent.
    pub fn pop_queued(&mut self, index: u32) {
        self.rings.pop(index);
    }

    /// The session is closed.
    pub fn hold_closed(&mut self, index: u32, closed: ClosedSession) {
        if let Some(row) = self.table.at_mut(index) {
            row.closed = Some(closed);
            self.closed.push_back(index);
            self.ready.push_back(index);
        }
    }

    /// The oldest row of a closed session, when there are more than `most`.
    #[must_use]
    pub fn surplus_closed(&self, most: usize) -> Option<u32> {
        self.closed.first().filter(|_| self.closed.len() > most)
    }

    /// The row's channel can take something.
    pub fn mark_ready(&mut self, index: u32) {
        self.ready.push_back(index);
    }

    /// Rows that wait to be served.
    #[must_use]
    pub const fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next of them.
    pub fn pop_ready(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    /// A row that lags, with nothing queued and a live channel, joins the pass at `scanned` if
    /// all it lacks is still ahead of it, or waits for the next pass.
    pub fn await_scan(&mut self, index: u32, scanned: Option<Position>) {
        let from = self.at(index).and_then(|row| row.lags_from);
        let Some(from) = from.filter(|_| !self.in_pass.contains(index)) else {
            return;
        };
        if scanned.is_some_and(|scanned| scanned <= from) {
            sometimes(Mark::EgressPassJoined);
            self.waiting.remove(index);
            self.in_pass.push_back(index);
        } else {
            self.waiting.set(index, from);
        }
    }

    /// Begins a pass over the log for all rows that wait; returns where.
    pub fn begin_pass(&mut self) -> Option<Position> {
        let (from, _) = self.waiting.first()?;
        while let Some(index) = self.waiting.pop_until(Position::MAX) {
            self.in_pass.push_back(index);
        }
        Some(from)
    }

    /// The pass came no further than `position`: its rows wait for the next one.
    pub fn put_back(&mut self, position: Position) {
        while let Some(index) = self.in_pass.pop_front() {
            if let Some(row) = self.table.at_mut(index) {
                row.lags_from = Some(position);
                self.waiting.set(index, position);
            }
        }
    }

    /// The next row that waits for a pass from below `position` on: it waits no more.
    pub fn pop_waiting_below(&mut self, position: Position) -> Option<u32> {
        self.waiting.pop_until(position - 1)
    }

    /// Whether the pass serves nobody any more.
    #[must_use]
    pub const fn is_pass_over(&self) -> bool {
        self.in_pass.is_empty()
    }

    /// Whether the pass serves this row, and it lacks the response at `position`.
    #[must_use]
    pub fn lacks(&self, index: u32, position: Position) -> bool {
        self.in_pass.contains(index) && self.at(index).is_some_and(|row| position > row.after)
    }

    /// The pass has reached all that is applied: its rows are live.
    pub fn end_pass(&mut self) {
        while let Some(index) = self.in_pass.pop_front() {
            if let Some(row) = self.table.at_mut(index) {
                row.lags_from = None;
                if row.closed.is_some() {
                    self.ready.push_back(index);
                }
            }
        }
    }

    /// Whether somebody waits for a pass.
    #[must_use]
    pub fn is_pass_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// A ring of positions per row, in one piece of memory that is only touched where it is used.
#[derive(Debug)]
struct PositionRings {
    positions: Vec<Position>,
    spans: Vec<RingSpan>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RingSpan {
    start: usize,
    length: usize,
}

impl PositionRings {
    fn new(capacity: usize) -> Self {
        Self {
            positions: vec![0; capacity * RING_LENGTH],
            spans: vec![RingSpan::default(); capacity],
        }
    }

    fn is_empty(&self, index: u32) -> bool {
        self.spans[index as usize].length == 0
    }

    fn clear(&mut self, index: u32) {
        self.spans[index as usize] = RingSpan::default();
    }

    fn push(&mut self, index: u32, position: Position) -> bool {
        let span = &mut self.spans[index as usize];
        if span.length == RING_LENGTH {
            return false;
        }
        let at = (span.start + span.length) % RING_LENGTH;
        span.length += 1;
        self.positions[index as usize * RING_LENGTH + at] = position;
        true
    }

    fn front(&self, index: u32) -> Option<Position> {
        let span = self.spans[index as usize];
        let at = index as usize * RING_LENGTH + span.start;
        (span.length > 0).then(|| self.positions[at])
    }

    fn pop(&mut self, index: u32) {
        let span = &mut self.spans[index as usize];
        span.start = (span.start + 1) % RING_LENGTH;
        span.length = span.length.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
