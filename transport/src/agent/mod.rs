//! How agents are driven: one duty cycle at a time, by whoever owns the thread.
//!
//! An [`Agent`] is pure code and ports. [`run`] and [`spawn`] drive it on a thread with an
//! [`IdleStrategy`]; the simulator and the embedded node call it directly.

mod idle_strategy;
mod runner;
mod sleep_flag;
mod wake_sources;

pub use idle_strategy::{IdleStrategy, Idler, NoCoreFree};
pub use runner::{AgentThread, Clock, CoreNotAllowed, PinRefused, check_core, pin, run, spawn};
pub use wake_sources::{WakeSource, WakeSources, Waker, WakerSlot};

use crate::time::Nanos;

/// Work that is done in short cycles and never blocks.
pub trait Agent {
    /// The agent's name in thread names and reports.
    fn role_name(&self) -> &str;

    /// Does what there is to do at `now`, and returns how much that was (0: nothing).
    fn do_work(&mut self, now: Nanos) -> usize;

    /// When the agent must run again even if nothing arrives; `None`: not before something
    /// arrives.
    fn next_deadline(&self, now: Nanos) -> Option<Nanos>;

    /// Names whatever brings the agent work, once and on the thread that drives it, so that the
    /// thread can sleep meanwhile. An agent that names nothing is looked at again soon.
    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        sources.miss();
    }

    /// Whether the agent has ended by itself and will do no more work: its thread goes then.
    fn has_ended(&self) -> bool {
        false
    }
}
