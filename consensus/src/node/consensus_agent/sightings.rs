//! What a node has seen of other members and of conditions that last.

use lockstep_transport::notices::NoticeKind;
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::notice::NodeNotice;
use crate::notice::absence::Absence;
use crate::protocol::message::MemberMessage;

/// What is amiss for so long is told: longer than any election on a healthy network.
pub(super) const PATIENCE_NS: Nanos = 2 * SECOND;

/// What was seen of another member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) heard: Option<Nanos>,
    /// When a message was last refused, and why.
    pub(super) refused: Option<(Nanos, NodeNotice)>,
    pub(super) vote_denied: Option<Nanos>,
}

/// What was seen of other members and of lasting conditions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    pub(super) started: Option<Nanos>,
    pub(super) next_reminder: Nanos,
    pub(super) members: [Seen; MEMBERS_MAX],
    /// When a leader was last known, and since when this member leads.
    pub(super) leader_known: Nanos,
    pub(super) leading_since: Option<Nanos>,
    pub(super) is_full: bool,
    pub(super) was_damaged: bool,
    /// End of the log, and when it last moved or had no reason to.
    pub(super) append: (Position, Nanos),
}

impl Watch {
    /// A good message came from `member`.
    pub(super) fn on_message(&mut self, now: Nanos, member: MemberId, message: &MemberMessage) {
        let seen = &mut self.members[usize::from(member)];
        seen.heard = Some(now);
        if let MemberMessage::PreVote { granted, .. } | MemberMessage::Vote { granted, .. } =
            message
        {
            seen.vote_denied = (!granted).then_some(now);
        }
    }

    /// A message of `member` was refused.
    pub(super) fn on_refused(&mut self, now: Nanos, member: MemberId, kind: NodeNotice) {
        self.members[usize::from(member)].refused = Some((now, kind));
    }

    /// What keeps `member` away, and which kind it is refused for. `is_voiceless`: it was last
    /// heard on a directory that does not count.
    pub(super) fn absence(&self, now: Nanos, member: usize, is_voiceless: bool) -> (Absence, u8) {
        let seen = &self.members[member];
        let is_recent = |at: Nanos| now - at < PATIENCE_NS;
        let refused = seen.refused.filter(|(at, _)| is_recent(*at));
        match (refused, seen.heard) {
            (Some((_, kind)), _) => (Absence::Refused, kind.index() as u8),
            _ if is_voiceless => (Absence::Voiceless, 0),
            (None, None) => (Absence::NeverHeard, 0),
            (None, Some(heard)) if !is_recent(heard) => (Absence::Silent, 0),
            _ if seen.vote_denied.is_some_and(is_recent) => (Absence::VoteDenied, 0),
            _ => (Absence::None, 0),
        }
    }
}
