//! The one retransmission a unicast sender has under way (`wire.md` A.16).
//!
//! A NAK starts it at once; until 10 ms after its last datagram, NAKs inside its range are
//! ignored. A NAK that starts outside replaces it.

use crate::marks::{Mark, sometimes};
use crate::position::{Geometry, Position};
use crate::time::{MILLISECOND, Nanos};

/// NAKs for a range just repeated are ignored for so long: its datagrams are under way for up to
/// a round trip, in which the receiver goes on asking, and each NAK would repeat all of it. It is
/// Aeron's; after it a receiver asks within a sixteenth of the time that it has waited.
const RETRANSMIT_LINGER_NS: Nanos = 10 * MILLISECOND;

/// A range that the source cannot yield within this time is given up: the receiver asks again.
const WAIT_MAX_NS: Nanos = 10 * MILLISECOND;

/// A range to be sent again, or just sent again.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: Position,
    next: Position,
    end: Position,
    touched: Nanos,
    /// The source had nothing when it was last asked.
    is_awaited: bool,
}

/// State of retransmission towards one receiver: the range under way, if any.
#[derive(Debug, Default)]
pub(super) struct Retransmission {
    range: Option<Range>,
}

impl Retransmission {
    /// Takes a checked request for `start..end`. Returns whether it is acted upon.
    pub(super) fn request(&mut self, now: Nanos, start: Position, end: Position) -> bool {
        if let Some(range) = self.range {
            let is_active = range.next < range.end || now - range.touched < RETRANSMIT_LINGER_NS;
            if is_active && range.start <= start && start < range.end {
                sometimes(Mark::NakSuppressed);
                return false;
            }
            if is_active {
                sometimes(Mark::NakReplacesAnother);
            }
        }
        self.range = Some(Range {
            start,
            next: start,
            end,
            touched: now,
            is_awaited: false,
        });
        true
    }

    /// Where to send again from, if anything is left to repeat.
    pub(super) fn next(&self) -> Option<Position> {
        self.range
            .filter(|range| range.next < range.end)
            .map(|range| range.next)
    }

    /// `advance` bytes were sent again.
    pub(super) fn on_sent(&mut self, now: Nanos, advance: usize) {
        if let Some(range) = &mut self.range {
            range.next += advance as Position;
            range.touched = now;
            range.is_awaited = false;
        }
    }

    /// The source has nothing at [`next`](Self::next) now. Returns whether to go on waiting.
    pub(super) fn on_not_yet(&mut self, now: Nanos) -> bool {
        let is_waiting = self.range.as_mut().is_some_and(|range| {
            range.is_awaited = true;
            now - range.touched < WAIT_MAX_NS
        });
        if is_waiting {
            sometimes(Mark::RetransmissionWaits);
        } else {
            sometimes(Mark::RetransmissionGivenUp);
            self.abandon();
        }
        is_waiting
    }

    /// When there is something to repeat, or no use in waiting for the source any more. That the
    /// source has something is the source's to say.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        let range = self.range.filter(|range| range.next < range.end)?;
        let give_up = range.touched + WAIT_MAX_NS;
        Some(if range.is_awaited { give_up } else { 0 })
    }

    /// Gives the rest up; NAKs for the range linger as if it had been sent.
    pub(super) fn abandon(&mut self) {
        if let Some(range) = &mut self.range {
            range.next = range.end;
        }
    }
}

/// Where a NAK that is taken asks for something, in a stream that was sent up to `position`.
pub(super) fn mark_nak(geometry: Geometry, range: (Position, Position), position: Position) {
    let (start, end) = range;
    if geometry.term_start(start) < geometry.term_start(position) {
        sometimes(Mark::NakOfEarlierTerm);
    }
    if geometry.term_offset(start) == 0 {
        sometimes(Mark::NakAtTermStart);
    }
    if end == position {
        sometimes(Mark::NakToTheNewest);
    }
}

/// Why a NAK for `position` is not taken, of a stream that is repeated from `lowest` on.
pub(super) fn mark_refused_nak(position: Option<Position>, lowest: Position) {
    sometimes(match position {
        Some(position) if position < lowest => Mark::NakTooOld,
        _ => Mark::NakNotSent,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_inside_the_range_are_ignored_until_it_has_lingered() {
        let mut retransmission = Retransmission::default();
        assert!(retransmission.request(0, 128, 256));
        assert!(!retransmission.request(1, 128, 256));
        retransmission.on_sent(2, 128);
        assert_eq!(retransmission.next(), None);
        assert!(!retransmission.request(RETRANSMIT_LINGER_NS, 192, 256));
        assert!(retransmission.request(2 + RETRANSMIT_LINGER_NS, 128, 256));
        assert_eq!(retransmission.next(), Some(128));
    }

    #[test]
    fn a_request_that_starts_elsewhere_replaces_the_range() {
        let mut retransmission = Retransmission::default();
        assert!(retransmission.request(0, 128, 256));
        assert!(retransmission.request(1, 256, 512));
        assert_eq!(retransmission.next(), Some(256));
    }

    #[test]
    fn a_range_the_source_never_yields_is_given_up() {
        let mut retransmission = Retransmission::default();
        assert!(retransmission.request(0, 128, 256));
        assert_eq!(retransmission.next_deadline(), Some(0));
        assert!(retransmission.on_not_yet(WAIT_MAX_NS - 1));
        assert_eq!(retransmission.next_deadline(), Some(WAIT_MAX_NS));
        assert!(!retransmission.on_not_yet(WAIT_MAX_NS));
        assert_eq!(retransmission.next(), None);
        assert_eq!(retransmission.next_deadline(), None);
    }
}
