//! What a node says about sessions and their requests.

use core::fmt::{Formatter, Result};

use lockstep_client::protocol::RefusalReason;
use lockstep_transport::notices::Detail;

use super::kind::NodeNotice;
use super::row::{Row, Source};

/// What to do about a request whose client was told why it is refused.
const TOLD: &str = "its client was told";

fn request(detail: &Detail, why: &str, f: &mut Formatter<'_>) -> Result {
    let (source, session) = (Source(detail.source), detail.values[0]);
    write!(
        f,
        "a request of session {session} from {source} was refused: {why}"
    )
}

impl NodeNotice {
    /// What counts a request that is refused for `reason`.
    #[must_use]
    pub(crate) const fn of_refusal(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::OutOfOrder => Self::RequestOutOfOrder,
            RefusalReason::BackPressured => Self::RequestBackPressured,
            RefusalReason::NotLeader => Self::RequestNotLeader,
            RefusalReason::UnknownSession => Self::RequestOfUnknownSession,
            RefusalReason::AlreadyApplied => Self::RequestAlreadyApplied,
            RefusalReason::TooLong => Self::RequestTooLong,
            RefusalReason::WrongTerm => Self::RequestOfOtherTerm,
            RefusalReason::Draining => Self::RequestWhileDraining,
            RefusalReason::Fenced => Self::RequestFenced,
            RefusalReason::Contested => Self::RequestWhileContested,
        }
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::ForeignSession,
        text: |detail, _, f| {
            let (source, session) = (Source(detail.source), detail.values[0]);
            write!(
                f,
                "{source} speaks for session {session}, which is not bound to that address"
            )
        },
        remedy: "a client that reconnects is late for a moment; if it goes on, stop the older of \
                 two clients that use one session",
    },
    Row {
        kind: NodeNotice::RequestNotLeader,
        text: |detail, _, f| request(detail, "this member does not lead", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestOfUnknownSession,
        text: |detail, _, f| request(detail, "the session is not open here", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestOutOfOrder,
        text: |detail, _, f| request(detail, "numbers were skipped", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestTooLong,
        text: |detail, _, f| request(detail, "it is longer than `message_max`", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestDuplicate,
        text: |detail, _, f| request(detail, "it was appended before", f),
        remedy: "nothing is to be done",
    },
    Row {
        kind: NodeNotice::RequestBackPressured,
        text: |detail, _, f| request(detail, "there is no room for it at the moment", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestAlreadyApplied,
        text: |detail, _, f| request(detail, "it was applied before, its response is lost", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestOfOtherTerm,
        text: |detail, _, f| request(detail, "it is of another leadership term", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::RequestWhileDraining,
        text: |detail, _, f| request(detail, "the leader is handing over", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::DirectResponseLost,
        text: |_, _, f| {
            f.write_str("a response found no room in its client's stream and is lost (direct mode)")
        },
        remedy: "have the client take its responses faster or have fewer requests under way, or \
                 choose responses = \"replicated\"",
    },
    Row {
        kind: NodeNotice::RequestFenced,
        text: |detail, _, f| request(detail, "another process has continued the session", f),
        remedy: TOLD,
    },
    Row {
        kind: NodeNotice::SessionFenced,
        text: |detail, _, f| {
            let (source, [session, epoch, ..]) = (Source(detail.source), detail.values);
            write!(
                f,
                "{source} speaks for session {session} with connect epoch {epoch}, after another \
                 process continued it"
            )
        },
        remedy: "a client that was started again leaves such a trace; if it goes on, two \
                 processes use one resume point: stop one of them",
    },
    Row {
        kind: NodeNotice::SessionHeldLog,
        text: |detail, _, f| {
            let [session, from, held, ..] = detail.values;
            write!(
                f,
                "session {session} is closed: its client has not acknowledged its answers from \
                 {from} on, for which {held} bytes of log were kept; it was told"
            )
        },
        remedy: "see why that client does not take or acknowledge its answers; if it may be away \
                 for so long, raise `egress_retention` and `disk_budget`",
    },
    Row {
        kind: NodeNotice::RequestWhileContested,
        text: |detail, _, f| request(detail, "the members' services do not agree", f),
        remedy: TOLD,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_a_refusal_is_counted_by_itself() {
        let notices = [
            NodeNotice::RequestOutOfOrder,
            NodeNotice::RequestBackPressured,
            NodeNotice::RequestNotLeader,
            NodeNotice::RequestOfUnknownSession,
            NodeNotice::RequestAlreadyApplied,
            NodeNotice::RequestTooLong,
            NodeNotice::RequestOfOtherTerm,
            NodeNotice::RequestWhileDraining,
            NodeNotice::RequestFenced,
            NodeNotice::RequestWhileContested,
        ];
        let reasons = (0..100).filter_map(RefusalReason::from_number);
        assert!(reasons.map(NodeNotice::of_refusal).eq(notices));
    }
}
