//! Snapshots: a leader asks all members for one now and then, and who is to writes it.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::log::entry_body::ClusterAction;
use crate::log::log_entry::LogEntry;
use crate::module::member::MemberId;
use crate::node::consensus_agent::{ConsensusAgent, Room};

/// Why nobody is asked for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    /// This member does nothing any more.
    #[error("this member has stopped: see why, and ask the one that leads now")]
    Stopped,
    /// The service has no snapshot methods.
    #[error("the service has no snapshots: implement `snapshot_step` and `load_snapshot`")]
    Service,
    /// Only who leads asks.
    #[error("this member does not lead: ask {}", leader_words(*leader))]
    NotLeading {
        /// Who does, as far as is known.
        leader: Option<MemberId>,
    },
    /// The log has not come far enough on disk to take an entry in memory.
    #[error("the log has no room for the entry now: ask again, or free space on the disk")]
    NoRoom,
}

fn leader_words(leader: Option<MemberId>) -> String {
    leader.map_or_else(
        || "the one that is elected next".to_owned(),
        |leader| format!("member {leader}"),
    )
}

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Asks all members for a snapshot when enough of the log has grown since the last one, when
    /// room for more of it is short, which a snapshot frees, or when a member waits for one before
    /// it ends; called at the housekeeping interval.
    pub(in crate::node) fn ask_for_snapshots<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
    ) {
        let interval = self.facts.snapshot_interval;
        let last = self.snapshot_asked.max(self.snapshot.settled());
        let due = if room.archive.is_short() {
            interval.min(self.log.buffer().geometry().term_length() as Position)
        } else {
            interval
        };
        let is_due = interval > 0 && self.log.append() - last >= due;
        if is_due || self.snapshot_wanted > last {
            // In vain now: the next call tries again.
            let _ = self.ask_for_snapshot(now, room);
        }
    }

    /// Appends an entry that asks all members for a snapshot, into the reserve of a full log too
    /// (`log.md` 10.1): it is what makes room there. Returns where it ends.
    ///
    /// # Errors
    /// Why it does not.
    pub(in crate::node) fn ask_for_snapshot<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
    ) -> Result<Position, SnapshotRefusal> {
        if self.fault.is_some() {
            return Err(SnapshotRefusal::Stopped);
        }
        if !room.service.takes_snapshots() {
            return Err(SnapshotRefusal::Service);
        }
        if !self.leadership.is_open() {
            let leader = self.module.leader();
            return Err(SnapshotRefusal::NotLeading { leader });
        }
        let context = self.append_context(now, room.archive);
        let entry = LogEntry::Action(ClusterAction::Snapshot);
        let log = self.log.buffer_mut();
        let appended = self.leadership.append(log, &context, &entry);
        let appended = appended.ok_or(SnapshotRefusal::NoRoom)?;
        self.snapshot_asked = appended.end;
        Ok(appended.end)
    }
}
