//! A service for scenarios with snapshots: what it answers shows what it has executed, and what it
//! writes of its state is as long, and as wrong, as a scenario asks for.

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
};

/// Bytes of the bulk that one step writes.
const STEP: usize = 16 * 1024;

/// Room for an answer.
const ANSWER_MAX: usize = 1024;

/// How it writes its part of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// As it should.
    #[default]
    Right,
    /// It never ends its section.
    Wrong,
    /// It never comes to an end.
    Endless,
}

/// Answers with the number of messages so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting {
    /// So many.
    pub messages: u64,
    /// Bytes behind the number in each answer, 1,016 at most.
    pub padding: usize,
    /// Bytes of its state that never change.
    pub bulk: usize,
    /// What it writes besides, of which it says nothing otherwise.
    pub oddity: u64,
    /// How it writes.
    pub writes: Writing,
}

impl ClusteredService for Counting {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, _: &[u8]) {
        self.messages += 1;
        let mut answer = [7; ANSWER_MAX];
        answer[..8].copy_from_slice(&self.messages.to_le_bytes());
        cluster
            .respond(from, &answer[..8 + self.padding])
            .expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        self.messages
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        let written = step as usize * STEP;
        if step == 0 {
            snapshot.begin_section("bulk")?;
        }
        if written < self.bulk {
            snapshot.write(&[step as u8; STEP][..STEP.min(self.bulk - written)])?;
            return Ok(SnapshotProgress::More);
        }
        if written < self.bulk.next_multiple_of(STEP) + STEP {
            snapshot.end_section()?;
            snapshot.begin_section("messages")?;
            snapshot.u64(self.messages)?;
            snapshot.u64(self.oddity)?;
        }
        match self.writes {
            Writing::Right => snapshot.end_section()?,
            Writing::Wrong => {}
            Writing::Endless => return Ok(SnapshotProgress::More),
        }
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("bulk")?;
        snapshot.read_exact(&mut vec![0; self.bulk])?;
        snapshot.end_section()?;
        snapshot.expect_section("messages")?;
        self.messages = snapshot.u64()?;
        self.oddity = snapshot.u64()?;
        snapshot.end_section()
    }
}
