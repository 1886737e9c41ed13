//! The duties a node has towards clients: their datagrams, the answers to what they asked for, and
//! what a new leader tells them.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::NewLeaderEvent;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::log::log_entry::{LogEntry, Response};
use crate::node::cluster_node::ClusterNode;
use crate::node::fault::NodeFault;
use crate::session::callers::Callers;
use crate::session::client_agent::Telling;
use crate::session::egress_channel::EVENT_LENGTH_MAX;
use crate::session::ingress::Ingress;
use crate::session::ingress_images::{IngressImages, Standing};
use crate::session::session_events::SessionEventSender;

/// Effects appended in one round: as many as are applied in one.
const EFFECTS_PER_ROUND: usize = 64;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Takes waiting datagrams of clients.
    pub(super) fn receive_clients(&mut self, now: Nanos) -> usize {
        let parts = &mut self.parts;
        let known = (parts.applier.sessions(), &parts.leadership);
        let notices = &mut parts.notices;
        parts.clients.receive(now, &mut self.buffer, known, notices)
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
                sessions: ingress.applier.sessions(),
                leadership: ingress.leadership,
                egress: ingress.egress,
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
            log: &mut parts.log,
            archive: &parts.archive,
            leadership: &mut parts.leadership,
            egress: &mut parts.clients.egress,
            channels: &mut parts.clients.channels,
            streams: &mut parts.clients.streams,
            tracer: &mut parts.tracer,
            notices: &mut parts.notices,
        };
        (&mut parts.clients.images, ingress)
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
                request_number: parts.applier.service.request_number(cause, effect.session),
                is_failure: effect.is_failure,
                message: effect.message,
            });
            let log = parts.log.buffer_mut();
            let appended = parts.leadership.append(log, &context, &response);
            let Some(appended) = appended else {
                sometimes(Mark::EffectsWaitForLog);
                break;
            };
            parts
                .tracer
                .effect(TracePoint::ResponseAppend, cause, appended.end);
            parts
                .applier
                .service
                .container_mut()
                .outbox_mut()
                .mark_appended();
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
            .clients
            .egress
            .open(term, parts.applier.service.void_responses());
        if !parts.identity.is_direct {
            parts
                .applier
                .service
                .container_mut()
                .outbox_mut()
                .start_append_cursor();
        }
        for session in parts.applier.sessions().sessions() {
            let address = session.response_address;
            let clients = &mut parts.clients;
            let config = clients
                .streams
                .publication(address, session.response_stream_id);
            let Some(slot) = clients.channels.open_for(session.id, config, now) else {
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
            parts.clients.channels.queue_event(slot, &bytes[..length]);
            let after = session.acknowledged;
            let from = parts.log.frame_boundary(session.open_position, after);
            parts.clients.egress.bind(session.id, slot, from, after);
        }
    }

    /// Sends what is due to clients.
    pub(super) fn serve_clients(&mut self, now: Nanos) -> usize {
        let delivered = match self.deliver(now) {
            Ok(delivered) => delivered,
            Err(fault) => {
                self.fault = Some(fault);
                return 0;
            }
        };
        delivered + self.parts.clients.serve(now, &mut self.parts.notices)
    }

    /// Delivers what sessions could not take when it was applied.
    fn deliver(&mut self, now: Nanos) -> Result<usize, NodeFault> {
        let parts = &mut self.parts;
        if !parts.leadership.is_open() {
            return Ok(0);
        }
        let applied = parts.applier.position();
        invariant!(
            AnswersCommitted,
            applied <= parts.module.commit(),
            "S6: answers up to {applied} leave, and {} is committed",
            parts.module.commit()
        );
        let mut telling = Telling {
            now,
            sender: SessionEventSender::leading(parts.identity.member, parts.leadership.term()),
            tracer: &mut parts.tracer,
            notices: &mut parts.notices,
        };
        let (sessions, view) = (parts.applier.sessions(), parts.archive.view(&parts.log));
        let delivered = parts.clients.deliver(&mut telling, applied, sessions, view);
        let reader = parts.clients.egress.reader_mut();
        parts.archive.submit_order(now, reader);
        delivered
    }
}
