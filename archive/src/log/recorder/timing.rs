//! When the next write of the log begins.

use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::laziness::Laziness;
use super::{Recorder, SyncMode};

impl Recorder {
    /// Nobody waits for writes from now on, for the log is safe without them (`log.md` 10.3): they
    /// are few and long, and made outside of the duty cycle.
    ///
    /// # Panics
    /// Where writes are synced.
    pub fn write_lazily(&mut self) {
        assert_eq!(
            self.config.sync,
            SyncMode::None,
            "a synced log is waited for"
        );
        self.laziness = Some(Laziness::new(self.config.geometry));
    }

    /// Somebody waits after all, or no more.
    pub const fn hurry(&mut self, is_hurried: bool) {
        if let Some(laziness) = &mut self.laziness {
            laziness.is_hurried = is_hurried;
        }
    }

    pub(super) fn is_write_due(&mut self, now: Nanos, append: Position) -> bool {
        let unwritten = append - self.written;
        match &mut self.laziness {
            Some(laziness) => laziness.is_due(now, unwritten),
            None => unwritten > 0 || self.is_tail_stale,
        }
    }
}
