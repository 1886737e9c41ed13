//! The duties a node has towards clients: their datagrams, applying and answering what they
//! asked for, and the leader's housekeeping.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::{EventCode, NewLeaderEvent};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::{MILLISECOND, Nanos};
use lockstep_transport::trace::TracePoint;

use crate::apply::applier::{AppliedHandler, DirectEffect};
use crate::log::entry_assembler::Entry;
use crate::log::entry_body::{CloseReason, SessionOpen};
use crate::log::log_entry::{LogEntry, Response};
use crate::module::event::Event;
use crate::module::output_agreement::{OutputAgreement, OutputAt};
use crate::node::cluster_node::ClusterNode;
use crate::node::cycle_budget::CycleBudget;
use crate::node::fault::NodeFault;
use crate::node::identity::Identity;
use crate::node::leadership::Leadership;
use crate::node::member_duties::DATAGRAMS_PER_CYCLE;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::callers::Callers;
use crate::session::egress_channel::EVENT_LENGTH_MAX;
use crate::session::egress_channels::Slot;
use crate::session::ingress::Ingress;
use crate::session::ingress_images::{IngressImages, Standing};
use crate::session::response_egress::{ClosedSession, EgressContext, ResponseEgress};
use crate::session::session_events::{SessionEventSender, queue_event};
use crate::session::session_table::Session;

