//! What operators do to a member's directory: mix it up with another's, copy it, put an old state
//! of it back.

use lockstep_archive::sim::SimBackup;

use super::TankMember;
use super::backup::Backup;
use crate::module::member::TermBase;
use crate::module::membership::{Found, Standing};
use crate::sim::tank::accident::Misplaced;

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
        let Some(agents) = self.node.as_ref().map(|node| node.agents()) else {
            return;
        };
        // What a damaged log may have held cannot be told from here.
        if agents.consensus.module.is_damaged() {
            return;
        }
        let sender = agents.consensus.membership.sender();
        self.backup = Some(Backup {
            content: self.disk.backup(),
            directory: sender.directory,
            starts: sender.incarnation.counter,
            most: Found {
                term: agents.consensus.module.term(),
                vote: agents.consensus.module.vote(),
                log_term: TermBase::term_of(agents.consensus.module.terms().last().copied()),
                end: agents.consensus.log.append(),
            },
        });
    }

    /// The old state of the directory, if there is one.
    #[must_use]
    pub const fn backup(&self) -> Option<&Backup> {
        self.backup.as_ref()
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
