//! What must hold in every scenario, looked at after every step: a term has one leader, who has
//! all that was committed (E1, L3); what was committed is one log, byte for byte, lies durably on
//! a majority, and stays where it was (C1, A2); nobody takes commit or execution back (C2, C4);
//! equal logs give equal states; nobody stops without cause. It knows what verbs did to disks, and
//! what they excuse.

use std::collections::BTreeMap;

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::boot::SimNode;
use super::host::Host;
use super::setup::Setup;
use crate::module::action::HaltReason;
use crate::module::consensus_module::Role;
use crate::module::membership::Standing;
use crate::node::fault::NodeFault;
use crate::sim::held::Held;
use crate::sim::log_range::{LogRange, sound_parts};
use crate::sim::stored_log::StoredLog;
use crate::sim::{Broken, Rule};

/// A member's process at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    durable: Position,
    log_start: Position,
    is_damaged: bool,
    counts: bool,
}

impl Life {
    pub fn of<S: ClusteredService>(node: &SimNode<S>) -> Self {
        let (archive, module) = (&node.agents().archive, &node.agents().consensus.module);
        Self {
            durable: archive.durable(&node.agents().consensus.log),
            log_start: archive.snapshot_index().log_start().position,
            is_damaged: module.is_damaged(),
            counts: counts(node),
        }
    }
}

/// What is known of a member.
#[derive(Clone, Debug, Default)]
struct Known {
    commit: Position,
    applied: Position,
    /// So much of what is committed it had when its process ended.
    kept: Position,
    /// What it held durably then, as one that counts.
    held: Held,
    /// How far its log was durable then.
    end: Position,
    /// What of its log is not what was written, and has not been seen repaired.
    rotten: Vec<LogRange>,
    is_overlooked: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    log: Vec<u8>,
    leaders: BTreeMap<LeadershipTermId, usize>,
    /// By term: how far the log was committed when it had last been in that one.
    committed_in: BTreeMap<LeadershipTermId, Position>,
    /// By what was applied: by whom, and the hashes of service and sessions then.
    states: BTreeMap<Position, (usize, u64, u64)>,
    members: Vec<Known>,
    is_history_lost: bool,
}

/// What a look is handed of a member.
struct Seen<'a, S> {
    id: usize,
    node: &'a SimNode<S>,
    stored: StoredLog<'a>,
}

impl Watch {
    pub fn new(members: usize) -> Self {
        Self {
            log: Vec::new(),
            leaders: BTreeMap::new(),
            committed_in: BTreeMap::new(),
            states: BTreeMap::new(),
            members: vec![Known::default(); members],
            is_history_lost: false,
        }
    }

    /// Begins anew: what was committed may be lost, or become other bytes. What verbs did to the
    /// disks of members is known all the same.
    pub fn lose_history(&mut self) {
        let members = std::mem::take(&mut self.members);
        *self = Self::new(0);
        self.is_history_lost = true;
        let without_history = |known| Known { kept: 0, ..known };
        self.members = members.into_iter().map(without_history).collect();
    }

    /// How far anybody took the log for committed.
    pub const fn committed(&self) -> Position {
        self.log.len() as Position
    }

    /// What is committed, up to `end`.
    pub fn log(&self, end: Position) -> &[u8] {
        &self.log[..end as usize]
    }

    /// How far the log of a member was durable when its process ended.
    pub fn end_of(&self, id: usize) -> Position {
        self.members[id].end
    }

    /// A process ends, and leaves what is `stored`.
    pub fn end(&mut self, id: usize, life: &Life, stored: StoredLog<'_>) {
        let end = life.durable.min(self.committed());
        // What was let go of was committed, and is known.
        let start = life.log_start.min(end);
        let found = stored.range(start, end).unwrap_or_default();
        let found = self.without_rot(id, start, found);
        let mut pairs = found.iter().zip(&self.log[start as usize..]);
        let differs = pairs.position(|(own, good)| own != good);
        let known = &mut self.members[id];
        known.kept = start + differs.unwrap_or(found.len()) as Position;
        known.end = life.durable;
        if life.counts {
            known.held = Held::of(&stored, life.durable, &known.rotten);
        }
    }

