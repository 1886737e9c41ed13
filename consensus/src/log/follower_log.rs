//! A follower's end of the log stream: checks every frame of a datagram, then places them all
//! in the node's own log buffer at the positions they have at the leader (`log.md` 3.5).

use core::net::SocketAddr;

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frame_seal::verify;
use lockstep_transport::log_buffer::{LogBuffer, frames};
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{DataPacket, Packet};
use lockstep_transport::stream::{Placement, ReceiverConfig, StreamIds, StreamReceiver};
use lockstep_transport::time::Nanos;

use crate::module::consensus_module::ConsensusModule;
use crate::node::facts::NodeFacts;
use crate::notice::NodeNotice;

/// Most bytes a leader may have under way to a follower: enough for a fast disk's latency at
/// line rate. Half a term and the socket's buffer bound it too.
const WINDOW_MAX: usize = 1 << 20;

/// The follower's receiver of the log, while it follows somebody.
#[derive(Debug, Default)]
pub(crate) struct FollowerLog {
    stream: Option<Followed>,
}

/// Why a packet was not taken, with what its frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRefusal {
    /// The cause.
    pub kind: NodeNotice,
    /// Where the frame belongs, 0 where it does not say.
    pub position: Position,
    /// Its leadership term, 0 where it does not say.
    pub term: LeadershipTermId,
}

impl LogRefusal {
    const fn new(kind: NodeNotice) -> Self {
        Self {
            kind,
            position: 0,
            term: LeadershipTermId::NONE,
        }
    }
}

#[derive(Debug)]
struct Followed {
    leader: SocketAddr,
    receiver: StreamReceiver,
    is_heard: bool,
}

impl FollowerLog {
    /// Accepts the log of the leader at `leader` from `position` on.
    pub fn follow(
        &mut self,
        log: &LogBuffer,
        leader: SocketAddr,
        position: Position,
        facts: &NodeFacts,
    ) {
        let ids = StreamIds {
            session_id: facts.log_session_id,
            stream_id: LOG_STREAM_ID,
        };
        let receiver_id = i64::from(facts.member);
        let mtu = facts.log_mtu;
        let half_term = log.geometry().term_length() / 2;
        let window_length = WINDOW_MAX.min(half_term).min(facts.receive_window);
        let config = ReceiverConfig {
            window_length,
            receiver_id,
            ..ReceiverConfig::default()
        };
        let receiver = StreamReceiver::new(ids, log.geometry(), mtu, position, config, leader);
        self.stream = Some(Followed {
            leader,
            receiver,
            is_heard: false,
        });
    }

    /// Accepts nothing from now on. Returns up to where frames may have been placed, in order
    /// or out of it: none above the end of the log as it was reported may be met by the next
    /// leader's.
    #[must_use]
    pub fn stop(&mut self) -> Option<Position> {
        let stream = self.stream.take()?;
        Some(stream.receiver.high_water_mark())
    }

    /// End of the contiguous log, while following.
    #[must_use]
    pub fn append_position(&self) -> Option<Position> {
        self.stream
            .as_ref()
            .map(|stream| stream.receiver.rebuild_position())
    }

    /// Whether the leader's stream has been heard where this member joined it, since the last
    /// call to [`follow`](Self::follow); true once.
    ///
    /// A cursor of an earlier join that is too far ahead does not count: its sender would
    /// refuse what this member reports, and the request for a new one would not be repeated.
    pub fn take_heard(&mut self) -> bool {
        self.stream
            .as_mut()
            .is_some_and(|stream| std::mem::take(&mut stream.is_heard))
    }

    /// Takes a packet of the log stream that came from `source`.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        packet: &Packet<'_>,
        log: &mut LogBuffer,
        module: &ConsensusModule,
    ) -> Result<(), LogRefusal> {
        let Some(stream) = self
            .stream
            .as_mut()
            .filter(|stream| stream.leader == source)
        else {
            return Err(LogRefusal::new(NodeNotice::LogNotFollowed));
        };
        match packet {
            Packet::Data(data) => {
                check(log, data, module)?;
                let placement = stream.receiver.on_data(now, log, data);
                stream.is_heard |= matches!(placement, Placement::Inserted | Placement::Duplicate);
            }
            // The log never ends, whatever a damaged datagram says.
            Packet::Heartbeat(heartbeat) if !heartbeat.is_end_of_stream() => {
                let known = stream.receiver.counters().heartbeats_received;
                stream.receiver.on_heartbeat(now, heartbeat);
                stream.is_heard |= stream.receiver.counters().heartbeats_received > known;
            }
            Packet::Setup(setup) => {
                stream.receiver.on_setup(now, setup);
                stream.is_heard |= setup.position() == Some(stream.receiver.rebuild_position());
            }
            _ => return Err(LogRefusal::new(NodeNotice::LogPacketUnexpected)),
        }
        Ok(())
    }

    /// Sends status messages and NAKs. Nothing is accepted above `limit`.
    pub fn do_work(
        &mut self,
        now: Nanos,
        log: &LogBuffer,
        limit: Position,
        port: &mut impl DatagramPort,
    ) -> usize {
        let Some(stream) = self.stream.as_mut() else {
            return 0;
        };
        stream.receiver.set_limit(limit);
        let consumption = stream.receiver.rebuild_position();
        stream.receiver.do_work(now, log, consumption, port)
    }

    /// The next moment the receiver has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.stream
            .as_ref()
            .and_then(|stream| stream.receiver.next_deadline())
    }
}

/// Every frame must carry a good checksum and the term that the leader's list gives its
/// position. One bad frame, and none of the datagram is used (T6).
fn check(
    log: &LogBuffer,
    data: &DataPacket<'_>,
    module: &ConsensusModule,
) -> Result<(), LogRefusal> {
    let misplaced = LogRefusal::new(NodeNotice::LogFrameMisplaced);
    let position = log.geometry().position(data.term_id(), data.term_offset());
    let first = position.ok_or(misplaced)?;
    let mut position = first;
    for frame in frames(data.bytes()) {
        let refusal = |kind, term| LogRefusal {
            kind,
            position,
            term,
        };
        let verified = verify(frame.bytes());
        let term =
            verified.map_err(|_| refusal(NodeNotice::LogFrameDamaged, LeadershipTermId::NONE))?;
        let term = LeadershipTermId::from(term);
        if module.leader_term_at(position) != Some(term) {
            return Err(refusal(NodeNotice::LogFrameOfOtherTerm, term));
        }
        position += frame.aligned_length() as Position;
    }
    if position == first {
        return Err(misplaced);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
