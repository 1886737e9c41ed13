//! Which backend a node should use here: told, or measured at start in some milliseconds.
//!
//! The measurement is a ping-pong of two ports on one thread over loopback. It says what one
//! datagram costs each backend, not what a network costs; on a host whose cores are few that is
//! what decides. The answer comes with a sentence for the start line.

use core::net::{Ipv4Addr, SocketAddr};

use super::error::{PortError, RingRefusal};
use super::network_port::{Backend, NetworkPort};
use super::syscall_port::SocketOptions;
use super::system_clock::monotonic_now;
use crate::datagram_port::{DatagramPort, SendOutcome};
use crate::setting::IoChoice;
use crate::time::{MILLISECOND, Nanos};

/// Round trips measured per backend; they are compared by their median.
const ROUND_TRIPS: usize = 400;
/// Round trips before that, to fault pages in and fill caches.
const WARM_UP: usize = 50;
/// Round trips that make a median worth comparing, should time run out.
const ROUND_TRIPS_MIN: usize = 50;
/// Time for one backend; with both and their set-up the probe stays below 50 ms.
const TIME_LIMIT: Nanos = 20 * MILLISECOND;
/// Datagram length of the reference scenario (`performance.md` 5), in bytes.
const DATAGRAM_LENGTH: usize = 288;
/// The ring must be at least this much better, in percent of the round trip: below it the
/// difference is noise and the simpler backend wins.
const MARGIN_PERCENT: Nanos = 5;

/// The backend to use and a sentence that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChoice {
    /// For [`NetworkPort::bind`].
    pub backend: Backend,
    /// Why, for the start line: completes "network syscall: …".
    pub reason: String,
}

/// Finds the backend to use. Takes at most 50 ms; never fails, for `syscall` always works.
#[must_use]
pub fn probe(choice: IoChoice) -> NetworkChoice {
    let choose = |backend, reason| NetworkChoice { backend, reason };
    match choice {
        IoChoice::Syscall => choose(Backend::Syscall, "as configured".into()),
        IoChoice::Uring => match pair(Backend::Uring) {
            Ok(_) => choose(Backend::Uring, "as configured".into()),
            Err(error) => choose(
                Backend::Syscall,
                format!("although uring is configured: failed to {error}"),
            ),
        },
        IoChoice::Auto => {
            let (backend, reason) = compare(
                pair(Backend::Syscall).map(round_trip),
                pair(Backend::Uring).map(round_trip),
            );
            choose(backend, reason)
        }
    }
}

/// Decides between two measurements; `None` is a measurement that came to no end.
fn compare(
    syscall: Result<Option<Nanos>, PortError>,
    uring: Result<Option<Nanos>, PortError>,
) -> (Backend, String) {
    match (syscall, uring) {
        (_, Err(error)) => (Backend::Syscall, format!("failed to {error}")),
        (Ok(Some(syscall)), Ok(Some(uring))) => {
            let backend = if uring * 100 < syscall * (100 - MARGIN_PERCENT) {
                Backend::Uring
            } else {
                Backend::Syscall
            };
            let reason = format!(
                "a loopback round trip of {DATAGRAM_LENGTH} bytes takes {:.1} µs with syscall \
                 and {:.1} µs with uring",
                syscall as f64 / 1_000.0,
                uring as f64 / 1_000.0
            );
            (backend, reason)
        }
        _ => (
            Backend::Syscall,
            "loopback was too slow to compare it with uring".into(),
        ),
    }
}

/// Two endpoints on one backend, that have been seen to work: a ring which the host lets be set
/// up may still be refused when it is used.
fn pair(backend: Backend) -> Result<[NetworkPort; 2], PortError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bind = || NetworkPort::bind(address, SocketOptions::default(), backend);
    let [mut near, mut far] = [bind()?, bind()?];
    let limit = monotonic_now() + TIME_LIMIT;
    let arrived = hop(&mut near, &mut far, limit).is_some();
    let has_failed = |port: &NetworkPort| port.counters().ring_failures > 0;
    if backend == Backend::Uring && (!arrived || has_failed(&near) || has_failed(&far)) {
        return Err(PortError::RingRefused(RingRefusal::Unusable));
    }
    Ok([near, far])
}

/// The median round trip; `None` when the ports did not get through in time.
fn round_trip([mut near, mut far]: [NetworkPort; 2]) -> Option<Nanos> {
    let limit = monotonic_now() + TIME_LIMIT;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for round in 0..WARM_UP + ROUND_TRIPS {
        let start = monotonic_now();
        hop(&mut near, &mut far, limit)?;
        hop(&mut far, &mut near, limit)?;
        if round >= WARM_UP {
            times.push(monotonic_now() - start);
        }
        if start > limit {
            break;
        }
    }
    let middle = times.len() / 2;
    (times.len() >= ROUND_TRIPS_MIN).then(|| *times.select_nth_unstable(middle).1)
}

/// One datagram from one port to the other.
fn hop(from: &mut NetworkPort, to: &mut NetworkPort, limit: Nanos) -> Option<()> {
    let mut buffer = [0; DATAGRAM_LENGTH];
    let outcome = from.send(0, to.local_address(), &buffer);
    if outcome != SendOutcome::Sent {
        return None;
    }
    while to.receive(0, &mut buffer).is_none() {
        if monotonic_now() > limit {
            return None;
        }
        std::thread::yield_now();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_takes_one_and_says_why_within_its_time() {
        let start = monotonic_now();
        let choice = probe(IoChoice::Auto);
        let took = monotonic_now() - start;
        assert!(!choice.reason.is_empty());
        // The limit of the product is 50 ms; the rest is for a busy machine.
        assert!(took < 1_000 * MILLISECOND, "{took} ns");
    }

    #[test]
    fn the_faster_one_wins_and_a_tie_goes_to_syscall() {
        let winner = |syscall, uring| compare(Ok(Some(syscall)), Ok(Some(uring))).0;
        assert_eq!(winner(4_000, 3_000), Backend::Uring);
        assert_eq!(winner(4_000, 3_900), Backend::Syscall);
        assert_eq!(winner(3_000, 4_000), Backend::Syscall);
    }

    #[test]
    fn a_refused_ring_is_named_in_the_reason() {
        let refused = PortError::RingRefused(RingRefusal::NotPermitted);
        let (backend, reason) = compare(Ok(Some(1)), Err(refused));
        assert_eq!(backend, Backend::Syscall);
        assert!(reason.contains("io_uring_disabled"), "{reason}");
    }
}
