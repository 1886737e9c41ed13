//! The time that simulated services take: virtual, of the one thread that runs a tank.
//!
//! A service *spends*; the clock of the node that called it moves on by that, while its duty
//! cycle lasts; whoever drives the node keeps it busy for as long afterwards.

use std::cell::Cell;

use lockstep_transport::time::Nanos;

thread_local! {
    static SPENT: Cell<Nanos> = const { Cell::new(0) };
}

/// A service works for so long.
pub fn spend(duration: Nanos) {
    SPENT.set(SPENT.get() + duration);
}

/// All time spent so far on this thread: the clock to measure duty cycles with.
#[must_use]
pub(crate) fn spent() -> Nanos {
    SPENT.get()
}
