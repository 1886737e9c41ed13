//! A member that is about to end waits for a snapshot of what it has applied, where its
//! configuration asks for that: its next start then executes next to nothing (`log.md` 8.1).

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::module::consensus_module::Role;
use crate::module::membership::Standing;
use crate::node::cluster_node::ClusterNode;
use crate::node::leaving_step::{AwaitedSnapshot, Leaving};
use crate::notice::NodeNotice;
use crate::notice::members::{STOP_AS_LEARNER, STOP_IN_TIME, STOP_LEADERLESS, STOP_OF_SERVICE};
use crate::protocol::message::MemberMessage;
use crate::protocol::snapshot_message::SnapshotMessage;

/// Election timeouts for which nobody may lead, before no snapshot is waited for any more.
const LEADERLESS_TIMEOUTS: Nanos = 4;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// What is waited for, where one is to be waited for and can come.
    pub(super) fn await_snapshot(&mut self, now: Nanos) -> Option<AwaitedSnapshot> {
        let consensus = &mut self.agents.consensus;
        let (patience, position) = (
            consensus.facts.snapshot_on_stop,
            consensus.applier.position(),
        );
        if patience == 0 || position == 0 || consensus.fault.is_some() {
            return None;
        }
        let why = if !self.agents.service.takes_snapshots() {
            STOP_OF_SERVICE
        } else if consensus.membership.standing() != Standing::Voter {
            STOP_AS_LEARNER
        } else {
            consensus.awaited_snapshot = Some(position);
            return Some(AwaitedSnapshot {
                position,
                until: now.saturating_add(patience),
                next_ask: now,
                led_at: now,
            });
        };
        self.note_none(now, position, why);
        None
    }

    /// Asks for it until it is there, or no longer waited for: then this member ends as any other.
    pub(super) fn tend_awaited(&mut self, now: Nanos, mut awaited: AwaitedSnapshot) -> Leaving {
        let consensus = &mut self.agents.consensus;
        let is_led = consensus.module.leader().is_some();
        if is_led {
            awaited.led_at = now;
        }
        let leaderless = LEADERLESS_TIMEOUTS * consensus.module.election_timeout_ns();
        if self.newest_snapshot() >= awaited.position {
            sometimes(Mark::SnapshotBeforeStop);
        } else if now >= awaited.until {
            self.note_none(now, awaited.position, STOP_IN_TIME);
        } else if now - awaited.led_at >= leaderless {
            self.note_none(now, awaited.position, STOP_LEADERLESS);
        } else if self.fault().is_none() {
            if is_led && now >= awaited.next_ask {
                self.want_snapshot(now, awaited.position);
                let consensus = &self.agents.consensus;
                awaited.next_ask = now + consensus.module.heartbeat_interval_ns();
            }
            return Leaving::Snapshot(awaited);
        }
        self.agents.consensus.awaited_snapshot = None;
        self.begin_to_leave(now)
    }

    /// Where the newest snapshot here was taken, 0 without one.
    fn newest_snapshot(&self) -> Position {
        let index = self.agents.archive.snapshot_index();
        index.snapshots().next().map_or(0, |newest| newest.position)
    }

    /// Whoever leads is told: it asks all for one.
    fn want_snapshot(&mut self, now: Nanos, position: Position) {
        let consensus = &mut self.agents.consensus;
        if consensus.module.role() == Role::Leader {
            consensus.snapshot_wanted = consensus.snapshot_wanted.max(position);
        } else if let Some(leader) = consensus.module.leader() {
            let message = SnapshotMessage::Wanted(position);
            consensus.send(now, leader, MemberMessage::Snapshot(message));
        }
    }

    /// Values: from where on one was to be, where the newest is, why there is none.
    fn note_none(&mut self, now: Nanos, position: Position, why: i64) {
        let values = [position, self.newest_snapshot(), why, 0];
        let detail = Detail::default().with_values(values);
        let notices = &mut self.agents.consensus.notices;
        notices.note(now, NodeNotice::StopWithoutSnapshot, detail);
    }
}
