//! Whether this member writes a snapshot at an entry that asks for one, and how far it is with it
//! (`log.md` 8).
//!
//! Whoever writes one applies nothing from that entry on until its service has written its state:
//! so sessions, outbox and service stay as the log below the entry has left them. Acknowledgements,
//! commit and heartbeats go on. Here is only what is to be done, nothing is written.

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

/// How far it is with the one that is taken at the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// There is none.
    Nothing,
    /// The state is to be written, as soon as it is reached.
    Wanted(Position),
    /// It is being written, since then.
    Writing(Position, Nanos),
    /// It is written; what is left goes to the file while applying goes on.
    Storing(Position),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SnapshotTaker {
    taking: Taking,
    /// Entries that end here or below are settled: nothing waits for them.
    settled: Position,
}

impl SnapshotTaker {
    /// Of a member that begins at `start`, with the snapshot taken there if it has one.
    #[must_use]
    pub const fn new(start: Position) -> Self {
        Self {
            taking: Taking::Nothing,
            settled: start,
        }
    }

    /// An entry that asks for a snapshot and ends at `end` is to be applied next. Returns whether
    /// that waits: `may_write` says whether this member is to write it.
    pub fn meet(&mut self, end: Position, may_write: bool) -> bool {
        if end <= self.settled {
            return false;
        }
        match self.taking {
            Taking::Wanted(_) | Taking::Writing(..) => true,
            Taking::Nothing if may_write => {
                self.taking = Taking::Wanted(end);
                true
            }
            Taking::Nothing | Taking::Storing(_) => {
                sometimes(Mark::SnapshotPassedOver);
                self.settled = end;
                false
            }
        }
    }

    /// The end of the newest entry that asked for one and is settled.
    #[must_use]
    pub const fn settled(&self) -> Position {
        self.settled
    }

    /// Whether applying waits for the service to write its state.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        matches!(self.taking, Taking::Wanted(_) | Taking::Writing(..))
    }

    /// Whether the state is to be written and nothing of it is yet.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        matches!(self.taking, Taking::Wanted(_))
    }

    /// Since when the state is being written, if it is.
    #[must_use]
    pub const fn writing_since(&self) -> Option<Nanos> {
        match self.taking {
            Taking::Writing(_, since) => Some(since),
            _ => None,
        }
    }

    /// All below the entry is applied and executed: the state is written from `now` on.
    pub fn begin(&mut self, now: Nanos) {
        if let Taking::Wanted(at) = self.taking {
            self.taking = Taking::Writing(at, now);
        }
    }

    /// The service has written its state: applying goes on. Returns how long it stood still.
    pub fn on_written(&mut self, now: Nanos) -> Nanos {
        let Taking::Writing(at, since) = self.taking else {
            return 0;
        };
        self.settled = at;
        self.taking = Taking::Storing(at);
        now - since
    }

    /// All of it is stored, or it came to nothing after its state was written.
    pub fn on_stored(&mut self) {
        self.taking = Taking::Nothing;
    }

    /// The unfinished one is given up: applying goes on without it.
    pub fn abandon(&mut self) {
        self.settled = self.settled.max(self.position());
        self.taking = Taking::Nothing;
    }

    /// Where the one is taken that is under way; 0 when none is.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self.taking {
            Taking::Nothing => 0,
            Taking::Wanted(at) | Taking::Writing(at, _) | Taking::Storing(at) => at,
        }
    }

    /// Whether none is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.taking, Taking::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applying_waits_until_the_state_is_written_and_not_until_it_is_stored() {
        let mut taker = SnapshotTaker::new(0);
        assert!(taker.meet(640, true) && taker.is_holding());
        // The same entry is met again.
        assert!(taker.meet(640, true));
        taker.begin(5);
        assert!(taker.is_holding() && taker.meet(640, true));
        assert_eq!(taker.on_written(12), 7);
        assert!(!taker.is_holding() && !taker.meet(640, true));
        assert_eq!(taker.position(), 640);
        taker.on_stored();
        assert!(taker.is_idle());
        assert_eq!(taker.settled(), 640);
    }

    #[test]
    fn who_is_not_to_write_or_has_not_stored_the_last_passes_over() {
        let mut taker = SnapshotTaker::new(0);
        assert!(!taker.meet(320, false));
        assert_eq!(taker.settled(), 320);
        assert!(taker.meet(640, true));
        taker.begin(5);
        taker.on_written(6);
        assert!(!taker.meet(960, true));
        assert_eq!((taker.position(), taker.settled()), (640, 960));
    }

    #[test]
    fn what_is_given_up_is_waited_for_no_more() {
        let mut taker = SnapshotTaker::new(0);
        assert!(taker.meet(640, true));
        taker.abandon();
        assert!(!taker.is_holding() && !taker.meet(640, true));
        assert!(taker.meet(960, true));
    }

    #[test]
    fn an_entry_below_the_start_is_settled() {
        let mut taker = SnapshotTaker::new(640);
        assert!(!taker.meet(640, true));
    }
}