    /// Something has happened to its directory: what it had may be gone.
    pub fn forget(&mut self, id: usize) {
        self.members[id].kept = 0;
        self.members[id].end = 0;
    }

    /// Its directory is another one, of which this is rotten.
    pub fn replace(&mut self, id: usize, rotten: &[LogRange]) {
        self.forget(id);
        self.members[id].rotten = rotten.to_vec();
    }

    /// What of its log is not what was written.
    pub fn rotten(&self, id: usize) -> &[LogRange] {
        &self.members[id].rotten
    }

    /// A part of its log is not what was written.
    pub fn rot(&mut self, id: usize, range: LogRange) {
        self.members[id].rotten.push(range);
    }

    pub fn overlook(&mut self, id: usize) {
        self.members[id].is_overlooked = true;
    }

    /// A process begins on what is `stored`.
    pub fn begin(
        &mut self,
        id: usize,
        life: &Life,
        stored: Option<StoredLog<'_>>,
    ) -> Result<(), Broken> {
        let known = &mut self.members[id];
        (known.commit, known.applied) = (0, 0);
        if life.durable < known.kept && !life.is_damaged && !known.is_overlooked {
            return Err(Rule::A2.broken(format!(
                "member {id} had {} of what is committed, has {} after a start, and does not know \
                 that it lost any",
                known.kept, life.durable
            )));
        }
        let from = known.end.max(life.log_start).min(life.durable);
        let is_stored = |stored: StoredLog<'_>| stored.holds_what_it_has(from, life.durable, false);
        if known.is_overlooked || stored.is_none_or(is_stored) {
            return Ok(());
        }
        Err(Rule::A1.broken(format!(
            "member {id} takes its log for durable up to {} after a start, and stable storage does \
             not hold it from {from} on",
            life.durable
        )))
    }

    /// Looks at a member that has just worked.
    pub fn look<S: ClusteredService>(
        &mut self,
        id: usize,
        hosts: &[Host<S>],
        setup: &Setup,
    ) -> Result<(), Broken> {
        let host = &hosts[id];
        self.forget_repaired(id, host, setup);
        let node = host.node.as_ref();
        let Some(node) = node.filter(|_| !self.members[id].is_overlooked) else {
            return Ok(());
        };
        if let Some(fault) = node.fault() {
            return self.check_halt(id, fault, host, setup);
        }
        let (commit, applied) = (
            node.agents().consensus.module.commit(),
            node.agents().consensus.applier.position(),
        );
        let known = &self.members[id];
        if commit < known.commit {
            let what = format!("member {id} took commit {} back to {commit}", known.commit);
            return Err(Rule::C2.broken(what));
        }
        if applied > commit || applied < known.applied {
            let before = known.applied;
            let what = format!("member {id} applied {applied} of {commit} after {before}");
            return Err(Rule::C4.broken(what));
        }
        let seen = Seen {
            id,
            node,
            stored: stored(host, setup),
        };
        if commit > known.commit {
            let before = self.log.len();
            self.compare(&seen, (known.commit, commit))?;
            self.members[id].commit = commit;
            self.note_commit(node.agents().consensus.module.term(), before);
            self.check_quorum(before, hosts, setup)?;
        }
        self.look_at_leader(&seen)?;
        if applied > self.members[id].applied {
            self.members[id].applied = applied;
            self.compare_states(&seen)?;
        }
        Ok(())
    }

    /// What rotted excuses a member until its disk has what was committed there again. One that
    /// knows of its damage is repairing it.
    fn forget_repaired<S: ClusteredService>(&mut self, id: usize, host: &Host<S>, setup: &Setup) {
        let is_whole = |node: &SimNode<S>| !node.agents().consensus.module.is_damaged();
        if !host.node.as_ref().is_some_and(is_whole) {
            return;
        }
        let (stored, log) = (stored(host, setup), &self.log);
        self.members[id].rotten.retain(|(from, to)| {
            let good = log.get(*from as usize..log.len().min(*to as usize));
            let good = good.filter(|good| !good.is_empty());
            good.is_none_or(|good| !stored.holds(*from, good, host.is_unsynced))
        });
    }

