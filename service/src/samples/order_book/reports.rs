//! One message per session and request: all reports that the request has for it, in order.
//!
//! A trade with hundreds of orders is so a handful of messages, and stays within what one entry
//! of the log may cause. The session that asked comes first, the others in the order in which
//! they were met. A message that would be too long is continued in another.

use lockstep_transport::ids::SessionId;

use super::codec::{REPORT_LENGTH_MAX, Report};

/// Bytes of the longest message; a cluster's `message_max` must permit it.
pub const REPORT_MESSAGE_LENGTH_MAX: usize = 4_096;

/// Fills that one message holds.
pub(super) const FILLS_PER_MESSAGE: u32 = (REPORT_MESSAGE_LENGTH_MAX / REPORT_LENGTH_MAX) as u32;

/// A report on its way.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    session: SessionId,
    report: Report,
    is_sent: bool,
}

/// The reports of one request. Room for all is reserved at construction.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    waiting: Vec<Waiting>,
}

impl Outgoing {
    /// Room for `reports_max` reports.
    pub(super) fn new(reports_max: usize) -> Self {
        Self {
            waiting: Vec::with_capacity(reports_max),
        }
    }

    /// Adds a report for `session`.
    pub(super) fn push(&mut self, session: SessionId, report: &Report) {
        self.waiting.push(Waiting {
            session,
            report: *report,
            is_sent: false,
        });
    }

    /// Hands all messages to `send` and forgets them; walks the reports once per session.
    pub(super) fn send(&mut self, send: &mut impl FnMut(SessionId, &[u8])) {
        let mut from = 0;
        while from < self.waiting.len() {
            if !self.waiting[from].is_sent {
                send_all_of(self.waiting[from].session, &mut self.waiting[from..], send);
            }
            from += 1;
        }
        self.waiting.clear();
    }
}

/// Sends all reports among `waiting` that are for `session`.
fn send_all_of(
    session: SessionId,
    waiting: &mut [Waiting],
    send: &mut impl FnMut(SessionId, &[u8]),
) {
    let mut message = [0; REPORT_MESSAGE_LENGTH_MAX];
    let mut length = 0;
    let mut bytes = [0; REPORT_LENGTH_MAX];
    for waiting in waiting.iter_mut().filter(|w| w.session == session) {
        let encoded = waiting.report.encode(&mut bytes);
        if length + encoded.len() > REPORT_MESSAGE_LENGTH_MAX {
            send(session, &message[..length]);
            length = 0;
        }
        message[length..length + encoded.len()].copy_from_slice(encoded);
        length += encoded.len();
        waiting.is_sent = true;
    }
    send(session, &message[..length]);
}

#[cfg(test)]
mod tests {
    use super::super::codec::{RejectReason, Side};
    use super::*;

    fn fill(number: u64) -> Report {
        Report::Fill {
            taker_side: Side::Buy,
            symbol: 0,
            maker_id: number,
            taker_id: 9,
            price: 1,
            quantity: 1,
            maker_remaining: 0,
            taker_remaining: 0,
        }
    }

    fn messages(reports: &[(i64, Report)]) -> Vec<(i64, Vec<Report>)> {
        let mut outgoing = Outgoing::new(reports.len());
        reports
            .iter()
            .for_each(|(session, report)| outgoing.push(SessionId::new(*session), report));
        let mut sent = Vec::new();
        outgoing.send(&mut |session, bytes: &[u8]| {
            let (mut found, mut rest) = (Vec::new(), bytes);
            while let Some((report, after)) = Report::split_first(rest) {
                found.push(report);
                rest = after;
            }
            assert!(rest.is_empty() && bytes.len() <= REPORT_MESSAGE_LENGTH_MAX);
            sent.push((session.get(), found));
        });
        sent
    }

    #[test]
    fn each_session_gets_one_message_with_its_reports_in_order() {
        let reject = Report::Reject {
            reason: RejectReason::BadPrice,
            symbol: 0,
            order_id: 1,
        };
        let reports = [
            (5, reject),
            (5, fill(1)),
            (7, fill(1)),
            (5, fill(2)),
            (6, fill(2)),
            (7, fill(3)),
        ];
        let expected = [
            (5, vec![reject, fill(1), fill(2)]),
            (7, vec![fill(1), fill(3)]),
            (6, vec![fill(2)]),
        ];
        assert_eq!(messages(&reports), expected);
    }

    #[test]
    fn a_long_message_is_continued_without_losing_a_report() {
        let count = u64::from(FILLS_PER_MESSAGE) + 2;
        let reports: Vec<_> = (0..count).map(|number| (1, fill(number))).collect();
        let sent = messages(&reports);
        assert_eq!(sent.len(), 2);
        let found: Vec<_> = sent.iter().flat_map(|(_, reports)| reports).collect();
        assert_eq!(found, reports.iter().map(|(_, r)| r).collect::<Vec<_>>());
    }
}
