//! Connect requests: who may open or continue a session, and what it is told.
//!
//! Where a session's client listens, and which of its processes may speak for it (the connect
//! epoch), are part of the log: every leader knows them. A process asks for an epoch above that
//! of its predecessor; it is answered when its entry is applied, and from then on the
//! predecessor is fenced. The same process that comes back is answered at once.

use core::net::SocketAddr;
use std::sync::Arc;

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::{ConnectRequest, EventCode, PROTOCOL_VERSION, SessionEvent};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::SessionId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::stable_hash::stable_hash;
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::{MILLISECOND, Nanos};
use lockstep_transport::trace::TracePoint;

use crate::log::entry_body::SessionOpen;
use crate::log::log_entry::LogEntry;
use crate::notice::NodeNotice;
use crate::session::egress_channels::Slot;
use crate::session::ingress::Ingress;
use crate::session::leader_session::EpochClaim;
use crate::session::leader_sessions::LeaderRow;
use crate::session::owed::Owed;
use crate::session::pending_connect::PendingConnect;
use crate::session::session_events::{SessionEventSender, queue_event};
use crate::session::session_table::Session;

/// Shortest session timeout a client may ask for; the longest is the cluster's.
const TIMEOUT_MIN_NS: Nanos = 10 * MILLISECOND;

