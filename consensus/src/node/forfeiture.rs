//! Whether a directory can answer for what was promised in it, by what a start finds there
//! (`log.md` 9.1, 10.3). Pure.

use lockstep_archive::files::ack_record::AckRecord;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::directory::member_directory::Lost;
use crate::module::membership::Forfeit;

/// What a start finds beside the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundBeside {
    /// What is blank although the directory is not new.
    pub(super) lost: Lost,
    /// The greatest term it has taken part in.
    pub(super) leadership_term: LeadershipTermId,
    /// The ack mark.
    pub(super) mark: AckRecord,
    /// The run of the host.
    pub(super) boot_id: Option<u128>,
    /// Whether the log buffer of the life before is there.
    pub(super) is_left: bool,
}

impl FoundBeside {
    /// What the mark says, and no less than the newest snapshot shows, which may be newer by what
    /// the mark is behind. Where the log may have gone without a trace that is true of another log.
    pub(super) fn mark_with(&self, shown: Option<(LeadershipTermId, Position)>) -> AckRecord {
        let mark = self.mark;
        match shown {
            Some((term, position)) if self.gone_without_trace().is_none() => AckRecord {
                position: mark.position.max(position),
                term: mark.term.max(term),
                commit: mark.commit.max(position),
                ..mark
            },
            _ => mark,
        }
    }

    /// What may have taken some of the log away without a trace, although it was acknowledged.
    pub(super) fn gone_without_trace(&self) -> Option<Forfeit> {
        if self.mark.may_have_gone(self.boot_id) {
            Some(Forfeit::UnsyncedLog)
        } else if self.mark.is_in_memory && !self.is_left {
            Some(Forfeit::LogMemory)
        } else {
            None
        }
    }
}

/// What keeps this directory from answering for what was promised in it, if anything does. A
/// member that has taken part in no term has acknowledged nothing.
pub(super) fn forfeit(found: &FoundBeside) -> Option<Forfeit> {
    let has_taken_part = found.leadership_term > LeadershipTermId::NONE;
    if found.lost.node_state {
        Some(Forfeit::NodeState)
    } else if !has_taken_part {
        None
    } else if found.lost.ack_mark {
        Some(Forfeit::AckMark)
    } else {
        found.gone_without_trace()
    }
}
