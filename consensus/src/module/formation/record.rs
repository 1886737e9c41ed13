//! What a cluster was formed of, and what names a directory and its lives.

use crate::module::member::{MEMBERS_MAX, MemberId};

/// Names a directory for ever: 128 random bits, drawn when it was made. 0 is none.
pub type DirectoryId = u128;

/// One life of a directory: how often it was started, and a random number of this start, which
/// tells two lives with one count apart (a stale copy put back).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Starts so far, this one included; durable before the first message of the life.
    pub counter: u64,
    /// Drawn at this start.
    pub nonce: u64,
}

/// The act that made this cluster of these directories (`log.md` 9.2). All zeros until a cluster
/// forms by unanimity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FormationRecord {
    /// The cluster's uuid.
    pub cluster: u128,
    /// Which draw of the uuid this was.
    pub draw: u64,
    /// Members, 0 to [`MEMBERS_MAX`].
    pub members: u8,
    /// The directory of each member, by id; zero above `members`.
    pub directories: [DirectoryId; MEMBERS_MAX],
}

impl FormationRecord {
    /// The greatest draw that is believed of another member: a few are ever made, and above it
    /// there is room for all that are drawn after a word that cannot be true.
    pub(crate) const DRAW_MAX: u64 = u64::MAX / 2;

    /// Whether this is a record at all.
    #[must_use]
    pub const fn is_drawn(&self) -> bool {
        self.draw > 0
    }

    /// Whether `directory` is the one that this record names for `member`.
    #[must_use]
    pub fn names(&self, member: MemberId, directory: DirectoryId) -> bool {
        directory != 0 && self.directories.get(usize::from(member)) == Some(&directory)
    }
}
