//! The leader's end of the log streams: one sender per follower over the one log, from memory
//! while the follower is close and from the archive while it is not. A lagging, restarted or
//! brand-new follower is the same code as a live one.

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_archive::log::log_reader::{LogReader, LogSource};
use lockstep_archive::log::log_view::LogView;
use lockstep_archive::log::token::OWNER_READER_FIRST;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::position::Position;
use lockstep_transport::protocol::Packet;
use lockstep_transport::stream::{SenderConfig, StreamIds, StreamSender};
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND, earliest};
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::node::facts::NodeFacts;
use crate::notice::NodeNotice;

/// The senders of a leader, by member.
#[derive(Debug)]
pub struct Replication {
    senders: [Option<StreamSender>; MEMBERS_MAX],
    readers: Vec<LogReader>,
    /// When a read that failed is tried again, by member.
    retry_at: [Option<Nanos>; MEMBERS_MAX],
    /// Reads that have failed, by member, as of the last look. They fail between two cycles, too.
    failed_reads: [u64; MEMBERS_MAX],
    damaged_reads: u64,
    /// Where the log could last not be read for a follower, until it was told.
    unreadable: Option<Unreadable>,
    /// Since when only status messages out of a sender's reach have come, by member.
    unreachable_since: [Option<Nanos>; MEMBERS_MAX],
    /// Where each follower joined.
    joined: [Position; MEMBERS_MAX],
}

/// A follower whose status messages have been out of its sender's reach for so long has been
/// lost: three status intervals, so that late datagrams of an earlier join do not count.
const UNREACHABLE_NS: Nanos = 600 * MILLISECOND;

/// Pause before the log is read again where it could not be read for a follower.
const DAMAGE_RETRY_NS: Nanos = SECOND;

/// A place of the log that cannot be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The follower that does not get it.
    pub member: MemberId,
    /// Where.
    pub position: Position,
    /// The operating system's error number; 0 where it read bytes that are not the log's.
    pub error: i32,
}

impl Replication {
    /// Of a member that does not lead; `readers` is one per member of the cluster.
    #[must_use]
    pub fn new(readers: Vec<LogReader>) -> Self {
        Self {
            senders: std::array::from_fn(|_| None),
            readers,
            retry_at: [None; MEMBERS_MAX],
            failed_reads: [0; MEMBERS_MAX],
            damaged_reads: 0,
            unreadable: None,
            unreachable_since: [None; MEMBERS_MAX],
            joined: [0; MEMBERS_MAX],
        }
    }

    /// Sends the log to `member` from `position` on.
    pub fn start(
        &mut self,
        member: MemberId,
        position: Position,
        facts: &NodeFacts,
        geometry: lockstep_transport::position::Geometry,
    ) {
        let index = usize::from(member);
        let ids = StreamIds {
            session_id: facts.log_session_id,
            stream_id: LOG_STREAM_ID,
        };
        let address = facts.members[index].member;
        let config = SenderConfig::default();
        let sender = StreamSender::new(ids, geometry, facts.log_mtu, position, address, config);
        self.senders[index] = Some(sender);
        self.retry_at[index] = None;
        self.unreachable_since[index] = None;
        self.joined[index] = position;
        self.failed_reads[index] = self.readers[index].counters().damaged;
        self.readers[index].reset();
    }

    /// Sends nothing from now on.
    pub fn stop(&mut self) {
        self.senders = std::array::from_fn(|_| None);
        self.retry_at = [None; MEMBERS_MAX];
    }

    /// Where the log could not be read for a follower, since the last call.
    pub(crate) const fn take_unreadable(&mut self) -> Option<Unreadable> {
        self.unreadable.take()
    }