/// How a connect is refused, in which words, and what counts it.
type ConnectRefusal = (EventCode, &'static [u8], NodeNotice);

/// The leader's answer to a process that wants to continue a session that is gone.
const EXPIRED: &[u8] = b"session expired";

impl<P: DatagramPort, S: ClusteredService, D: Disk> Ingress<'_, P, S, D> {
    /// Takes a connect request, or leaves it for later.
    pub(super) fn on_connect(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
    ) -> PollAction {
        if connect.cluster_id != self.consensus.facts.cluster_id {
            let ids = [self.consensus.facts.cluster_id, connect.cluster_id].map(|id| id as i64);
            let why = b"the client names another cluster: check its cluster name and addresses";
            let action = self.answer(source, connect, EventCode::Error, why);
            let values = [ids[0], ids[1], 0, 0];
            self.note_answered(action, source, NodeNotice::ClientOfOtherCluster, values);
            return action;
        }
        if !self.consensus.leadership.is_leading() {
            return self.redirect(source, connect);
        }
        if !self.consensus.leadership.is_open() {
            return self.put_off(source, NodeNotice::ConnectAwaitsOpening);
        }
        let open = self.session_open(source, connect);
        let sessions = self.consensus.applier.sessions();
        let known = sessions.find(open.client()).copied();
        if let Some(session) = known {
            return self.on_reconnect(source, connect, &open, &session);
        }
        let Some((code, text, kind)) = self.refusal_of(connect) else {
            return self.open_session(source, connect, open, None);
        };
        let action = self.answer(source, connect, code, text);
        let most = self.consensus.applier.sessions().sessions().len() as i64;
        let values = [
            most,
            connect.resume_session.get(),
            i64::from(connect.version),
            0,
        ];
        self.note_answered(action, source, kind, values);
        action
    }

    /// Notes why a connect was refused, once it is answered.
    fn note_answered(
        &mut self,
        action: PollAction,
        source: SocketAddr,
        kind: NodeNotice,
        values: [i64; 4],
    ) {
        if action == PollAction::Continue {
            let detail = Detail::at(source).with_values(values);
            self.notices.note(self.now, kind, detail);
        }
    }

    /// What enters the log if this request has to.
    fn session_open(&self, source: SocketAddr, connect: &ConnectRequest<'_>) -> SessionOpen {
        let asked = Nanos::from(connect.session_timeout_ms) * MILLISECOND;
        let most = self.consensus.facts.session_timeout_ns;
        SessionOpen {
            nonce: connect.nonce,
            timeout_ns: if asked == 0 {
                most
            } else {
                asked.clamp(TIMEOUT_MIN_NS.min(most), most)
            },
            response_address: source,
            response_stream_id: connect.response_stream_id,
            principal_hash: stable_hash(connect.principal),
            connect_epoch: connect.connect_epoch,
            incarnation: connect.incarnation,
            resume_session: connect.resume_session,
            last_received: self.credible(connect.last_received),
        }
    }

    /// Why no session can be opened for this request, if so.
    fn refusal_of(&self, connect: &ConnectRequest<'_>) -> Option<ConnectRefusal> {
        if connect.resume_session.is_known() {
            let kind = NodeNotice::ResumeOfClosedSession;
            Some((EventCode::Expired, EXPIRED, kind))
        } else if connect.version != PROTOCOL_VERSION {
            let kind = NodeNotice::ClientOfOtherVersion;
            Some((EventCode::Error, b"unsupported version", kind))
        } else if self.consensus.applier.sessions().is_full() {
            let kind = NodeNotice::SessionLimit;
            Some((EventCode::Error, b"concurrent session limit", kind))
        } else {
            None
        }
    }

    /// Somebody who knows the nonce of a session: the process that has it, one that continues
    /// it, or one whose time is over.
    fn on_reconnect(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        open: &SessionOpen,
        session: &Session,
    ) -> PollAction {
        let is_granted = session.is_granted(open.connect_epoch, open.incarnation);
        let sessions = &self.consensus.leadership.sessions;
        let row = sessions.find(session.id);
        let known = row.and_then(|row| Some((row, sessions.at(row)?)));
        let (row, claim) = match known {
            // What the entry that closes it leaves is told then.
            None => return PollAction::Abort,
            Some((_, known)) if known.is_closing => return PollAction::Abort,
            Some((row, known)) => {
                let claim = known.claim(open.connect_epoch, open.incarnation, is_granted);
                (row, claim)
            }
        };
        let is_here = session.response_address == source
            && session.response_stream_id == open.response_stream_id;
        match claim {
            EpochClaim::Wait => {
                sometimes(Mark::ClaimAwaitsAnother);
                return PollAction::Abort;
            }
            EpochClaim::Append | EpochClaim::Appended => {
                return self.continue_session(source, connect, *open, (row, session.id));
            }
            EpochClaim::Granted if !is_here => {
                return self.continue_session(source, connect, *open, (row, session.id));
            }
            EpochClaim::Fenced | EpochClaim::Granted => {}
        }
        let stream_id = connect.response_stream_id;
        let Some(channel) = self.channel(source, stream_id, Some(session.id)) else {
            // Whoever asks is answered: when there is a place to answer from.
            return self.put_off(source, NodeNotice::ConnectAwaitsChannel);
        };
        sometimes(match claim {
            EpochClaim::Fenced => Mark::FencedProcessAsks,
            _ => Mark::SessionFoundAgain,
        });
        if matches!(claim, EpochClaim::Fenced) {
            self.note_fenced(source, session.id, open.connect_epoch);
        }
        self.consensus
            .tracer
            .message(TracePoint::ConnectLeader, connect.correlation_id, 0);
        self.decide(PendingConnect {
            open: *open,
            correlation_id: connect.correlation_id,
            channel,
            last_received: connect.last_received,
        });
        PollAction::Continue
    }

    fn continue_session(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        open: SessionOpen,
        (row, session): (LeaderRow, SessionId),
    ) -> PollAction {
        let asked = (open.connect_epoch, open.incarnation);
        let action = self.open_session(source, connect, open, Some(session));
        if action == PollAction::Continue
            && let Some(session) = self.consensus.leadership.sessions.at_mut(row)
        {
            session.asked = asked;
        }
        action
    }

    /// Appends what opens a session, or continues the `known` one.
    ///
    /// No channel is opened before the entry is appended: a request that has to wait is looked
    /// at in every cycle, and would open one each time.
    fn open_session(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        open: SessionOpen,
        known: Option<SessionId>,
    ) -> PollAction {
        let correlation_id = connect.correlation_id;
        if self.consensus.leadership.pending_connect(&open).is_some() {
            sometimes(Mark::ConnectRepeated);
            self.repeat_connect(source, connect, &open, known);
            return PollAction::Continue;
        }
        if !self.consensus.leadership.has_room_for_connect() {
            return self.put_off(source, NodeNotice::ConnectAwaitsLog);
        }
        if self.append_cause(&LogEntry::SessionOpen(open)).is_none() {
            return self.put_off(source, NodeNotice::ConnectAwaitsLog);
        }
        self.consensus
            .tracer
            .message(TracePoint::ConnectLeader, correlation_id, 0);
        self.consensus
            .tracer
            .message(TracePoint::ConnectAppend, correlation_id, 0);
        // Without a channel nobody is told; the client's next attempt finds the session.
        if let Some(channel) = self.channel(source, connect.response_stream_id, known) {
            self.consensus.leadership.await_open(PendingConnect {
                open,
                correlation_id,
                channel,
                last_received: connect.last_received,
            });
        } else {
            self.note_unanswered(source);
        }
        PollAction::Continue
    }

    /// Leaves the connect for later: it is looked at again in every cycle, and noted once.
    fn put_off(&mut self, source: SocketAddr, kind: NodeNotice) -> PollAction {
        if !self.was_put_off {
            self.notices.note(self.now, kind, Detail::at(source));
        }
        PollAction::Abort
    }

    fn note_unanswered(&mut self, source: SocketAddr) {
        let kind = NodeNotice::ConnectAwaitsChannel;
        self.notices.note(self.now, kind, Detail::at(source));
    }

    /// The client asks again while its SessionOpen is on its way through the log: it is
    /// answered where it listens now.
    fn repeat_connect(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        open: &SessionOpen,
        known: Option<SessionId>,
    ) {
        let Some(slot) = self.channel(source, connect.response_stream_id, known) else {
            self.note_unanswered(source);
            return;
        };
        let Some(pending) = self.consensus.leadership.pending_connect(open) else {
            return;
        };
        pending.correlation_id = connect.correlation_id;
        pending.last_received = connect.last_received;
        let given_up = core::mem::replace(&mut pending.channel, slot);
        if given_up != slot && !self.egress.channels.is_anothers(given_up, known) {
            // It would live as long as the client goes on hearing it.
            self.egress.channels.abandon(given_up);
        }
    }

    /// A follower names the leader and every member's ingress endpoint. One that knows no leader
    /// says so: the client asks the others in turn.
    fn redirect(&mut self, source: SocketAddr, connect: &ConnectRequest<'_>) -> PollAction {
        let facts = Arc::clone(&self.consensus.facts);
        let endpoints = facts.ingress_endpoints.as_bytes();
        let action = self.answer(source, connect, EventCode::Redirect, endpoints);
        if self.consensus.module.leader().is_none() {
            self.note_answered(action, source, NodeNotice::ConnectWithoutLeader, [0; 4]);
        }
        action
    }

    /// Answers connects whose entries are applied.
    pub(crate) fn answer_decided(&mut self) {
        while let Some(connect) = self.consensus.leadership.take_decided() {
            self.decide(connect);
        }
    }

    /// Answers a connect as the table of sessions is now.
    fn decide(&mut self, connect: PendingConnect) {
        let PendingConnect {
            open,
            correlation_id,
            last_received,
            ..
        } = connect;
        let sessions = self.consensus.applier.sessions();
        let known = sessions.find(open.client()).copied();
        let session = known.map(|session| session.id);
        let channel = connect.channel_left(self.egress, session, self.now);
        let Some(channel) = channel else {
            self.note_unanswered(open.response_address);
            return;
        };
        let event_sender = self.event_sender();
        match known {
            Some(session) if session.is_granted(open.connect_epoch, open.incarnation) => {
                self.resume(&session, channel, (correlation_id, last_received));
            }
            Some(session) => {
                let fenced = event_sender.event(&session, correlation_id, EventCode::Fenced, b"");
                event_sender.dismiss(&mut self.egress.channels, channel, &fenced);
            }
            None if open.resume_session.is_known() => {
                let gone = event_sender.answer(correlation_id, EventCode::Expired, EXPIRED);
                event_sender.dismiss(&mut self.egress.channels, channel, &gone);
            }
            None => {
                // The table filled up between append and apply; the client's next attempt is
                // answered from the table as it is then.
                self.egress.channels.abandon(channel);
            }
        }
    }

    /// The client finds its session again: OK, then everything it lacks, from the log.
    fn resume(&mut self, session: &Session, slot: Slot, (correlation_id, last): (i64, Position)) {
        let id = session.id;
        let after = session.acknowledged.max(self.credible(last));
        let owed = Owed::of(session, after, &self.consensus.log);
        if owed == Owed::Gone {
            sometimes(Mark::AnswersGone);
            let sender = self.event_sender();
            let event = sender.event(session, correlation_id, EventCode::Retention, b"");
            sender.dismiss(&mut self.egress.channels, slot, &event);
            return;
        }
        let sessions = &mut self.consensus.leadership.sessions;
        if let Some(row) = sessions.find(id)
            && let Some(known) = sessions.at_mut(row)
        {
            known.activity = self.now;
        }
        self.replace_channel(id, slot);
        let event = self
            .event_sender()
            .event(session, correlation_id, EventCode::Ok, b"");
        queue_event(&mut self.egress.channels, slot, &event);
        let responses = &mut self.egress.responses;
        if let Owed::From(from) = owed {
            responses.bind(id, slot, from, after);
        } else {
            responses.bind_new(id, slot, after);
        }
    }

    fn replace_channel(&mut self, id: SessionId, slot: Slot) {
        if let Some(old) = self.egress.responses.channel(id).filter(|old| *old != slot) {
            self.egress.channels.abandon(old);
        }
        self.egress.channels.bind(slot, id);
    }

    /// A channel to answer on; what is said there may be about this session, if any.
    fn channel(
        &mut self,
        source: SocketAddr,
        stream_id: i32,
        session: Option<SessionId>,
    ) -> Option<Slot> {
        self.egress.channel((source, stream_id), session, self.now)
    }

    fn event_sender(&self) -> SessionEventSender {
        SessionEventSender {
            member: self.consensus.facts.member,
            leader: self.consensus.module.leader(),
            // A leader speaks in the term it leads, which may be over already.
            term: if self.consensus.leadership.is_leading() {
                self.consensus.leadership.term()
            } else {
                self.consensus.module.term()
            },
        }
    }

    /// Answers a connect request that opens nothing, and ends the channel behind the answer;
    /// leaves it for later while there is no place to answer from.
    fn answer(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        code: EventCode,
        detail: &[u8],
    ) -> PollAction {
        let Some(slot) = self.channel(source, connect.response_stream_id, None) else {
            return self.put_off(source, NodeNotice::ConnectAwaitsChannel);
        };
        let correlation_id = connect.correlation_id;
        if self.consensus.leadership.is_leading() {
            self.consensus
                .tracer
                .message(TracePoint::ConnectLeader, correlation_id, 0);
        }
        let event_sender = self.event_sender();
        let event: SessionEvent<'_> = event_sender.answer(correlation_id, code, detail);
        event_sender.dismiss(&mut self.egress.channels, slot, &event);
        PollAction::Continue
    }
}
