//! What a node does ten times a second: session timeouts, acknowledgement entries, progress
//! messages, counters that tools ask for.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::Progress;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::cluster_node::ClusterNode;
use super::leadership::blank_header;
use crate::consensus_module::Role;
use crate::counters::Counter;
use crate::entry_body::{CloseReason, SessionAcknowledgement};
use crate::notice::NodeNotice;

/// Acknowledgements in one SessionAck entry: one frame at the smallest log MTU in use.
const ACKS_PER_ENTRY: usize = 64;

/// Log time that is further than this from the own clock is told: clocks that are kept in step
/// are apart by milliseconds.
const CLOCK_OFFSET_TOLD_NS: i64 = SECOND;

/// Interval of SessionAck entries: acknowledgements usually ride on requests.
const ACK_INTERVAL_NS: Nanos = SECOND;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// The slow duties; called at the housekeeping interval.
    pub(super) fn keep_house(&mut self, now: Nanos) {
        if self.parts.leadership.is_open() {
            self.close_silent_sessions(now);
            self.tell_progress(now);
            if now >= self.next_acknowledgement {
                self.next_acknowledgement = now + ACK_INTERVAL_NS;
                self.append_acknowledgements(now);
            }
        }
        self.watch(now);
        self.publish_hashes();
        self.publish_counters();
        self.watch_clock(now);
        self.publish_notice_counts();
    }

    /// Writes the counts of all notices, where there are new ones.
    fn publish_notice_counts(&mut self) {
        let parts = &mut self.parts;
        if parts.notices.total() > self.published_notices {
            self.published_notices = parts.notices.total();
            parts.counters.set_notices(parts.notices.counts());
        }
    }

    fn close_silent_sessions(&mut self, now: Nanos) {
        let mut index = 0;
        while let Some(session) = self.parts.leadership.sessions.at_mut(index).copied() {
            index += 1;
            let timeout = self
                .parts
                .applier
                .sessions()
                .get(session.id)
                .map(|s| s.timeout_ns);
            if timeout.is_some_and(|timeout| now - session.activity > timeout) {
                let mut ingress = self.ingress(now);
                // Without room for the entry the next interval tries again.
                let _ = ingress.append_close(session.id, CloseReason::Timeout);
            }
        }
    }

    /// Tells clients whose requests made no response how far they are applied.
    fn tell_progress(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        let term = parts.leadership.term();
        let mut index = 0;
        while let Some(session) = parts.leadership.sessions.at_mut(index) {
            index += 1;
            let Some(state) = parts.applier.sessions().get(session.id) else {
                continue;
            };
            if state.applied_number <= session.told_number
                || !parts.delivery.is_up_to_date(session.id)
            {
                continue;
            }
            let progress = Progress {
                session_id: session.id,
                applied_number: state.applied_number,
                acknowledged: state.acknowledged,
                leadership_term_id: term,
            };
            let slot = parts.delivery.channel(session.id);
            let channel = slot.and_then(|slot| parts.channels.get_mut(slot));
            if channel.is_some_and(|channel| channel.offer(now, &[&progress.encode()])) {
                session.told_number = state.applied_number;
            }
        }
    }

    fn append_acknowledgements(&mut self, now: Nanos) {
        let context = self.append_context(now);
        let parts = &mut self.parts;
        let mut body = [0; ACKS_PER_ENTRY * SessionAcknowledgement::LENGTH];
        let mut length = 0;
        let mut index = 0;
        while let Some(session) = parts.leadership.sessions.at_mut(index) {
            index += 1;
            let logged = parts
                .applier
                .sessions()
                .get(session.id)
                .map(|s| s.acknowledged);
            let is_news = !session.is_undecided()
                && logged.is_some_and(|logged| session.acknowledged > logged);
            if is_news && length < body.len() {
                let position = session.acknowledged;
                let ack = SessionAcknowledgement {
                    session: session.id,
                    position,
                };
                body[length..length + SessionAcknowledgement::LENGTH]
                    .copy_from_slice(&ack.encode());
                length += SessionAcknowledgement::LENGTH;
            }
        }
        if length > 0 && !parts.store.is_full() {
            let header = blank_header(EntryKind::SessionAck);
            let log = parts.store.log_mut();
            // Without room for the entry the next interval tries again.
            let _ = parts
                .leadership
                .append(log, &context, header, &body[..length]);
        }
    }

    /// Writes the hashes of the applied state for a tool that asked.
    fn publish_hashes(&mut self) {
        let parts = &mut self.parts;
        if parts.counters.get(Counter::HashRequest) == 0 {
            return;
        }
        let container = parts.applier.container();
        parts
            .counters
            .set(Counter::StateHash, container.state_hash() as i64);
        parts
            .counters
            .set(Counter::OutputHash, container.output_hash() as i64);
        parts
            .counters
            .set(Counter::HashPosition, parts.applier.position());
        parts.counters.set(Counter::HashRequest, 0);
    }

    /// Publishes how far the log's time is from this member's clock.
    fn watch_clock(&mut self, now: Nanos) {
        let wall = now + self.parts.wall_offset;
        let offset = self.log_clock.offset(now, wall).unwrap_or(0);
        self.parts.counters.set(Counter::LogTimeOffset, offset);
        if offset.abs() > CLOCK_OFFSET_TOLD_NS {
            let detail = Detail::default().with_values([offset / MILLISECOND, 0, 0, 0]);
            self.parts
                .notices
                .note(now, NodeNotice::LogTimeOffset, detail);
        }
    }

    /// Writes what changes with every cycle.
    pub(super) fn publish_counters(&mut self) {
        let parts = &mut self.parts;
        let role = match parts.module.role() {
            Role::Follower => 0,
            Role::PreCandidate => 1,
            Role::Candidate => 2,
            Role::Leader => 3,
        };
        let leader = parts.module.leader().map_or(-1, i64::from);
        let counters = &mut parts.counters;
        counters.set(Counter::Role, role);
        counters.set(Counter::Term, parts.module.term());
        counters.set(Counter::Leader, leader);
        counters.set(Counter::Append, parts.store.append());
        counters.set(Counter::Durable, parts.store.durable());
        counters.set(Counter::Commit, parts.module.commit());
        counters.set(Counter::Applied, parts.applier.position());
        counters.set(Counter::IngressOpen, i64::from(parts.leadership.is_open()));
        counters.set(Counter::Cycles, self.cycles);
        counters.set(
            Counter::Sessions,
            parts.applier.sessions().sessions().len() as i64,
        );
        counters.set(Counter::Refused, parts.notices.total() as i64);
    }
}
