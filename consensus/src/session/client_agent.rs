//! The side of a node that faces clients: their socket, the images of their ingress, the channels
//! of their egress and a row of egress per session.
//!
//! It decides nothing: the sessions and what is admitted to the log are others', and what became
//! of a session it is told. On a member that does not lead it only answers connects.

use lockstep_archive::log::log_view::LogView;
use lockstep_client::protocol::EventCode;
use lockstep_transport::datagram_port::{DATAGRAMS_PER_CYCLE, DatagramPort};
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::service_agent::DirectEffect;
use crate::log::entry_assembler::Entry;
use crate::log::entry_body::CloseReason;
use crate::node::fault::NodeFault;
use crate::node::leadership::Leadership;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::callers::Callers;
use crate::session::closed_session::ClosedSession;
use crate::session::egress_channels::{EgressChannels, Slot};
use crate::session::egress_streams::EgressStreams;
use crate::session::ingress_images::IngressImages;
use crate::session::pending_connect::PendingConnect;
use crate::session::response_egress::{EgressContext, ResponseEgress};
use crate::session::session_events::{SessionEventSender, queue_event};
use crate::session::session_table::{Session, SessionTable};

/// See the module.
#[derive(Debug)]
pub struct ClientAgent<P> {
    /// Where clients are heard.
    pub(crate) port: P,
    /// Images of clients.
    pub images: IngressImages,
    /// Channels to clients.
    pub channels: EgressChannels,
    /// What new ones are called.
    pub(crate) streams: EgressStreams,
    /// Egress of responses.
    pub egress: ResponseEgress,
}

/// In whose name and when clients are told something, and where it is noted.
#[derive(Debug)]
pub struct Telling<'a> {
    /// The time.
    pub now: Nanos,
    /// Who speaks, in which term.
    pub sender: SessionEventSender,
    /// Where trace points go.
    pub tracer: &'a mut Tracer,
    /// Where it is noted that somebody cannot be told.
    pub notices: &'a mut NodeNotices,
}

impl<P: DatagramPort> ClientAgent<P> {
    /// Takes waiting datagrams.
    pub fn receive(
        &mut self,
        now: Nanos,
        buffer: &mut [u8],
        (sessions, leadership): (&SessionTable, &Leadership),
        notices: &mut NodeNotices,
    ) -> usize {
        let mut received = 0;
        while received < DATAGRAMS_PER_CYCLE {
            let Some(datagram) = self.port.receive(now, buffer) else {
                break;
            };
            received += 1;
            let source = datagram.source;
            let packet = parse(&buffer[..datagram.length]).ok();
            let packet = packet.and_then(|packet| Some((packet.session_id()?, packet)));
            let taken = match packet {
                None => Err(NodeNotice::DamagedClientDatagram),
                Some((session_id, packet @ (Packet::StatusMessage(_) | Packet::Nak(_)))) => {
                    self.channels.on_packet(now, source, session_id, &packet)
                }
                Some((_, packet)) => {
                    let callers = Callers {
                        sessions,
                        leadership,
                        egress: &self.egress,
                        channels: &self.channels,
                    };
                    let judge = |bytes: &[u8]| callers.first_words(source, bytes);
                    self.images.on_packet(now, source, &packet, judge)
                }
            };
            if let Err(kind) = taken {
                notices.note(now, kind, Detail::at(source));
            }
            self.note_images(now, notices);
        }
        received
    }

    fn note_images(&mut self, now: Nanos, notices: &mut NodeNotices) {
        while let Some((kind, source, count)) = self.images.take_mishap() {
            notices.note_many(now, kind, Detail::at(source), count);
        }
    }

    /// A session opened; `connect` is who asked for it here.
    pub(crate) fn on_session_opened(
        &mut self,
        telling: &mut Telling<'_>,
        session: &Session,
        connect: Option<PendingConnect>,
    ) {
        let Some(pending) = connect else {
            return;
        };
        let correlation_id = pending.correlation_id;
        telling
            .tracer
            .message(TracePoint::ConnectCommit, correlation_id, 0);
        let channels = &mut self.channels;
        let (streams, now) = (&mut self.streams, telling.now);
        let channel = pending.channel_left(channels, streams, Some(session.id), now);
        let Some(channel) = channel else {
            // The client's next attempt finds the session.
            let source = Detail::at(session.response_address);
            let kind = NodeNotice::ConnectAwaitsChannel;
            telling.notices.note(now, kind, source);
            return;
        };
        let event = telling
            .sender
            .event(session, correlation_id, EventCode::Ok, b"");
        queue_event(channels, channel, &event);
        channels.bind(channel, session.id);
        self.egress
            .bind_new(session.id, channel, session.open_position);
    }

