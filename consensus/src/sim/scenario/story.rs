//! What a scenario did, by virtual time: what a failed expectation is read with.

use core::fmt;
use std::collections::VecDeque;

use lockstep_transport::time::{MILLISECOND, Nanos};

/// The newest verbs that are kept.
const KEPT_MAX: usize = 40;

/// See the module.
#[derive(Debug, Default)]
pub struct Story {
    verbs: VecDeque<(Nanos, String)>,
}

impl Story {
    /// This was done at `now`.
    pub fn tell(&mut self, now: Nanos, verb: String) {
        if self.verbs.len() == KEPT_MAX {
            self.verbs.pop_front();
        }
        self.verbs.push_back((now, verb));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, verb) in &self.verbs {
            writeln!(f, "  at {} ms: {verb}", at / MILLISECOND)?;
        }
        Ok(())
    }
}
