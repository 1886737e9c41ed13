//! Whose directory a start finds, and what that makes of the member (`log.md` 9.1): its own, a
//! copy of its own, one that cannot answer for its promises, a blank one, or one that must be
//! left alone.
//!
//! A copy, and a directory that lost what it promised, takes a new id: nothing that was promised
//! under the old one is ever broken by it, and nobody counts it in the cluster that was formed
//! with the old one. That is durable before any file that was lost is written again; else a crash
//! in between would leave a voter with a forgotten vote.
//!
//! The identity file is the last one made in a new directory and is never made again in one that
//! was used: an identity without the rest, or the rest without an identity, is damage.

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::files::identity_file::{IdentityContent, IdentityFile, Notes};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;

use crate::directory::member_directory::{Directory, DirectoryError};
use crate::module::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::module::member::MemberId;
use crate::module::membership::{Forfeit, Found, Membership, MembershipConfig, MembershipNotes};
use crate::settings::config::{ClusterConfig, NodeConfig};

/// Why a directory is left alone. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BirthError {
    /// It was made for another member, or for another cluster.
    #[error(
        "the directory was made for member {found_member} of cluster \"{found_cluster}\" and not \
         for member {member} of cluster \"{cluster}\": nothing in it was changed; give each \
         member its own directory back, as docs/operating.md describes"
    )]
    Foreign {
        /// Whose it is.
        found_member: MemberId,
        /// Of which cluster.
        found_cluster: String,
        /// Who was to be started on it.
        member: MemberId,
        /// Of which cluster.
        cluster: String,
    },
    /// Part of it is missing: it is not blank.
    #[error(
        "{what}: this member cannot know what it promised; keep the directory as it is, it may \
         hold the only copy of an answered request, and see \"A directory is damaged\" in \
         docs/operating.md"
    )]
    Damaged {
        /// What is missing or unreadable.
        what: &'static str,
    },
    /// Its notes are of another version of Lockstep.
    #[error(
        "identity.dat holds what the member knows of its cluster in version {version}, which this \
         version of lockstep does not read: nothing in the directory was changed; start the \
         member with the version that wrote it"
    )]
    OtherVersion {
        /// That version.
        version: u8,
    },
    /// The log is not of the cluster that its identity file names.
    #[error(
        "the log's entry at {position} says that its cluster is {found:032x}, formed of other \
         directories than identity.dat says of {expected:032x}: files of two directories were \
         mixed; nothing in it was changed; give each directory its own files back, as \
         docs/operating.md describes"
    )]
    OtherLog {
        /// The first entry that says so.
        position: Position,
        /// The uuid there.
        found: u128,
        /// The uuid in the identity file.
        expected: u128,
    },
}

const NO_IDENTITY: &str = concat!(
    "identity.dat is missing or unreadable in a directory that was used ",
    "(or this directory is of a version of lockstep that had none)"
);
const NOTHING_ELSE: &str = "the directory has its identity.dat, and the rest of it is missing";
const NOT_FORMED: &str =
    "the directory holds a term or a log, and identity.dat knows of no cluster that formed";

/// Cold: the record of the cluster that the directory behind `disk` says it belongs to, where it
/// belongs to one that has formed. Changes nothing.
///
/// # Errors
/// The disk's, and notes that do not decode.
pub(super) fn formed_record(
    disk: &mut impl ColdFiles,
) -> Result<Option<FormationRecord>, BirthOrDiskError> {
    let IdentityContent::Valid(identity, _) = IdentityFile::inspect(disk)? else {
        return Ok(None);
    };
    let formation = read_notes(&identity.notes)?.formation;
    Ok(formation.is_formed.then_some(formation.record))
}

pub(super) fn read_notes(notes: &Notes) -> Result<MembershipNotes, BirthError> {
    if let Some(version) = MembershipNotes::other_version(notes) {
        return Err(BirthError::OtherVersion { version });
    }
    let damaged = BirthError::Damaged { what: NO_IDENTITY };
    MembershipNotes::decode(notes).ok_or(damaged)
}

/// The error for a log whose entry at `position` says that its cluster was formed as `found`,
/// where the identity file says `expected`.
pub(super) fn other_log(
    position: Position,
    found: &FormationRecord,
    expected: Option<&FormationRecord>,
) -> BirthError {
    match expected {
        None => BirthError::Damaged { what: NOT_FORMED },
        Some(expected) => BirthError::OtherLog {
            position,
            found: found.cluster,
            expected: expected.cluster,
        },
    }
}

