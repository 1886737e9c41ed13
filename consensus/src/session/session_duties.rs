//! What a leader owes its sessions without their asking: to close those that fell silent, to log
//! what they acknowledged, to tell them how far they are applied.
//!
//! Each duty names the sessions that are due, so that nobody walks over the others. All in
//! turn: who was served goes to the end of the line.

use lockstep_transport::time::Nanos;

use crate::slots::{SlotHeap, SlotList, SlotTable};

/// The duties towards all open sessions.
#[derive(Debug)]
pub struct SessionDuties {
    /// Session ids.
    table: SlotTable<i64>,
    /// When to ask next whether a session has fallen silent: at or before it can have.
    silences: SlotHeap,
    /// Sessions that acknowledged something in a keepalive.
    acknowledgements: SlotList,
    /// Sessions with requests that they may not know to be applied.
    progress: SlotList,
}

impl SessionDuties {
    /// Room for `capacity` sessions.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            table: SlotTable::new(capacity),
            silences: SlotHeap::new(capacity),
            acknowledgements: SlotList::new(capacity),
            progress: SlotList::new(capacity),
        }
    }

    /// Looks at sessions since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.table.visits()
    }

    /// A session opened, and cannot have fallen silent before `silent_at`. Returns its row.
    pub fn insert(&mut self, session: i64, silent_at: Nanos) -> u32 {
        let slot = self
            .table
            .insert(session)
            .expect("there are as many rows as there may be sessions");
        self.silences.set(slot.index(), silent_at);
        slot.index()
    }

    /// The session of this row closed.
    pub fn remove(&mut self, row: u32) {
        self.table.remove(row);
        self.silences.remove(row);
        self.acknowledgements.remove(row);
        self.progress.remove(row);
    }

    /// Forgets all sessions.
    pub fn clear(&mut self) {
        self.silences.clear();
        self.acknowledgements.clear();
        self.progress.clear();
        self.table.clear();
    }

    /// The session of this row appended a request.
    pub fn note_request(&mut self, row: u32) {
        self.progress.push_back(row);
    }

    /// The session of this row acknowledged something that is not on its way to the log.
    pub fn note_acknowledgement(&mut self, row: u32) {
        self.acknowledgements.push_back(row);
    }

    /// The session of this row is to be asked about at `silent_at`.
    pub fn await_silence(&mut self, row: u32, silent_at: Nanos) {
        self.silences.set(row, silent_at);
    }

    /// A session that may have fallen silent by `now`.
    pub fn pop_silent(&mut self, now: Nanos) -> Option<i64> {
        let row = self.silences.pop_until(now)?;
        self.table.at(row).copied()
    }

    /// Sessions that acknowledged something.
    #[must_use]
    pub const fn acknowledgements(&self) -> usize {
        self.acknowledgements.len()
    }

    /// The next of them.
    pub fn pop_acknowledgement(&mut self) -> Option<i64> {
        let row = self.acknowledgements.pop_front()?;
        self.table.at(row).copied()
    }

    /// Sessions that may not know how far they are applied.
    #[must_use]
    pub const fn progress(&self) -> usize {
        self.progress.len()
    }

    /// The next of them.
    pub fn pop_progress(&mut self) -> Option<i64> {
        let row = self.progress.pop_front()?;
        self.table.at(row).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_with_news_has_a_turn_before_anybody_has_a_second() {
        let mut duties = SessionDuties::new(4);
        let rows: Vec<u32> = (10..14).map(|id| duties.insert(id, 100 + id)).collect();
        for row in &rows {
            duties.note_acknowledgement(*row);
        }
        assert_eq!(duties.pop_acknowledgement(), Some(10));
        duties.note_acknowledgement(rows[0]);
        duties.note_acknowledgement(rows[1]);
        let turns: Vec<i64> = core::iter::from_fn(|| duties.pop_acknowledgement()).collect();
        assert_eq!(turns, [11, 12, 13, 10]);
    }

    #[test]
    fn only_those_that_may_be_silent_are_named() {
        let mut duties = SessionDuties::new(2);
        let first = duties.insert(1, 100);
        duties.insert(2, 200);
        assert_eq!(duties.pop_silent(99), None);
        assert_eq!(duties.pop_silent(100), Some(1));
        duties.await_silence(first, 300);
        assert_eq!(duties.pop_silent(250), Some(2));
        duties.remove(first);
        assert_eq!(duties.pop_silent(1_000), None);
    }
}
