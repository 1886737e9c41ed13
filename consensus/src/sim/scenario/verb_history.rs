//! What a scenario did, by virtual time: what a failed expectation is read with.

use core::fmt;
use core::panic::Location;
use std::collections::VecDeque;

use lockstep_transport::time::{MILLISECOND, Nanos};

/// The newest verbs that are kept.
const KEPT_MAX: usize = 40;

/// See the module.
#[derive(Debug, Default)]
pub struct VerbHistory {
    /// When, what, and by which line of the scenario.
    verbs: VecDeque<(Nanos, String, &'static Location<'static>)>,
}

impl VerbHistory {
    /// This was done at `now`, by the caller.
    #[track_caller]
    pub fn tell(&mut self, now: Nanos, verb: String) {
        if self.verbs.len() == KEPT_MAX {
            self.verbs.pop_front();
        }
        self.verbs.push_back((now, verb, Location::caller()));
    }
}

impl fmt::Display for VerbHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, verb, place) in &self.verbs {
            writeln!(f, "  at {} ms: {verb} ({place})", at / MILLISECOND)?;
        }
        Ok(())
    }
}
