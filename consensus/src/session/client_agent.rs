//! The side of a node that faces clients: their socket, the images of their ingress, the channels
//! of their egress and a row of egress per session.
//!
//! It decides nothing: the sessions and what is admitted to the log are others', and what became
//! of a session it is told by a queue. On a member that does not lead it only answers connects.

use lockstep_archive::log::log_view::LogView;
use lockstep_client::protocol::EventCode;
use lockstep_transport::datagram_port::{DATAGRAM_LENGTH_MAX, DATAGRAMS_PER_CYCLE, DatagramPort};
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::time::{Nanos, earliest};
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::service_agent::DirectEffect;
use crate::log::entry_assembler::Entry;
use crate::log::entry_body::CloseReason;
use crate::node::counters::{Counter, CounterBlock};
use crate::node::fault::NodeFault;
use crate::node::leadership::Leadership;
use crate::notice::port::port_notice;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::callers::Callers;
use crate::session::client_egress::ClientEgress;
use crate::session::client_news::{ClientNews, NewsReader};
use crate::session::closed_session::ClosedSession;
use crate::session::egress_channels::{EgressChannels, Slot};
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
    buffer: Vec<u8>,
    /// Images of clients.
    pub images: IngressImages,
    /// What clients are told, and where.
    pub egress: ClientEgress,
    /// What became of sessions.
    news: NewsReader,
    /// Trace points.
    pub(crate) tracer: Tracer,
    /// What tools read.
    pub(crate) counters: CounterBlock,
    /// What is refused or amiss, counted and to be told.
    pub(crate) notices: NodeNotices,
    responses_lost: u64,
}

impl<P: DatagramPort> ClientAgent<P> {
    /// With neither client nor session.
    #[must_use]
    pub(crate) fn new(
        port: P,
        images: IngressImages,
        egress: ClientEgress,
        news: NewsReader,
        tracer: Tracer,
        counters: CounterBlock,
    ) -> Self {
        Self {
            port,
            images,
            egress,
            news,
            buffer: vec![0; DATAGRAM_LENGTH_MAX],
            tracer,
            counters,
            notices: NodeNotices::new(),
            responses_lost: 0,
        }
    }

    /// Writes what changes with every cycle, for tools.
    pub(crate) fn publish(&mut self) {
        let refused = self.notices.total() as i64;
        self.counters.set(Counter::Refused, refused);
    }

    /// Takes waiting datagrams.
    pub(crate) fn receive(
        &mut self,
        now: Nanos,
        (sessions, leadership): (&SessionTable, &Leadership),
    ) -> usize {
        let mut received = 0;
        let mut buffer = core::mem::take(&mut self.buffer);
        while received < DATAGRAMS_PER_CYCLE {
            let Some(datagram) = self.port.receive(now, &mut buffer) else {
                break;
            };
            received += 1;
            let source = datagram.source;
            let packet = parse(&buffer[..datagram.length]).ok();
            let packet = packet.and_then(|packet| Some((packet.session_id()?, packet)));
            let taken = match packet {
                None => Err(NodeNotice::DamagedClientDatagram),
                Some((session_id, packet @ (Packet::StatusMessage(_) | Packet::Nak(_)))) => {
                    let channels = &mut self.egress.channels;
                    channels.on_packet(now, source, session_id, &packet)
                }
                Some((_, packet)) => {
                    let callers = Callers {
                        sessions,
                        leadership,
                        egress: &self.egress.responses,
                        channels: &self.egress.channels,
                    };
                    let judge = |bytes: &[u8]| callers.first_words(source, bytes);
                    self.images.on_packet(now, source, &packet, judge)
                }
            };
            if let Err(kind) = taken {
                self.notices.note(now, kind, Detail::at(source));
            }
            self.note_images(now);
        }
        self.buffer = buffer;
        received
    }

    fn note_images(&mut self, now: Nanos) {
        while let Some((kind, source, count)) = self.images.take_mishap() {
            self.notices.note_many(now, kind, Detail::at(source), count);
        }
    }

