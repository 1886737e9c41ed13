//! What may be wrong with a snapshot, or with who writes or reads one.

use core::fmt;

use super::section_name::{NAME_LENGTH_MAX, SectionName};

/// A place in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// The section that it is in, if it is in one.
    pub section: Option<SectionName>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match &self.section {
            Some(section) => write!(formatter, "byte {offset}, in section {section}"),
            None => write!(formatter, "byte {offset}"),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Such a name may not be.
    #[error(
        "no section can be called {text:?}: name it with 1 to {limit} of the characters a to z, \
         0 to 9, / _ and -"
    )]
    BadName {
        /// What was to be the name.
        text: String,
        /// Most characters that it may have.
        limit: usize,
    },
    /// A section of this name was written before.
    #[error("section {name} was written before: give each section a name of its own")]
    SectionTwice {
        /// Its name.
        name: SectionName,
    },
    /// A section was to begin, or everything to end, in the middle of one.
    #[error("section {name} has not ended: end it first")]
    SectionOpen {
        /// Its name.
        name: SectionName,
    },
    /// Something was to be written or read outside of all sections.
    #[error("there is no section here: begin one first")]
    NoSection,
    /// Another section than may be was begun.
    #[error("a snapshot has {limit} sections at most: put more into each of them")]
    TooManySections {
        /// Most that there may be.
        limit: usize,
    },
    /// Something was to be written to a snapshot that is complete.
    #[error("the snapshot is complete: begin another one")]
    Complete,
    /// The service takes no snapshots, or cannot read one.
    #[error(
        "the service takes no snapshots: give it snapshot_step and load_snapshot, or run it \
         without any"
    )]
    NotTaken,
    /// Bytes of it could not be read.
    #[error("the snapshot cannot be read at {place}: {reason}; look after the disk")]
    Unreadable {
        /// Where.
        place: Place,
        /// Why.
        reason: String,
    },
    /// It does not begin as one does.
    #[error("these bytes are no snapshot: use another one")]
    NoSnapshot,
    /// Its format is one of a newer version.
    #[error("the snapshot has format {found}, newer than {known}: use a newer version of lockstep")]
    NewerFormat {
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// It ends before its end.
    #[error("the snapshot is cut short at {place}: use another one")]
    CutShort {
        /// Where.
        place: Place,
    },
    /// It is not as it was written.
    #[error("the snapshot is damaged at {place}: {what}; use another one")]
    Damaged {
        /// Where what is wrong begins.
        place: Place,
        /// What is wrong.
        what: &'static str,
    },
    /// Another section was to come.
    #[error(
        "the snapshot has no section {expected} at {place}: it was written by another version \
         of what reads it"
    )]
    MissingSection {
        /// Where it was looked for, in the section that is there instead.
        place: Place,
        /// Its name.
        expected: SectionName,
    },
    /// More was to be read than there is.
    #[error(
        "the section has ended at {place}, and more was to be read: it was written by another \
         version of what reads it"
    )]
    SectionTooShort {
        /// Its end.
        place: Place,
    },
    /// Less was read than there is.
    #[error(
        "the section goes on at {place}, and nobody reads it: it was written by another version \
         of what reads it"
    )]
    SectionNotRead {
        /// What was to be read next.
        place: Place,
    },
    /// What it says cannot be.
    #[error("the snapshot says at {place} what cannot be: {reason}")]
    Refused {
        /// Behind what it says.
        place: Place,
        /// Why it cannot be.
        reason: String,
    },
}

impl SnapshotError {
    /// That no section can be called so.
    #[cold]
    pub(super) fn bad_name(text: &str) -> Self {
        Self::BadName {
            text: text.to_owned(),
            limit: NAME_LENGTH_MAX,
        }
    }
}
