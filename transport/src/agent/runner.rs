//! Drives one agent on one thread until it is told to stop or ends: clock, duty cycle, idle.
//!
//! Shell: this is where threads come from and where the real clock is read, once per cycle. An
//! agent that must share a thread with others is composed with them before it gets here.
#![allow(clippy::disallowed_methods, reason = "shell: starts threads")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;

use super::{Agent, IdleStrategy, Idler};
use crate::time::Nanos;

/// Where a runner reads the time, once per duty cycle.
pub type Clock = fn() -> Nanos;

/// A thread is not on the core that was asked for: it moves between cores, which costs speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host refused core {core} to a thread: choose one that this process may use, or none")]
pub struct PinRefused {
    /// The core asked for.
    pub core: usize,
}

/// A thread is to be on a core that its process may not use: it is pinned to none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not pinned: this process may not use core {core}, only {allowed:?}; costs moves between cores"
)]
pub struct CoreNotAllowed {
    /// The core asked for.
    pub core: usize,
    /// Those that it may use.
    pub allowed: Vec<usize>,
}

/// Checks that a process may use this core, of those that are `allowed` to it.
///
/// # Errors
/// [`CoreNotAllowed`].
pub fn check_core(core: usize, allowed: &[usize]) -> Result<(), CoreNotAllowed> {
    if allowed.contains(&core) {
        return Ok(());
    }
    let allowed = allowed.to_vec();
    Err(CoreNotAllowed { core, allowed })
}

/// Pins the calling thread to this core.
///
/// # Errors
/// A container's mask, or a core that is not there.
pub fn pin(core: usize) -> Result<(), PinRefused> {
    let is_granted = core_affinity::set_for_current(CoreId { id: core });
    is_granted.then_some(()).ok_or(PinRefused { core })
}

/// Drives `agent` on the calling thread until `stop` is set or the agent has ended by itself.
pub fn run<A: Agent>(agent: &mut A, idle: IdleStrategy, stop: &AtomicBool, clock: Clock) {
    let mut idle = Idler::new(idle);
    if let Some(sources) = idle.wake_sources() {
        agent.name_wake_sources(sources);
    }
    // Relaxed: the flag carries no data; what the agent leaves behind is handed over by join.
    while !stop.load(Ordering::Relaxed) {
        let now = clock();
        let work = agent.do_work(now);
        if work == 0 && agent.has_ended() {
            break;
        }
        idle.idle_until(work, now, || agent.next_deadline(now));
    }
}

/// A running agent. Dropping it stops the agent and waits for its last cycle to end.
#[derive(Debug)]
pub struct AgentThread<A> {
    stop: Arc<AtomicBool>,
    pinned: Result<(), PinRefused>,
    thread: Option<JoinHandle<A>>,
}

/// Starts a thread named after the agent, pins it to `core` if there is one, and drives the agent
/// on it; see [`run`]. An agent that could not be pinned runs all the same, and its handle
/// [says so](AgentThread::pinned).
///
/// `stop` may be shared with other threads and with the agent itself, which sets it to end.
///
/// # Errors
/// The operating system's, when it has no thread to give.
pub fn spawn<A: Agent + Send + 'static>(
    mut agent: A,
    idle: IdleStrategy,
    core: Option<usize>,
    stop: Arc<AtomicBool>,
    clock: Clock,
) -> io::Result<AgentThread<A>> {
    let flag = Arc::clone(&stop);
    let (teller, told) = channel();
    let thread = thread::Builder::new()
        .name(agent.role_name().to_owned())
        .spawn(move || {
            let pinned = core.map_or(Ok(()), pin);
            teller.send(pinned).expect("whoever started it waits");
            run(&mut agent, idle, &flag, clock);
            agent
        })?;
    let pinned = told.recv().expect("it says so before all else");
    Ok(AgentThread {
        stop,
        pinned,
        thread: Some(thread),
    })
}