    /// What has become of sessions and was not taken yet.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn news_waiting(&self) -> usize {
        self.news.slots()
    }

    /// Takes what has become of sessions, and tells their clients.
    pub(crate) fn take_news(&mut self, now: Nanos) {
        while let Ok(news) = self.news.pop() {
            self.on_news(now, &news);
        }
    }

    fn on_news(&mut self, now: Nanos, news: &ClientNews) {
        match news {
            ClientNews::Opened {
                session,
                connect,
                sender,
            } => {
                self.images.on_served(session.client());
                if let Some(sender) = sender {
                    self.on_session_opened(now, *sender, session, *connect);
                }
            }
            ClientNews::Continued {
                session,
                is_takeover,
                connect,
                sender,
            } => {
                self.images.on_served(session.client());
                self.on_session_continued(*sender, session, *is_takeover, *connect);
            }
            ClientNews::Ignored(client) => self.images.on_ignored(*client),
            ClientNews::Closed {
                session,
                reason,
                sender,
            } => {
                self.images.on_closed(session.client());
                if let Some(sender) = sender {
                    self.on_session_closed(*sender, session, *reason);
                }
            }
        }
    }

    /// A session opened; `connect` is who asked for it here.
    fn on_session_opened(
        &mut self,
        now: Nanos,
        sender: SessionEventSender,
        session: &Session,
        connect: Option<PendingConnect>,
    ) {
        let Some(pending) = connect else {
            return;
        };
        let correlation_id = pending.correlation_id;
        let point = TracePoint::ConnectCommit;
        self.tracer.message(point, correlation_id, 0);
        let egress = &mut self.egress;
        let Some(channel) = pending.channel_left(egress, Some(session.id), now) else {
            // The client's next attempt finds the session.
            let source = Detail::at(session.response_address);
            let kind = NodeNotice::ConnectAwaitsChannel;
            self.notices.note(now, kind, source);
            return;
        };
        let event = sender.event(session, correlation_id, EventCode::Ok, b"");
        queue_event(&mut egress.channels, channel, &event);
        egress.channels.bind(channel, session.id);
        let responses = &mut egress.responses;
        responses.bind_new(session.id, channel, session.open_position);
    }

    /// A session is continued, by another process if `is_takeover`; `connect` is who asked for it
    /// here. The process that had it is told that another one has it now, on the channel that
    /// led to it.
    fn on_session_continued(
        &mut self,
        sender: SessionEventSender,
        session: &Session,
        is_takeover: bool,
        connect: Option<PendingConnect>,
    ) {
        if let Some(pending) = connect {
            let point = TracePoint::ConnectCommit;
            self.tracer.message(point, pending.correlation_id, 0);
        }
        let egress = &mut self.egress;
        let Some(old) = egress.responses.unbind(session.id) else {
            return;
        };
        if connect.is_some_and(|pending| pending.channel == old) {
            return;
        }
        if is_takeover {
            let event = sender.event(session, 0, EventCode::Fenced, b"");
            sender.dismiss(&mut egress.channels, old, &event);
        } else {
            egress.channels.abandon(old);
        }
    }

    /// A session closed: its client is told so behind the answers that it lacks.
    fn on_session_closed(
        &mut self,
        sender: SessionEventSender,
        session: &Session,
        reason: CloseReason,
    ) {
        let closed = ClosedSession {
            session: *session,
            reason,
        };
        let channels = &mut self.egress.channels;
        if let Some(slot) = self.egress.responses.close(channels, closed) {
            sender.send_closed(channels, slot, &closed);
        }
    }

    /// Egress of responses, and what it sends with.
    const fn responses(&mut self, now: Nanos) -> (&mut ResponseEgress, EgressContext<'_>) {
        let ClientEgress {
            channels,
            responses,
            ..
        } = &mut self.egress;
        let context = EgressContext {
            now,
            channels,
            tracer: &mut self.tracer,
        };
        (responses, context)
    }

    /// A Response is applied; `applied_number` is its session's.
    pub(crate) fn on_response(
        &mut self,
        now: Nanos,
        entry: &Entry<'_>,
        applied_number: RequestNumber,
    ) {
        self.take_news(now);
        let (responses, mut context) = self.responses(now);
        responses.on_response(&mut context, entry, applied_number);
    }

    /// An effect leaves directly.
    pub(crate) fn on_direct_effect(
        &mut self,
        now: Nanos,
        effect: &DirectEffect<'_>,
        applied_number: RequestNumber,
    ) {
        self.take_news(now);
        let (responses, mut context) = self.responses(now);
        responses.on_direct_effect(&mut context, effect, applied_number);
    }

    /// Delivers what sessions could not take when it was applied, which is the log of `view` up
    /// to `applied`. What the reader orders of it from disk is to be submitted.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub(crate) fn deliver(
        &mut self,
        now: Nanos,
        sender: SessionEventSender,
        applied: Position,
        sessions: &SessionTable,
        view: LogView<'_>,
    ) -> Result<usize, NodeFault> {
        let (responses, mut context) = self.responses(now);
        let told = &mut |channels: &mut EgressChannels, slot: Slot, closed: &ClosedSession| {
            sender.send_closed(channels, slot, closed);
        };
        responses.do_work(&mut context, applied, sessions, view, told)
    }

    /// Sends what is due.
    pub(crate) fn serve(&mut self, now: Nanos) -> usize {
        let ClientEgress {
            channels,
            responses,
            ..
        } = &mut self.egress;
        let port = &mut self.port;
        let mut work = channels.do_work(now, port, &mut |session, slot, news| {
            responses.on_channel_news(session, slot, news);
        });
        work += self.images.do_work(now, port);
        port.flush(now);
        self.note_images(now);
        while let Some((kind, detail, count)) = self.egress.channels.take_mishap() {
            self.notices.note_many(now, kind, detail, count);
        }
        work
    }

    /// Notes what goes on being amiss; called at the housekeeping interval.
    pub(crate) fn watch(&mut self, now: Nanos) {
        while let Some(trouble) = self.port.take_trouble() {
            let (kind, detail) = port_notice(&trouble, NodeNotice::SendToClientRefused);
            self.notices.note_many(now, kind, detail, trouble.count);
        }
        let lost = self.egress.responses.dropped();
        let before = core::mem::replace(&mut self.responses_lost, lost);
        if lost > before {
            let kind = NodeNotice::DirectResponseLost;
            let count = lost - before;
            self.notices.note_many(now, kind, Detail::default(), count);
        }
    }

    /// This member leads no more: whom it served is another's to serve.
    pub(crate) fn abdicate(&mut self) {
        self.egress.responses.clear();
        self.egress.channels.abandon_all();
    }

    /// When it has something to do even if nothing arrives.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        let port = self.port.next_deadline();
        let images = self.images.next_deadline();
        earliest(earliest(port, images), self.egress.channels.next_deadline())
    }

    /// Looks at rows of clients since the start: what they cost, without a clock.
    pub(crate) const fn visits(&self) -> u64 {
        let egress = &self.egress;
        self.images.visits() + egress.channels.visits() + egress.responses.visits()
    }
}
