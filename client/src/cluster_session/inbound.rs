//! What the client makes of each message it hears.
//!
//! Messages about the session itself may come from any member; everything else counts only on
//! the image on which the present leader introduced itself, and only for this session.

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::time::{MILLISECOND, Nanos};
use lockstep_transport::trace::TracePoint;

use super::{ClusterSession, Origin};
use crate::event::EgressEvent;
use crate::notice::ClientNotice;
use crate::protocol::{
    ClusterMessage, EventCode, RESPONSE_FLAG_FAILED, RefusalReason, Refused, ResponseFailure,
    ResponseHeader, SessionEvent,
};
use crate::session::{CloseReason, SessionChange};

/// A leader that refuses for want of room is left alone for so long: about the time in which
/// it commits what it has.
const BACK_PRESSURE_PAUSE_NS: Nanos = MILLISECOND;

impl ClusterSession {
    /// Hands news about the session to `handler`.
    pub fn deliver_events(&mut self, handler: &mut impl FnMut(EgressEvent<'_>)) -> usize {
        self.pending_events.deliver(handler)
    }

    /// Takes a message about the session itself. Returns false, and does nothing, when it is
    /// another kind, which must wait for the application to poll.
    pub fn on_control(&mut self, now: Nanos, origin: Origin, bytes: &[u8]) -> bool {
        match ClusterMessage::decode(bytes) {
            Ok(ClusterMessage::SessionEvent(event)) => self.on_session_event(now, origin, &event),
            Ok(ClusterMessage::NewLeaderEvent(event)) => {
                let change = self.session.on_new_leader(origin.member, &event);
                self.on_change(now, origin, change, b"");
            }
            Ok(_) => return false,
            // Noted there: a member says what this client does not understand.
            Err(_) => self.on_damaged(now, origin),
        }
        true
    }

    /// Takes a message of any kind; what concerns the application goes to `handler`.
    pub fn on_message(
        &mut self,
        now: Nanos,
        origin: Origin,
        bytes: &[u8],
        handler: &mut impl FnMut(EgressEvent<'_>),
    ) {
        let message = match ClusterMessage::decode(bytes) {
            Ok(message) => message,
            // Noted there, as above.
            Err(_) => {
                self.on_damaged(now, origin);
                return;
            }
        };
        match message {
            ClusterMessage::SessionEvent(_) | ClusterMessage::NewLeaderEvent(_) => {
                self.on_control(now, origin, bytes);
            }
            _ if self.image != Some(origin.image)
                || self.session.id() != Some(message.session_id())
                || self.session.is_closed() =>
            {
                self.on_unexpected(now, origin);
            }
            // All that comes on an image is of one term.
            _ if message.leadership_term_id() < self.session.leadership_term_id() => {
                self.counters.messages_stale += 1;
            }
            ClusterMessage::Response { header, payload } => {
                self.on_response(now, &header, payload, handler);
            }
            ClusterMessage::Refused(refused) => self.on_refused(now, &refused, handler),
            ClusterMessage::Progress(progress) => self.on_applied(now, progress.applied_number),
        }
        self.pending_events.deliver(handler);
    }

    fn note_endpoints(&mut self, now: Nanos, origin: Origin) {
        let invalid = self.session.endpoints_invalid();
        if invalid > self.counters.endpoints_invalid {
            self.counters.endpoints_invalid = invalid;
            self.note_member(now, ClientNotice::DamagedEndpoints, origin.member);
        }
    }

    fn on_damaged(&mut self, now: Nanos, origin: Origin) {
        self.counters.messages_invalid += 1;
        self.note_member(now, ClientNotice::DamagedMessage, origin.member);
    }

    fn on_unexpected(&mut self, now: Nanos, origin: Origin) {
        self.counters.messages_unexpected += 1;
        self.note_member(now, ClientNotice::UnexpectedMessage, origin.member);
    }

    fn on_session_event(&mut self, now: Nanos, origin: Origin, event: &SessionEvent<'_>) {
        let correlation_id = event.correlation_id;
        if correlation_id == self.session.correlation_id() {
            let point = match event.code {
                EventCode::Ok => Some(TracePoint::ConnectOk),
                EventCode::Redirect => Some(TracePoint::ConnectRedirect),
                _ => None,
            };
            if let Some(point) = point {
                self.tracer.message(point, correlation_id, 0);
            }
        }
        let change = self.session.on_event(now, origin.member, event);
        if event.code == EventCode::Redirect && change == SessionChange::Moved {
            self.counters.redirects += 1;
            if event.leader_member_id < 0 {
                self.counters.without_leader += 1;
                self.note_member(now, ClientNotice::NoLeader, origin.member);
            }
        }
        self.on_change(now, origin, change, event.detail);
    }

    fn on_change(&mut self, now: Nanos, origin: Origin, change: SessionChange, detail: &[u8]) {
        self.note_endpoints(now, origin);
        match change {
            SessionChange::None => self.on_unexpected(now, origin),
            SessionChange::Stale => self.counters.messages_stale += 1,
            SessionChange::NotForThisProcess => self.counters.messages_of_other_processes += 1,
            SessionChange::Moved => {}
            SessionChange::Closed(reason) => self.end(reason, detail),
            SessionChange::Opened {
                applied_number,
                is_first,
                is_new_leader,
            } => {
                self.on_opened(now, origin, applied_number);
                self.tell_opened(origin.member, is_first, is_new_leader);
            }
        }
    }

    /// A leader of the same term that serves the session again is no news: nothing changed.
    fn tell_opened(&mut self, leader: usize, is_first: bool, is_new_leader: bool) {
        if self.session.is_closed() {
            return;
        }
        if is_first {
            self.pending_events
                .connected(self.session.id().unwrap_or(SessionId::UNKNOWN));
        } else if is_new_leader {
            let term = self.session.leadership_term_id();
            self.pending_events.new_leader(leader, term);
            self.counters.leader_changes += 1;
        }
    }

    fn on_opened(&mut self, now: Nanos, origin: Origin, applied_number: RequestNumber) {
        if self.requests.synchronise(applied_number).is_err() {
            self.on_impossible_number(now, origin.member);
            return;
        }
        self.image = Some(origin.image);
        self.connected_at = now;
        self.progress_at = now;
        self.spoken_at = now;
        self.hold_until = 0;
        self.rewound = (RequestNumber::NONE, 0);
    }

    fn on_response(
        &mut self,
        now: Nanos,
        header: &ResponseHeader,
        payload: &[u8],
        handler: &mut impl FnMut(EgressEvent<'_>),
    ) {
        self.on_applied(now, header.applied_number);
        if self.session.is_closed() {
            return;
        }
        if !self.received.is_new(header.position, header.ordinal) {
            self.counters.responses_duplicate += 1;
            return;
        }
        self.tracer.message(
            TracePoint::ResponseReceive,
            header.session_id.get(),
            header.number.get(),
        );
        let is_failure = header.flags & RESPONSE_FLAG_FAILED != 0;
        let event = if is_failure {
            EgressEvent::ResponseFailed {
                number: header.number,
                position: header.position,
                reason: ResponseFailure::from_payload(payload),
            }
        } else {
            response_event(header, payload)
        };
        handler(event);
        self.received
            .on_handed_over(header.position, header.ordinal);
        self.counters.responses += 1;
    }

    fn on_applied(&mut self, now: Nanos, number: RequestNumber) {
        match self.requests.on_applied(number) {
            Ok(true) => {
                self.progress_at = now;
                self.stalls = 0;
            }
            Ok(false) => {}
            // Noted there.
            Err(_) => self.on_impossible_number(now, self.session.member().unwrap_or_default()),
        }
    }

    /// `member` says that requests are applied which cannot be, or are not any more. The
    /// application is told by the reason.
    fn on_impossible_number(&mut self, now: Nanos, member: usize) {
        self.counters.numbers_impossible += 1;
        self.note_member(now, ClientNotice::ImpossibleNumber, member);
        self.end(CloseReason::SequenceGap, b"");
    }

    fn on_refused(
        &mut self,
        now: Nanos,
        refused: &Refused,
        handler: &mut impl FnMut(EgressEvent<'_>),
    ) {
        if refused.connect_epoch != self.session.connect_epoch() {
            self.counters.messages_of_other_processes += 1;
            return;
        }
        self.counters.refusals += 1;
        let number = refused.number;
        let is_in_flight =
            number > self.requests.applied_number() && number < self.requests.next_number();
        match refused.reason {
            RefusalReason::OutOfOrder => self.rewind(now, refused.expected_number),
            RefusalReason::BackPressured | RefusalReason::Contested => {
                self.hold_until = now + BACK_PRESSURE_PAUSE_NS;
                self.rewind(now, number);
            }
            // Whether the session really is unknown, the answer to a resume tells.
            RefusalReason::NotLeader
            | RefusalReason::WrongTerm
            | RefusalReason::Draining
            | RefusalReason::UnknownSession => self.lose_leader(now),
            RefusalReason::AlreadyApplied if is_in_flight => {
                self.on_applied(now, number);
                handler(EgressEvent::Refused {
                    number,
                    reason: refused.reason,
                });
            }
            RefusalReason::Fenced => self.end(CloseReason::Fenced, b""),
            RefusalReason::TooLong if is_in_flight => self.on_too_long(number, handler),
            RefusalReason::AlreadyApplied | RefusalReason::TooLong => {
                self.counters.refusals_late += 1;
            }
        }
    }

    /// The number was not consumed, so nothing after it can be applied: all of it is refused,
    /// and the numbers are assigned anew. If the refusal might mean an earlier bearer of the
    /// number, going on could lose a request: then the session ends.
    fn on_too_long(&mut self, number: RequestNumber, handler: &mut impl FnMut(EgressEvent<'_>)) {
        if !self.requests.was_sent_once(number) {
            self.end(CloseReason::Rejected, b"request too long");
            return;
        }
        let end = self.requests.next_number();
        self.requests.cancel_from(number);
        let mut refused = number;
        while refused < end {
            let reason = if refused == number {
                RefusalReason::TooLong
            } else {
                RefusalReason::OutOfOrder
            };
            handler(EgressEvent::Refused {
                number: refused,
                reason,
            });
            refused = refused.next();
        }
    }
}

const fn response_event<'a>(header: &ResponseHeader, payload: &'a [u8]) -> EgressEvent<'a> {
    EgressEvent::Response {
        number: header.number,
        position: header.position,
        cause: header.cause,
        ordinal: header.ordinal,
        log_time: header.log_time,
        payload,
    }
}
