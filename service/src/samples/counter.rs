//! The smallest service with state worth agreeing on: a sum.
//!
//! | message | bytes |
//! |---|---|
//! | request | amount to add, i64 little-endian |
//! | response | sum after adding, i64 little-endian |
//! | response to anything else | none (empty message) |
//!
//! The sum wraps around at the limits of i64.

use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};
use crate::state_hash::StateHash;

/// Adds up what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    sum: i64,
    refused: u64,
}

impl Counter {
    /// A counter at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sum so far.
    #[must_use]
    pub const fn sum(&self) -> i64 {
        self.sum
    }
}

impl ClusteredService for Counter {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let answered = if let Ok(amount) = <[u8; 8]>::try_from(message) {
            self.sum = self.sum.wrapping_add(i64::from_le_bytes(amount));
            cluster.respond(session, &self.sum.to_le_bytes())
        } else {
            cluster.respond(session, &[])
        };
        // As a function of the log: it shows in the state's hash and description.
        if answered.is_err() {
            self.refused += 1;
        }
    }

    fn state_hash(&self) -> u64 {
        let mut hash = StateHash::new();
        hash.word(self.sum as u64);
        hash.word(self.refused);
        hash.value()
    }

    fn describe(&self) -> String {
        format!("counter: {}", self.sum)
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        _step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        snapshot.begin_section("counter")?;
        snapshot.i64(self.sum)?;
        snapshot.u64(self.refused)?;
        snapshot.end_section()?;
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("counter")?;
        self.sum = snapshot.i64()?;
        self.refused = snapshot.u64()?;
        snapshot.end_section()
    }
}