    /// A member that has stopped had cause to.
    fn check_halt<S: ClusteredService>(
        &self,
        id: usize,
        fault: &NodeFault,
        host: &Host<S>,
        setup: &Setup,
    ) -> Result<(), Broken> {
        let has_failed = host.disk.has_failed();
        let is_excused = match fault {
            NodeFault::Storage { .. } | NodeFault::Halted(HaltReason::StorageFailed) => has_failed,
            NodeFault::DamagedLog { .. } | NodeFault::RottenLog { .. } => {
                has_failed || !self.members[id].rotten.is_empty()
            }
            NodeFault::Service(_)
            | NodeFault::SnapshotDiverged { .. }
            | NodeFault::Halted(HaltReason::Diverged { .. }) => setup.is_service_faulty,
            NodeFault::Halted(
                HaltReason::CommittedTruncation { .. } | HaltReason::ChainMismatch { .. },
            ) => self.is_history_lost,
            NodeFault::StartAgain { .. } => true,
            NodeFault::MalformedEntry { .. }
            | NodeFault::LogGone { .. }
            | NodeFault::TooManyVoidResponses { .. }
            | NodeFault::ServiceEnded
            | NodeFault::ThreadEnded { .. } => false,
        };
        let what = || format!("member {id} stopped: {fault}");
        is_excused
            .then_some(())
            .ok_or_else(|| Rule::NoHalt.broken(what()))
    }

    fn look_at_leader<S: ClusteredService>(&mut self, seen: &Seen<'_, S>) -> Result<(), Broken> {
        let (id, agents) = (seen.id, seen.node.agents());
        if agents.consensus.module.role() != Role::Leader {
            return Ok(());
        }
        let term = agents.consensus.module.term();
        match self.leaders.insert(term, id) {
            Some(leader) if leader == id => return Ok(()),
            Some(leader) => {
                let what = format!("members {leader} and {id} both lead term {term}");
                return Err(Rule::E1.broken(what));
            }
            None => {}
        }
        let (append, due) = (agents.consensus.log.append(), self.due_of_leader(term));
        if append < due {
            let what = format!("leader {id} of term {term} has {append} of {due}");
            return Err(Rule::L3.broken(what));
        }
        self.compare(seen, (self.members[id].commit, due))
    }

    /// Somebody in `term` has taken more for committed than the `before` that was known.
    fn note_commit(&mut self, term: LeadershipTermId, before: usize) {
        if self.log.len() > before {
            self.committed_in.insert(term, self.committed());
        }
    }

    /// What whoever is found to lead `term` has of the log at least. If it was elected, and paused
    /// before it knew, a later term may have committed more since: not that, and all that was
    /// committed in the terms before its own.
    fn due_of_leader(&self, term: LeadershipTermId) -> Position {
        let is_late = self.leaders.range(term.next()..).next().is_some();
        if !is_late {
            return self.committed();
        }
        let before = self.committed_in.range(..term).map(|(_, end)| *end);
        before.max().unwrap_or(0)
    }

    /// Compares what a member has between two positions with the one log, from memory as far as
    /// that reaches back; more of it extends the one log.
    fn compare<S: ClusteredService>(
        &mut self,
        seen: &Seen<'_, S>,
        (from, to): LogRange,
    ) -> Result<(), Broken> {
        let log = &seen.node.agents().consensus.log;
        let geometry = log.buffer().geometry();
        // What was let go of was committed, and is known.
        let index = seen.node.agents().archive.snapshot_index();
        let mut position = from.max(index.log_start().position);
        while position < to {
            let term_end = geometry.term_start(position) + geometry.term_length() as Position;
            let end = to.min(term_end);
            let bytes = if position >= log.memory_start() {
                let bytes = log.buffer().bytes(position, (end - position) as usize);
                Some(bytes.to_vec())
            } else {
                let end = end.min(log.memory_start());
                let bytes = seen.stored.range(position, end);
                bytes.map(|bytes| self.without_rot(seen.id, position, bytes))
            };
            let Some(bytes) = bytes else {
                let what = format!("member {} has no segment for {position}", seen.id);
                return Err(Rule::A1.broken(what));
            };
            self.compare_bytes(seen.id, position, &bytes)?;
            position += bytes.len() as Position;
        }
        Ok(())
    }

