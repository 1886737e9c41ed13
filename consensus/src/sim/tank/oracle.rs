//! What must hold over all members at every moment (oracles 1, 2 and 8):
//! one log, byte for byte, up to what any member ever took for committed; every leader has all
//! of it; one leader per term; nobody's commit goes back.

use std::collections::BTreeMap;

use lockstep_archive::files::snapshot_index::SnapshotIndex;
use lockstep_transport::ids::LeadershipTermId;

use crate::module::action::HaltReason;
use crate::module::consensus_module::Role;
use crate::module::membership::Standing;
use crate::node::fault::NodeFault;
use crate::sim::log_range::LogRange;
use crate::sim::tank::damage_map::DamageMap;
use crate::sim::tank::deposed::Depositions;
use crate::sim::tank::member::TankMember;
use crate::sim::tank::quorum::{Votes, check_commit};
use crate::sim::tank::tank_node::{AppliedState, TankNode};
use crate::sim::{Broken, Rule};

/// The one log, as far as anybody has committed it, and who has been checked how far.
#[derive(Debug)]
pub struct LogOracle {
    log: Vec<u8>,
    commits: Vec<i64>,
    leaders: BTreeMap<LeadershipTermId, usize>,
    votes: Votes,
    depositions: Depositions,
    /// By term: how far the log was committed when it had last been in that one.
    committed_in: BTreeMap<LeadershipTermId, i64>,
    /// By what was applied: who came there first, and its state then.
    states: BTreeMap<i64, (usize, AppliedState)>,
    /// By where they were taken: who stored one first, and its bytes.
    snapshots: BTreeMap<i64, (usize, Vec<u8>)>,
    /// What each member was last seen to have.
    named: Vec<SnapshotIndex>,
    /// How far each member had applied the log when it was last looked at.
    applied: Vec<i64>,
    hash: u64,
}

