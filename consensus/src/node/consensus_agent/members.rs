//! What other members say, and what they are told.

use core::net::SocketAddr;

use lockstep_transport::codec::FieldReader;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::log_buffer::FRAME_TYPE_DATA;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::module::event::Event;
use crate::module::member::MemberId;
use crate::module::membership::Sender;
use crate::module::output_agreement::OutputAt;
use crate::node::consensus_agent::ConsensusAgent;
use crate::notice::NodeNotice;
use crate::protocol::message::MemberMessage;
use crate::protocol::{Envelope, MEMBER_STREAM_ID, MemberMessageError, decode, encode};

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Takes one datagram that another member has sent. Returns whether there was any.
    pub(in crate::node) fn receive(&mut self, now: Nanos) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let datagram = self.port.receive(now, &mut buffer);
        if let Some(datagram) = &datagram {
            let source = datagram.source;
            match self.facts.member_at(source) {
                Some(member) => self.on_datagram(now, member, &buffer[..datagram.length]),
                None => {
                    let kind = NodeNotice::UnknownMemberAddress;
                    self.notices.note(now, kind, Detail::at(source));
                }
            }
        }
        self.buffer = buffer;
        datagram.is_some()
    }

    fn on_datagram(&mut self, now: Nanos, member: MemberId, bytes: &[u8]) {
        if stream_id(bytes) == Some(MEMBER_STREAM_ID) {
            self.on_message(now, member, bytes);
            return;
        }
        let source = self.address_of(member);
        let detail = Detail::of(member).with_source(source);
        let Ok(packet) = parse(bytes) else {
            self.notices
                .note(now, NodeNotice::DamagedLogDatagram, detail);
            return;
        };
        if packet.session_id() != Some(self.facts.log_session_id) {
            self.notices.note(now, NodeNotice::OtherLogStream, detail);
            return;
        }
        match packet {
            Packet::StatusMessage(_) | Packet::Nak(_) => {
                if let Err(kind) = self.replication.on_packet(now, member, &packet) {
                    self.notices.note(now, kind, detail);
                }
            }
            _ => {
                let log = self.log.buffer_mut();
                let follower = &mut self.follower;
                let taken = follower.on_packet(now, source, &packet, log, &self.module);
                if let Err(refusal) = taken {
                    let detail = detail.with_values([refusal.position, refusal.term.get(), 0, 0]);
                    self.notices.note(now, refusal.kind, detail);
                }
            }
        }
    }

    fn on_message(&mut self, now: Nanos, member: MemberId, bytes: &[u8]) {
        let (cluster_id, digest) = (self.facts.cluster_id, self.facts.config_digest);
        let envelope = match decode(bytes, cluster_id, digest) {
            Ok(envelope) if envelope.from == member => envelope,
            refused => {
                let (kind, values) = refusal(&refused, cluster_id, digest);
                let source = self.address_of(member);
                let detail = Detail::of(member).with_source(source).with_values(values);
                self.notices.note(now, kind, detail);
                self.watch.on_refused(now, member, kind);
                return;
            }
        };
        self.watch.on_message(now, member, &envelope.message);
        if let MemberMessage::AppendPosition { durable, .. } = envelope.message {
            let before = self.module.match_position(member);
            self.tracer
                .cursor(TracePoint::RequestFollowerAck, before, durable);
        }
        self.on_signed_message(now, member, &envelope.sender, (envelope.message, bytes));
    }

    /// A message of a member that is what its envelope says.
    fn on_signed_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        (message, datagram): (MemberMessage, &[u8]),
    ) {
        if let MemberMessage::Hello(hello) = message {
            self.on_hello(now, from, sender, &hello);
            return;
        }
        let admitted = match self.membership.admit(now, from, sender) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.note_refusal(now, from, sender, refusal);
                return;
            }
        };
        self.note_admitted(now, from, sender, admitted);
        if let MemberMessage::Output(message) = &message {
            self.on_output_message(now, from, admitted.is_voter, message);
            return;
        }
        if let MemberMessage::Snapshot(message) = &message {
            self.on_snapshot_message(now, (from, admitted), message, datagram);
            return;
        }
        if admitted.is_voter {
            self.hear_output(now, from, &message);
            self.membership.note_promise(now, from, &message);
        }
        self.module.set_voter(from, admitted.is_voter);
        let event = Event::Message {
            from,
            incarnation: admitted.life,
            message,
        };
        self.on_event(now, event);
        self.note_joined_end(from, &message);
    }

    /// Only the leader that is followed says where its log ended when it was joined.
    fn note_joined_end(&mut self, from: MemberId, message: &MemberMessage) {
        if let MemberMessage::JoinReply { end, .. } = *message
            && self.module.leader() == Some(from)
        {
            self.joined_end = end;
        }
    }

    /// Says what the module wants said; an acknowledgement takes what the service has put out
    /// with it.
    pub(in crate::node) fn send_of_module(
        &mut self,
        now: Nanos,
        to: MemberId,
        mut message: MemberMessage,
    ) {
        if let MemberMessage::AppendPosition { output, .. } = &mut message {
            // No answer waits for a member that stands still for a snapshot (`log.md` 8.2).
            let newest = self.agreement.report();
            *output = if self.snapshot.is_holding() {
                OutputAt::WITHHELD
            } else {
                newest
            };
        }
        self.send(now, to, message);
    }

    pub(in crate::node) fn send(&mut self, now: Nanos, to: MemberId, message: MemberMessage) {
        let envelope = Envelope {
            cluster_id: self.facts.cluster_id,
            config_digest: self.facts.config_digest,
            from: self.facts.member,
            sender: self.membership.sender(),
            message,
        };
        let mut bytes = [0; crate::protocol::MEMBER_MESSAGE_MAX];
        let length = encode(&envelope, &mut bytes);
        self.port.send(now, self.address_of(to), &bytes[..length]);
    }

    /// The own log and that of `member` differ at `position`.
    pub(in crate::node) fn note_difference(
        &mut self,
        now: Nanos,
        (member, position): (MemberId, Position),
        (own, other): (Option<u64>, Option<u64>),
        was_joined: bool,
    ) {
        let kind = match (self.leadership.is_leading(), was_joined) {
            (true, _) => NodeNotice::FollowerLogDiffers,
            (false, true) => NodeNotice::ExcludedByLeader,
            (false, false) => NodeNotice::LeaderLogDiffers,
        };
        let shown = |hash: Option<u64>| hash.unwrap_or(0).cast_signed();
        let known = i64::from(own.is_some()) | i64::from(other.is_some()) << 1;
        let detail = Detail::of(member)
            .with_source(self.address_of(member))
            .with_values([position, shown(own), shown(other), known]);
        self.notices.note(now, kind, detail);
    }

    /// Where `member` is heard and spoken to.
    pub(super) fn address_of(&self, member: MemberId) -> SocketAddr {
        self.facts.members[usize::from(member)].member
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
