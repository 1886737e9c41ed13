//! Egress of committed responses (`log.md` §7): leader only, volatile.
//!
//! A response that is applied while its session is up to date goes straight out. If it cannot
//! (no window, not connected), or if the client has just connected, the session is *behind*:
//! it is served in position order from the log, from the first position it lacks, by one
//! reader that takes such sessions in turn. Live delivery, a slow client, failover and client
//! restart are this one path. A slow client moves only its own cursor.

use std::collections::VecDeque;

use lockstep_archive::disk::Disk;
use lockstep_archive::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_client::protocol::ResponseHeader;
use lockstep_service::log_entry::EntryKind;
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TracePoint, Tracer};

use super::applier::DirectEffect;
use super::egress_channels::{EgressChannels, Slot};
use super::entry_assembler::{Assembled, Entry, EntryAssembler};
use super::log_store::LogStore;
use crate::member::LeadershipTermId;
use crate::session::SessionTable;

/// Bytes of log scanned for sessions that are behind, per duty cycle: keeps a cycle short
/// while a client catches up over a long log.
const SCAN_BYTES_PER_CYCLE: usize = 256 * 1024;

/// Bytes taken from the log at once.
const READ_LENGTH: usize = 64 * 1024;

/// What sending needs besides the message.
#[derive(Debug)]
pub struct EgressContext<'a> {
    /// The time.
    pub now: Nanos,
    /// The channels.
    pub channels: &'a mut EgressChannels,
    /// Where trace points go.
    pub tracer: &'a mut Tracer,
}

impl EgressContext<'_> {
    fn is_live(&self, slot: Slot) -> bool {
        self.channels
            .get(slot)
            .is_some_and(|channel| channel.is_live(self.now))
    }

    fn offer(&mut self, slot: Slot, header: &ResponseHeader, payload: &[u8]) -> bool {
        let Some(channel) = self.channels.get_mut(slot) else {
            return false;
        };
        let taken = channel.offer(self.now, &[&header.encode(), payload]);
        if taken {
            self.tracer
                .message(TracePoint::ResponseEgress, header.session_id, header.number);
        }
        taken
    }
}

/// Where one session's egress stands.
#[derive(Clone, Copy, Debug)]
struct SessionEgress {
    session: i64,
    channel: Slot,
    /// First position not yet scanned for this session, while it is behind.
    behind: Option<Position>,
    /// Responses at or below this position are the client's already.
    after: Position,
}

/// The leader's egress of all sessions.
#[derive(Debug)]
pub struct Delivery {
    sessions: Vec<SessionEgress>,
    /// Sessions that are behind, served from the front.
    queue: VecDeque<i64>,
    reader: LogReader,
    assembler: EntryAssembler,
    term: LeadershipTermId,
    dropped: u64,
}