impl LogOracle {
    /// For `members` members that have committed nothing.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self {
            log: Vec::new(),
            commits: vec![0; members],
            leaders: BTreeMap::new(),
            votes: Votes::new(members),
            depositions: Depositions::new(members),
            committed_in: BTreeMap::new(),
            states: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            named: vec![SnapshotIndex::default(); members],
            applied: vec![0; members],
            hash: 0,
        }
    }

    /// Bytes of the log that somebody has committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.log.len()
    }

    /// The log between two positions, as far as it is committed.
    #[must_use]
    pub fn range(&self, from: i64, to: i64) -> Option<&[u8]> {
        self.log.get(from as usize..to as usize)
    }

    /// All that is committed.
    #[must_use]
    pub fn log(&self) -> &[u8] {
        &self.log
    }

    /// Hash of everything committed.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// A member has ended, or begun: what it knew of commit is gone.
    pub fn forget_commit(&mut self, id: usize) {
        self.commits[id] = 0;
        self.depositions.forget(id);
    }

    /// A member that leads `term` is asked to hand over.
    pub fn on_hand_over(&mut self, id: usize, term: LeadershipTermId) {
        self.depositions.on_asked(id, term);
    }

    /// Looks at one member.
    ///
    /// # Errors
    /// What does not hold, by the oracle's name.
    pub fn look(
        &mut self,
        id: usize,
        members: &[TankMember],
        damage_map: &DamageMap,
    ) -> Result<(), Broken> {
        let member = &members[id];
        let Some(node) = member.node() else {
            return Ok(());
        };
        if member.has_diverged() {
            return Ok(());
        }
        if let Some(fault) = node.fault() {
            if is_excused(fault, member, damage_map.is_rotten(id)) {
                return Ok(());
            }
            let what = format!("member {id} stopped: {fault}");
            return Err(Rule::NoHalt.broken(what));
        }
        self.votes.look(id, member, damage_map)?;
        self.depositions.look(id, member)?;
        let agents = node.agents();
        let commit = agents.consensus.module.commit();
        if commit < self.commits[id] {
            return Err(Rule::C2.broken(format!(
                "member {id} took commit {} back to {commit}",
                self.commits[id]
            )));
        }
        if agents.consensus.applier.position() > commit {
            return Err(Rule::C4.broken(format!("member {id} applied beyond commit {commit}")));
        }
        if commit > self.commits[id] {
            self.take_commit(id, members, damage_map, commit)?;
        }
        self.look_at_state(id, member)?;
        self.look_at_snapshots(id, member)?;
        check_floor(id, member, damage_map)?;
        if damage_map.is_demoted(id) {
            look_at_learner(id, member)?;
        } else if agents.consensus.membership.standing() == Standing::Learner
            && !member.has_forfeited()
        {
            let what = format!("member {id} gave up its voice without a reason");
            return Err(Rule::NoHalt.broken(what));
        }
        if member.leads() {
            self.look_at_leader(id, members, damage_map)?;
        }
        Ok(())
    }

    /// Whoever has applied as much has the state, output and sessions that the first had who came
    /// there.
    fn look_at_state(&mut self, id: usize, member: &TankMember) -> Result<(), Broken> {
        let applied = member
            .node()
            .map_or(0, |node| node.agents().consensus.applier.position());
        if applied == self.applied[id] || member.will_diverge() {
            return Ok(());
        }
        let Some(state) = member.applied_state() else {
            return Ok(());
        };
        self.applied[id] = applied;
        let (first, expected) = *self.states.entry(applied).or_insert((id, state));
        if state == expected {
            return Ok(());
        }
        Err(Rule::EqualStates.broken(format!(
            "members {first} and {id} have applied the log up to {applied}, and have {expected:?} \
             and {state:?}"
        )))
    }

    /// What whoever stored one has, of its own or of another member, is what the first had who
    /// stored one there: on stable storage, bit for bit.
    fn look_at_snapshots(&mut self, id: usize, member: &TankMember) -> Result<(), Broken> {
        let Some(node) = member.node().filter(|_| !member.will_diverge()) else {
            return Ok(());
        };
        let index = *node.agents().archive.snapshot_index();
        let before = std::mem::replace(&mut self.named[id], index);
        for entry in index.snapshots() {
            let is_known = before.snapshots().any(|known| known == entry);
            if is_known || member.has_rotten_snapshot(entry.position) {
                continue;
            }
            let name = entry.name().file_name();
            let stored = || member.disk().part(&name, 0, entry.length as usize);
            let first = self.snapshots.entry(entry.position);
            let (first, expected) = first.or_insert_with(|| (id, stored().unwrap_or_default()));
            if expected.len() as u64 != entry.length {
                return Err(Rule::EqualSnapshots.broken(format!(
                    "members {first} and {id} have snapshots of {} and {} bytes at {}",
                    expected.len(),
                    entry.length,
                    entry.position
                )));
            }
            if member.disk().holds_durably(&name, 0, expected) {
                continue;
            }
            let rule = if stored().as_ref() == Some(expected) {
                Rule::WholeSnapshots
            } else {
                Rule::EqualSnapshots
            };
            return Err(rule.broken(format!(
                "the index of member {id} names {name}, and stable storage has no such bytes as \
                 member {first} had in its snapshot at {}",
                entry.position
            )));
        }
        Ok(())
    }

    /// A member takes the log up to `commit` for committed. What it has that nobody had committed
    /// before is its own word, except for what rotted: that is what another member has there, if
    /// a majority does.
    fn take_commit(
        &mut self,
        id: usize,
        members: &[TankMember],
        damage_map: &DamageMap,
        commit: i64,
    ) -> Result<(), Broken> {
        let (known, hash) = (self.log.len(), self.hash);
        let range = (self.commits[id], commit);
        let rotten = damage_map.rotten_ranges(id).iter();
        let is_rotten = rotten
            .clone()
            .any(|(from, to)| *from < commit && *to > known as i64);
        let others = (0..members.len()).filter(|other| is_rotten && *other != id);
        let mut outcome = Ok(());
        for source in core::iter::once(id).chain(others) {
            self.log.truncate(known);
            self.hash = hash;
            let rot = Rot {
                ranges: damage_map.rotten_ranges(id),
                source: &members[source],
            };
            outcome = self.compare(id, &members[id], rot, range);
            if outcome.is_ok() && self.log.len() > known {
                outcome = check_commit(members, damage_map, known as i64, &self.log[known..]);
            }
            if outcome.is_ok() {
                break;
            }
        }
        self.commits[id] = commit;
        self.note_commit(members[id].term(), known);
        outcome
    }

    fn look_at_leader(
        &mut self,
        id: usize,
        members: &[TankMember],
        damage_map: &DamageMap,
    ) -> Result<(), Broken> {
        let member = &members[id];
        let term = member.term();
        match self.leaders.get(&term) {
            Some(leader) if *leader == id => return Ok(()),
            Some(leader) => {
                return Err(
                    Rule::E1.broken(format!("members {leader} and {id} both lead term {term}"))
                );
            }
            None => {}
        }
        self.leaders.insert(term, id);
        for (voter, member) in members.iter().enumerate() {
            self.votes.look(voter, member, damage_map)?;
        }
        self.votes.check(id, term)?;
        let Some(node) = member.node() else {
            return Ok(());
        };
        let (append, due) = (
            node.agents().consensus.log.append(),
            self.due_of_leader(term),
        );
        if append < due {
            return Err(
                Rule::L3.broken(format!("leader {id} of term {term} has {append} of {due}"))
            );
        }
        let range = (self.commits[id], due);
        let rot = Rot {
            ranges: damage_map.rotten_ranges(id),
            source: member,
        };
        self.compare(id, member, rot, range)
            .map_err(|broken| Rule::L3.broken(format!("leader {id} of term {term}: {broken}")))
    }

    /// Somebody in `term` has taken more for committed than the `before` that was known.
    fn note_commit(&mut self, term: LeadershipTermId, before: usize) {
        if self.log.len() > before {
            self.committed_in.insert(term, self.log.len() as i64);
        }
    }

    /// What whoever is found to lead `term` has of the log at least. If it was elected, and paused
    /// before it knew, a later term may have committed more since: not that, and all that was
    /// committed in the terms before its own.
    fn due_of_leader(&self, term: LeadershipTermId) -> i64 {
        let is_late = self.leaders.range(term.next()..).next().is_some();
        if !is_late {
            return self.log.len() as i64;
        }
        let before = self.committed_in.range(..term).map(|(_, end)| *end);
        before.max().unwrap_or(0)
    }

    /// Compares what the member has between two positions with the one log, from memory as far
    /// as that reaches back, else from its disk; longer commits extend the one log.
    fn compare(
        &mut self,
        id: usize,
        member: &TankMember,
        rot: Rot<'_>,
        (from, to): (i64, i64),
    ) -> Result<(), Broken> {
        let Some(node) = member.node() else {
            return Ok(());
        };
        let log = &node.agents().consensus.log;
        // What was let go of was committed, and is known.
        let mut position = from.max(log_start(node)?);
        while position < to {
            let geometry = log.buffer().geometry();
            let term_end = geometry.term_start(position) + geometry.term_length() as i64;
            if position >= log.memory_start() {
                let length = (to.min(term_end) - position) as usize;
                let bytes = log.buffer().bytes(position, length);
                self.compare_bytes(id, position, bytes)?;
                position += length as i64;
            } else {
                let below = log.memory_start().min(to).min(term_end);
                let length = (below - position) as usize;
                let Some(mut bytes) = member.stored_log(position, length) else {
                    return Err(
                        Rule::A1.broken(format!("member {id} has no segment for {position}"))
                    );
                };
                self.overlook_rot(position, &mut bytes, rot);
                self.compare_bytes(id, position, &bytes)?;
                position += bytes.len() as i64;
            }
        }
        Ok(())
    }

    /// What is known to be rotten on a disk is nobody's claim: it is what is committed there, and
    /// beyond that what the source has.
    fn overlook_rot(&self, position: i64, bytes: &mut [u8], rot: Rot<'_>) {
        let (end, known) = (position + bytes.len() as i64, self.log.len() as i64);
        let mut patch = |(from, to): (i64, i64), good: Option<&[u8]>| {
            if let Some(good) = good {
                bytes[(from - position) as usize..(to - position) as usize].copy_from_slice(good);
            }
        };
        for (from, to) in rot.ranges {
            let (from, to) = (*from.max(&position), *to.min(&end));
            let (below, above) = ((from, to.min(known)), (from.max(known), to));
            if below.0 < below.1 {
                patch(below, self.range(below.0, below.1));
            }
            if above.0 < above.1 {
                let length = (above.1 - above.0) as usize;
                let theirs = rot.source.stored_log(above.0, length);
                patch(
                    above,
                    theirs.filter(|theirs| theirs.len() == length).as_deref(),
                );
            }
        }
    }

    fn compare_bytes(&mut self, id: usize, position: i64, bytes: &[u8]) -> Result<(), Broken> {
        let start = position as usize;
        let known = self.log.len().saturating_sub(start).min(bytes.len());
        if start < self.log.len() && self.log[start..start + known] != bytes[..known] {
            let offset = bytes
                .iter()
                .zip(&self.log[start..])
                .position(|(a, b)| a != b);
            let at = start + offset.unwrap_or(0);
            return Err(Rule::OneLog.broken(format!(
                "member {id} differs from the committed log at {at}"
            )));
        }
        if start + bytes.len() > self.log.len() {
            for byte in &bytes[known..] {
                self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
            self.log.extend_from_slice(&bytes[known..]);
        }
        Ok(())
    }

    /// Oracle 8: an independent look at the disk. What the member says is durable and the
    /// cluster has committed is there, byte for byte.
    ///
    /// # Errors
    /// What is not.
    pub fn audit_disk(&self, member: &TankMember, is_led: bool) -> Result<(), Broken> {
        let Some(node) = member.node() else {
            return Ok(());
        };
        // Where no leader is left, nobody cuts what was never committed.
        let claimed = if is_led {
            node.agents().archive.durable(&node.agents().consensus.log)
        } else {
            node.agents().consensus.module.commit()
        };
        let end = claimed.min(self.log.len() as i64);
        let mut position = log_start(node)?;
        while position < end {
            let Some(bytes) = member.stored_log(position, (end - position) as usize) else {
                return Err(Rule::DiskImage.broken(format!("no segment for {position}")));
            };
            let length = bytes.len();
            let start = position as usize;
            let pairs = self.log[start..start + length].iter().zip(&bytes);
            if let Some(at) = pairs
                .enumerate()
                .find(|(_, (a, b))| a != b)
                .map(|(at, _)| at)
            {
                let at = start + at;
                return Err(Rule::DiskImage.broken(format!(
                    "the disk differs at {at}, and its member said that it is durable \
                     up to {end}: {}",
                    member.describe()
                )));
            }
            position += length as i64;
        }
        Ok(())
    }
}

