//! What a client tells its application.

use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::position::Position;

use crate::protocol::{RefusalReason, ResponseFailure};
use crate::session::CloseReason;

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferResult {
    /// Taken, under this number. It ends as responses, as a refusal or with the session.
    Accepted(RequestNumber),
    /// As much is in flight as may be: poll egress and offer again.
    BackPressured,
    /// No leader serves the session at the moment: offer again later.
    NotConnected,
    /// Longer than the ingress stream or the cluster takes.
    TooLong,
    /// The session is over.
    Closed,
}

/// What [`poll_egress`](crate::cluster_client::ClusterClient::poll_egress) hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressEvent<'a> {
    /// The session is open: requests may be offered.
    Connected {
        /// Its id.
        session: SessionId,
    },
    /// A response of a service: each exactly once, in order of (position, ordinal).
    Response {
        /// Number of the request that caused it; [`RequestNumber::NONE`] when none of this
        /// session did.
        number: RequestNumber,
        /// Its position in the log (direct mode: that of its cause). Acknowledged once the
        /// handler returns.
        position: Position,
        /// Position of the entry that caused it.
        cause: Position,
        /// Which of its cause's effects it is, from 0.
        ordinal: u32,
        /// Log time of the cause, ns.
        log_time: i64,
        /// The service's bytes.
        payload: &'a [u8],
    },
    /// The service executed a request and could not say what it wanted to this session: the
    /// cluster's limits forbade it. Acknowledged like a response once the handler returns.
    ResponseFailed {
        /// Number of the request that caused it; [`RequestNumber::NONE`] when none of this
        /// session did.
        number: RequestNumber,
        /// Its position in the log (direct mode: that of its cause).
        position: Position,
        /// Why.
        reason: ResponseFailure,
    },
    /// A request that was offered will not be executed (with
    /// [`AlreadyApplied`](RefusalReason::AlreadyApplied): was executed, and its responses
    /// cannot be had again). Its number may be assigned anew.
    Refused {
        /// Number of the request.
        number: RequestNumber,
        /// Why.
        reason: RefusalReason,
    },
    /// A member serves the session from now on. Nothing is to be done: what was in flight
    /// is sent to it.
    NewLeader {
        /// The member.
        member: usize,
        /// Its leadership term.
        term: LeadershipTermId,
    },
    /// The session is over: the last event. Requests in flight end with it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// News about the session that wait for the application to poll: at most one of each kind,
/// since only the latest matters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingEvents {
    connected: Option<SessionId>,
    new_leader: Option<(usize, LeadershipTermId)>,
    closed: Option<CloseReason>,
}

impl PendingEvents {
    pub(crate) fn connected(&mut self, session: SessionId) {
        self.connected = Some(session);
    }

    pub(crate) fn new_leader(&mut self, member: usize, term: LeadershipTermId) {
        self.new_leader = Some((member, term));
    }

    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.closed = Some(reason);
    }

    /// Hands everything that waits to `handler`; the end last. Returns how many there were.
    pub(crate) fn deliver(&mut self, handler: &mut impl FnMut(EgressEvent<'_>)) -> usize {
        let mut count = 0;
        if let Some(session) = self.connected.take() {
            handler(EgressEvent::Connected { session });
            count += 1;
        }
        if let Some((member, term)) = self.new_leader.take() {
            handler(EgressEvent::NewLeader { member, term });
            count += 1;
        }
        if let Some(reason) = self.closed.take() {
            handler(EgressEvent::Closed { reason });
            count += 1;
        }
        count
    }
}
