//! What operators do to a member's directory: mix it up with another's, copy it, put an old state
//! of it back.

use lockstep_archive::sim::SimBackup;

use super::{DirectoryStart, TankMember};
use crate::membership::Standing;
use crate::sim::tank_accident::Misplaced;

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
        if let Some(started) = self.directory_start() {
            self.backup = Some((self.disk.backup(), started));
        }
    }

    /// The old state of the directory, if there is one.
    #[must_use]
    pub const fn backup(&self) -> Option<&(SimBackup, DirectoryStart)> {
        self.backup.as_ref()
    }

    /// The old state of the directory is put back in place.
    pub fn put_backup_back(&mut self) {
        if let Some((backup, _)) = &self.backup {
            self.disk.restore_in_place(backup);
            self.is_put_back = true;
            self.crash_in_start = None;
        }
    }

    /// Whether an old state was put back and nobody has told it so yet. It is left alone until
    /// then: were it started more often than it has lived on, nobody could tell any more.
    pub fn is_unheard(&mut self) -> bool {
        let node = self.node.as_ref();
        let standing = node.map(|node| node.parts().membership.standing());
        self.is_put_back &= standing != Some(Standing::Learner);
        self.is_put_back
    }

    fn directory_start(&self) -> Option<DirectoryStart> {
        let sender = self.node.as_ref()?.parts().membership.sender();
        Some((sender.directory, sender.incarnation.counter))
    }

    /// The newest start of `directory` of `member` that it durably knows; `None` while down.
    #[must_use]
    pub fn known_start(&self, member: usize, directory: u128) -> Option<u64> {
        let membership = &self.node.as_ref()?.parts().membership;
        Some(membership.known_start(member as u8, directory))
    }
}
