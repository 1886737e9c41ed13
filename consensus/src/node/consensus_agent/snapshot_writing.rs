//! Writing a snapshot: the state at the end of the entry that asked for it goes, piece by piece, to
//! its file, and applying waits until the service has given away all of its own (`log.md` 8.2).

use lockstep_archive::disk::{Disk, DiskError};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::ServiceFault;
use lockstep_service::snapshot::{SnapshotError, SnapshotProgress};
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, SECOND};

use crate::apply::service_agent::ServiceAgent;
use crate::log::archive_agent::ArchiveAgent;
use crate::log::snapshot_store::SnapshotOutcome;
use crate::module::consensus_module::Role;
use crate::node::consensus_agent::ConsensusAgent;
use crate::node::counters::Counter;
use crate::node::fault::NodeFault;
use crate::notice::NodeNotice;
use crate::notice::divergence::{SNAPSHOT_ENDLESS, snapshot_misuse};

/// How long applying stands still for a snapshot, at most: some ten gigabytes of state in a cluster
/// of one, and almost three where the rate is limited.
const HOLD_MAX_NS: Nanos = 60 * SECOND;

/// Bytes per second that a member writes of a snapshot while others serve clients: they wait for
/// its disk wherever they wait for its acknowledgement (`performance.md` 3).
const WRITE_RATE: u64 = 48 << 20;

/// Why a snapshot came to nothing.
enum Trouble {
    /// The node does not go on either.
    Fault(NodeFault),
    /// It goes on without, and says this: why not, by numbers of the notice's own.
    InVain(NodeNotice, [i64; 3]),
}

impl Trouble {
    /// The service does this wrongly, by the number that the notice has for it.
    const fn useless(misuse: i64) -> Self {
        Self::InVain(NodeNotice::SnapshotUseless, [misuse, 0, 0])
    }

    /// The disk does not take it, with the operating system's number if it said one.
    fn not_stored(error: &DiskError) -> Self {
        let number = error.os_error().unwrap_or(0).into();
        Self::InVain(NodeNotice::SnapshotNotStored, [number, 0, 0])
    }

    /// The disk budget would have to be so much, and is so much.
    const fn no_room((needed, budget): (u64, u64)) -> Self {
        let values = [0, needed.cast_signed(), budget.cast_signed()];
        Self::InVain(NodeNotice::SnapshotNotStored, values)
    }
}

impl From<SnapshotError> for Trouble {
    fn from(error: SnapshotError) -> Self {
        Self::useless(snapshot_misuse(&error))
    }
}

impl From<NodeFault> for Trouble {
    fn from(fault: NodeFault) -> Self {
        match fault {
            NodeFault::Service(ServiceFault::Snapshot { error, .. }) => (*error).into(),
            fault => Self::Fault(fault),
        }
    }
}

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Goes on with the snapshot that this member is writing, if it is. Returns whether anything
    /// moved.
    pub(in crate::node) fn write_snapshot<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
    ) -> usize {
        if self.snapshot.is_idle() {
            return 0;
        }
        let moved = if self.snapshot.is_holding() && self.must_apply(now) {
            self.abandon_snapshot(archive, service);
            Ok(1)
        } else if self.snapshot.is_wanted() {
            self.begin_snapshot(now, archive, service)
        } else {
            self.go_on_with_snapshot(now, archive, service)
        };
        match moved {
            Ok(moved) => moved,
            Err(Trouble::Fault(fault)) => {
                self.fault = Some(fault);
                1
            }
            Err(Trouble::InVain(kind, why)) => {
                self.note_snapshot(now, kind, why);
                self.abandon_snapshot(archive, service);
                1
            }
        }
    }

    fn note_snapshot(&mut self, now: Nanos, kind: NodeNotice, why: [i64; 3]) {
        let [first, second, third] = why;
        let values = [self.snapshot.position(), first, second, third];
        let detail = Detail::default().with_values(values);
        self.notices.note(now, kind, detail);
    }

    /// Whoever leads others, or may have to, serves clients by what it applies.
    fn must_apply(&self, now: Nanos) -> bool {
        let is_wanted =
            self.module.role() != Role::Follower || self.module.heard_leader(now).is_none();
        is_wanted && self.facts.members.len() > 1
    }

    fn abandon_snapshot<D: Disk, S: ClusteredService>(
        &mut self,
        archive: &mut ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
    ) {
        sometimes(Mark::SnapshotAbandoned);
        self.snapshot.abandon();
        self.agreement.tell_again();
        service.abandon_snapshot();
        archive.snapshots.abandon();
    }

    fn begin_snapshot<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
    ) -> Result<usize, Trouble> {
        let applier = &self.applier;
        let Some(waits) = applier.log.waiting() else {
            return Ok(0);
        };
        if service.is_behind() {
            return Ok(0);
        }
        if !archive.snapshots.make_way() {
            return Ok(0);
        }
        let newest = archive.snapshot_index().snapshots().next();
        let is_stored = newest.is_some_and(|newest| newest.position >= waits.end.position);
        if is_stored || !archive.snapshots.is_idle() {
            // It is there, and was not begun from; or the disk still has something to do for one
            // that was given up.
            self.snapshot.abandon();
            return Ok(1);
        }
        let term = applier.log.term();
        let waiting = service.outputs().outbox().front();
        let outputs = self
            .agreement
            .remembered(waiting.map(|effect| effect.name.cause));
        let answers = (&applier.answers, outputs);
        self.snapshot_stream.begin(waits, &applier.log, answers)?;
        service.begin_snapshot();
        archive.make_room_for_snapshot();
        archive.snapshots.begin(waits.end.position, term);
        if self.facts.members.len() > 1 {
            archive.snapshots.limit_rate(WRITE_RATE);
        }
        self.snapshot.begin(now);
        Ok(1)
    }

    fn go_on_with_snapshot<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
    ) -> Result<usize, Trouble> {
        match archive.snapshots.outcome() {
            SnapshotOutcome::UnderWay => {}
            SnapshotOutcome::Stored => {
                self.snapshot.on_stored();
                return Ok(1);
            }
            SnapshotOutcome::Failed(error) => {
                return Err(Trouble::not_stored(error));
            }
        }
        archive.check_room().map_err(Trouble::no_room)?;
        let stream = &mut self.snapshot_stream;
        let mut moved = stream.drain(|bytes| archive.snapshots.push(bytes));
        let writing_since = self.snapshot.writing_since();
        if writing_since.is_some_and(|since| now - since > HOLD_MAX_NS) {
            return Err(Trouble::useless(SNAPSHOT_ENDLESS));
        }
        if writing_since.is_some() && stream.has_room() {
            let before = stream.writer().length();
            let is_done = !stream.write_sessions(self.applier.sessions())?
                && service.snapshot_step(stream.writer())? == SnapshotProgress::Done;
            moved |= is_done || service.is_here() || stream.writer().length() > before;
            if is_done {
                stream.finish()?;
                self.agreement.tell_again();
                let pause = self.snapshot.on_written(now);
                let longest = self.counters.get(Counter::SnapshotPause).max(pause);
                self.counters.set(Counter::SnapshotPause, longest);
            }
        }
        moved |= self.end_file(archive);
        Ok(usize::from(moved))
    }

    /// Has the file end once all of it is there, and once the log is durable up to where it was
    /// taken.
    fn end_file<D: Disk>(&mut self, archive: &mut ArchiveAgent<D>) -> bool {
        if archive.durable(&self.log) < self.snapshot.position() {
            return false;
        }
        let Some(summary) = self.snapshot_stream.take_summary() else {
            return false;
        };
        archive.snapshots.finish(&summary);
        true
    }
}
