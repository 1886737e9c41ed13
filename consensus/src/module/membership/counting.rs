//! Which directories count (`log.md` 9.1): those that the record in force names.

use super::Membership;
use crate::module::formation::DirectoryId;
use crate::module::member::MemberId;

impl Membership {
    /// Breaks `log.md` 9.1 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) fn count_all(&mut self) {
        self.counts_all = true;
        self.note_change();
    }

    /// Whether `directory` of `member` counts.
    pub(super) fn counts(&self, member: MemberId, directory: DirectoryId) -> bool {
        #[cfg(feature = "sim")]
        if self.counts_all {
            return true;
        }
        self.record().names(member, directory)
    }
}