/// Effects appended in one round: as many as are applied in one.
const EFFECTS_PER_ROUND: usize = 64;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Takes waiting datagrams of clients.
    pub(super) fn receive_clients(&mut self, now: Nanos) -> usize {
        let parts = &mut self.parts;
        let mut received = 0;
        while received < DATAGRAMS_PER_CYCLE {
            let Some(datagram) = parts.ingress_port.receive(now, &mut self.buffer) else {
                break;
            };
            received += 1;
            let source = datagram.source;
            let packet = parse(&self.buffer[..datagram.length]).ok();
            let packet = packet.and_then(|packet| Some((packet.session_id()?, packet)));
            let taken = match packet {
                None => Err(NodeNotice::DamagedClientDatagram),
                Some((session_id, packet @ (Packet::StatusMessage(_) | Packet::Nak(_)))) => {
                    let channels = &mut parts.channels;
                    channels.on_packet(now, source, session_id, &packet)
                }
                Some((_, packet)) => {
                    let callers = Callers {
                        applier: &parts.applier,
                        leadership: &parts.leadership,
                        response_egress: &parts.response_egress,
                        channels: &parts.channels,
                    };
                    let judge = |bytes: &[u8]| callers.first_words(source, bytes);
                    parts.images.on_packet(now, source, &packet, judge)
                }
            };
            if let Err(kind) = taken {
                parts.notices.note(now, kind, Detail::at(source));
            }
            if let Some((kind, source, count)) = parts.images.take_mishap() {
                parts
                    .notices
                    .note_many(now, kind, Detail::at(source), count);
            }
        }
        received
    }

    /// Applies what is committed.
    pub(super) fn apply(&mut self, now: Nanos) -> usize {
        let parts = &mut self.parts;
        let commit = parts.module.commit();
        if parts.applier.position() >= commit {
            return 0;
        }
        self.budget.begin_lap();
        let mut hooks = LeaderHooks {
            now,
            budget: &mut self.budget,
            agreement: &mut self.agreement,
            notices: &mut parts.notices,
            identity: &parts.identity,
            leadership: &mut parts.leadership,
            response_egress: &mut parts.response_egress,
            images: &mut parts.images,
            context: EgressContext {
                now,
                channels: &mut parts.channels,
                tracer: &mut parts.tracer,
            },
        };
        let applied = parts.applier.apply(commit, parts.store.view(), &mut hooks);
        parts.store.submit_order(now, parts.applier.reader_mut());
        let passed = match applied {
            Ok(passed) => passed,
            Err(fault) => {
                self.fault = Some(fault);
                return 1;
            }
        };
        if parts.leadership.is_open() {
            self.ingress(now).answer_decided();
        }
        let parts = &mut self.parts;
        let position = parts.applier.position();
        if position > self.reported_applied {
            self.reported_applied = position;
            parts
                .module
                .on_event(now, Event::Applied { position }, &mut self.actions);
        }
        passed
    }

    /// Hands clients' messages to the log.
    pub(super) fn poll_ingress(&mut self, now: Nanos) -> usize {
        let (images, mut ingress) = self.images_and_ingress(now);
        images.poll(&mut |source, before, was_put_off, message| {
            ingress.was_put_off = was_put_off;
            let action = ingress.on_message(source, message.payload);
            if matches!(before, Standing::Served(_)) {
                return (action, before);
            }
            let callers = Callers {
                applier: ingress.applier,
                leadership: ingress.leadership,
                response_egress: ingress.response_egress,
                channels: ingress.channels,
            };
            let is_taken = action == PollAction::Continue;
            (action, callers.standing(source, message.payload, is_taken))
        })
    }

    /// This cycle's view of what a client's message may touch.
    pub(super) fn ingress(&mut self, now: Nanos) -> Ingress<'_, S, D> {
        self.images_and_ingress(now).1
    }

    fn images_and_ingress(&mut self, now: Nanos) -> (&mut IngressImages, Ingress<'_, S, D>) {
        let append = self.append_context(now);
        let is_contested = self.agreement.is_contested(now);
        let parts = &mut self.parts;
        let ingress = Ingress {
            now,
            append,
            is_contested,
            was_put_off: false,
            leader: parts.module.leader(),
            term: parts.module.term(),
            identity: &parts.identity,
            applier: &parts.applier,
            store: &mut parts.store,
            leadership: &mut parts.leadership,
            response_egress: &mut parts.response_egress,
            channels: &mut parts.channels,
            tracer: &mut parts.tracer,
            notices: &mut parts.notices,
        };
        (&mut parts.images, ingress)
    }

    /// Appends what the service has emitted, in order, once this leader may (`log.md` 5.4).
    pub(super) fn append_effects(&mut self, now: Nanos) -> usize {
        if !self.parts.leadership.is_open() {
            return 0;
        }
        let context = self.append_context(now);
        let parts = &mut self.parts;
        let mut count = 0;
        while count < EFFECTS_PER_ROUND {
            let Some(effect) = parts.applier.container().outbox().next_to_append() else {
                break;
            };
            let cause = effect.name.cause;
            let response = LogEntry::Response(Response {
                service: effect.name.service,
                session: effect.session,
                cause,
                ordinal: effect.name.ordinal,
                request_number: parts.applier.request_number(cause, effect.session),
                is_failure: effect.is_failure,
                message: effect.message,
            });
            let log = parts.store.log_mut();
            let appended = parts.leadership.append(log, &context, &response);
            let Some(appended) = appended else {
                sometimes(Mark::EffectsWaitForLog);
                break;
            };
            parts
                .tracer
                .effect(TracePoint::ResponseAppend, cause, appended.end);
            parts.applier.container_mut().outbox_mut().mark_appended();
            count += 1;
        }
        count
    }

    /// This leader's own entry is applied: clients may speak, effects may leave.
    pub(super) fn open_leadership(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        let applied = parts.applier.position();
        parts
            .leadership
            .open(parts.applier.sessions(), applied, now);
        self.serve_sessions(now);
    }

    /// The leadership is open: effects are appended from the first, and each client is told.
    pub(super) fn serve_sessions(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        let term = parts.leadership.term();
        parts
            .response_egress
            .open(term, parts.applier.void_responses());
        if !parts.identity.is_direct {
            parts
                .applier
                .container_mut()
                .outbox_mut()
                .start_append_cursor();
        }
        for session in parts.applier.sessions().sessions() {
            let address = session.response_address;
            let config = parts
                .identity
                .egress_publication(address, session.response_stream_id);
            let Some(slot) = parts.channels.open_for(session.id, config, now) else {
                continue;
            };
            let event = NewLeaderEvent {
                leadership_term_id: term,
                session_id: session.id,
                applied_number: session.applied_number,
                leader_member_id: i32::from(parts.identity.member),
                connect_epoch: session.connect_epoch,
                endpoints: parts.identity.ingress_endpoints.as_bytes(),
            };
            let mut bytes = [0; EVENT_LENGTH_MAX];
            let length = event
                .encode(&mut bytes)
                .expect("events are sized for seven endpoints");
            parts.channels.queue_event(slot, &bytes[..length]);
            let after = session.acknowledged;
            let from = if parts.identity.is_direct {
                parts.applier.position()
            } else {
                parts.store.frame_boundary(session.open_position, after)
            };
            parts.response_egress.bind(session.id, slot, from, after);
        }
    }

    /// Sends what is due to clients.
    pub(super) fn serve_clients(&mut self, now: Nanos) -> usize {
        let mut work = match self.deliver(now) {
            Ok(work) => work,
            Err(fault) => {
                self.fault = Some(fault);
                return 0;
            }
        };
        let parts = &mut self.parts;
        let response_egress = &mut parts.response_egress;
        let port = &mut parts.ingress_port;
        work += parts
            .channels
            .do_work(now, port, &mut |session, slot, news| {
                response_egress.on_channel_news(session, slot, news);
            });
        work += parts.images.do_work(now, port);
        parts.ingress_port.flush(now);
        while let Some((kind, source, count)) = parts.images.take_mishap() {
            let detail = Detail::at(source);
            parts.notices.note_many(now, kind, detail, count);
        }
        while let Some((kind, detail, count)) = parts.channels.take_mishap() {
            parts.notices.note_many(now, kind, detail, count);
        }
        work
    }
}

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Delivers what sessions could not take when it was applied.
    fn deliver(&mut self, now: Nanos) -> Result<usize, NodeFault> {
        let parts = &mut self.parts;
        if !parts.leadership.is_open() {
            return Ok(0);
        }
        invariant!(
            AnswersCommitted,
            parts.applier.position() <= parts.module.commit(),
            "S6: answers up to {} leave, and {} is committed",
            parts.applier.position(),
            parts.module.commit()
        );
        let term = parts.leadership.term();
        let event_sender = SessionEventSender::leading(parts.identity.member, term);
        let mut context = EgressContext {
            now,
            channels: &mut parts.channels,
            tracer: &mut parts.tracer,
        };
        let worked = parts.response_egress.do_work(
            &mut context,
            parts.applier.position(),
            parts.applier.sessions(),
            parts.store.view(),
            &mut |channels, slot, closed| event_sender.send_closed(channels, slot, closed),
        );
        let reader = parts.response_egress.reader_mut();
        parts.store.submit_order(now, reader);
        worked
    }
}

