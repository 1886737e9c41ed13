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
use lockstep_client::protocol::{RESPONSE_FLAG_FAILED, ResponseHeader};
use lockstep_service::log_entry::{EntryKind, RESPONSE_FAILED};
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TracePoint, Tracer};

use super::applier::DirectEffect;
use super::egress_channels::{EgressChannels, Slot};
use super::entry_assembler::{Assembled, Entry, EntryAssembler};
use super::fault::NodeFault;
use super::log_store::LogStore;
use crate::entry_body::CloseReason;
use crate::member::LeadershipTermId;
use crate::session::{Session, SessionTable};
use crate::void_responses::VoidResponses;

/// Bytes of log scanned for sessions that are behind, per duty cycle: keeps a cycle short
/// while a client catches up over a long log.
const SCAN_BYTES_PER_CYCLE: usize = 256 * 1024;

/// Bytes taken from the log at once.
const READ_LENGTH: usize = 64 * 1024;

/// Sessions looked at per duty cycle to find one that can be served: many silent clients must
/// neither hide a live one for long nor make a cycle long.
const LOOKS_PER_CYCLE: usize = 16;

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
    /// The session is closed: what is left to deliver ends here.
    farewell: Option<Farewell>,
}

/// A closed session whose client still lacks responses; CLOSED follows them (`log.md` 6.2).
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    /// The session as it was.
    pub session: Session,
    /// Why it closed.
    pub reason: CloseReason,
    /// End of the entry that closed it.
    pub end: Position,
}

/// The leader's egress of all sessions.
#[derive(Debug)]
pub struct Delivery {
    sessions: Vec<SessionEgress>,
    /// Sessions that are behind, served from the front.
    queue: VecDeque<i64>,
    reader: LogReader,
    assembler: EntryAssembler,
    /// Where the front session's scan goes on when it ended inside an entry.
    scanned: Option<Position>,
    term: LeadershipTermId,
    /// Responses in the log that no client may see (`log.md` 5.8).
    void: VoidResponses,
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
            scanned: None,
            term: 0,
            void: VoidResponses::default(),
            dropped: 0,
        }
    }

    /// Starts delivering in `term`, to nobody yet, and never what is `void`.
    pub fn open(&mut self, term: LeadershipTermId, void: &VoidResponses) {
        self.clear();
        self.term = term;
        self.void.copy_from(void);
    }

    /// Forgets all egress: leadership is lost (C5).
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.queue.clear();
        self.forget_scan();
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
            farewell: None,
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
            self.forget_scan();
        }
        self.queue.retain(|queued| *queued != session);
    }

    /// The session is closed, but its client lacks responses of smaller position: they are
    /// delivered first. The channel is returned with the farewell by
    /// [`do_work`](Self::do_work) when that is done. Returns false when nothing is lacking.
    pub fn close_when_delivered(&mut self, farewell: Farewell) -> bool {
        let index = self.find(farewell.session.id);
        let egress = index.map(|index| &mut self.sessions[index]);
        let Some(egress) = egress.filter(|egress| egress.behind.is_some()) else {
            return false;
        };
        egress.farewell = Some(farewell);
        true
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
            flags: wire_flags(effect.is_failure),
        };
        if !context.offer(self.sessions[index].channel, &header, effect.payload) {
            // Told by `watch`: at most once is what direct mode promises.
            self.dropped += 1;
        }
    }

    /// Serves the first session whose client can be served, up to `applied`. Returns the work
    /// done, and the channel of a closed session that has everything now.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub fn do_work<D: Disk>(
        &mut self,
        context: &mut EgressContext<'_>,
        applied: Position,
        table: &SessionTable,
        store: &mut LogStore<D>,
    ) -> Result<(usize, Option<(Slot, Farewell)>), NodeFault> {
        for _ in 0..self.queue.len().min(LOOKS_PER_CYCLE) {
            let Some(&session) = self.queue.front() else {
                break;
            };
            let egress = self.find(session).map(|index| self.sessions[index]);
            let Some(egress) = egress.filter(|egress| egress.behind.is_some()) else {
                self.leave_queue();
                continue;
            };
            if context.channels.get(egress.channel).is_none() {
                // The client is gone; if it comes back it is bound to another channel.
                if egress.farewell.is_some() {
                    self.unbind(session);
                } else {
                    self.leave_queue();
                }
                continue;
            }
            if !context.is_live(egress.channel) {
                self.next_turn();
                continue;
            }
            let applied_number = table.get(session).map(|s| s.applied_number);
            let farewell = egress.farewell;
            let scan = Scan {
                egress,
                limit: farewell.map_or(applied, |farewell| farewell.end.min(applied)),
                applied_number: applied_number
                    .or(farewell.map(|farewell| farewell.session.applied_number))
                    .unwrap_or(0),
                term: self.term,
            };
            let work = self.serve(context, &scan, store)?;
            let is_told = farewell.is_some() && self.is_up_to_date(session);
            let told = farewell.filter(|_| is_told).map(|f| (egress.channel, f));
            if told.is_some() {
                self.unbind(session);
            }
            return Ok((work, told));
        }
        Ok((0, None))
    }

    /// The turn of the session at the front of the queue.
    fn serve<D: Disk>(
        &mut self,
        context: &mut EgressContext<'_>,
        scan: &Scan,
        store: &mut LogStore<D>,
    ) -> Result<usize, NodeFault> {
        let start = scan.egress.behind.unwrap_or(scan.limit);
        let from = self.scanned.unwrap_or(start);
        let progress = Progress {
            cursor: start,
            position: from,
        };
        let (reader, assembler) = (&mut self.reader, &mut self.assembler);
        let tools = (reader, assembler, &self.void);
        let (progress, stop) = scan.run(context, progress, store, tools);
        if stop == Stop::Damaged {
            return Err(NodeFault::DamagedLog {
                position: progress.position,
            });
        }
        let is_current = progress.cursor >= scan.limit;
        if let Some(index) = self.find(scan.egress.session) {
            self.sessions[index].behind = (!is_current).then_some(progress.cursor);
        }
        if is_current {
            self.leave_queue();
        } else if stop == Stop::Blocked || progress.position >= scan.limit {
            self.next_turn();
        } else {
            let is_unfinished = self.assembler.is_unfinished();
            self.scanned = is_unfinished.then_some(progress.position);
        }
        // What is forgotten with the turn was no progress.
        let has_read_on = self.scanned.is_some() && progress.position > from;
        let has_moved = progress.cursor > start || has_read_on;
        Ok(usize::from(has_moved || is_current))
    }

    /// The front session goes to the back of the queue.
    fn next_turn(&mut self) {
        self.forget_scan();
        self.queue.rotate_left(1);
    }

    fn leave_queue(&mut self) {
        self.forget_scan();
        self.queue.pop_front();
    }

    fn forget_scan(&mut self) {
        self.assembler.reset();
        self.scanned = None;
    }
}

