//! What a scenario may ask of its cluster at any moment.

use lockstep_archive::files::snapshot_index::SnapshotIndexFile;
use lockstep_archive::sim::SimDisk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::SimCluster;
use super::boot::SimNode;
use super::watch::stored;
use crate::module::member::TermBase;
use crate::module::membership::Standing;
use crate::node::counters::Counter;
use crate::node::fault::NodeFault;
use crate::notice::{NodeNotice, NoticeLine, Place};
use crate::sim::stored_log::StoredLog;
use crate::sim::wall_clock::TRUE_WALL_OFFSET;

impl<S: ClusteredService> SimCluster<S> {
    /// The running node of a member.
    ///
    /// # Panics
    /// Where it is down.
    #[must_use]
    #[track_caller]
    pub fn node(&self, id: usize) -> &SimNode<S> {
        let node = self.hosts[id].node.as_ref();
        node.unwrap_or_else(|| panic!("member {id} is down"))
    }

    /// Whether the member's process runs.
    #[must_use]
    pub fn is_up(&self, id: usize) -> bool {
        self.hosts[id].node.is_some()
    }

    /// The same, to be changed behind the cluster's back.
    ///
    /// # Panics
    /// Where it is down.
    #[track_caller]
    pub fn node_mut(&mut self, id: usize) -> &mut SimNode<S> {
        let node = self.hosts[id].node.as_mut();
        node.unwrap_or_else(|| panic!("member {id} is down"))
    }

    /// The disk of a member. Whoever changes it does so behind the watch's back: verbs do not.
    #[must_use]
    pub fn disk(&self, id: usize) -> SimDisk {
        self.hosts[id].disk.clone()
    }

    /// The log of a member up to `end`, as its disk has it.
    ///
    /// # Panics
    /// Where the disk lacks a part of it that was not let go of.
    #[must_use]
    #[track_caller]
    pub fn log(&self, id: usize, end: Position) -> Vec<u8> {
        let start = self.log_start(id).min(end);
        let kept = self.stored(id).range(start, end);
        let kept = kept.unwrap_or_else(|| panic!("member {id} has no log from {start} to {end}"));
        // What was let go of was committed, and is known.
        [self.watch.log(start), &kept].concat()
    }

    /// Where the log of a member starts.
    pub(super) fn log_start(&self, id: usize) -> Position {
        let disk = &mut self.disk(id);
        let index = SnapshotIndexFile::open(disk, self.setup.cluster.segment_length);
        index.map_or(0, |index| index.durable().log_start().position)
    }

    pub(super) fn stored(&self, id: usize) -> StoredLog<'_> {
        stored(&self.hosts[id], &self.setup)
    }

    /// The true time, as log times are compared with it.
    #[must_use]
    pub const fn wall(&self) -> i64 {
        self.now + TRUE_WALL_OFFSET
    }

    /// The longest duty cycle of the member so far, in its service's time.
    #[must_use]
    pub fn longest_cycle(&self, id: usize) -> Nanos {
        self.hosts[id].longest_cycle
    }

    /// Why the member has stopped, if it has.
    #[must_use]
    pub fn fault(&self, id: usize) -> Option<&NodeFault> {
        self.hosts[id].fault()
    }

    /// One of the counters of a running member.
    #[must_use]
    #[track_caller]
    pub fn counter(&self, id: usize, counter: Counter) -> i64 {
        self.node(id).counter(counter)
    }

    /// The member whose leadership is open.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.hosts.iter().position(super::host::Host::leads)
    }

    /// The greatest term that a running member knows.
    #[must_use]
    pub fn term(&self) -> LeadershipTermId {
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        let terms = nodes.map(|node| node.agents().consensus.module.term());
        terms.max().unwrap_or(LeadershipTermId::NONE)
    }

    /// Terms in the log of a running member, and where they begin.
    #[must_use]
    #[track_caller]
    pub fn terms(&self, id: usize) -> Vec<TermBase> {
        self.node(id).agents().consensus.module.terms().to_vec()
    }

    /// What a running member is in its cluster.
    #[must_use]
    #[track_caller]
    pub fn standing(&self, id: usize) -> Standing {
        self.node(id).agents().consensus.membership.standing()
    }

    /// How far the log of a running member is durable.
    #[must_use]
    #[track_caller]
    pub fn durable(&self, id: usize) -> Position {
        let agents = self.node(id).agents();
        agents.archive.durable(&agents.consensus.log)
    }

    /// How far a running member takes the log for committed.
    #[must_use]
    #[track_caller]
    pub fn commit(&self, id: usize) -> Position {
        self.node(id).agents().consensus.module.commit()
    }

    /// How far anybody ever took the log for committed.
    #[must_use]
    pub const fn committed(&self) -> Position {
        self.watch.committed()
    }

    /// How often a running member had something to say of this kind in its present life.
    #[must_use]
    #[track_caller]
    pub fn noted(&self, id: usize, kind: NodeNotice) -> u64 {
        self.node(id).notice_count(kind)
    }

    /// The lines that the member would say of this kind, of those that wait; all that wait are
    /// said by that.
    #[track_caller]
    pub fn take_lines(&mut self, id: usize, kind: NodeNotice) -> Vec<String> {
        let place = &Place {
            directory: "data".to_owned(),
            members: self.setup.cluster.members.clone(),
            ..Place::default()
        };
        let node = self.node_mut(id);
        std::iter::from_fn(|| node.take_notice())
            .filter(|notice| notice.kind == kind)
            .map(|notice| NoticeLine { notice, place }.to_string())
            .collect()
    }
}
