//! Why a node stops: each fault is final for this process, named, and says what to do.

use lockstep_archive::disk::DiskError;
use lockstep_service::container::ServiceFault;
use lockstep_service::snapshot::SectionName;
use lockstep_transport::position::Position;

use crate::module::action::HaltReason;
use crate::module::member::MemberId;

/// Why what a node has stored can no longer be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// An operation failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A frame of the own log does not read back as it was written.
    #[error("{file} is damaged at position {position} of the log")]
    Rotten {
        /// The segment.
        file: String,
        /// Where in the log.
        position: Position,
    },
}

/// A fault that a node must not outlive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFault {
    /// The consensus module ordered it.
    #[error(transparent)]
    Halted(#[from] HaltReason),
    /// A write, a sync or what belongs to them failed: what the disk holds can no longer be
    /// trusted by this process.
    #[error(
        "{error}: what the disk holds is not known any more; check the device and its file \
         system, then start this member again: it re-reads its disk and repairs from its peers"
    )]
    Storage {
        /// Which operation on which file, and the operating system's words.
        error: DiskError,
    },
    /// Its own log has rotted where it has to be read again, to be cut where the leader's parts
    /// from it.
    #[error(
        "{file} is damaged at position {position} of the log, below where it must be cut: look \
         after the disk and start this member again, it repairs its log from its peers; keep the \
         directory as it is"
    )]
    RottenLog {
        /// The segment.
        file: String,
        /// Where in the log.
        position: Position,
    },
    /// The service panicked, or its output differs from what the log holds.
    #[error(transparent)]
    Service(#[from] ServiceFault),
    /// The service's thread ended without a word: something there panicked outside the service.
    #[error(
        "the service's thread has ended: the panic above this line says why; start this member \
         again, it executes its log anew"
    )]
    ServiceEnded,
    /// One of its other threads ended without a word.
    #[error(
        "the thread {name} has ended: the panic above this line says why; start this member again"
    )]
    ThreadEnded {
        /// What the thread was called.
        name: String,
    },
    /// No fault of its own: its log ended below what its leader still has. What replaces it is here
    /// now, and read at a start: the same process starts the node again, with a service that has
    /// seen nothing, on the same directory and configuration.
    #[error(
        "the log of the leader starts above the end of this member's: it has fetched the snapshot \
         at {position} and is to start again, from that"
    )]
    StartAgain {
        /// Where the snapshot was taken.
        position: Position,
    },
    /// Most of the members that took a snapshot where this one did have the same, and this one has
    /// another.
    #[error(
        "this member's service diverged: a majority of the members that took a snapshot at \
         {position}, member {member} among them, has another one than this member's{}: run the \
         same build of the service on all members, and see that its state, and the order in which \
         it writes it, depend on nothing but the log",
        section_words(section.as_ref())
    )]
    SnapshotDiverged {
        /// Where it was taken.
        position: Position,
        /// One of those who have the other.
        member: MemberId,
        /// The first section that differs, if that could be found.
        section: Option<SectionName>,
    },
    /// A committed entry does not decode.
    #[error(
        "the committed entry at {position} does not decode: \
         all members must run the same version of lockstep"
    )]
    MalformedEntry {
        /// Where.
        position: Position,
    },
    /// More leaders diverged than are remembered.
    #[error(
        "the Response at {position} would be that of one more leader whose service diverged than \
         is remembered: the service is not deterministic, run one that is"
    )]
    TooManyVoidResponses {
        /// Where.
        position: Position,
    },
    /// Committed bytes cannot be read back.
    #[error(
        "the log at {position} cannot be read back from disk: \
         look after the disk and start this member again, it repairs its log from its peers; \
         keep the directory as it is"
    )]
    DamagedLog {
        /// Where.
        position: Position,
    },
    /// Committed bytes are wanted that a snapshot stands for, and that are not there any more.
    #[error(
        "the log at {position} is wanted, and what this member has of it starts at {start}: start \
         this member again; what it cannot deliver another leader can"
    )]
    LogGone {
        /// Where.
        position: Position,
        /// Where the log starts.
        start: Position,
    },
}

fn section_words(section: Option<&SectionName>) -> String {
    section.map_or_else(String::new, |section| {
        format!(", the first section that differs is {section}")
    })
}

impl NodeFault {
    /// Whether all that is to be done is to start the node again, in this process or another one,
    /// with a service that has seen nothing.
    #[must_use]
    pub const fn is_to_start_again(&self) -> bool {
        matches!(self, Self::StartAgain { .. })
    }

    /// Where the service here has gone another way than a majority's, as far as is known: nothing
    /// that was taken of it above that is a snapshot.
    #[must_use]
    pub(crate) const fn diverged_at(&self) -> Option<Position> {
        match self {
            Self::Halted(HaltReason::Diverged { cause, .. }) => Some(*cause),
            Self::SnapshotDiverged { position, .. } => Some(*position - 1),
            _ => None,
        }
    }
}

impl From<StoreFailure> for NodeFault {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Disk(error) => Self::Storage { error },
            StoreFailure::Rotten { file, position } => Self::RottenLog { file, position },
        }
    }
}
