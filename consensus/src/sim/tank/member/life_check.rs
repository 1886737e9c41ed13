//! Holds the next start to what a member's last process left behind.

use lockstep_archive::files::ack_record::AckRecord;
use lockstep_transport::position::Position;

use super::TankMember;
use super::last_life::LastLife;
use crate::sim::stored_log::MemoryTail;
use crate::sim::tank::crash::Crash;
use crate::sim::{Broken, Rule};

impl TankMember {
    /// How its last process ended, unless something has happened to its directory since that
    /// leaves nothing to compare.
    #[must_use]
    pub fn last_crash(&self) -> Option<Crash> {
        self.last_life.map(|life| life.crash)
    }

    /// How much of its log below `limit` its mark does not cover; nothing while it is down.
    #[must_use]
    pub fn unmarked_below(&self, limit: Position) -> Position {
        let mark = self.node().and_then(|_| self.disk.durable_mark());
        mark.map_or(0, |mark| self.held().min(limit) - mark.position)
    }

    /// Something has happened to its directory.
    pub fn forget_last_life(&mut self) {
        self.last_life = None;
        self.left = MemoryTail::default();
        self.known_commit = 0;
    }

    /// A place of its mark has rotted: it may say what it said before.
    pub const fn forget_mark(&mut self) {
        if let Some(life) = &mut self.last_life {
            life.is_mark_rotten = true;
        }
        self.known_commit = 0;
    }

    /// How far its directory has ever said, before a start, that the log is committed.
    #[must_use]
    pub const fn known_commit(&self) -> i64 {
        self.known_commit
    }

    /// Its directory, which says `mark`, is about to be started on.
    ///
    /// # Errors
    /// The mark lacks what it must cover.
    pub fn check_end(&mut self, mark: Option<AckRecord>) -> Result<(), Broken> {
        if self.misplaced.is_none() {
            self.known_commit = mark.map_or(0, |mark| mark.commit).max(self.known_commit);
        }
        let life = self.last_life.filter(|_| !self.is_unsynced());
        life.map_or(Ok(()), |life| {
            life.check_mark(self.config.member.into(), mark)
        })
    }

    /// It was started on its directory, of which something has rotted if it `is_rotten`.
    ///
    /// # Errors
    /// The start did not make of it what it must.
    pub fn check_start(&self, is_rotten: bool) -> Result<(), Broken> {
        let life = self.last_life.filter(|_| !self.has_forfeited());
        if life.is_some() && !is_rotten {
            self.check_snapshots()?;
        }
        life.map_or(Ok(()), |life| {
            check_started(&life, self.config.member.into(), self, is_rotten)
        })
    }
}

/// A start of member `id` made of what its last life left behind what it must.
fn check_started(
    life: &LastLife,
    id: usize,
    member: &TankMember,
    is_rotten: bool,
) -> Result<(), Broken> {
    let Some(node) = member.node() else {
        return Ok(());
    };
    let (archive, module) = (&node.agents().archive, &node.agents().consensus.module);
    let durable = archive.durable(&node.agents().consensus.log);
    if durable < life.durable && !life.is_truncating && !module.is_damaged() {
        return Err(Rule::A2.broken(format!(
            "member {id} had its log durable up to {}, has it up to {durable} after a start, \
             and does not know that it lost any",
            life.durable
        )));
    }
    let is_sound = !life.is_excused && !member.is_unsynced() && !is_rotten;
    let lost = member.disk().durable_mark().and_then(|mark| mark.lost);
    let lost = lost.map_or(0, |lost| lost.position);
    if is_sound && lost > life.append {
        return Err(Rule::CutOff.broken(format!(
            "the log of member {id} ended at {}, nothing happened to it, and a start that ends \
             at {durable} takes what it finds up to {lost} for lost",
            life.append
        )));
    }
    // The mark says where the log was cut. What a snapshot stands for need not be there, and what
    // the disk has above it, of its leadership term or a later one, follows on it: those leaders
    // had all of it.
    let is_replaced = archive.snapshot_index().lacking_below() > life.append;
    if durable > life.append && !is_replaced && !life.is_mark_rotten {
        return Err(Rule::CutOff.broken(format!(
            "the log of member {id} ended at {} and ends at {durable} after a start, with {:?}",
            life.append,
            archive.snapshot_index()
        )));
    }
    if !member.is_unsynced() && !member.is_stored_durably(life.durable, durable) {
        return Err(Rule::A1.broken(format!(
            "member {id} takes its log for durable up to {durable} after a start, and stable \
             storage does not hold it from {} on",
            life.durable
        )));
    }
    let known = member.known_commit();
    if module.commit_floor() < known {
        return Err(Rule::CommitFloor.broken(format!(
            "member {id} knew that {known} is committed and starts with a floor of {}",
            module.commit_floor()
        )));
    }
    Ok(())
}
