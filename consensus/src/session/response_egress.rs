//! Egress of committed responses (`log.md` 7): leader only, volatile.
//!
//! Applying is the one scan that reads each response once. It goes straight out; when it cannot
//! (no window, not connected yet), its position is queued on its session's ring. A session whose
//! ring overflows, or whose client has come back, *lags*: all that lag are served in position
//! order by one shared scanner over the log. A slow client moves only its own ring; one that is
//! gone has no row.

use core::net::SocketAddr;

use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::LogView;
use lockstep_client::protocol::ResponseHeader;
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::apply::service_agent::DirectEffect;
use crate::apply::void_responses::VoidResponses;
use crate::log::entry_assembler::Entry;
use crate::log::entry_cursor::{EntryCursor, Passed, Run};
use crate::node::fault::NodeFault;
use crate::session::closed_session::{CLOSED_SESSIONS_MAX, ClosedSession};
use crate::session::egress_channels::{ChannelChange, EgressChannels, Slot};
use crate::session::egress_rows::{EgressRow, EgressRows};
use crate::session::session_table::SessionTable;

mod scanner;
mod sending;

use scanner::{Scan, Scanner};
pub use sending::EgressContext;
use sending::{applied_number, response_header, send_or_queue, wire_flags};

/// Sessions whose rings are served in one duty cycle.
const ROWS_PER_CYCLE: usize = 64;

/// Responses sent from one ring before the next session has its turn.
const RESPONSES_PER_TURN: usize = 64;

/// How a session's client is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The channel that leads to it.
    pub channel: Slot,
    /// Everything applied has been delivered.
    pub is_up_to_date: bool,
}

/// The leader's egress of all sessions.
#[derive(Debug)]
pub struct ResponseEgress {
    rows: EgressRows,
    reader: LogReader,
    /// At the entry that a ring is served from.
    cursor: EntryCursor,
    scanner: Scanner,
    term: LeadershipTermId,
    /// Responses in the log that no client may see (`log.md` 5.8).
    void: VoidResponses,
    /// Responses are not in the log: nobody lags.
    is_direct: bool,
    dropped: u64,
}

