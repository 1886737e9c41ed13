//! Whether this member writes a snapshot at an entry that asks for one, and how far it is with it
//! (`log.md` 8).
//!
//! Whoever writes one applies nothing from that entry on until its service has written its state:
//! so sessions, outbox and service stay as the log below the entry has left them. Acknowledgements,
//! commit and heartbeats go on. Who leads others passes over it, and so does a member that is far
//! behind: both get it from the others. It writes nothing itself.

use lockstep_archive::log::chain::Checkpoint;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// None is to be written.
    Nothing,
    /// One is, of the state at the end of the entry that ends here, as soon as that is reached.
    Wanted(Position),
    /// The state is being written.
    Writing(Checkpoint, Nanos),
    /// The state is written; what is left goes to the file while applying goes on.
    Storing(Checkpoint),
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

    /// Whether the state is being written.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        matches!(self.taking, Taking::Writing(..))
    }

    /// Where the one is taken whose bytes are still on their way to the file.
    #[must_use]
    pub const fn storing(&self) -> Option<Checkpoint> {
        match self.taking {
            Taking::Storing(at) => Some(at),
            _ => None,
        }
    }

    /// All below the entry is applied and executed: the state `at` its end is written from `now`
    /// on.
    pub fn begin(&mut self, at: Checkpoint, now: Nanos) {
        self.taking = Taking::Writing(at, now);
    }

    /// The service has written its state: applying goes on. Returns how long it stood still.
    pub fn on_written(&mut self, now: Nanos) -> Nanos {
        let Taking::Writing(at, since) = self.taking else {
            return 0;
        };
        self.settled = at.position;
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
            Taking::Wanted(end) => end,
            Taking::Writing(at, _) | Taking::Storing(at) => at.position,
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

    const AT: Checkpoint = Checkpoint {
        position: 640,
        hash: 7,
    };

    #[test]
    fn applying_waits_until_the_state_is_written_and_not_until_it_is_stored() {
        let mut taker = SnapshotTaker::new(0);
        assert!(taker.meet(640, true) && taker.is_holding());
        // The same entry is met again.
        assert!(taker.meet(640, true));
        taker.begin(AT, 5);
        assert!(taker.is_holding() && taker.meet(640, true));
        assert_eq!(taker.on_written(12), 7);
        assert!(!taker.is_holding() && !taker.meet(640, true));
        assert_eq!(taker.storing(), Some(AT));
        taker.on_stored();
        assert_eq!((taker.storing(), taker.settled()), (None, 640));
    }

    #[test]
    fn who_is_not_to_write_or_has_not_stored_the_last_passes_over() {
        let mut taker = SnapshotTaker::new(0);
        assert!(!taker.meet(320, false));
        assert_eq!(taker.settled(), 320);
        assert!(taker.meet(640, true));
        taker.begin(AT, 5);
        taker.on_written(6);
        assert!(!taker.meet(960, true));
        assert_eq!((taker.storing(), taker.settled()), (Some(AT), 960));
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