impl Delivery {
    /// Egress for at most `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize, reader: LogReader, body_max: usize) -> Self {
        Self {
            sessions: Vec::with_capacity(sessions_max),
            queue: VecDeque::with_capacity(sessions_max + 1),
            reader,
            assembler: EntryAssembler::new(body_max),
            term: 0,
            dropped: 0,
        }
    }

    /// Starts delivering in `term`, to nobody yet.
    pub fn open(&mut self, term: LeadershipTermId) {
        self.clear();
        self.term = term;
    }

    /// Forgets all egress: leadership is lost (C5).
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.queue.clear();
        self.assembler.reset();
    }

    /// Delivers the session's responses above `after` on `channel` from now on. `from` is a
    /// frame boundary at or below the first of them; what a client says it has is no boundary
    /// to rely on.
    pub fn bind(&mut self, session: i64, channel: Slot, from: Position, after: Position) {
        self.unbind(session);
        let egress = SessionEgress {
            session,
            channel,
            behind: Some(from),
            after,
        };
        let at = self.sessions.partition_point(|s| s.session < session);
        self.sessions.insert(at, egress);
        self.queue.push_back(session);
    }

    /// Stops delivering to the session.
    pub fn unbind(&mut self, session: i64) {
        if let Ok(index) = self.sessions.binary_search_by_key(&session, |s| s.session) {
            self.sessions.remove(index);
        }
        if self.queue.front() == Some(&session) {
            self.assembler.reset();
        }
        self.queue.retain(|queued| *queued != session);
    }

    /// The channel a session is bound to.
    #[must_use]
    pub fn channel(&self, session: i64) -> Option<Slot> {
        self.find(session).map(|index| self.sessions[index].channel)
    }

    /// Whether everything applied has been delivered to the session.
    #[must_use]
    pub fn is_up_to_date(&self, session: i64) -> bool {
        self.find(session)
            .is_none_or(|index| self.sessions[index].behind.is_none())
    }

    /// Direct effects that found no room and were dropped (at most once, counted).
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The reader's completions come in here.
    pub const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    fn find(&self, session: i64) -> Option<usize> {
        self.sessions
            .binary_search_by_key(&session, |s| s.session)
            .ok()
    }

    /// A response was applied: sends it, or notes that its session is behind.
    pub fn on_response(
        &mut self,
        context: &mut EgressContext<'_>,
        entry: &Entry<'_>,
        applied_number: i64,
    ) {
        let Some(index) = self.find(entry.header.session) else {
            return;
        };
        let egress = &mut self.sessions[index];
        if egress.behind.is_some() {
            return;
        }
        let header = response_header(self.term, entry, applied_number);
        if !context.offer(egress.channel, &header, entry.body) {
            egress.behind = Some(entry.position);
            self.queue.push_back(entry.header.session);
        }
    }

    /// A direct effect leaves now or never.
    pub fn on_direct_effect(
        &mut self,
        context: &mut EgressContext<'_>,
        effect: &DirectEffect<'_>,
        applied_number: i64,
    ) {
        let Some(index) = self.find(effect.session) else {
            return;
        };
        let header = ResponseHeader {
            leadership_term_id: self.term,
            session_id: effect.session,
            position: effect.cause,
            cause: effect.cause,
            number: effect.number,
            applied_number,
            log_time: effect.log_time,
            ordinal: effect.ordinal,
            flags: 0,
        };
        if !context.offer(self.sessions[index].channel, &header, effect.payload) {
            self.dropped += 1;
        }
    }

    /// Serves the session whose turn it is, up to `applied`. Returns the work done.
    pub fn do_work<D: Disk>(
        &mut self,
        context: &mut EgressContext<'_>,
        applied: Position,
        table: &SessionTable,
        store: &mut LogStore<D>,
    ) -> usize {
        let Some(&session) = self.queue.front() else {
            return 0;
        };
        let Some(egress) = self.find(session).map(|index| self.sessions[index]) else {
            self.queue.pop_front();
            return 1;
        };
        let Some(start) = egress.behind else {
            self.queue.pop_front();
            return 1;
        };
        if !context.is_live(egress.channel) {
            // Not connected yet, or gone: somebody else's turn.
            self.queue.rotate_left(1);
            return 0;
        }
        let applied_number = table.get(session).map_or(0, |s| s.applied_number);
        let scan = Scan {
            egress,
            applied,
            applied_number,
            term: self.term,
        };
        let (cursor, is_blocked) =
            scan.run(context, start, store, &mut self.reader, &mut self.assembler);
        self.assembler.reset();
        let is_current = cursor >= applied;
        if let Some(index) = self.find(session) {
            self.sessions[index].behind = (!is_current).then_some(cursor);
        }
        if is_current {
            self.queue.pop_front();
        } else if is_blocked {
            self.queue.rotate_left(1);
        }
        usize::from(cursor > start || is_current)
    }
}

/// One turn of one session: its responses between a cursor and the applied position.
struct Scan {
    egress: SessionEgress,
    applied: Position,
    applied_number: i64,
    term: LeadershipTermId,
}

impl Scan {
    /// Returns the new cursor and whether the channel had no more room.
    fn run<D: Disk>(
        &self,
        context: &mut EgressContext<'_>,
        start: Position,
        store: &mut LogStore<D>,
        reader: &mut LogReader,
        assembler: &mut EntryAssembler,
    ) -> (Position, bool) {
        let mut cursor = start;
        while cursor < self.applied && cursor - start < SCAN_BYTES_PER_CYCLE as Position {
            let span = ReadSpan {
                position: cursor,
                limit: self.applied,
                length_max: READ_LENGTH,
            };
            let read = store.read(context.now, reader, span);
            let LogRead::Frames { bytes, .. } = read else {
                break;
            };
            let before = cursor;
            let mut position = cursor;
            for frame in frames(bytes) {
                let at = position;
                position += frame.aligned_length() as Position;
                if let Assembled::Entry(entry) = assembler.push(at, &frame) {
                    if !self.send(context, &entry) {
                        return (cursor, true);
                    }
                    cursor = entry.end;
                }
            }
            if !assembler.is_unfinished() {
                cursor = position;
            }
            if cursor == before {
                break;
            }
        }
        (cursor, false)
    }

    fn send(&self, context: &mut EgressContext<'_>, entry: &Entry<'_>) -> bool {
        let header = &entry.header;
        let is_mine = header.kind == EntryKind::Response
            && header.session == self.egress.session
            && entry.position > self.egress.after;
        if !is_mine {
            return true;
        }
        let wire = response_header(self.term, entry, self.applied_number);
        context.offer(self.egress.channel, &wire, entry.body)
    }
}

fn response_header(
    term: LeadershipTermId,
    entry: &Entry<'_>,
    applied_number: i64,
) -> ResponseHeader {
    ResponseHeader {
        leadership_term_id: term,
        session_id: entry.header.session,
        position: entry.position,
        cause: entry.header.number,
        number: entry.header.acknowledged,
        applied_number,
        log_time: entry.header.log_time,
        ordinal: entry.header.ordinal,
        flags: 0,
    }
}