    /// A session is continued, by another process if `is_takeover`; `connect` is who asked for it
    /// here. The process that had it is told that another one has it now, on the channel that
    /// led to it.
    pub(crate) fn on_session_continued(
        &mut self,
        telling: &mut Telling<'_>,
        session: &Session,
        is_takeover: bool,
        connect: Option<PendingConnect>,
    ) {
        if let Some(pending) = connect {
            telling
                .tracer
                .message(TracePoint::ConnectCommit, pending.correlation_id, 0);
        }
        let Some(old) = self.egress.unbind(session.id) else {
            return;
        };
        if connect.is_some_and(|pending| pending.channel == old) {
            return;
        }
        if is_takeover {
            let event = telling.sender.event(session, 0, EventCode::Fenced, b"");
            telling.sender.dismiss(&mut self.channels, old, &event);
        } else {
            self.channels.abandon(old);
        }
    }

    /// A session closed: its client is told so behind the answers that it lacks.
    pub(crate) fn on_session_closed(
        &mut self,
        sender: SessionEventSender,
        session: &Session,
        reason: CloseReason,
    ) {
        let closed = ClosedSession {
            session: *session,
            reason,
        };
        if let Some(slot) = self.egress.close(&mut self.channels, closed) {
            sender.send_closed(&mut self.channels, slot, &closed);
        }
    }

    /// Egress, and what it sends with.
    const fn egress<'a>(
        &'a mut self,
        now: Nanos,
        tracer: &'a mut Tracer,
    ) -> (&'a mut ResponseEgress, EgressContext<'a>) {
        let channels = &mut self.channels;
        let context = EgressContext {
            now,
            channels,
            tracer,
        };
        (&mut self.egress, context)
    }

    /// A Response is applied; `applied_number` is its session's.
    pub fn on_response(
        &mut self,
        now: Nanos,
        entry: &Entry<'_>,
        applied_number: RequestNumber,
        tracer: &mut Tracer,
    ) {
        let (egress, mut context) = self.egress(now, tracer);
        egress.on_response(&mut context, entry, applied_number);
    }

    /// An effect leaves directly.
    pub(crate) fn on_direct_effect(
        &mut self,
        now: Nanos,
        effect: &DirectEffect<'_>,
        applied_number: RequestNumber,
        tracer: &mut Tracer,
    ) {
        let (egress, mut context) = self.egress(now, tracer);
        egress.on_direct_effect(&mut context, effect, applied_number);
    }

    /// Delivers what sessions could not take when it was applied, which is the log of `view` up
    /// to `applied`. What the reader orders of it from disk is to be submitted.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub fn deliver(
        &mut self,
        telling: &mut Telling<'_>,
        applied: Position,
        sessions: &SessionTable,
        view: LogView<'_>,
    ) -> Result<usize, NodeFault> {
        let sender = telling.sender;
        let (egress, mut context) = self.egress(telling.now, telling.tracer);
        let told = &mut |channels: &mut EgressChannels, slot: Slot, closed: &ClosedSession| {
            sender.send_closed(channels, slot, closed);
        };
        egress.do_work(&mut context, applied, sessions, view, told)
    }

    /// Sends what is due.
    pub(crate) fn serve(&mut self, now: Nanos, notices: &mut NodeNotices) -> usize {
        let (egress, port) = (&mut self.egress, &mut self.port);
        let mut work = self
            .channels
            .do_work(now, port, &mut |session, slot, news| {
                egress.on_channel_news(session, slot, news);
            });
        work += self.images.do_work(now, port);
        self.port.flush(now);
        self.note_images(now, notices);
        while let Some((kind, detail, count)) = self.channels.take_mishap() {
            notices.note_many(now, kind, detail, count);
        }
        work
    }
}
