//! Answers each message with the same bytes: the service of latency measurements.

use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};
use crate::state_hash::StateHash;

/// Echoes; its state is what it echoed so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    messages: u64,
    bytes: u64,
    refused: u64,
}

impl Echo {
    /// An echo service that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Messages received.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }
}

impl ClusteredService for Echo {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        self.messages += 1;
        self.bytes += message.len() as u64;
        // One answer per message: refused only where a cluster limits effects below messages.
        if cluster.respond(session, message).is_err() {
            self.refused += 1;
        }
    }

    fn state_hash(&self) -> u64 {
        let mut hash = StateHash::new();
        hash.word(self.messages);
        hash.word(self.bytes);
        hash.word(self.refused);
        hash.value()
    }

    fn describe(&self) -> String {
        format!(
            "echo: {} messages, {} bytes, {} not answered",
            self.messages, self.bytes, self.refused
        )
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        _step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        snapshot.begin_section("echo")?;
        snapshot.u64(self.messages)?;
        snapshot.u64(self.bytes)?;
        snapshot.u64(self.refused)?;
        snapshot.end_section()?;
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("echo")?;
        self.messages = snapshot.u64()?;
        self.bytes = snapshot.u64()?;
        self.refused = snapshot.u64()?;
        snapshot.end_section()
    }
}
