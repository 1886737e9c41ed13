//! What this member takes from clients, and what a new leader tells them.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::NewLeaderEvent;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::apply::service_agent::ServiceAgent;
use crate::log::archive_agent::ArchiveAgent;
use crate::log::entry_body::CloseReason;
use crate::log::log_entry::{LogEntry, Response};
use crate::log::log_writer::Appended;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::node::fault::NodeFault;
use crate::node::leadership::AppendContext;
use crate::notice::NodeNotices;
use crate::session::callers::Callers;
use crate::session::client_agent::ClientAgent;
use crate::session::client_egress::ClientEgress;
use crate::session::egress_channel::EVENT_LENGTH_MAX;
use crate::session::ingress::Ingress;
use crate::session::ingress_images::Standing;
use crate::session::leader_sessions::LeaderRow;
use crate::session::owed::Owed;
use crate::session::session_events::SessionEventSender;

/// Effects appended in one round: as many as are applied in one.
const EFFECTS_PER_ROUND: usize = 64;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Hands clients' messages to the log.
    pub(in crate::node) fn poll_ingress<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
        clients: &mut ClientAgent<P>,
    ) -> usize {
        if self.module.is_handing_over() {
            // It waits where it is for the next leader's refusal, or for this one to go on.
            return 0;
        }
        let images = &mut clients.images;
        let mut ingress = self.ingress(now, room, (&mut clients.egress, &mut clients.notices));
        images.poll(&mut |source, before, was_put_off, message| {
            ingress.was_put_off = was_put_off;
            let action = ingress.on_message(source, message.payload);
            if matches!(before, Standing::Served(_)) {
                return (action, before);
            }
            let callers = Callers {
                sessions: ingress.consensus.applier.sessions(),
                leadership: &ingress.consensus.leadership,
                egress: &ingress.egress.responses,
                channels: &ingress.egress.channels,
            };
            let is_taken = action == PollAction::Continue;
            (action, callers.standing(source, message.payload, is_taken))
        })
    }

    /// Answers connects whose entries are applied.
    pub(super) fn answer_decided<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
        clients: &mut ClientAgent<P>,
    ) {
        let telling = (&mut clients.egress, &mut clients.notices);
        self.ingress(now, room, telling).answer_decided();
    }

    fn ingress<'a, D: Disk, S: ClusteredService>(
        &'a mut self,
        now: Nanos,
        room: Room<'a, D, S>,
        (egress, notices): (&'a mut ClientEgress, &'a mut NodeNotices),
    ) -> Ingress<'a, P, S, D> {
        Ingress {
            now,
            append: self.append_context(now, room.archive),
            is_contested: self.agreement.is_contested(now),
            was_put_off: false,
            consensus: self,
            room,
            egress,
            notices,
        }
    }

    /// Appends a causing entry if the outbox can take its worst case (`log.md` 5.6).
    pub(crate) fn append_cause<D: Disk, S: ClusteredService>(
        &mut self,
        context: &AppendContext,
        room: Room<'_, D, S>,
        entry: &LogEntry<'_>,
    ) -> Option<Appended> {
        let outbox = room.service.outputs().outbox();
        let unapplied = self.leadership.unapplied_causes();
        let owed = outbox.log_bytes_owed(unapplied);
        if !room.archive.has_room(self.log.append(), owed) {
            sometimes(Mark::CauseAwaitsDiskRoom);
            return None;
        }
        if !outbox.admits(unapplied) {
            return None;
        }
        self.leadership
            .append(self.log.buffer_mut(), context, entry)
    }

    /// Appends a SessionClose for this row's session unless one is on its way. Returns false when
    /// there is no room.
    pub(crate) fn append_close<D: Disk, S: ClusteredService>(
        &mut self,
        context: &AppendContext,
        room: Room<'_, D, S>,
        row: LeaderRow,
        reason: CloseReason,
    ) -> bool {
        let Some(session) = self.leadership.sessions.at(row) else {
            return true;
        };
        if session.is_closing {
            return true;
        }
        let session = session.id;
        let entry = LogEntry::SessionClose { session, reason };
        if self.append_cause(context, room, &entry).is_none() {
            return false;
        }
        if let Some(session) = self.leadership.sessions.at_mut(row) {
            session.is_closing = true;
        }
        true
    }

    /// Appends what the service has emitted, in order, once this leader may (`log.md` 5.4).
    pub(in crate::node) fn append_effects<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &ArchiveAgent<D>,
        service: &mut ServiceAgent<S>,
    ) -> usize {
        if !self.leadership.is_open() {
            return 0;
        }
        let context = self.append_context(now, archive);
        let mut count = 0;
        while count < EFFECTS_PER_ROUND {
            let Some(effect) = service.outputs().outbox().next_to_append() else {
                break;
            };
            let cause = effect.name.cause;
            let response = LogEntry::Response(Response {
                service: effect.name.service,
                session: effect.session,
                cause,
                ordinal: effect.name.ordinal,
                request_number: service.request_number(cause, effect.session),
                is_failure: effect.is_failure,
                message: effect.message,
            });
            let log = self.log.buffer_mut();
            let appended = self.leadership.append(log, &context, &response);
            let Some(appended) = appended else {
                sometimes(Mark::EffectsWaitForLog);
                break;
            };
            self.tracer
                .effect(TracePoint::ResponseAppend, cause, appended.end);
            service.mark_appended();
            count += 1;
        }
        count
    }

    /// This leader's own entry is applied: clients may speak, effects may leave.
    pub(in crate::node) fn open_leadership<S: ClusteredService>(
        &mut self,
        now: Nanos,
        service: &mut ServiceAgent<S>,
        egress: &mut ClientEgress,
    ) {
        let applied = self.applier.position();
        self.leadership.open(self.applier.sessions(), applied, now);
        self.serve_sessions(now, service, egress);
    }

    /// The leadership is open: effects are appended from the first, and each client is told.
    pub(in crate::node) fn serve_sessions<S: ClusteredService>(
        &mut self,
        now: Nanos,
        service: &mut ServiceAgent<S>,
        egress: &mut ClientEgress,
    ) {
        let term = self.leadership.term();
        egress.responses.open(term, self.applier.answers.void());
        if !self.facts.is_direct {
            service.start_appending();
        }
        for session in self.applier.sessions().sessions() {
            let after = session.acknowledged;
            let owed = Owed::of(session, after, &self.log);
            if owed == Owed::Gone {
                // It is told when it comes back, and closed before or after.
                sometimes(Mark::AnswersGone);
                continue;
            }
            let client = (session.response_address, session.response_stream_id);
            let config = egress.streams.publication(client.0, client.1);
            let channels = &mut egress.channels;
            let Some(slot) = channels.open_for(session.id, config, now) else {
                continue;
            };
            let event = NewLeaderEvent {
                leadership_term_id: term,
                session_id: session.id,
                applied_number: session.applied_number,
                leader_member_id: i32::from(self.facts.member),
                connect_epoch: session.connect_epoch,
                endpoints: self.facts.ingress_endpoints.as_bytes(),
            };
            let mut bytes = [0; EVENT_LENGTH_MAX];
            let length = event
                .encode(&mut bytes)
                .expect("events are sized for seven endpoints");
            channels.queue_event(slot, &bytes[..length]);
            if let Owed::From(from) = owed {
                egress.responses.bind(session.id, slot, from, after);
            } else {
                egress.responses.bind_new(session.id, slot, after);
            }
        }
    }

    /// Delivers what sessions could not take when it was applied.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub(in crate::node) fn deliver<D: Disk>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        clients: &mut ClientAgent<P>,
    ) -> Result<usize, NodeFault> {
        if !self.leadership.is_open() {
            return Ok(0);
        }
        let applied = self.applier.position();
        invariant!(
            AnswersCommitted,
            applied <= self.module.commit(),
            "S6: answers up to {applied} leave, and {} is committed",
            self.module.commit()
        );
        let (sessions, view) = (self.applier.sessions(), archive.view(&self.log));
        let sender = SessionEventSender::leading(self.facts.member, self.leadership.term());
        let delivered = clients.deliver(now, sender, applied, sessions, view);
        archive.submit_order(now, clients.egress.responses.reader_mut());
        delivered
    }
}