/// What this member does, while it leads, when entries are applied.
struct LeaderHooks<'a> {
    now: Nanos,
    budget: &'a mut CycleBudget,
    agreement: &'a mut OutputAgreement,
    notices: &'a mut NodeNotices,
    identity: &'a Identity,
    leadership: &'a mut Leadership,
    response_egress: &'a mut ResponseEgress,
    images: &'a mut IngressImages,
    context: EgressContext<'a>,
}

impl LeaderHooks<'_> {
    const fn event_sender(&self) -> SessionEventSender {
        SessionEventSender::leading(self.identity.member, self.leadership.term())
    }

    /// The process that had the session is told that another one has it now, on the channel
    /// that led to it; `next` is the other one's.
    fn fence(&mut self, session: &Session, is_takeover: bool, next: Option<Slot>) {
        let Some(old) = self.response_egress.channel(session.id) else {
            return;
        };
        self.response_egress.unbind(session.id);
        if Some(old) == next {
            return;
        }
        if is_takeover {
            let event_sender = self.event_sender();
            let event = event_sender.event(session, 0, EventCode::Fenced, b"");
            event_sender.dismiss(self.context.channels, old, &event);
        } else {
            self.context.channels.abandon(old);
        }
    }
}

impl AppliedHandler for LeaderHooks<'_> {
    fn may_answer(&mut self, cause: Position) -> bool {
        if !self.leadership.is_open() {
            return true;
        }
        if self.identity.is_direct {
            return !self.agreement.is_asking();
        }
        self.agreement.may_deliver(self.now, cause)
    }

    fn on_executed(&mut self, output: OutputAt) {
        self.agreement.record(self.now, output);
        if let Some(took) = self.budget.lap() {
            let values = [output.position, took / MILLISECOND, 0, 0];
            let detail = Detail::default().with_values(values);
            self.notices.note(self.now, NodeNotice::SlowService, detail);
        }
    }

    fn is_cycle_spent(&self) -> bool {
        self.budget.is_spent()
    }

    fn on_void_response(&mut self, position: Position) {
        let detail = Detail::default().with_values([position, 0, 0, 0]);
        self.notices
            .note(self.now, NodeNotice::VoidResponse, detail);
    }

    fn on_step(&mut self, point: TracePoint, position: Position, end: Position) {
        if self.leadership.is_leading() {
            self.context.tracer.effect(point, position, end);
        }
    }

    fn on_cause(&mut self) {
        if self.leadership.is_open() {
            self.leadership.on_cause_applied();
        }
    }

    fn on_session_opened(&mut self, session: &Session, open: &SessionOpen) {
        self.images
            .on_served((session.nonce, session.principal_hash));
        if !self.leadership.is_open() {
            return;
        }
        self.leadership.sessions.on_opened(session, self.now);
        let Some(pending) = self.leadership.take_connect(open) else {
            return;
        };
        self.context
            .tracer
            .message(TracePoint::ConnectCommit, pending.correlation_id, 0);
        let event_sender = self.event_sender();
        let channels = &mut *self.context.channels;
        let channel = pending.channel_left(channels, self.identity, Some(session.id), self.now);
        let Some(channel) = channel else {
            // The client's next attempt finds the session.
            let source = Detail::at(session.response_address);
            self.notices
                .note(self.now, NodeNotice::ConnectAwaitsChannel, source);
            return;
        };
        let event = event_sender.event(session, pending.correlation_id, EventCode::Ok, b"");
        queue_event(channels, channel, &event);
        channels.bind(channel, session.id);
        self.response_egress
            .bind_new(session.id, channel, session.open_position);
    }

    fn on_session_continued(&mut self, session: &Session, open: &SessionOpen, is_takeover: bool) {
        if !self.leadership.is_open() {
            return;
        }
        self.leadership.sessions.on_continued(session, self.now);
        self.images
            .on_served((session.nonce, session.principal_hash));
        let pending = self.leadership.take_connect(open);
        self.fence(session, is_takeover, pending.map(|connect| connect.channel));
        if let Some(pending) = pending {
            self.context
                .tracer
                .message(TracePoint::ConnectCommit, pending.correlation_id, 0);
            self.leadership.await_answer(pending);
        }
    }

    fn on_open_ignored(&mut self, open: &SessionOpen) {
        self.images.on_ignored((open.nonce, open.principal_hash));
        if let Some(pending) = self.leadership.take_connect(open) {
            self.leadership.await_answer(pending);
        }
    }

    fn on_session_closed(&mut self, session: &Session, reason: CloseReason) {
        self.images
            .on_closed((session.nonce, session.principal_hash));
        if !self.leadership.is_open() {
            return;
        }
        self.leadership.sessions.on_closed(session.id);
        let Some(slot) = self.response_egress.channel(session.id) else {
            return;
        };
        let closed = ClosedSession {
            session: *session,
            reason,
        };
        let channels = &mut *self.context.channels;
        if !self.response_egress.close_when_delivered(channels, closed) {
            self.event_sender()
                .send_closed(self.context.channels, slot, &closed);
            self.response_egress.unbind(session.id);
        }
    }

    fn on_response(&mut self, entry: &Entry<'_>, applied_number: i64) {
        if self.leadership.is_open() {
            self.response_egress
                .on_response(&mut self.context, entry, applied_number);
        }
    }

    fn on_direct_effect(&mut self, effect: &DirectEffect<'_>, applied_number: i64) {
        if self.leadership.is_open() {
            self.response_egress
                .on_direct_effect(&mut self.context, effect, applied_number);
        }
    }
}