impl<A> AgentThread<A> {
    /// Asks the agent to end after its current cycle. Does not wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the agent's thread has ended, by itself or by a panic.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether it is on the core that was asked for, if one was.
    ///
    /// # Errors
    /// [`PinRefused`]: it runs on whichever.
    pub const fn pinned(&self) -> Result<(), PinRefused> {
        self.pinned
    }

    /// Waits for the thread and returns the agent. Does not ask it to stop.
    ///
    /// # Errors
    /// What the agent panicked with.
    pub fn join(mut self) -> thread::Result<A> {
        let thread = self
            .thread
            .take()
            .expect("the handle is taken only here, and here consumes self");
        thread.join()
    }
}

impl<A> Drop for AgentThread<A> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.store(true, Ordering::Relaxed);
            // A panic of the agent was already reported by the thread's own hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that ends by itself, as a node does that has halted.
    struct Mortal {
        left: usize,
    }

    impl Agent for Mortal {
        fn role_name(&self) -> &'static str {
            "mortal"
        }

        fn do_work(&mut self, _now: Nanos) -> usize {
            assert!(self.left > 0, "driven after its end");
            self.left -= 1;
            self.left
        }

        fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
            None
        }

        fn has_ended(&self) -> bool {
            self.left == 0
        }
    }

    #[test]
    fn run_returns_when_its_agent_has_ended_although_nobody_stops_it() {
        let stop = AtomicBool::new(false);
        let mut agent = Mortal { left: 3 };
        run(&mut agent, IdleStrategy::Yield, &stop, || 0);
        assert!(agent.left == 0 && !stop.load(Ordering::Relaxed));
    }

    #[test]
    fn a_thread_ends_with_its_agent() {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = spawn(Mortal { left: 3 }, IdleStrategy::Yield, None, stop, || 0).unwrap();
        assert_eq!(thread.join().unwrap().left, 0);
    }

    struct Countdown {
        left: usize,
        stop: Arc<AtomicBool>,
    }

    impl Agent for Countdown {
        fn role_name(&self) -> &'static str {
            "countdown"
        }

        fn do_work(&mut self, now: Nanos) -> usize {
            assert_eq!(now, 42);
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.stop.store(true, Ordering::Relaxed);
            }
            self.left % 2
        }

        fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
            None
        }
    }

    fn countdown(left: usize) -> Countdown {
        Countdown {
            left,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    #[test]
    fn an_agent_runs_on_the_calling_thread_until_it_is_stopped() {
        let mut agent = countdown(5);
        let stop = Arc::clone(&agent.stop);
        run(&mut agent, IdleStrategy::Yield, &stop, || 42);
        assert_eq!(agent.left, 0);
    }

    #[test]
    fn an_agent_comes_back_from_its_own_thread() {
        let agent = countdown(1_000);
        let stop = Arc::clone(&agent.stop);
        let thread = spawn(agent, IdleStrategy::Yield, None, stop, || 42).unwrap();
        assert_eq!(thread.pinned(), Ok(()));
        assert_eq!(thread.join().unwrap().left, 0);
    }

    #[test]
    fn an_agent_that_is_refused_its_core_runs_all_the_same_and_its_handle_says_so() {
        let (agent, core) = (countdown(10), 1_000);
        let stop = Arc::clone(&agent.stop);
        let thread = spawn(agent, IdleStrategy::Yield, Some(core), stop, || 42).unwrap();
        assert_eq!(thread.pinned(), Err(PinRefused { core }));
        assert_eq!(thread.join().unwrap().left, 0);
    }

    #[test]
    fn a_core_that_is_not_there_is_refused_by_its_number() {
        let core = 1_000;
        let refused = thread::spawn(move || pin(core)).join().unwrap();
        assert_eq!(refused, Err(PinRefused { core }));
    }

    #[test]
    fn dropping_the_handle_stops_the_agent() {
        let agent = countdown(usize::MAX);
        let stop = Arc::clone(&agent.stop);
        let seen = Arc::clone(&stop);
        drop(spawn(agent, IdleStrategy::Yield, None, stop, || 42).unwrap());
        assert!(seen.load(Ordering::Relaxed));
    }
}
