//! What clients say, and what becomes of it: requests enter the log or are refused with a reason
//! (never silently dropped); connects are in `connecting`.
//!
//! A message that cannot be taken *now* (log or outbox full, leadership not open yet) stays in
//! its image; the closing receive window tells the client's publication to wait.

use core::net::SocketAddr;

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::{
    ClientMessage, CloseRequest, KeepAlive, RefusalReason, Refused, RequestHeader,
};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::log::entry_body::CloseReason;
use crate::log::log_entry::{LogEntry, Request};
use crate::log::log_writer::Appended;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::node::leadership::AppendContext;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::client_egress::ClientEgress;
use crate::session::leader_session::{Admission, NotAdmitted};
use crate::session::leader_sessions::LeaderRow;

/// What taking a client's message touches.
#[derive(Debug)]
pub(crate) struct Ingress<'a, P, S, D> {
    /// The time.
    pub now: Nanos,
    /// Where the log stands.
    pub append: AppendContext,
    /// It is not known whose answers are right: nothing new is taken.
    pub is_contested: bool,
    /// The message was left for later before.
    pub was_put_off: bool,
    /// Who decides what enters the log.
    pub consensus: &'a mut ConsensusAgent<P>,
    /// Whether there is room for what it brings about.
    pub room: Room<'a, D, S>,
    /// Where clients are answered.
    pub egress: &'a mut ClientEgress,
    /// What is not taken: noted by the side that faces clients, whichever of the two sees it.
    pub notices: &'a mut NodeNotices,
}

