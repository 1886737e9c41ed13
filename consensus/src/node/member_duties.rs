//! The duties a node has towards the other members: their messages, the module's orders, the
//! disk's completions.

use lockstep_archive::disk::{Completion, Disk};
use lockstep_archive::log::token::owner;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::codec::FieldReader;
use lockstep_transport::datagram_port::{DATAGRAMS_PER_CYCLE, DatagramPort};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::log_buffer::FRAME_TYPE_DATA;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::log::archive_agent::ArchiveEvent;
use crate::log::entry_body::NewLeadershipTerm;
use crate::log::log_writer::LogWriter;
use crate::module::action::{Action, HaltReason};
use crate::module::event::Event;
use crate::module::member::MemberId;
use crate::node::cluster_node::ClusterNode;
use crate::node::fault::NodeFault;
use crate::notice::NodeNotice;
use crate::protocol::message::MemberMessage;
use crate::protocol::{Envelope, MEMBER_STREAM_ID, MemberMessageError, decode, encode};

/// Disk completions taken per cycle.
const COMPLETIONS_PER_CYCLE: usize = 32;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Takes finished disk operations to whom they concern.
    pub(super) fn poll_completions(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        while work < COMPLETIONS_PER_CYCLE {
            let parts = &mut self.parts;
            let readers = |completion: &Completion| {
                let reader = parts.replication.reader_mut(owner(completion.token));
                if let Some(reader) = reader {
                    reader.on_completion(completion);
                } else if !parts.applier.reader_mut().on_completion(completion)
                    && !parts.clients.egress.reader_mut().on_completion(completion)
                {
                    parts.chain_query.on_completion(completion);
                }
            };
            let Some(event) = parts.archive.poll_completion(now, readers) else {
                break;
            };
            match event {
                ArchiveEvent::Done => {}
                ArchiveEvent::IdentityPersisted => parts.membership.on_written(),
                ArchiveEvent::StatePersisted { term, vote } => {
                    let event = Event::StatePersisted { term, vote };
                    parts.module.on_event(now, event, &mut self.actions);
                }
            }
            work += 1;
        }
        let parts = &mut self.parts;
        if let Some(position) = parts.archive.poll_truncated(now, &mut parts.log) {
            self.reported_durable = position;
            parts.replication.reset_readers();
            parts.applier.reader_mut().reset();
            parts.clients.egress.reader_mut().reset();
            parts.chain_query.reset();
            let event = Event::Truncated { position };
            let parts = &mut self.parts;
            parts.module.on_event(now, event, &mut self.actions);
            let tail_term = parts.module.terms().last().copied();
            parts.log.set_tail_term(tail_term);
            work += 1;
        }
        let parts = &mut self.parts;
        let (has_moved, answer) = parts
            .chain_query
            .do_work(&parts.log, parts.archive.view(&parts.log));
        parts
            .archive
            .submit_order(now, parts.chain_query.reader_mut());
        if let Some(event) = answer {
            parts.module.on_event(now, event, &mut self.actions);
        }
        work += usize::from(has_moved);
        work + self.carry_out(now)
    }

    /// Takes waiting datagrams of other members.
    pub(super) fn receive_members(&mut self, now: Nanos) -> usize {
        let mut received = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        while received < DATAGRAMS_PER_CYCLE {
            let Some(datagram) = self.parts.member_port.receive(now, &mut buffer) else {
                break;
            };
            received += 1;
            let parts = &mut self.parts;
            let Some(member) = parts.identity.member_at(datagram.source) else {
                let detail = Detail::at(datagram.source);
                parts
                    .notices
                    .note(now, NodeNotice::UnknownMemberAddress, detail);
                continue;
            };
            self.on_member_datagram(now, member, &buffer[..datagram.length]);
        }
        self.buffer = buffer;
        received
    }

    fn on_member_datagram(&mut self, now: Nanos, member: MemberId, bytes: &[u8]) {
        if stream_id(bytes) == Some(MEMBER_STREAM_ID) {
            self.on_member_message(now, member, bytes);
            return;
        }
        let parts = &mut self.parts;
        let source = parts.identity.members[usize::from(member)].member;
        let detail = Detail::of(member).with_source(source);
        let Ok(packet) = parse(bytes) else {
            parts
                .notices
                .note(now, NodeNotice::DamagedLogDatagram, detail);
            return;
        };
        if packet.session_id() != Some(parts.identity.log_session_id) {
            parts.notices.note(now, NodeNotice::OtherLogStream, detail);
            return;
        }
        match packet {
            Packet::StatusMessage(_) | Packet::Nak(_) => {
                if let Err(kind) = parts.replication.on_packet(now, member, &packet) {
                    parts.notices.note(now, kind, detail);
                }
            }
            _ => {
                let log = parts.log.buffer_mut();
                let follower = &mut self.follower;
                let taken = follower.on_packet(now, source, &packet, log, &parts.module);
                if let Err(refusal) = taken {
                    let detail = detail.with_values([refusal.position, refusal.term.get(), 0, 0]);
                    parts.notices.note(now, refusal.kind, detail);
                }
            }
        }
    }

    fn on_member_message(&mut self, now: Nanos, member: MemberId, bytes: &[u8]) {
        let parts = &mut self.parts;
        let (cluster_id, digest) = (parts.identity.cluster_id, parts.identity.config_digest);
        let envelope = match decode(bytes, cluster_id, digest) {
            Ok(envelope) if envelope.from == member => envelope,
            refused => {
                let (kind, values) = refusal(&refused, cluster_id, digest);
                let source = parts.identity.members[usize::from(member)].member;
                let detail = Detail::of(member).with_source(source).with_values(values);
                parts.notices.note(now, kind, detail);
                self.watch.on_refused(now, member, kind);
                return;
            }
        };
        self.watch.on_message(now, member, &envelope.message);
        if let MemberMessage::AppendPosition { durable, .. } = envelope.message {
            let before = parts.module.match_position(member);
            parts
                .tracer
                .cursor(TracePoint::RequestFollowerAck, before, durable);
        }
        self.on_signed_message(now, member, &envelope.sender, envelope.message);
    }

    /// Does what the module has asked for, in order.
    pub(super) fn carry_out(&mut self, now: Nanos) -> usize {
        let mut index = 0;
        while let Some(action) = self.actions.get(index) {
            index += 1;
            self.perform(now, action);
        }
        self.actions.clear();
        index
    }

    fn perform(&mut self, now: Nanos, action: Action) {
        let parts = &mut self.parts;
        match action {
            Action::PersistState { term, vote } => parts.archive.persist_state(now, term, vote),
            Action::Send { to, message } => {
                let message = self.with_output(message);
                self.send(now, to, message);
            }
            Action::HashLog { member, position } => parts.chain_query.ask(member, position),
            Action::Differs {
                member,
                position,
                own,
                other,
                was_joined,
            } => self.note_difference(now, (member, position), (own, other), was_joined),
            Action::StopPlacing => self.stop_following(),
            Action::Truncate { position } => {
                parts.archive.begin_truncation(position, &parts.log);
            }
            Action::Follow {
                leader, position, ..
            } => {
                self.stop_following();
                self.agreement.begin_term();
                let parts = &mut self.parts;
                invariant!(
                    FollowerLeadsNothing,
                    !parts.leadership.is_leading(),
                    "C5: what a leader knows goes with its term"
                );
                let address = parts.identity.members[usize::from(leader)].member;
                let log = parts.log.buffer();
                self.follower
                    .follow(log, address, position, &parts.identity);
            }
            Action::Lead { term } => self.lead(now, term),
            Action::Replicate { member, position } => {
                let geometry = parts.log.buffer().geometry();
                parts
                    .replication
                    .start(member, position, &parts.identity, geometry);
            }
            Action::Abdicate => self.abdicate(),
            Action::Commit { position } => {
                if parts.leadership.is_leading() {
                    let point = TracePoint::RequestCommit;
                    parts.tracer.cursor(point, self.reported_commit, position);
                }
                self.reported_commit = position;
            }
            Action::Halt { reason } => self.halt(reason),
        }
    }

    pub(super) fn send(&mut self, now: Nanos, to: MemberId, message: MemberMessage) {
        let parts = &mut self.parts;
        let envelope = Envelope {
            cluster_id: parts.identity.cluster_id,
            config_digest: parts.identity.config_digest,
            from: parts.identity.member,
            sender: parts.membership.sender(),
            message,
        };
        let mut bytes = [0; crate::protocol::MEMBER_MESSAGE_MAX];
        let length = encode(&envelope, &mut bytes);
        let address = parts.identity.members[usize::from(to)].member;
        parts.member_port.send(now, address, &bytes[..length]);
    }

    /// Stops for good; a failure of storage is told by its own words.
    fn halt(&mut self, reason: HaltReason) {
        let failure = match reason {
            HaltReason::StorageFailed => self.parts.archive.failure(),
            _ => None,
        };
        self.fault = Some(failure.map_or(NodeFault::Halted(reason), NodeFault::from));
    }

    fn note_difference(
        &mut self,
        now: Nanos,
        (member, position): (MemberId, Position),
        (own, other): (Option<u64>, Option<u64>),
        was_joined: bool,
    ) {
        let parts = &mut self.parts;
        let kind = match (parts.leadership.is_leading(), was_joined) {
            (true, _) => NodeNotice::FollowerLogDiffers,
            (false, true) => NodeNotice::ExcludedByLeader,
            (false, false) => NodeNotice::LeaderLogDiffers,
        };
        let shown = |hash: Option<u64>| hash.unwrap_or(0).cast_signed();
        let known = i64::from(own.is_some()) | i64::from(other.is_some()) << 1;
        let detail = Detail::of(member)
            .with_source(parts.identity.members[usize::from(member)].member)
            .with_values([position, shown(own), shown(other), known]);
        parts.notices.note(now, kind, detail);
    }

    fn stop_following(&mut self) {
        if let Some(end) = self.follower.stop() {
            self.parts.log.erase_unreported(end);
        }
    }

    fn lead(&mut self, now: Nanos, term: LeadershipTermId) {
        self.stop_following();
        self.agreement.begin_term();
        let context = self.append_context(now);
        let parts = &mut self.parts;
        let log_time = parts.log.log_time();
        let start = parts.log.append();
        let identity = &parts.identity;
        let session_id = identity.log_session_id;
        let log = parts.log.buffer();
        let writer = LogWriter::new(log, session_id, identity.log_mtu, start, term, log_time);
        parts.leadership.begin(term, writer);
        let entry = NewLeadershipTerm {
            term,
            leader: identity.member,
            id: parts.randomness.next_u128(),
            formation: *parts.membership.record(),
            limits: identity.limits,
        };
        let log = parts.log.buffer_mut();
        let appended = parts.leadership.append_own_entry(log, &context, &entry);
        invariant!(
            FirstEntryFits,
            appended.is_some(),
            "E3: a leader's log is drained, so its first entry fits"
        );
    }

    fn abdicate(&mut self) {
        let parts = &mut self.parts;
        if let Some(end) = parts.leadership.append_position() {
            // What the module was not told of is not part of the log.
            parts.log.erase_unreported(end);
        }
        parts.leadership.abdicate();
        parts.replication.stop();
        parts.clients.egress.clear();
        parts.clients.channels.abandon_all();
        parts
            .applier
            .service
            .container_mut()
            .outbox_mut()
            .clear_append_cursor();
    }
}