    /// What is known to be rotten on a disk is nobody's claim.
    fn without_rot(&self, id: usize, position: Position, mut bytes: Vec<u8>) -> Vec<u8> {
        let known = self.log.iter().skip(position as usize);
        for (at, (byte, good)) in (position..).zip(bytes.iter_mut().zip(known)) {
            let rotten = &mut self.members[id].rotten.iter();
            if rotten.any(|(from, to)| (*from..*to).contains(&at)) {
                *byte = *good;
            }
        }
        bytes
    }

    fn compare_bytes(&mut self, id: usize, from: Position, bytes: &[u8]) -> Result<(), Broken> {
        let known = &self.log[(from as usize).min(self.log.len())..];
        let mut pairs = known.iter().zip(bytes);
        let differs = pairs.position(|(one, other)| one != other);
        if let Some(offset) = differs {
            let at = from + offset as Position;
            let what = format!("member {id} differs from the committed log at {at}");
            return Err(Rule::OneLog.broken(what));
        }
        let new = bytes.get(known.len()..).unwrap_or_default();
        self.log.extend_from_slice(new);
        Ok(())
    }

    /// What has just been committed, from `from` on, lies on stable storage of a majority of the
    /// directories that count, or did when their processes ended.
    fn check_quorum<S: ClusteredService>(
        &self,
        from: usize,
        hosts: &[Host<S>],
        setup: &Setup,
    ) -> Result<(), Broken> {
        let (bytes, from, to) = (&self.log[from..], from as Position, self.committed());
        let stores = |host: &Host<S>, rotten: &[LogRange]| {
            sound_parts((from, to), rotten).all(|(start, end)| {
                let part = &bytes[(start - from) as usize..(end - from) as usize];
                stored(host, setup).holds(start, part, host.is_unsynced)
            })
        };
        let holds = |id: &usize| {
            let (host, known) = (&hosts[*id], &self.members[*id]);
            let counts = host.node.as_ref().is_some_and(counts);
            let is_held = known.is_overlooked || known.held.holds(from, bytes);
            is_held || counts && stores(host, &known.rotten)
        };
        let holders: Vec<usize> = (0..hosts.len()).filter(holds).collect();
        if bytes.is_empty() || holders.len() > hosts.len() / 2 {
            return Ok(());
        }
        Err(Rule::C1.broken(format!(
            "{to} is committed, and of {} members only {holders:?} hold {from} to {to} durably",
            hosts.len()
        )))
    }

    fn compare_states<S: ClusteredService>(&mut self, seen: &Seen<'_, S>) -> Result<(), Broken> {
        let applier = &seen.node.agents().consensus.applier;
        let Some(service) = seen.node.container() else {
            return Ok(());
        };
        let service = service.state_hash();
        let own = (seen.id, service, applier.sessions().state_hash());
        let first = *self.states.entry(applier.position()).or_insert(own);
        if (first.1, first.2) == (own.1, own.2) {
            return Ok(());
        }
        Err(Rule::EqualStates.broken(format!(
            "members {} and {} have applied all up to {}, and their states differ",
            first.0,
            own.0,
            applier.position()
        )))
    }
}

pub fn stored<'a, S: ClusteredService>(host: &'a Host<S>, setup: &Setup) -> StoredLog<'a> {
    StoredLog {
        disk: &host.disk,
        segment_length: setup.cluster.segment_length,
        tail: host.tail(),
    }
}

fn counts<S: ClusteredService>(node: &SimNode<S>) -> bool {
    node.agents().consensus.membership.standing() != Standing::Learner
}

#[cfg(test)]
mod tests {
    use lockstep_archive::disk::{ColdFiles as _, Disk as _, DiskError, DiskOp, Durability};
    use lockstep_transport::concurrent::AtomicBuffer;
    use lockstep_transport::time::MICROSECOND;

