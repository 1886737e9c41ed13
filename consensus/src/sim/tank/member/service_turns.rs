//! When a service that has a thread of its own runs: at once, or after a stall of microseconds to
//! seconds, as a thread does that its host has no core for.

use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos};

use crate::sim::service_time;
use crate::sim::tank::tank_node::TankNode;

/// One step of the service in so many is followed by a stall.
const STEPS_PER_STALL: u64 = 24;

/// How long stalls are at most: short ones, and one in so many long.
const SHORT_STALL_NS: Nanos = 300 * MICROSECOND;
const LONG_STALL_NS: Nanos = 1_500 * MILLISECOND;
const STALLS_PER_LONG: u64 = 16;

/// See the module.
#[derive(Debug)]
pub struct ServiceTurns {
    random: Prng,
    /// The service does nothing before.
    until: Nanos,
    has_stalls: bool,
}

impl ServiceTurns {
    /// Of the member whose seed this is.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Prng::new(seed.rotate_left(17)),
            until: 0,
            has_stalls: true,
        }
    }

    /// A process begins.
    pub const fn begin(&mut self) {
        self.until = 0;
    }

    /// It runs whenever it has something to do from now on.
    pub const fn end_stalls(&mut self) {
        self.until = 0;
        self.has_stalls = false;
    }

    /// As [`step`](Self::step), every second time: in no fixed order with the other agents.
    pub fn step_first(&mut self, now: Nanos, own_now: Nanos, node: &mut TankNode) -> usize {
        let is_first = node.agents().service.is_behind() && self.random.chance(0.5);
        if is_first {
            self.step(now, own_now, node)
        } else {
            0
        }
    }

    /// Has the service of `node` go on, unless it is busy or stalled. Returns how much it did.
    pub fn step(&mut self, now: Nanos, own_now: Nanos, node: &mut TankNode) -> usize {
        if now < self.until {
            return 0;
        }
        let before = service_time::spent();
        let work = node.step_service(own_now);
        if work > 0 {
            self.until = now + service_time::spent() - before + self.draw_stall();
        }
        work
    }

    fn draw_stall(&mut self) -> Nanos {
        let is_stalled = self.has_stalls && self.random.range(0..STEPS_PER_STALL) == 0;
        if !is_stalled {
            return 0;
        }
        let is_long = self.random.range(0..STALLS_PER_LONG) == 0;
        let longest = if is_long {
            LONG_STALL_NS
        } else {
            SHORT_STALL_NS
        };
        self.random.range(1..longest as u64) as Nanos
    }

    /// When it goes on, if it is held up.
    pub fn next_deadline(&self, now: Nanos, node: &TankNode) -> Option<Nanos> {
        let is_held_up = now < self.until && node.agents().service.is_behind();
        is_held_up.then_some(self.until)
    }
}