/// Cold: whether the directory behind `disk` may be this member's. `has_catalog`: it holds
/// more than its identity, good or not. Changes nothing.
///
/// # Errors
/// See [`BirthError`], and the disk's.
pub(crate) fn inspect(
    disk: &mut impl ColdFiles,
    cluster: &ClusterConfig,
    node: &NodeConfig,
    has_catalog: bool,
) -> Result<(), BirthOrDiskError> {
    let was_used = Directory::was_used(disk)?;
    match IdentityFile::inspect(disk)? {
        IdentityContent::Valid(identity, _) => {
            if identity.member != node.member || !identity.is_of_cluster(&cluster.name) {
                let found_cluster = String::from_utf8_lossy(&identity.cluster).into_owned();
                return Err(BirthError::Foreign {
                    found_member: identity.member,
                    found_cluster,
                    member: node.member,
                    cluster: cluster.name.clone(),
                }
                .into());
            }
            if !has_catalog {
                return Err(BirthError::Damaged { what: NOTHING_ELSE }.into());
            }
        }
        IdentityContent::Blank | IdentityContent::Unreadable if !was_used => {}
        IdentityContent::Blank | IdentityContent::Unreadable => {
            return Err(BirthError::Damaged { what: NO_IDENTITY }.into());
        }
    }
    Ok(())
}

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BirthOrDiskError {
    /// It is left alone.
    #[error(transparent)]
    Birth(#[from] BirthError),
    /// The other files.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// An identity that was found, or made.
#[derive(Debug)]
pub(crate) struct Birth {
    /// The open file.
    pub file: IdentityFile,
    /// What the member durably knows of its cluster.
    pub notes: MembershipNotes,
    /// Whether the directory found itself to be a copy just now.
    pub is_copy: bool,
}

impl Birth {
    /// Cold: opens or makes the identity of a directory that `inspect` found good; one that has
    /// to give up its voice for `forfeit`, or is a copy, is another one on return.
    ///
    /// # Errors
    /// The disk's, and notes that do not decode.
    pub fn open(
        disk: &mut impl ColdFiles,
        cluster: &ClusterConfig,
        node: &NodeConfig,
        forfeit: Option<Forfeit>,
        randomness: &mut Prng,
    ) -> Result<Self, BirthOrDiskError> {
        let IdentityContent::Valid(identity, sequence) = IdentityFile::inspect(disk)? else {
            let id = randomness.next_u128();
            return Ok(Self {
                file: IdentityFile::create(disk, id, node.member, &cluster.name)?,
                notes: MembershipNotes::default(),
                is_copy: false,
            });
        };
        let mut notes = read_notes(&identity.notes)?;
        let mut file = IdentityFile::open(disk, *identity, sequence)?;
        file.repair(disk)?;
        let is_copy = file.is_copy(disk)?;
        if is_copy || forfeit.is_some() {
            if notes.formation.is_formed {
                notes.forfeit = forfeit.or(notes.forfeit);
            } else {
                // A record that is not final binds the original alone.
                notes.formation = DurableFormation::default();
            }
            notes.forget_settled_lives();
            file.rename(disk, randomness.next_u128(), &notes.encode())?;
        }
        Ok(Self {
            file,
            notes,
            is_copy,
        })
    }

    /// What the member is in its cluster, as it starts for the `counter`th time and has `found`
    /// a term, or a log, or neither.
    ///
    /// # Errors
    /// When it has taken part in a term of a cluster it knows nothing of.
    pub fn membership(
        &self,
        cluster: &ClusterConfig,
        node: &NodeConfig,
        (counter, found): (u64, Found),
        randomness: &mut Prng,
    ) -> Result<Membership, BirthError> {
        let has_term = found.term > LeadershipTermId::NONE || found.end > 0;
        if has_term && !self.notes.formation.is_formed {
            return Err(BirthError::Damaged { what: NOT_FORMED });
        }
        let config = MembershipConfig {
            member: node.member,
            members: cluster.members.len(),
            heartbeat_interval_ns: node.heartbeat_interval_ns,
            silence_ns: node.election_timeout_ns,
            uuid: randomness.next_u128(),
            next_directory: randomness.next_u128(),
            found,
        };
        let incarnation = Incarnation {
            counter,
            nonce: randomness.next_u64(),
        };
        let directory = self.file.identity().directory;
        Ok(Membership::new(
            config,
            directory,
            self.notes,
            incarnation,
            has_term,
        ))
    }
}