impl ResponseEgress {
    /// Egress for at most `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize, reader: LogReader, body_max: usize, is_direct: bool) -> Self {
        Self {
            rows: EgressRows::new(sessions_max + CLOSED_SESSIONS_MAX),
            reader,
            cursor: EntryCursor::new(body_max),
            scanner: Scanner {
                is_passing: false,
                cursor: EntryCursor::new(body_max),
                passes: 0,
            },
            term: LeadershipTermId::NONE,
            void: VoidResponses::default(),
            is_direct,
            dropped: 0,
        }
    }

    /// What there is of rows, and of such of closed sessions.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fills(&self) -> (Fill, Fill) {
        let (rows, rows_max) = self.rows.fill();
        (
            Fill::of("rows of egress", rows, rows_max),
            Fill::of("closed sessions", self.rows.closed(), CLOSED_SESSIONS_MAX),
        )
    }

    /// Starts delivering in `term`, to nobody yet, and never what is `void`.
    pub fn open(&mut self, term: LeadershipTermId, void: &VoidResponses) {
        self.clear();
        self.term = term;
        self.void.copy_from(void);
    }

    /// Forgets all egress: leadership is lost (C5).
    pub fn clear(&mut self) {
        self.rows.clear();
        self.scanner.is_passing = false;
    }

    /// Delivers the session's responses above `after` on `channel` from now on. `from` is a
    /// frame boundary at or below the first of them; what a client says it has is no boundary
    /// to rely on.
    pub fn bind(&mut self, session: SessionId, channel: Slot, from: Position, after: Position) {
        let lags_from = (!self.is_direct).then_some(from);
        self.add_row(session, channel, lags_from, after);
    }

    /// Delivers the responses of a session on `channel` above `position`, of which none is in the
    /// log yet: it was opened there just now, or has all.
    pub(crate) fn bind_new(&mut self, session: SessionId, channel: Slot, position: Position) {
        self.add_row(session, channel, None, position);
    }

    fn add_row(
        &mut self,
        id: SessionId,
        channel: Slot,
        lags_from: Option<Position>,
        after: Position,
    ) {
        self.unbind(id);
        self.rows.insert(EgressRow {
            session: id,
            channel,
            after,
            lags_from,
            closed: None,
        });
    }

    /// Stops delivering to the session. Returns the channel that it was bound to.
    pub(crate) fn unbind(&mut self, session: SessionId) -> Option<Slot> {
        let index = self.rows.find(session)?;
        self.rows.remove(index).map(|row| row.channel)
    }

    /// The session is closed. While its client lacks responses of smaller position they are
    /// delivered first, and [`do_work`](Self::do_work) says when that is done. Otherwise it is
    /// unbound, and told now on the channel that is returned.
    pub fn close(&mut self, channels: &mut EgressChannels, closed: ClosedSession) -> Option<Slot> {
        let index = self.rows.find(closed.session.id)?;
        if self.rows.is_up_to_date(index) {
            return self.rows.remove(index).map(|row| row.channel);
        }
        if let Some(oldest) = self.rows.surplus_closed(CLOSED_SESSIONS_MAX - 1)
            && let Some(row) = self.rows.remove(oldest)
        {
            channels.abandon(row.channel);
        }
        sometimes(Mark::ClosedEventAwaitsResponses);
        self.rows.hold_closed(index, closed);
        None
    }

    /// The channel a session is bound to.
    #[must_use]
    pub fn channel(&self, session: SessionId) -> Option<Slot> {
        let index = self.rows.find(session)?;
        self.rows.at(index).map(|row| row.channel)
    }

    /// Where a session's responses go, and whether they all have.
    #[must_use]
    pub(crate) fn bound(&self, session: SessionId) -> Option<Bound> {
        let index = self.rows.find(session)?;
        self.rows.at(index).map(|row| Bound {
            channel: row.channel,
            is_up_to_date: self.rows.is_up_to_date(index),
        })
    }

    /// Whether the session's client is bound to `address`: whatever comes from elsewhere is not
    /// said for this session.
    #[must_use]
    pub(crate) fn is_bound_to(
        &self,
        channels: &EgressChannels,
        session: SessionId,
        address: SocketAddr,
    ) -> bool {
        let channel = self.channel(session).and_then(|slot| channels.get(slot));
        channel.is_some_and(|channel| channel.address() == address)
    }

    /// Direct effects that found no room and were dropped (at most once, counted).
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sessions that are delivered to.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.count()
    }

    /// Looks at rows since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.rows.visits()
    }

    /// Passes over the log for sessions that lagged, since the start.
    #[must_use]
    pub const fn passes(&self) -> u64 {
        self.scanner.passes
    }

    /// The reader's completions come in here.
    pub const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// Something happened to the channel of a session.
    pub(crate) fn on_channel_news(&mut self, session: SessionId, slot: Slot, news: ChannelChange) {
        let Some(index) = self.rows.find(session) else {
            return;
        };
        let Some(row) = self.rows.at(index).filter(|row| row.channel == slot) else {
            return;
        };
        match news {
            // If the client comes back it is bound to another channel.
            ChannelChange::Ended => {
                self.rows.remove(index);
            }
            ChannelChange::Live if row.lags_from.is_some() || !self.rows.may_send(index) => {
                self.rows.mark_ready(index);
            }
            ChannelChange::Live => {}
        }
    }

    /// A response was applied: sends or queues it, unless its session lags.
    pub fn on_response(
        &mut self,
        context: &mut EgressContext<'_>,
        entry: &Entry<'_>,
        applied_number: RequestNumber,
    ) {
        let Some(index) = self.rows.find(entry.header.session) else {
            return;
        };
        let Some(row) = self.rows.at(index).filter(|row| row.lags_from.is_none()) else {
            return;
        };
        let header = response_header(self.term, entry, applied_number);
        let channel = row.channel;
        send_or_queue(&mut self.rows, context, (index, channel), &header, entry);
    }

    /// A direct effect leaves now or never.
    pub(crate) fn on_direct_effect(
        &mut self,
        context: &mut EgressContext<'_>,
        effect: &DirectEffect<'_>,
        applied_number: RequestNumber,
    ) {
        let Some(channel) = self.channel(effect.session) else {
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
        if !context.offer(channel, &header, effect.payload) {
            // Told by `watch`: at most once is what direct mode promises.
            self.dropped += 1;
        }
    }

    /// Serves sessions whose clients can take something, and those that lag, up to `applied`.
    /// A closed session that has everything now goes to `on_told`. Returns the work done.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub fn do_work(
        &mut self,
        context: &mut EgressContext<'_>,
        applied: Position,
        table: &SessionTable,
        view: LogView<'_>,
        on_told: &mut impl FnMut(&mut EgressChannels, Slot, &ClosedSession),
    ) -> Result<usize, NodeFault> {
        let mut work = 0;
        for _ in 0..self.rows.ready().min(ROWS_PER_CYCLE) {
            let Some(index) = self.rows.pop_ready() else {
                break;
            };
            work += self.serve_ring(context, index, applied, table, view)?;
            let Some(row) = self.rows.at(index).copied() else {
                continue;
            };
            if self.rows.is_up_to_date(index) {
                if let Some(closed) = row.closed {
                    self.rows.remove(index);
                    on_told(context.channels, row.channel, &closed);
                    work += 1;
                }
            } else if self.rows.may_send(index) && context.is_live(row.channel) {
                self.rows.await_scan(index, self.scanner.position());
            }
        }
        let looked_at = self.look_at_outlived(context, view.segments.log_start(), table, on_told);
        if looked_at == ROWS_PER_CYCLE {
            // There may be more of them, and no pass begins before they were looked at.
            return Ok(work + looked_at);
        }
        let mut scan = Scan {
            rows: &mut self.rows,
            void: &self.void,
            term: self.term,
            applied,
            table,
        };
        work += self
            .scanner
            .run(&mut scan, context, &mut self.reader, view)?;
        Ok(work + usize::from(self.rows.ready() > 0))
    }

    /// Of the rows that lag, looks at those for which the log would be read from below `log_start`
    /// on. Where an answer may be gone, none that follows it is delivered: a closed session goes to
    /// `on_told`, and the client of any other hears nothing more here, and is told when it asks
    /// (`log.md` 7.4).
    fn look_at_outlived(
        &mut self,
        context: &mut EgressContext<'_>,
        log_start: Position,
        table: &SessionTable,
        on_told: &mut impl FnMut(&mut EgressChannels, Slot, &ClosedSession),
    ) -> usize {
        if let Some(scanned) = self.scanner.position()
            && scanned < log_start
        {
            self.rows.put_back(scanned);
            self.scanner.is_passing = false;
        }
        let mut work = 0;
        for _ in 0..ROWS_PER_CYCLE {
            let Some(index) = self.rows.pop_waiting_below(log_start) else {
                break;
            };
            work += 1;
            let Some(row) = self.rows.at(index).copied() else {
                continue;
            };
            let closed = row.closed.map(|closed| closed.session);
            let session = table.get(row.session).copied().or(closed);
            let needed = session.and_then(|session| session.needed_from(row.after));
            if needed.is_none_or(|needed| needed >= log_start) {
                self.rows.lag(index, log_start);
                self.rows.await_scan(index, None);
                continue;
            }
            sometimes(Mark::AnswersGone);
            self.rows.remove(index);
            match row.closed {
                Some(closed) => on_told(context.channels, row.channel, &closed),
                None => context.channels.abandon(row.channel),
            }
        }
        work
    }

    /// Sends what is queued on one ring, as far as its channel takes it.
    fn serve_ring(
        &mut self,
        context: &mut EgressContext<'_>,
        index: u32,
        applied: Position,
        table: &SessionTable,
        view: LogView<'_>,
    ) -> Result<usize, NodeFault> {
        let Some(row) = self.rows.at(index).copied() else {
            return Ok(0);
        };
        for served in 0..RESPONSES_PER_TURN {
            let Some(position) = self.rows.queued(index) else {
                return Ok(served);
            };
            if position < view.window.start {
                self.rows.lag_from_queued(index);
                return Ok(served + 1);
            }
            self.cursor.move_to(position);
            let (reader, cursor) = (&mut self.reader, &mut self.cursor);
            let is_sent = with_entry(cursor, reader, view, applied, |entry| {
                let header = response_header(self.term, entry, applied_number(&row, table));
                context.offer(row.channel, &header, entry.body)
            })?;
            if !is_sent {
                return Ok(served);
            }
            self.rows.pop_queued(index);
        }
        self.rows.mark_ready(index);
        Ok(RESPONSES_PER_TURN)
    }
}

/// Hands the entry at the cursor, which is in memory and below `applied`, to `handler`.
fn with_entry(
    cursor: &mut EntryCursor,
    reader: &mut LogReader,
    view: LogView<'_>,
    applied: Position,
    handler: impl FnOnce(&Entry<'_>) -> bool,
) -> Result<bool, NodeFault> {
    loop {
        let position = cursor.position();
        match cursor.next(reader, view)? {
            Passed::Entry(entry) => return Ok(handler(&entry)),
            Passed::Part => {}
            Passed::RunOver => match cursor.begin_run(reader, view, applied)? {
                Run::Begun => {}
                Run::Nothing => return Err(NodeFault::MalformedEntry { position }),
                Run::Pending => return Err(NodeFault::DamagedLog { position }),
            },
        }
    }
}

#[cfg(test)]
mod tests;
