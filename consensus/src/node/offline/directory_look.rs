//! What the small files of a directory say, and what a start would make of them. Changes nothing.

use lockstep_archive::disk::{ColdFiles, DiskError, SegmentName};
use lockstep_archive::files::ack_mark::{ACK_MARK_FILE, AckMark};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::catalog::{CATALOG_FILE, Catalog, CatalogContent, CatalogMismatch};
use lockstep_archive::files::identity_file::{
    DirectoryIdentity, IDENTITY_FILE, IdentityContent, IdentityFile,
};
use lockstep_archive::files::slot_file::Opened;
use lockstep_archive::files::snapshot_index::{
    SNAPSHOT_INDEX_FILE, SnapshotIndex, SnapshotIndexFile,
};
use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::log::recovery::{Acknowledged, RecoveryError};
use lockstep_archive::log::segment::lowest_segment;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::directory::member_directory::Lost;
use crate::directory::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile};
use crate::directory::spoiled_slots::{self, FILES, SpoiledSlots};
use crate::module::formation::FormationRecord;
use crate::module::membership::{Forfeit, MembershipNotes};
use crate::node::birth::{BirthError, read_notes};
use crate::node::forfeiture::{FoundBeside, forfeit};

/// Why there is nothing to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// It is something else.
    #[error(
        "it holds no {CATALOG_FILE} and no segment of a log, so that it is no node's directory: \
         give the directory that the node's configuration file names"
    )]
    NoNode,
    /// Its log cannot be read without it.
    #[error(
        "{CATALOG_FILE} is missing, or damaged in both of its places: without it nothing can be \
         read of the log, and a start is refused; keep the directory as it is, and see \"A \
         directory is damaged\" in docs/operating.md"
    )]
    Catalog,
    /// A file of another version.
    #[error(
        "{name} was written by another version of lockstep: look with the version that wrote it"
    )]
    OtherVersion {
        /// Which file.
        name: &'static str,
    },
    /// The catalog is of another version.
    #[error(transparent)]
    Format(#[from] CatalogMismatch),
    /// The disk.
    #[error("{0}; see that this user may read each file in it, and look at the device's health")]
    Disk(#[from] DiskError),
    /// The log.
    #[error(transparent)]
    Recovery(RecoveryError),
    /// It never stood still.
    #[error(
        "it changed each time that it was read, as it does while its node starts, cuts its log \
         back, or takes snapshots faster than they are read: look again in a moment"
    )]
    Restless,
}

impl From<RecoveryError> for OfflineError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Disk(error) => Self::Disk(error),
            error => Self::Recovery(error),
        }
    }
}

/// What a member's directory is in its cluster, as far as its files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Which directory it is cannot be read: a start is refused.
    Unknown,
    /// It was never started to its end, or its cluster has not formed.
    Unformed,
    /// It is the one that the cluster was formed with.
    Voter,
    /// It is not, because of this, where it knows.
    Learner(Option<Forfeit>),
    /// It lies elsewhere than where it was made: a start gives it an id of its own.
    Copy,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct DirectoryLook {
    /// Whose it is.
    pub identity: Option<DirectoryIdentity>,
    /// What it is.
    pub standing: Standing,
    /// How its cluster was formed, if it has.
    pub formation: Option<FormationRecord>,
    /// What its log looks like.
    pub catalog: Catalog,
    /// Where its log starts, as its index says, or the oldest segment.
    pub log_start: Checkpoint,
    /// What the index says; `None` where there is none that can be read.
    pub index: Option<SnapshotIndex>,
    /// Where the log starts, and what it follows from, only the index knew, and it is lost: a start
    /// is refused.
    pub is_start_lost: bool,
    /// Term, vote and starts; `None` where they are lost.
    pub node_state: Option<NodeState>,
    /// How far it acknowledged; `None` where that is lost.
    pub mark: Option<AckRecord>,
    /// The run of the host that looks.
    pub boot_id: Option<u128>,
    spoiled: SpoiledSlots,
}

