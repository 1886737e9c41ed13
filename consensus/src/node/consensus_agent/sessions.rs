//! What a leader does for sessions ten times a second: timeouts, acknowledgement entries and
//! progress messages.

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::Progress;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::{Nanos, SECOND};

use crate::log::archive_agent::ArchiveAgent;
use crate::log::entry_body::{CloseReason, SessionAcknowledgement, SessionAcks};
use crate::log::log_entry::LogEntry;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::session::client_egress::ClientEgress;

/// Acknowledgements in one SessionAck entry: one frame of 1,104 bytes where the log MTU allows it.
const ACKS_PER_ENTRY: usize = 64;

/// SessionAck entries in one call: a thousand sessions are served in a second at most, and no
/// cycle is long.
const ACK_ENTRIES_PER_CALL: usize = 16;

/// Sessions looked at in one call for each duty; the others have their turn in the next.
const SESSIONS_PER_CALL: usize = 256;

/// Interval of SessionAck entries: acknowledgements usually ride on requests.
const ACK_INTERVAL_NS: Nanos = SECOND;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// What sessions need now and then; called at the housekeeping interval. Returns whether there
    /// is more of it than one call does.
    pub(in crate::node) fn tend_sessions<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
        egress: &mut ClientEgress,
    ) -> bool {
        if !self.leadership.is_open() || self.module.is_handing_over() {
            return false;
        }
        let has_more = self.close_silent_sessions(now, room);
        self.tell_progress(now, egress);
        if now >= self.next_acknowledgement {
            self.next_acknowledgement = now + ACK_INTERVAL_NS;
            let sessions = &self.leadership.sessions;
            self.acknowledgements_due = sessions.acknowledgements();
        }
        self.append_acknowledgements(now, room.archive);
        has_more
    }

    /// Returns whether there may be more of them.
    fn close_silent_sessions<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
    ) -> bool {
        for _ in 0..SESSIONS_PER_CALL {
            let sessions = &mut self.leadership.sessions;
            let Some(row) = sessions.pop_silent(now) else {
                return false;
            };
            let table = self.applier.sessions();
            let Some((known, logged)) = sessions.with_logged(row, table) else {
                continue;
            };
            let silent_at = sessions.heard(known).saturating_add(logged.timeout_ns);
            let next = if now <= silent_at {
                silent_at + 1
            } else {
                let context = self.append_context(now, room.archive);
                if self.append_close(&context, room, row, CloseReason::Timeout) {
                    sometimes(Mark::SilentSessionClosed);
                    continue;
                }
                // Without room for the entry the next call tries again.
                sometimes(Mark::SilentSessionAwaitsRoom);
                now + 1
            };
            let sessions = &mut self.leadership.sessions;
            sessions.await_silence(row, next);
        }
        true
    }

    /// Tells clients whose requests made no response how far they are applied.
    fn tell_progress(&mut self, now: Nanos, egress: &mut ClientEgress) {
        let term = self.leadership.term();
        let sessions = &mut self.leadership.sessions;
        for _ in 0..sessions.progress().min(SESSIONS_PER_CALL) {
            let Some(row) = sessions.pop_progress() else {
                break;
            };
            let Some(known) = sessions.at_mut(row) else {
                continue;
            };
            let state = self.applier.sessions().get(known.id);
            let bound = egress.responses.bound(known.id);
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
            let channels = &mut egress.channels;
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
    fn append_acknowledgements<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) {
        for _ in 0..ACK_ENTRIES_PER_CALL {
            let due = self.acknowledgements_due.min(ACKS_PER_ENTRY);
            if due == 0 || !self.append_acknowledgement_entry(now, due, archive) {
                return;
            }
            self.acknowledgements_due -= due;
        }
    }

    /// One entry with the news of the next `due` sessions. Returns false when there is no room
    /// for it.
    fn append_acknowledgement_entry<D: Disk>(
        &mut self,
        now: Nanos,
        due: usize,
        archive: &ArchiveAgent<D>,
    ) -> bool {
        let context = self.append_context(now, archive);
        if archive.is_full() {
            return false;
        }
        let sessions = &mut self.leadership.sessions;
        let mut acks = [[0; SessionAcknowledgement::LENGTH]; ACKS_PER_ENTRY];
        let mut named = [None; ACKS_PER_ENTRY];
        let mut count = 0;
        for _ in 0..due {
            let Some(row) = sessions.pop_acknowledgement() else {
                break;
            };
            let table = self.applier.sessions();
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
        let log = self.log.buffer_mut();
        let appended = self.leadership.append(log, &context, &entry);
        if appended.is_none() {
            let sessions = &mut self.leadership.sessions;
            for row in named.into_iter().flatten() {
                sessions.await_acknowledgement(row);
            }
        }
        if appended.is_some() {
            sometimes(Mark::AcknowledgementsLogged);
        }
        appended.is_some()
    }
}