/// How far one turn has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Everything below is done with.
    cursor: Position,
    /// Everything below has been looked at: beyond the cursor inside an entry.
    position: Position,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It has looked at its share, at everything, or waits for the disk.
    Paused,
    /// The channel has no more room.
    Blocked,
    /// The log cannot be read back.
    Damaged,
}

/// One turn of one session: its responses between a cursor and a limit.
struct Scan {
    egress: SessionEgress,
    limit: Position,
    applied_number: i64,
    term: LeadershipTermId,
}

impl Scan {
    fn run<D: Disk>(
        &self,
        context: &mut EgressContext<'_>,
        mut progress: Progress,
        store: &mut LogStore<D>,
        (reader, assembler, void): (&mut LogReader, &mut EntryAssembler, &VoidResponses),
    ) -> (Progress, Stop) {
        let end = self
            .limit
            .min(progress.position + SCAN_BYTES_PER_CYCLE as Position);
        while progress.position < end {
            let span = ReadSpan {
                position: progress.position,
                limit: self.limit,
                length_max: READ_LENGTH,
            };
            let bytes = match store.read(context.now, reader, span) {
                LogRead::Frames { advance: 0, .. } | LogRead::Pending => break,
                LogRead::Frames { bytes, .. } => bytes,
                LogRead::Damaged => return (progress, Stop::Damaged),
            };
            for frame in frames(bytes) {
                let at = progress.position;
                progress.position += frame.aligned_length() as Position;
                if let Assembled::Entry(entry) = assembler.push(at, &frame)
                    && !void.contains(entry.position)
                    && !self.send(context, &entry)
                {
                    return (progress, Stop::Blocked);
                }
                if !assembler.is_unfinished() {
                    progress.cursor = progress.position;
                }
            }
        }
        (progress, Stop::Paused)
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

const fn wire_flags(is_failure: bool) -> u32 {
    if is_failure { RESPONSE_FLAG_FAILED } else { 0 }
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
        flags: wire_flags(entry.header.flags & RESPONSE_FAILED != 0),
    }
}