impl DirectoryLook {
    /// Looks.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn read(disk: &mut impl ColdFiles) -> Result<Self, OfflineError> {
        let catalog = catalog(disk)?;
        let mark = record(AckMark::look(disk)?, ACK_MARK_FILE.name)?;
        let node_state = record(NodeStateFile::look(disk)?, NODE_STATE_FILE.name)?;
        let identity = match IdentityFile::inspect(disk)? {
            IdentityContent::Valid(identity, _) => Some(*identity),
            IdentityContent::Blank | IdentityContent::Unreadable => None,
        };
        let notes = identity.as_ref().map(notes);
        let notes = notes.transpose()?.flatten();
        let formation = notes.map(|notes| notes.formation);
        let index = record(SnapshotIndexFile::look(disk)?, SNAPSHOT_INDEX_FILE.name)?;
        let oldest = lowest_segment(disk, catalog.segment_length)?;
        let lowest = oldest.map_or(0, |(_, base)| base);
        // As of a log that starts there, of which nothing is known.
        let unknown = Checkpoint {
            position: lowest,
            hash: 0,
        };
        Ok(Self {
            standing: standing(disk, identity.as_ref(), notes.as_ref())?,
            identity,
            formation: formation
                .filter(|formation| formation.is_formed)
                .map(|formation| formation.record),
            catalog,
            log_start: index.map_or(unknown, |index| index.log_start()),
            index,
            is_start_lost: index.is_none() && lowest > 0,
            node_state,
            mark,
            boot_id: disk.boot_id(),
            spoiled: spoiled_slots::find(disk)?,
        })
    }

    /// What recovery knows besides the log.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        Acknowledged {
            mark: self.mark.unwrap_or_default(),
            is_mark_lost: self.mark.is_none(),
            term_max: self.leadership_term(),
        }
    }

    /// The same where the newest snapshot that is whole `shows` more than the mark, which may be
    /// behind; `is_left`: what was acknowledged in memory is there.
    pub(super) fn acknowledged_with(
        &self,
        shown: Option<(LeadershipTermId, Position)>,
        is_left: bool,
    ) -> Acknowledged {
        Acknowledged {
            mark: self.beside(is_left).mark_with(shown),
            ..self.acknowledged()
        }
    }

    fn leadership_term(&self) -> LeadershipTermId {
        let state = self.node_state;
        state.map_or(LeadershipTermId::NONE, |state| state.leadership_term)
    }

    /// What will keep this directory from answering for what was promised in it, if anything does;
    /// `is_left`: what it acknowledged in memory is there.
    #[must_use]
    pub fn forfeit(&self, is_left: bool) -> Option<Forfeit> {
        forfeit(&self.beside(is_left))
    }

    fn beside(&self, is_left: bool) -> FoundBeside {
        FoundBeside {
            lost: Lost {
                node_state: self.node_state.is_none(),
                ack_mark: self.mark.is_none(),
            },
            leadership_term: self.leadership_term(),
            mark: self.mark.unwrap_or_default(),
            boot_id: self.boot_id,
            is_left,
        }
    }

    /// Files of which nothing can be read.
    #[must_use]
    pub fn lost(&self) -> Vec<&'static str> {
        let lost = [
            (self.standing == Standing::Unknown, IDENTITY_FILE),
            (self.node_state.is_none(), NODE_STATE_FILE.name),
            (self.mark.is_none(), ACK_MARK_FILE.name),
            (self.is_start_lost, SNAPSHOT_INDEX_FILE.name),
        ];
        let lost = lost.into_iter().filter(|(is_lost, _)| *is_lost);
        lost.map(|(_, name)| name).collect()
    }

    /// Files of which one of the two places is spoiled.
    #[must_use]
    pub fn spoiled(&self) -> Vec<&'static str> {
        let named = self.spoiled.iter().zip(FILES);
        let spoiled = named.filter(|(is_spoiled, _)| **is_spoiled);
        spoiled.map(|(_, name)| name).collect()
    }

    /// Whether two looks may have been at one and the same log, of which the second saw more. By
    /// then the log may start higher, up to where it had been read before.
    pub(crate) fn may_go_on_as(&self, later: &Self, read_to: Position) -> bool {
        let starts = |look: &Self| look.node_state.map(|state| state.incarnation);
        let mark = |look: &Self| look.mark.unwrap_or_default();
        let trimmed = self.log_start.position + 1..=read_to;
        starts(self) == starts(later)
            && (self.log_start == later.log_start || trimmed.contains(&later.log_start.position))
            && self.identity.as_ref().map(|id| id.directory)
                == later.identity.as_ref().map(|id| id.directory)
            && self.formation == later.formation
            && mark(self).position <= mark(later).position
            && mark(self).truncated_end == mark(later).truncated_end
    }

    /// A slot that was found good once is not spoiled: it was being written.
    pub(crate) fn forgive(&mut self, again: &Self) {
        for (spoiled, again) in self.spoiled.iter_mut().zip(again.spoiled) {
            *spoiled &= again;
        }
    }

    /// Whether any slot was found spoiled.
    pub(crate) fn has_spoiled(&self) -> bool {
        self.spoiled.contains(&true)
    }
}

fn catalog(disk: &mut impl ColdFiles) -> Result<Catalog, OfflineError> {
    match Catalog::inspect(disk)? {
        CatalogContent::Valid(catalog) => Ok(catalog),
        CatalogContent::OtherVersion(found) => Err(CatalogMismatch::Version { found }.into()),
        content => {
            let names = disk.list()?;
            let is_ours = |name: &String| {
                SegmentName::parse(name).is_some() || FILES.contains(&name.as_str())
            };
            if content == CatalogContent::Blank && !names.iter().any(is_ours) {
                return Err(OfflineError::NoNode);
            }
            Err(OfflineError::Catalog)
        }
    }
}

fn record<T>(found: Opened<T>, name: &'static str) -> Result<Option<T>, OfflineError> {
    match found {
        Opened::Record(record) => Ok(Some(record)),
        Opened::Nothing => Ok(None),
        Opened::OtherVersion => Err(OfflineError::OtherVersion { name }),
    }
}

/// What it knows of its cluster, unless it is damaged.
fn notes(identity: &DirectoryIdentity) -> Result<Option<MembershipNotes>, OfflineError> {
    match read_notes(&identity.notes) {
        Ok(notes) => Ok(Some(notes)),
        Err(BirthError::OtherVersion { .. }) => Err(OfflineError::OtherVersion {
            name: IDENTITY_FILE,
        }),
        // Damaged: a start is refused, which `Standing::Unknown` says.
        Err(_) => Ok(None),
    }
}

fn standing(
    disk: &mut impl ColdFiles,
    identity: Option<&DirectoryIdentity>,
    notes: Option<&MembershipNotes>,
) -> Result<Standing, DiskError> {
    let (Some(identity), Some(notes)) = (identity, notes) else {
        return Ok(Standing::Unknown);
    };
    let file = disk.open(IDENTITY_FILE)?;
    let is_copy = identity.is_copy_at(&disk.place(file)?);
    let record = &notes.formation.record;
    Ok(if is_copy {
        Standing::Copy
    } else if !notes.formation.is_formed {
        Standing::Unformed
    } else if record.names(identity.member, identity.directory) && notes.forfeit.is_none() {
        Standing::Voter
    } else {
        Standing::Learner(notes.forfeit)
    })
}