    use super::super::Scenario;
    use super::super::boot::disk;
    use super::*;
    use crate::sim::stored_log::MemoryTail;

    #[test]
    fn who_learns_late_that_it_leads_has_what_was_committed_in_the_terms_before_its_own() {
        let mut watch = Watch::new(3);
        for (leader, term, end) in [(0, 2, 320), (1, 5, 640)] {
            let before = watch.log.len();
            watch.leaders.insert(LeadershipTermId::new(term), leader);
            watch.log.resize(end, 0);
            watch.note_commit(LeadershipTermId::new(term), before);
        }
        let due = [1, 2, 3, 4, 5, 6].map(|term| watch.due_of_leader(LeadershipTermId::new(term)));
        assert_eq!(due, [0, 0, 320, 320, 640, 640]);
        // Who hears of a commit later does not make it one of a later term.
        watch.note_commit(LeadershipTermId::new(7), 640);
        watch.leaders.insert(LeadershipTermId::new(8), 2);
        assert_eq!(watch.due_of_leader(LeadershipTermId::new(7)), 640);
        watch.leaders.remove(&LeadershipTermId::new(5));
        watch.committed_in.remove(&LeadershipTermId::new(5));
        assert_eq!(watch.due_of_leader(LeadershipTermId::new(7)), 320);
    }

    #[test]
    fn a_stop_has_cause_in_what_was_done_to_its_member_and_in_nothing_else() {
        let cluster = Scenario::echo().all_down();
        let mut watch = Watch::new(3);
        let is_excused = |watch: &Watch, fault: &NodeFault| {
            let outcome = watch.check_halt(0, fault, &cluster.hosts[0], &cluster.setup);
            outcome.is_ok()
        };
        let position = 64;
        let (damaged, malformed) = (
            NodeFault::DamagedLog { position },
            NodeFault::MalformedEntry { position },
        );
        let parted = NodeFault::Halted(HaltReason::ChainMismatch {
            member: 1,
            position,
        });
        let error = DiskError::Crashed;
        let all = [
            NodeFault::Storage { error },
            damaged.clone(),
            malformed.clone(),
            parted.clone(),
        ];
        assert!(all.iter().all(|fault| !is_excused(&watch, fault)));
        watch.rot(1, (0, 32));
        assert!(!is_excused(&watch, &damaged), "another one's");
        watch.rot(0, (0, 32));
        watch.lose_history();
        assert!(is_excused(&watch, &damaged) && is_excused(&watch, &parted));
        assert!(!is_excused(&watch, &malformed));
        watch.replace(0, &[]);
        assert!(!is_excused(&watch, &damaged));
    }

    #[test]
    fn what_a_start_takes_for_durable_is_on_stable_storage() {
        let mut disk = disk(1, 60 * MICROSECOND, 1 << 20);
        let file = disk.create("0-0.rec", 64 * 1024).expect("room");
        let mut written = AtomicBuffer::allocate(8192).expect("memory");
        written.bytes_mut(0, 8192).fill(7);
        let operation = DiskOp::Write {
            token: 1,
            file,
            offset: 0,
            block: written.kernel_block(0, 8192),
            durability: Durability::Cached,
        };
        disk.submit(0, operation).expect("room");
        let completion = disk.poll_completion(1_000_000).expect("it is done");
        assert_eq!(completion.result, Ok(file));
        let life = |durable| Life {
            log_start: 0,
            durable,
            is_damaged: false,
            counts: true,
        };
        let begin = |disk: &_, durable| {
            let stored = StoredLog {
                disk,
                segment_length: 64 * 1024,
                tail: MemoryTail::default(),
            };
            Watch::new(1).begin(0, &life(durable), Some(stored))
        };
        let broken = begin(&disk, 8192).expect_err("it is in a cache");
        assert_eq!(broken.rule, Rule::A1);
        let broken = begin(&disk, 128 * 1024).expect_err("there is no such segment");
        assert_eq!(broken.rule, Rule::A1);
        disk.sync(file).expect("a good disk");
        assert!(begin(&disk, 8192).is_ok());
    }
}
