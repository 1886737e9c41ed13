//! Sending one response to its client.

use lockstep_client::protocol::{RESPONSE_FLAG_FAILED, ResponseHeader};
use lockstep_transport::ids::{LeadershipTermId, RequestNumber};
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::log::entry_assembler::Entry;
use crate::log::log_entry::Response;
use crate::session::egress_channels::{EgressChannels, Slot};
use crate::session::egress_rows::{EgressRow, EgressRows};
use crate::session::session_table::SessionTable;

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
    pub(super) fn is_live(&self, slot: Slot) -> bool {
        let channel = self.channels.get(slot);
        channel.is_some_and(|channel| channel.is_live(self.now))
    }

    pub(super) fn offer(&mut self, slot: Slot, header: &ResponseHeader, payload: &[u8]) -> bool {
        let parts: [&[u8]; 2] = [&header.encode(), payload];
        let taken = self
            .channels
            .answer(slot, self.now, header.session_id, &parts);
        if taken {
            self.tracer.message(
                TracePoint::ResponseEgress,
                header.session_id.get(),
                header.number.get(),
            );
        }
        taken
    }
}

/// Sends a response to the client of this row, or queues it behind those that wait.
pub(super) fn send_or_queue(
    rows: &mut EgressRows,
    context: &mut EgressContext<'_>,
    (index, channel): (u32, Slot),
    header: &ResponseHeader,
    entry: &Entry<'_>,
) {
    if rows.may_send(index) && context.offer(channel, header, entry.body) {
        rows.on_sent(index, entry.position);
    } else {
        rows.queue(index, entry.position);
    }
}

/// Number of the last request of the row's session that was applied.
pub(super) fn applied_number(row: &EgressRow, table: &SessionTable) -> RequestNumber {
    let open = table.get(row.session).map(|s| s.applied_number);
    let closed = row.closed.map(|closed| closed.session.applied_number);
    open.or(closed).unwrap_or(RequestNumber::NONE)
}

pub(super) const fn wire_flags(is_failure: bool) -> u32 {
    if is_failure { RESPONSE_FLAG_FAILED } else { 0 }
}

/// What a client is told with a response, by a leader of `term`.
pub(super) fn response_header(
    term: LeadershipTermId,
    entry: &Entry<'_>,
    applied_number: RequestNumber,
) -> ResponseHeader {
    let response = Response::of(&entry.header, entry.body);
    ResponseHeader {
        leadership_term_id: term,
        session_id: response.session,
        position: entry.position,
        cause: response.cause,
        number: response.request_number,
        applied_number,
        log_time: entry.header.log_time,
        ordinal: response.ordinal,
        flags: wire_flags(response.is_failure),
    }
}
