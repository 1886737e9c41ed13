//! What a member tells clients about their sessions: every event carries the leadership term in
//! which it is said, and the connect epoch of the process it is for.

use lockstep_client::protocol::{EventCode, PROTOCOL_VERSION, SessionEvent};
use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::module::member::MemberId;
use crate::session::closed_session::ClosedSession;
use crate::session::egress_channel::EVENT_LENGTH_MAX;
use crate::session::egress_channels::{EgressChannels, Slot};
use crate::session::session_table::Session;

/// Stands for the leader where none is known.
const NO_LEADER: i32 = -1;

/// Who tells a client about its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionEventSender {
    /// This member.
    pub member: MemberId,
    /// The member that leads, if this one knows of any.
    pub leader: Option<MemberId>,
    /// The term in which it is said.
    pub term: LeadershipTermId,
}

impl SessionEventSender {
    /// A leader of `term`.
    #[must_use]
    pub(crate) const fn leading(member: MemberId, term: LeadershipTermId) -> Self {
        Self {
            member,
            leader: Some(member),
            term,
        }
    }

    /// News about `session`, or the answer to a connect request that found it.
    #[must_use]
    pub fn event<'e>(
        self,
        session: &Session,
        correlation_id: i64,
        code: EventCode,
        detail: &'e [u8],
    ) -> SessionEvent<'e> {
        SessionEvent {
            session_id: session.id,
            correlation_id,
            leadership_term_id: self.term,
            applied_number: session.applied_number,
            acknowledged: session.acknowledged,
            resume_token: session.nonce,
            leader_member_id: i32::from(self.member),
            code,
            version: PROTOCOL_VERSION,
            session_timeout_ms: whole_milliseconds(session.timeout_ns),
            connect_epoch: session.connect_epoch,
            detail,
        }
    }

    /// The answer to a connect request that concerns no session.
    #[must_use]
    pub fn answer(self, correlation_id: i64, code: EventCode, detail: &[u8]) -> SessionEvent<'_> {
        SessionEvent {
            session_id: SessionId::UNKNOWN,
            correlation_id,
            leadership_term_id: self.term,
            applied_number: RequestNumber::NONE,
            acknowledged: 0,
            resume_token: 0,
            leader_member_id: self.leader.map_or(NO_LEADER, i32::from),
            code,
            version: PROTOCOL_VERSION,
            session_timeout_ms: 0,
            connect_epoch: 0,
            detail,
        }
    }

    /// Says `event`, and ends the stream behind it.
    pub(crate) fn dismiss(
        self,
        channels: &mut EgressChannels,
        slot: Slot,
        event: &SessionEvent<'_>,
    ) {
        queue_event(channels, slot, event);
        channels.close(slot);
    }

    /// Says that it is closed and why, and ends the stream behind it.
    pub(crate) fn send_closed(
        self,
        channels: &mut EgressChannels,
        slot: Slot,
        closed: &ClosedSession,
    ) {
        let (code, words) = closed.reason.event();
        let event = self.event(&closed.session, 0, code, words.as_bytes());
        self.dismiss(channels, slot, &event);
    }
}

/// At least one, since 0 means that it is about no session.
fn whole_milliseconds(timeout_ns: Nanos) -> u32 {
    u32::try_from((timeout_ns / MILLISECOND).max(1)).unwrap_or(u32::MAX)
}

/// Encodes and queues a session event.
pub(crate) fn queue_event(channels: &mut EgressChannels, slot: Slot, event: &SessionEvent<'_>) {
    let mut bytes = [0; EVENT_LENGTH_MAX];
    let length = event
        .encode(&mut bytes)
        .expect("events are sized for seven endpoints");
    channels.queue_event(slot, &bytes[..length]);
}