/// Why a message is refused, with the numbers that its text names. What decodes is refused for
/// where it came from.
fn refusal(
    decoded: &Result<Envelope, MemberMessageError>,
    cluster_id: u64,
    digest: u64,
) -> (NodeNotice, [i64; 4]) {
    match *decoded {
        Ok(envelope) => {
            let values = [i64::from(envelope.from), 0, 0, 0];
            (NodeNotice::MisplacedMember, values)
        }
        Err(
            MemberMessageError::Malformed
            | MemberMessageError::Checksum
            | MemberMessageError::Field,
        ) => (NodeNotice::DamagedMemberMessage, [0; 4]),
        Err(MemberMessageError::Unknown {
            schema,
            template,
            version,
        }) => {
            let values = [schema, version, template, 0].map(i64::from);
            (NodeNotice::UnknownMemberMessage, values)
        }
        Err(MemberMessageError::OtherCluster {
            cluster_id: other, ..
        }) => {
            let values = [cluster_id as i64, other as i64, 0, 0];
            (NodeNotice::OtherCluster, values)
        }
        Err(MemberMessageError::OtherConfig { config_digest, .. }) => {
            let values = [digest as i64, config_digest as i64, 0, 0];
            (NodeNotice::OtherConfiguration, values)
        }
    }
}

/// Stream id of a data frame, where one would be; `None` for other frames and short datagrams.
fn stream_id(bytes: &[u8]) -> Option<i32> {
    let mut fields = FieldReader::new(bytes);
    fields.skip(6)?;
    let kind = fields.u16()?;
    fields.skip(8)?;
    let stream = fields.i32()?;
    (kind == FRAME_TYPE_DATA).then_some(stream)
}
