//! How long a cycle may execute, by a clock that a test sets.

use core::cell::Cell;

use lockstep_transport::time::MILLISECOND;

use super::*;

thread_local! {
    static CLOCK: Cell<Nanos> = const { Cell::new(0) };
}

fn clock() -> Nanos {
    CLOCK.get()
}

const BEGUN: Nanos = 7_000 * MILLISECOND;

/// Of a member with heartbeats every 50 ms; a cycle has begun.
fn begun() -> CycleBudget {
    let mut budget = CycleBudget::new(50 * MILLISECOND);
    budget.measure_with(clock);
    CLOCK.set(BEGUN);
    budget.begin();
    budget
}

#[test]
fn a_cycle_is_spent_after_a_tenth_of_a_heartbeat_interval() {
    let mut budget = begun();
    assert!(!budget.is_spent());
    for (after, is_spent) in [(3, false), (4, false), (5, true)] {
        CLOCK.set(BEGUN + after * MILLISECOND);
        assert_eq!((budget.lap(), budget.is_spent()), (None, is_spent));
    }
    budget.begin();
    assert!(!budget.is_spent(), "the next cycle has its own time");
}

#[test]
fn an_entry_that_took_longer_than_a_heartbeat_interval_is_told_with_its_time() {
    let mut budget = begun();
    CLOCK.set(BEGUN + 30 * MILLISECOND);
    budget.begin_lap();
    CLOCK.set(BEGUN + 80 * MILLISECOND);
    assert_eq!(budget.lap(), None, "as long as an interval");
    CLOCK.set(BEGUN + 130 * MILLISECOND + 1);
    assert_eq!(budget.lap(), Some(50 * MILLISECOND + 1));
    assert_eq!(budget.lap(), None);
}

#[test]
fn without_a_clock_nothing_is_ever_spent() {
    let mut budget = CycleBudget::new(0);
    budget.begin();
    budget.begin_lap();
    assert_eq!((budget.lap(), budget.is_spent()), (None, false));
}
