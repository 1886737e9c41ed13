//! As much state as is asked for: the service of measurements of snapshots.
//!
//! | message | bytes |
//! |---|---|
//! | request | number of a page, u64 little-endian, modulo their number; then anything |
//! | response | what the page says now, u64 little-endian, then the rest of the request |
//! | response to less | none (empty message) |
//!
//! Each request changes its page, and what it says depends on all requests before it for that page.

use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};
use crate::state_hash::StateHash;

/// Bytes of a page.
pub const PAGE_LENGTH: usize = 4_096;

/// Pages that a snapshot takes in one step: 64 KiB.
const PAGES_PER_STEP: usize = 16;

/// The section of a snapshot: number of pages, requests, their hash and how many were not answered,
/// 8 bytes each, then the pages.
const SECTION: &str = "pages";

/// Pages that change one by one.
#[derive(Debug)]
pub struct BigState {
    pages: Vec<[u8; PAGE_LENGTH]>,
    requests: u64,
    /// Of every request, so that nobody has to walk the pages.
    history: StateHash,
    refused: u64,
    /// Room for an answer, which grows to the longest.
    answer: Vec<u8>,
}

impl BigState {
    /// A state of at least `length` bytes, the same on every node, and of no two pages alike.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let pages = length.div_ceil(PAGE_LENGTH).max(1);
        let page = |index: usize| {
            let mut page = [0; PAGE_LENGTH];
            let mut hash = StateHash::new();
            hash.word(index as u64);
            for word in page.as_chunks_mut::<8>().0 {
                hash.word(0);
                *word = hash.value().to_le_bytes();
            }
            page
        };
        Self {
            pages: (0..pages).map(page).collect(),
            requests: 0,
            history: StateHash::new(),
            refused: 0,
            answer: Vec::new(),
        }
    }

    /// Changes a page, and returns what it says then.
    fn change(&mut self, page: u64) -> u64 {
        let index = (page % self.pages.len() as u64) as usize;
        let words = self.pages[index].as_chunks_mut::<8>().0;
        let count = u64::from_le_bytes(words[0]).wrapping_add(1);
        words[0] = count.to_le_bytes();
        // Another word each time, so that all of a page changes.
        let word = &mut words[1 + count as usize % (PAGE_LENGTH / 8 - 1)];
        let mut hash = StateHash::resumed(u64::from_le_bytes(*word));
        hash.word(count);
        *word = hash.value().to_le_bytes();
        self.requests += 1;
        self.history.word(page);
        self.history.word(hash.value());
        hash.value()
    }
}

impl ClusteredService for BigState {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        self.answer.clear();
        // The client of less than a number is told by an empty answer.
        if let Some((page, rest)) = message.split_first_chunk() {
            let says = self.change(u64::from_le_bytes(*page));
            self.answer.extend_from_slice(&says.to_le_bytes());
            self.answer.extend_from_slice(rest);
        }
        let answered = cluster.respond(session, &self.answer);
        // As a function of the log: it shows in the state's hash.
        self.refused += u64::from(answered.is_err());
    }

    fn state_hash(&self) -> u64 {
        let mut hash = self.history;
        hash.word(self.pages.len() as u64);
        hash.word(self.requests);
        hash.word(self.refused);
        hash.value()
    }

    fn describe(&self) -> String {
        let (pages, requests) = (self.pages.len(), self.requests);
        format!("big state: {pages} pages of {PAGE_LENGTH} bytes, {requests} requests")
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        if step == 0 {
            snapshot.begin_section(SECTION)?;
            snapshot.u64(self.pages.len() as u64)?;
            snapshot.u64(self.requests)?;
            snapshot.u64(self.history.value())?;
            snapshot.u64(self.refused)?;
        }
        let from = step as usize * PAGES_PER_STEP;
        let until = self.pages.len().min(from + PAGES_PER_STEP);
        snapshot.write(self.pages[from..until].as_flattened())?;
        if until < self.pages.len() {
            return Ok(SnapshotProgress::More);
        }
        snapshot.end_section()?;
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section(SECTION)?;
        let (pages, own) = (snapshot.u64()?, self.pages.len());
        if pages != own as u64 {
            return Err(snapshot.refuse(format!("{pages} pages instead of {own}")));
        }
        self.requests = snapshot.u64()?;
        self.history = StateHash::resumed(snapshot.u64()?);
        self.refused = snapshot.u64()?;
        snapshot.read_exact(self.pages.as_flattened_mut())?;
        snapshot.end_section()
    }
}
