//! What operators do to a member's directory: mix it up with another's, copy it, put an old state
//! of it back.

use lockstep_archive::sim::SimBackup;

use super::TankMember;
use super::backup::Backup;
use crate::module::member::TermBase;
use crate::module::membership::{Found, Standing};
use crate::sim::tank::accident::Misplaced;
use crate::sim::tank::tank_node::TankNode;

/// What a start would find at most of what a node has promised.
fn most_found(node: &TankNode) -> Found {
    let agents = node.agents();
    let module = &agents.consensus.module;
    Found {
        term: module.term(),
        vote: module.vote(),
        log_term: TermBase::term_of(module.terms().last().copied()),
        end: agents.consensus.log.append(),
    }
}

impl TankMember {
    /// It is about to be started on another member's directory; its own is kept aside.
    pub fn misplace(&mut self, theirs: SimBackup) {
        let own = self.disk.backup();
        self.disk.copy_from(&theirs);
        let found = self.disk.backup();
        self.misplaced = Some(Misplaced { own, found });
    }

    /// Whether it was started on another member's directory.
    pub const fn take_misplaced(&mut self) -> Option<Misplaced> {
        self.misplaced.take()
    }

    /// A backup tool copies the directory as it is.
    pub fn take_backup(&mut self) {
        let Some(node) = self.node.as_ref() else {
            return;
        };
        let agents = node.agents();
        // What a damaged log may have held cannot be told from here.
        if agents.consensus.module.is_damaged() {
            return;
        }
        let sender = agents.consensus.membership.sender();
        self.backup = Some(Backup {
            content: self.disk.backup(),
            directory: sender.directory,
            starts: sender.incarnation.counter,
            most: most_found(node),
        });
    }

    /// The old state of the directory, if there is one, with what a start finds in it at most: the
    /// log also of the life it was made in, where memory has that.
    #[must_use]
    pub fn backup(&self) -> Option<Backup> {
        let mut backup = self.backup.clone()?;
        if let Some((starts, log)) = self.log_in_memory()
            && starts == backup.starts
        {
            let most = (backup.most.log_term, backup.most.end);
            (backup.most.log_term, backup.most.end) = most.max((log.log_term, log.end));
            // A start knows the term that its log ends in, whatever its node state says.
            if backup.most.log_term > backup.most.term {
                (backup.most.term, backup.most.vote) = (backup.most.log_term, None);
            }
        }
        Some(backup)
    }

    /// In which start of its directory the log was appended that memory has, or had when its
    /// process ended, and how far it reaches.
    pub(super) fn log_in_memory(&self) -> Option<(u64, Found)> {
        let Some(node) = &self.node else {
            return self.left_log;
        };
        let agents = node.agents();
        let starts = agents.consensus.membership.sender().incarnation.counter;
        let is_kept = agents.consensus.log.outlives_process();
        is_kept.then(|| (starts, most_found(node)))
    }

    /// The old state of the directory is put back in place.
    pub fn put_backup_back(&mut self) {
        if let Some(backup) = &self.backup {
            self.disk.restore_in_place(&backup.content);
            self.is_put_back = true;
            self.crash_in_start = None;
        }
    }

    /// Whether an old state was put back and it has not durably taken another id yet.
    #[must_use]
    pub const fn is_unheard(&self) -> bool {
        self.is_put_back
    }

    /// It may have been told that its directory is an old state.
    pub(super) fn note_name(&mut self) {
        let membership = self
            .node
            .as_ref()
            .map(|node| &node.agents().consensus.membership);
        self.is_put_back &= !membership.is_some_and(|membership| {
            membership.standing() == Standing::Learner && membership.may_speak()
        });
    }

    /// The newest start of `directory` of `member` that it durably knows; `None` while down.
    #[must_use]
    pub fn known_start(&self, member: usize, directory: u128) -> Option<u64> {
        let membership = &self.node.as_ref()?.agents().consensus.membership;
        Some(membership.known_start(member as u8, directory))
    }

    /// Whether it durably knows that the directory of `member` has lived on since `backup` was
    /// made; not while it is down.
    #[must_use]
    pub fn knows_more_than(&self, member: usize, backup: &Backup) -> bool {
        let node = self.node.as_ref();
        node.is_some_and(|node| {
            let state = (backup.starts, &backup.most);
            let membership = &node.agents().consensus.membership;
            membership.knows_more_of(member as u8, backup.directory, state)
        })
    }
}
