//! What recovery is told of a log, and what it says of it.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::disk::DiskError;
use crate::files::ack_record::AckRecord;
use crate::log::chain::Checkpoint;
use crate::log::log_memory::LeftLog;

/// Why a log cannot be recovered at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The catalog's values make no log.
    #[error("the catalog describes no possible log: it is damaged, keep it as it is")]
    Geometry,
    /// What the log says of its cluster is not what the owner of its entries expects. Nothing
    /// has been changed.
    #[error("the log at {position} is not the one that belongs here: nothing was changed")]
    Foreign {
        /// The entry that says so.
        position: Position,
    },
}

/// What the owner of the log's entries sees in a whole frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMeaning {
    /// The id of the leadership term that it begins, if it is a NewLeadershipTerm entry.
    pub term_id: Option<u128>,
    /// The commit position of the leader that appended it, 0 if it does not say.
    pub leader_commit: Position,
    /// It says that the log is another one's.
    pub is_foreign: bool,
}

/// A leadership term as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredTerm {
    /// Its number.
    pub term: LeadershipTermId,
    /// Position of its first frame.
    pub base: Position,
    /// The random id in its first entry.
    pub id: u128,
    /// Hash of the log below `base`.
    pub chain: u64,
}

/// Where a recovery begins, and what is known of the log below, of which nothing is read: it comes
/// from a snapshot of the state there. By default the beginning of a log of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOrigin {
    /// Where the log starts: nothing below is of interest to anybody any more, and may have gone.
    pub log_start: Checkpoint,
    /// Where the first frame is expected, with the hash of all below. All below is committed.
    pub checkpoint: Checkpoint,
    /// The leadership terms that begin below, oldest first, wherever the log starts.
    pub terms: Vec<RecoveredTerm>,
    /// Log time of the last entry below, ns.
    pub log_time: i64,
    /// What lies below the checkpoint is none of the log, whatever it is: that starts there.
    pub lacks_below: bool,
}

impl Default for LogOrigin {
    fn default() -> Self {
        Self {
            log_start: Checkpoint::ZERO,
            checkpoint: Checkpoint::ZERO,
            terms: Vec::new(),
            log_time: 0,
            lacks_below: false,
        }
    }
}

impl LogOrigin {
    /// Of whoever only looks at a log from where it starts, and knows nothing of what was below.
    #[must_use]
    pub fn unknown_below(log_start: Checkpoint) -> Self {
        Self {
            log_start,
            checkpoint: log_start,
            ..Self::default()
        }
    }

    /// Where the first frame is expected.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.checkpoint.position
    }

    /// Leadership term of the last frame below; 0 where none is known.
    #[must_use]
    pub fn last_term(&self) -> LeadershipTermId {
        let last = self.terms.last();
        last.map_or(LeadershipTermId::NONE, |last| last.term)
    }
}

/// What a member knows besides its log.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// What the ack mark's file holds.
    pub mark: AckRecord,
    /// The file holds nothing any more: how far it acknowledged is not known.
    pub is_mark_lost: bool,
    /// It has acknowledged nothing of a greater leadership term: that of its node state.
    pub term_max: LeadershipTermId,
}

impl Acknowledged {
    /// A cut was announced and not reported done.
    pub(super) const fn is_cut(&self) -> bool {
        self.mark.truncated_end > self.mark.position
    }

    /// Nothing above counts, where the process before `left` a log buffer: what a loss has left
    /// above the log is erased only once the disk follows.
    pub(super) fn limit(&self, left: Option<&LeftLog<'_>>) -> Position {
        if self.is_cut() {
            return self.mark.position;
        }
        left.and_then(LeftLog::limit).unwrap_or(Position::MAX)
    }

    /// The same where the process before `left` a log buffer: all of the log in it may have been
    /// acknowledged, unless it was cut.
    pub(super) fn with_left(self, left: Option<&LeftLog<'_>>) -> Self {
        let Some(left) = left.filter(|left| !self.is_cut() && left.end() > self.mark.position)
        else {
            return self;
        };
        let mark = AckRecord {
            position: left.end(),
            // Nothing of a greater one was acknowledged.
            term: self.mark.term.max(self.term_max),
            ..self.mark
        };
        Self { mark, ..self }
    }
}