impl<P: DatagramPort, S: ClusteredService, D: Disk> Ingress<'_, P, S, D> {
    /// Takes one message that came from `source`, or leaves it for later.
    pub fn on_message(&mut self, source: SocketAddr, bytes: &[u8]) -> PollAction {
        let Ok(message) = ClientMessage::decode(bytes) else {
            let detail = Detail::at(source);
            self.notices
                .note(self.now, NodeNotice::DamagedClientMessage, detail);
            return PollAction::Continue;
        };
        if let ClientMessage::ConnectRequest(connect) = &message {
            return self.on_connect(source, connect);
        }
        if !self.consensus.leadership.is_leading() {
            return self.on_not_leader(source, &message);
        }
        if !self.consensus.leadership.is_open() {
            sometimes(Mark::MessageAwaitsOpening);
            return PollAction::Abort;
        }
        match message {
            ClientMessage::Request { header, payload } => self.on_request(source, &header, payload),
            ClientMessage::KeepAlive(keep_alive) => self.on_keep_alive(source, &keep_alive),
            ClientMessage::CloseRequest(close) => self.on_close(source, &close),
            ClientMessage::ConnectRequest(_) => PollAction::Continue,
        }
    }

    fn on_not_leader(&mut self, source: SocketAddr, message: &ClientMessage<'_>) -> PollAction {
        if let ClientMessage::Request { header, .. } = message {
            self.refuse(
                source,
                header,
                RefusalReason::NotLeader,
                RequestNumber::NONE,
            );
        }
        PollAction::Continue
    }

    fn on_request(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        payload: &[u8],
    ) -> PollAction {
        let id = request.session_id;
        self.consensus
            .tracer
            .message(TracePoint::RequestIngress, id.get(), request.number.get());
        match self.admit(source, request) {
            Ok((row, Admission::Append)) => self.append_request(source, row, request, payload),
            Ok((_, Admission::Duplicate)) => {
                let applied = self
                    .consensus
                    .applier
                    .sessions()
                    .get(id)
                    .map(|s| s.applied_number);
                sometimes(if applied >= Some(request.number) {
                    Mark::DuplicateOfApplied
                } else {
                    Mark::DuplicateOfUnapplied
                });
                self.notices.tally(NodeNotice::RequestDuplicate);
                PollAction::Continue
            }
            Err(why) => self.on_not_admitted(source, request, why),
        }
    }

    /// Finds the row of a request's session and asks it.
    fn admit(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
    ) -> Result<(LeaderRow, Admission), NotAdmitted> {
        let id = request.session_id;
        let row = self.row_of_speaker(id, request.connect_epoch)?;
        if !self.is_own_session(source, id) {
            return Err(NotAdmitted::UnknownSession);
        }
        let sessions = &mut self.consensus.leadership.sessions;
        let admission = sessions.admit(row, request.number, self.now)?;
        Ok((row, admission))
    }

    fn on_not_admitted(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        why: NotAdmitted,
    ) -> PollAction {
        let (reason, expected) = match why {
            NotAdmitted::Wait => {
                sometimes(Mark::RequestAwaitsTakeover);
                return PollAction::Abort;
            }
            NotAdmitted::Fenced => (RefusalReason::Fenced, RequestNumber::NONE),
            NotAdmitted::UnknownSession => (RefusalReason::UnknownSession, RequestNumber::NONE),
            NotAdmitted::OutOfOrder { expected } => (RefusalReason::OutOfOrder, expected),
        };
        self.refuse(source, request, reason, expected);
        PollAction::Continue
    }

    fn append_request(
        &mut self,
        source: SocketAddr,
        row: LeaderRow,
        request: &RequestHeader,
        payload: &[u8],
    ) -> PollAction {
        let id = request.session_id;
        if self.is_contested {
            self.refuse(source, request, RefusalReason::Contested, request.number);
            return PollAction::Continue;
        }
        if payload.len() > self.consensus.facts.lengths.message_max {
            self.refuse(source, request, RefusalReason::TooLong, request.number);
            return PollAction::Continue;
        }
        let acknowledged = self.credible(request.acknowledged);
        let entry = LogEntry::Request(Request {
            session: id,
            number: request.number,
            acknowledged,
            message: payload,
        });
        let Some(appended) = self.append_cause(&entry) else {
            return PollAction::Abort;
        };
        self.consensus.tracer.entry(
            TracePoint::RequestAppend,
            id.get(),
            request.number.get(),
            appended.position,
        );
        self.consensus
            .tracer
            .effect(TracePoint::RequestAppend, appended.position, appended.end);
        let sessions = &mut self.consensus.leadership.sessions;
        sessions.on_appended(row, request.number, acknowledged);
        PollAction::Continue
    }

    /// What a client says it has received, but no more than was ever sent to anybody.
    pub(super) fn credible(&self, acknowledged: Position) -> Position {
        acknowledged.clamp(0, self.consensus.applier.position())
    }

    fn on_keep_alive(&mut self, source: SocketAddr, keep_alive: &KeepAlive) -> PollAction {
        let acknowledged = self.credible(keep_alive.acknowledged);
        let id = keep_alive.session_id;
        if let Some(row) = self.row_heard(source, id, keep_alive.connect_epoch) {
            let sessions = &mut self.consensus.leadership.sessions;
            sessions.on_heard(row, acknowledged, self.now);
        }
        PollAction::Continue
    }

    fn on_close(&mut self, source: SocketAddr, close: &CloseRequest) -> PollAction {
        let heard = self.row_heard(source, close.session_id, close.connect_epoch);
        let Some(row) = heard else {
            return PollAction::Continue;
        };
        if self.append_close(row) {
            PollAction::Continue
        } else {
            PollAction::Abort
        }
    }

    /// The session's row, if a message of `connect_epoch` is one of the process that has it. It
    /// is looked up once, for the whole of a message's way.
    fn row_of_speaker(&self, id: SessionId, connect_epoch: i64) -> Result<LeaderRow, NotAdmitted> {
        let sessions = &self.consensus.leadership.sessions;
        let row = sessions.find(id).ok_or(NotAdmitted::UnknownSession)?;
        sessions.speaks_for(row, connect_epoch).map(|()| row)
    }

    /// The session's row, if the message comes from the process that has it, not from one that
    /// was or is being replaced: that one may neither acknowledge nor close for its successor.
    fn row_heard(
        &mut self,
        source: SocketAddr,
        id: SessionId,
        connect_epoch: i64,
    ) -> Option<LeaderRow> {
        match self.row_of_speaker(id, connect_epoch) {
            Ok(row) => self.is_own_session(source, id).then_some(row),
            Err(NotAdmitted::Fenced) => {
                self.note_fenced(source, id, connect_epoch);
                None
            }
            // Of a session that has just ended: its client is told so, or was.
            Err(_) => None,
        }
    }

    /// Somebody spoke for a session that another process has continued.
    pub(super) fn note_fenced(&mut self, source: SocketAddr, id: SessionId, connect_epoch: i64) {
        let detail = Detail::at(source).with_values([id.get(), connect_epoch, 0, 0]);
        self.notices
            .note(self.now, NodeNotice::SessionFenced, detail);
    }

    /// Appends a SessionClose for this row's session unless one is on its way. Returns false when
    /// there is no room.
    fn append_close(&mut self, row: LeaderRow) -> bool {
        let reason = CloseReason::ClientAction;
        self.consensus
            .append_close(&self.append, self.room, row, reason)
    }

    /// Appends a causing entry if there is room for what it may bring about.
    pub(super) fn append_cause(&mut self, entry: &LogEntry<'_>) -> Option<Appended> {
        self.consensus.append_cause(&self.append, self.room, entry)
    }

    /// Whether `source` is where the session's client is bound: the side that faces clients knows.
    fn is_own_session(&mut self, source: SocketAddr, id: SessionId) -> bool {
        let ClientEgress {
            channels,
            responses,
            ..
        } = &*self.egress;
        let is_own = responses.is_bound_to(channels, id, source);
        if !is_own {
            let detail = Detail::at(source).with_values([id.get(), 0, 0, 0]);
            self.notices
                .note(self.now, NodeNotice::ForeignSession, detail);
        }
        is_own
    }

    fn refuse(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        reason: RefusalReason,
        expected_number: RequestNumber,
    ) {
        // The client is told, whose error it is: a count is enough here.
        self.notices.tally(NodeNotice::of_refusal(reason));
        let refused = Refused {
            session_id: request.session_id,
            number: request.number,
            expected_number,
            reason,
            leadership_term_id: self.consensus.module.term(),
            connect_epoch: request.connect_epoch,
        };
        let Some(slot) = self.egress.channels.find_live(source, self.now) else {
            return;
        };
        self.egress
            .channels
            .offer(slot, self.now, &[&refused.encode()]);
    }
}
