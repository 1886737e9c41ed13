//! What a node does ten times a second: session timeouts, acknowledgement entries, progress
//! messages, counters that tools ask for.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::Progress;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::log::entry_body::{CloseReason, SessionAcknowledgement, SessionAcks};
use crate::log::log_entry::LogEntry;
use crate::module::consensus_module::Role;
use crate::node::cluster_node::ClusterNode;
use crate::node::counters::Counter;
use crate::notice::NodeNotice;

/// Acknowledgements in one SessionAck entry: one frame of 1,104 bytes where the log MTU allows it.
const ACKS_PER_ENTRY: usize = 64;

/// Log time that is further than this from the own clock is told: clocks that are kept in step
/// are apart by milliseconds.
const CLOCK_OFFSET_TOLD_NS: i64 = SECOND;

/// SessionAck entries in one call: a thousand sessions are served in a second at most, and no
/// cycle is long.
const ACK_ENTRIES_PER_CALL: usize = 16;

/// Sessions looked at in one call for each duty; the others have their turn in the next.
const SESSIONS_PER_CALL: usize = 256;

/// Interval of SessionAck entries: acknowledgements usually ride on requests.
const ACK_INTERVAL_NS: Nanos = SECOND;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// The slow duties; called at the housekeeping interval.
    pub(super) fn slow_tick_work(&mut self, now: Nanos) {
        if self.parts.leadership.is_open() {
            self.close_silent_sessions(now);
            self.tell_progress(now);
            if now >= self.next_acknowledgement {
                self.next_acknowledgement = now + ACK_INTERVAL_NS;
                let sessions = &self.parts.leadership.sessions;
                self.acknowledgements_due = sessions.acknowledgements();
            }
            self.append_acknowledgements(now);
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
        for _ in 0..SESSIONS_PER_CALL {
            let sessions = &mut self.parts.leadership.sessions;
            let Some(row) = sessions.pop_silent(now) else {
                return;
            };
            let table = self.parts.applier.sessions();
            let Some((known, logged)) = sessions.with_logged(row, table) else {
                continue;
            };
            let silent_at = known.activity.saturating_add(logged.timeout_ns);
            let next = if now <= silent_at {
                silent_at + 1
            } else if self.ingress(now).append_close(row, CloseReason::Timeout) {
                sometimes(Mark::SilentSessionClosed);
                continue;
            } else {
                // Without room for the entry the next call tries again.
                sometimes(Mark::SilentSessionAwaitsRoom);
                now + 1
            };
            let sessions = &mut self.parts.leadership.sessions;
            sessions.await_silence(row, next);
        }
        self.next_housekeeping = now;
    }

    /// Tells clients whose requests made no response how far they are applied.
    fn tell_progress(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        let term = parts.leadership.term();
        let sessions = &mut parts.leadership.sessions;
        for _ in 0..sessions.progress().min(SESSIONS_PER_CALL) {
            let Some(row) = sessions.pop_progress() else {
                break;
            };
            let Some(known) = sessions.at_mut(row) else {
                continue;
            };
            let state = parts.applier.sessions().get(known.id);
            let bound = parts.clients.egress.bound(known.id);
            let Some((state, bound)) = state.zip(bound) else {
                // Whoever is gone is told when it comes back.
                continue;
            };
            let progress = Progress {
                session_id: known.id,
                applied_number: state.applied_number,
                acknowledged: state.acknowledged,
                leadership_term_id: term,
            };
            let channels = &mut parts.clients.channels;
            if state.applied_number > known.told_number
                && bound.is_up_to_date
                && channels.offer(bound.channel, now, &[&progress.encode()])
            {
                sometimes(Mark::ProgressTold);
                known.told_number = state.applied_number;
            }
            if known.appended_number > known.told_number {
                sessions.await_progress(row);
            }
        }
    }

    /// Logs what clients acknowledged in keepalives, for all that have news in turn.
    fn append_acknowledgements(&mut self, now: Nanos) {
        for _ in 0..ACK_ENTRIES_PER_CALL {
            let due = self.acknowledgements_due.min(ACKS_PER_ENTRY);
            if due == 0 || !self.append_acknowledgement_entry(now, due) {
                return;
            }
            self.acknowledgements_due -= due;
        }
    }

    /// One entry with the news of the next `due` sessions. Returns false when there is no room
    /// for it.
    fn append_acknowledgement_entry(&mut self, now: Nanos, due: usize) -> bool {
        let context = self.append_context(now);
        let parts = &mut self.parts;
        if parts.archive.is_full() {
            return false;
        }
        let sessions = &mut parts.leadership.sessions;
        let mut acks = [[0; SessionAcknowledgement::LENGTH]; ACKS_PER_ENTRY];
        let mut named = [None; ACKS_PER_ENTRY];
        let mut count = 0;
        for _ in 0..due {
            let Some(row) = sessions.pop_acknowledgement() else {
                break;
            };
            let table = parts.applier.sessions();
            let Some((known, logged)) = sessions.with_logged(row, table) else {
                continue;
            };
            if known.acknowledged <= logged.acknowledged {
                continue;
            }
            if known.is_undecided() {
                // Whose it is comes first.
                sessions.await_acknowledgement(row);
                continue;
            }
            let ack = SessionAcknowledgement {
                session: known.id,
                position: known.acknowledged,
            };
            acks[count] = ack.encode();
            named[count] = Some(row);
            count += 1;
        }
        if count == 0 {
            return true;
        }
        let entry = LogEntry::SessionAck(SessionAcks::new(&acks[..count]));
        let log = parts.log.buffer_mut();
        let appended = parts.leadership.append(log, &context, &entry);
        if appended.is_none() {
            let sessions = &mut parts.leadership.sessions;
            for row in named.into_iter().flatten() {
                sessions.await_acknowledgement(row);
            }
        }
        if appended.is_some() {
            sometimes(Mark::AcknowledgementsLogged);
        }
        appended.is_some()
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
        counters.set(Counter::Term, parts.module.term().get());
        counters.set(Counter::Leader, leader);
        let elections = parts.module.elections();
        counters.set(Counter::Elections, elections as i64);
        counters.set(Counter::Append, parts.log.append());
        counters.set(Counter::Durable, parts.archive.durable());
        counters.set(Counter::Commit, parts.module.commit());
        counters.set(Counter::Applied, parts.applier.position());
        counters.set(Counter::IngressOpen, i64::from(parts.leadership.is_open()));
        counters.set(Counter::Cycles, self.cycles);
        counters.set(
            Counter::Sessions,
            parts.applier.sessions().sessions().len() as i64,
        );
        counters.set(Counter::Refused, parts.notices.total() as i64);
        let (waited, unverified) = (self.agreement.waited(), self.agreement.unverified());
        counters.set(Counter::AnswersWaited, waited as i64);
        counters.set(Counter::AnswersUnverified, unverified as i64);
    }
}