    /// Hands a status message or NAK to the sender of `member`.
    ///
    /// # Errors
    /// [`NodeNotice::LogStatusUnexpected`] when there is no such sender, or it is elsewhere.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        member: MemberId,
        packet: &Packet<'_>,
    ) -> Result<(), NodeNotice> {
        let unexpected = NodeNotice::LogStatusUnexpected;
        let sender = self.senders[usize::from(member)].as_mut();
        let sender = sender.ok_or(unexpected)?;
        let rejected = sender.counters().status_messages_rejected;
        let naks_rejected = sender.counters().naks_rejected;
        match packet {
            Packet::StatusMessage(status) => {
                sender.on_status_message(now, status);
                let since = &mut self.unreachable_since[usize::from(member)];
                if sender.counters().status_messages_rejected == rejected {
                    *since = None;
                } else {
                    since.get_or_insert(now);
                    return Err(unexpected);
                }
            }
            Packet::Nak(nak) => sender.on_nak(now, nak),
            _ => return Err(unexpected),
        }
        let is_taken = sender.counters().naks_rejected == naks_rejected;
        is_taken.then_some(()).ok_or(unexpected)
    }

    /// The next member whose sender has lost it, with where it joined: a damaged status message
    /// can push a sender beyond what its receiver will ever take.
    pub(crate) fn take_unreachable(&mut self, now: Nanos) -> Option<(MemberId, Position)> {
        let is_lost = |since: &Option<Nanos>| since.is_some_and(|at| now - at >= UNREACHABLE_NS);
        let index = self.unreachable_since.iter().position(is_lost)?;
        self.unreachable_since[index] = None;
        self.senders[index].as_ref()?;
        Some((index as MemberId, self.joined[index]))
    }

    /// Completions of the readers' disk reads come in here.
    pub fn reader_mut(&mut self, owner: u16) -> Option<&mut LogReader> {
        self.readers
            .get_mut(usize::from(owner.checked_sub(OWNER_READER_FIRST)?))
    }

    /// The reader for `member`, whose order from disk is to be submitted after
    /// [`do_work`](Self::do_work).
    pub(crate) fn reader_for(&mut self, member: MemberId) -> &mut LogReader {
        &mut self.readers[usize::from(member)]
    }

    /// Members that may be sent to, this one among them.
    #[must_use]
    pub const fn members(&self) -> MemberId {
        self.readers.len() as MemberId
    }

    /// The sender to `member`, for tools.
    #[must_use]
    pub fn sender(&self, member: MemberId) -> Option<&StreamSender> {
        self.senders.get(usize::from(member))?.as_ref()
    }

    /// The log was truncated: what the readers have read ahead is not it any more.
    pub(crate) fn reset_readers(&mut self) {
        for reader in &mut self.readers {
            reader.reset();
        }
    }

    /// Sends `member` what is new, heartbeats and retransmissions. Returns the datagrams sent.
    pub fn do_work(
        &mut self,
        now: Nanos,
        member: MemberId,
        view: LogView<'_>,
        port: &mut impl DatagramPort,
        tracer: &mut Tracer,
    ) -> usize {
        let index = usize::from(member);
        let reader = &mut self.readers[index];
        let Some(sender) = &mut self.senders[index] else {
            return 0;
        };
        if self.retry_at[index].is_some_and(|at| now >= at) {
            self.retry_at[index] = None;
            reader.reset();
        }
        let before = sender.position();
        let mut source = LogSource::new(reader, view, view.window.append);
        let work = sender.do_work(now, &mut source, port);
        tracer.cursor(TracePoint::RequestReplicate, before, sender.position());
        let damaged = reader.counters().damaged;
        let refused = damaged - std::mem::replace(&mut self.failed_reads[index], damaged);
        if refused > 0 {
            self.damaged_reads += refused;
            let error = reader.take_error().and_then(|error| error.os_error());
            self.unreadable = Some(Unreadable {
                member,
                position: sender.position(),
                error: error.unwrap_or(0),
            });
            self.retry_at[index].get_or_insert(now + DAMAGE_RETRY_NS);
        }
        work
    }

    /// The next moment a sender has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let deadlines = self
            .senders
            .iter()
            .flatten()
            .map(StreamSender::next_deadline);
        let retries = self.retry_at.iter().copied();
        deadlines.chain(retries).fold(None, earliest)
    }
}

#[cfg(test)]
mod tests;
