//! The service: counts how often each word was said. It gives its state away and takes it back, so
//! that a start need not execute the whole log.

use std::collections::BTreeMap;

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
};
use lockstep_service::state_hash::StateHash;

/// The section of a snapshot: of each word its bytes, and how often it was said.
const SECTION: &str = "words";

/// Words that a snapshot takes in one step: a node does everything else between two steps.
const WORDS_PER_STEP: usize = 1_000;

/// Longest word that is counted: what a snapshot has beyond is none of ours.
pub const WORD_LENGTH_MAX: usize = 256;

/// Words in their order, which is the same on every member; that of a hash map would not be.
#[derive(Debug, Default)]
pub struct Tally {
    words: BTreeMap<Vec<u8>, u64>,
    /// Where the snapshot that is being written goes on.
    next: Option<Vec<u8>>,
}

impl ClusteredService for Tally {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let count = match self.words.get_mut(message) {
            Some(count) => {
                *count += 1;
                *count
            }
            None if message.len() > WORD_LENGTH_MAX => 0,
            None => {
                self.words.insert(message.to_vec(), 1);
                1
            }
        };
        // One short answer per message: no cluster's limits forbid it.
        let _ = cluster.respond(session, &count.to_le_bytes());
    }

    fn state_hash(&self) -> u64 {
        let mut hash = StateHash::new();
        for (word, count) in &self.words {
            hash.word(word.len() as u64);
            for byte in word {
                hash.word(u64::from(*byte));
            }
            hash.word(*count);
        }
        hash.value()
    }

    fn describe(&self) -> String {
        format!("tally: {} words", self.words.len())
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
            // One before it may have been given up after any step.
            self.next = Some(Vec::new());
            snapshot.begin_section(SECTION)?;
        }
        let from = self.next.take().unwrap_or_default();
        let mut rest = self.words.range(from..);
        for (word, count) in rest.by_ref().take(WORDS_PER_STEP) {
            snapshot.bytes(word)?;
            snapshot.u64(*count)?;
        }
        if let Some((word, _)) = rest.next() {
            self.next = Some(word.clone());
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
        while snapshot.has_more()? {
            let mut word = Vec::new();
            snapshot.bytes(WORD_LENGTH_MAX, &mut word)?;
            let count = snapshot.u64()?;
            if self.words.insert(word, count).is_some() {
                return Err(snapshot.refuse("a word stands there twice"));
            }
        }
        snapshot.end_section()
    }
}