/// Where the log of a member starts: a snapshot of its own stands for what lies below.
fn log_start(node: &TankNode) -> Result<i64, Broken> {
    let index = node.agents().archive.snapshot_index();
    let newest = index.snapshots().next().map_or(0, |newest| newest.position);
    let start = index.log_start().position;
    if start > newest {
        let what = format!("the log starts at {start}, and the newest snapshot is at {newest}");
        return Err(Rule::TrimFloor.broken(what));
    }
    Ok(start)
}

/// Parts of a member's log that have rotted, and a member that may have what was there.
#[derive(Clone, Copy, Debug)]
struct Rot<'a> {
    ranges: &'a [LogRange],
    source: &'a TankMember,
}

/// A log that misses nothing is never cut below what its member ever noted to be committed.
fn check_floor(id: usize, member: &TankMember, damage_map: &DamageMap) -> Result<(), Broken> {
    let Some(node) = member.node().filter(|_| !damage_map.is_demoted(id)) else {
        return Ok(());
    };
    let is_excused = node.agents().consensus.module.is_damaged() || member.has_forfeited();
    let floor = member.known_commit();
    if let Some(end) = member
        .truncates_to()
        .filter(|end| *end < floor && !is_excused)
    {
        return Err(Rule::CommitFloor.broken(format!(
            "member {id} noted that {floor} is committed, and cuts its log at {end}"
        )));
    }
    Ok(())
}

/// Whether a member had reason to stop: its storage was made to fail, or its log to rot.
#[must_use]
pub fn is_excused(fault: &NodeFault, member: &TankMember, is_rotten: bool) -> bool {
    match fault {
        NodeFault::Storage { .. } | NodeFault::Halted(HaltReason::StorageFailed) => {
            member.has_storage_failed()
        }
        NodeFault::DamagedLog { .. } | NodeFault::RottenLog { .. } => {
            member.has_storage_failed() || is_rotten
        }
        NodeFault::StartAgain { .. } => true,
        _ => false,
    }
}

/// A directory that was emptied, copied or put back never counts.
fn look_at_learner(id: usize, member: &TankMember) -> Result<(), Broken> {
    let Some(node) = member.node() else {
        return Ok(());
    };
    let agents = node.agents();
    let (standing, role) = (
        agents.consensus.membership.standing(),
        agents.consensus.module.role(),
    );
    if standing == Standing::Voter || role != Role::Follower {
        return Err(Rule::Learners.broken(format!(
            "member {id}, whose directory is not the one that counts, is {standing:?} and \
             {role:?}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
