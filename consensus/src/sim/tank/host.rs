//! What a member's disk and ports have in common: its host's clock, and its end in the middle
//! of a duty cycle.

use core::net::SocketAddr;
use std::cell::Cell;
use std::rc::Rc;

use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::Nanos;

use crate::sim::tank::crash::Crash;

const PARTS: i128 = 1_000_000;

/// A monotonic clock that runs at a rate of its own.
#[derive(Clone, Copy, Debug, Default)]
struct DriftingClock {
    /// True time at which it showed `own`.
    at: Nanos,
    own: Nanos,
    /// How much faster than true time, in millionths.
    rate: i64,
}

impl DriftingClock {
    /// What the clock shows at `at`.
    fn own_time(&self, at: Nanos) -> Nanos {
        let passed = i128::from(at - self.at);
        self.own + (passed + (passed * i128::from(self.rate)).div_euclid(PARTS)) as Nanos
    }

    /// When the clock first shows `own`.
    fn true_time(&self, own: Nanos) -> Nanos {
        let passed = (i128::from(own) - i128::from(self.own)) * PARTS;
        let speed = PARTS + i128::from(self.rate);
        let passed = passed.div_euclid(speed) + i128::from(passed.rem_euclid(speed) > 0);
        let at = i128::from(self.at) + passed;
        at.clamp(i128::from(Nanos::MIN), i128::from(Nanos::MAX)) as Nanos
    }
}

/// How a process ends in the middle of a duty cycle.
#[derive(Clone, Copy, Debug)]
struct PendingCrash {
    /// Disk operations that are still taken.
    operations: u64,
    crash: Crash,
    /// What becomes of the writes under way.
    seed: u64,
}

#[derive(Debug, Default)]
struct State {
    now: Cell<Nanos>,
    clock: Cell<DriftingClock>,
    pending_crash: Cell<Option<PendingCrash>>,
    /// How the process ended in the middle of its cycle, if it did.
    death: Cell<Option<Crash>>,
}

/// See the module. A handle: all clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct TankHost {
    state: Rc<State>,
}

impl TankHost {
    /// It is `now`; returns what the host's clock shows.
    pub fn tell_time(&self, now: Nanos) -> Nanos {
        self.state.now.set(now);
        self.state.clock.get().own_time(now)
    }

    /// What its clock shows at `at`.
    #[must_use]
    pub fn own_time(&self, at: Nanos) -> Nanos {
        self.state.clock.get().own_time(at)
    }

    /// What its clock shows when it is `at`, or later by as little as it can tell.
    #[must_use]
    pub fn own_deadline(&self, at: Nanos) -> Nanos {
        let clock = self.state.clock.get();
        clock.own_time(at) + Nanos::from(clock.rate < 0)
    }

    /// When its clock shows `own`.
    #[must_use]
    pub fn true_time(&self, own: Nanos) -> Nanos {
        self.state.clock.get().true_time(own)
    }

    /// True time, for what the host is connected to.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.state.now.get()
    }

    /// Its clock runs so much faster from now on, in millionths.
    pub fn set_clock_rate(&self, now: Nanos, rate: i64) {
        let own = self.own_time(now);
        self.state.clock.set(DriftingClock { at: now, own, rate });
    }

    /// The process ends when it has handed so many more operations to its disk.
    pub fn crash_after(&self, operations: u64, crash: Crash, seed: u64) {
        self.state.pending_crash.set(Some(PendingCrash {
            operations,
            crash,
            seed,
        }));
    }

    /// Another process begins.
    pub fn begin(&self) {
        self.state.pending_crash.set(None);
        self.state.death.set(None);
    }

    /// An operation is handed to the disk. How the process ends before it is, if it does, and the
    /// seed of what becomes of the writes under way.
    pub fn burn(&self) -> Option<(Crash, u64)> {
        let pending_crash = self.state.pending_crash.get()?;
        if let Some(operations) = pending_crash.operations.checked_sub(1) {
            self.state.pending_crash.set(Some(PendingCrash {
                operations,
                ..pending_crash
            }));
            return None;
        }
        self.state.pending_crash.set(None);
        self.state.death.set(Some(pending_crash.crash));
        Some((pending_crash.crash, pending_crash.seed))
    }

    /// Whether the process has ended in the middle of its cycle: nothing that it does from then on
    /// happens.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state.death.get().is_some()
    }

    /// How it has.
    #[must_use]
    pub fn death(&self) -> Option<Crash> {
        self.state.death.get()
    }
}

/// A port of a member, on its host's network.
#[derive(Debug)]
pub struct TankPort {
    port: SimPort,
    host: TankHost,
}

impl TankPort {
    /// The port as the member's process sees it.
    #[must_use]
    pub const fn new(port: SimPort, host: TankHost) -> Self {
        Self { port, host }
    }
}

impl DatagramPort for TankPort {
    fn local_address(&self) -> SocketAddr {
        self.port.local_address()
    }

    fn receive(&mut self, _now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.port.receive(self.host.now(), buffer)
    }

    fn send(&mut self, _now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if self.host.is_dead() {
            return SendOutcome::Refused;
        }
        self.port.send(self.host.now(), to, datagram)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let deadline = self.port.next_deadline()?;
        Some(self.host.own_deadline(deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_drifts_shows_every_time_once_and_is_asked_back_exactly() {
        let host = TankHost::default();
        assert_eq!((host.tell_time(77), host.true_time(77)), (77, 77));
        host.set_clock_rate(1_000, 50_000);
        assert_eq!(host.own_time(1_001_000), 1_051_000);
        host.set_clock_rate(1_001_000, -50_000);
        assert_eq!(host.own_time(2_001_000), 2_001_000);
        for at in 1_001_000..1_002_000 {
            let own = host.own_time(at);
            assert!(host.true_time(own) <= at && host.own_time(host.true_time(own)) >= own);
            assert!(host.own_time(at + 1) >= own);
        }
        assert_eq!(host.true_time(Nanos::MAX), Nanos::MAX);
    }

    #[test]
    fn a_process_ends_before_the_operation_it_is_told() {
        let host = TankHost::default();
        host.crash_after(2, Crash::Kill, 5);
        assert_eq!((host.burn(), host.burn()), (None, None));
        assert!(!host.is_dead());
        assert_eq!(host.burn(), Some((Crash::Kill, 5)));
        assert!(host.is_dead() && host.burn().is_none());
        host.begin();
        assert!(!host.is_dead());
    }
}
