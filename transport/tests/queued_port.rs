//! A port whose system calls another thread makes: who wakes whom, what is known of it at the near
//! half, and that neither half allocates.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::disallowed_methods, reason = "two threads are what is tried")]

use core::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lockstep_transport::agent::{Agent, IdleStrategy, Idler, WakeSource, WakeSources, spawn};
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort, SendOutcome};
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, UringPort, monotonic_now};
use lockstep_transport::port_trouble::TroubleKind;
use lockstep_transport::queued_port::PortRunner;
use lockstep_transport::time::Nanos;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The backends that there are here; says which one is not.
fn backends() -> Vec<Backend> {
    let address = "127.0.0.1:0".parse().unwrap();
    match UringPort::bind(address, SocketOptions::default()) {
        Ok(_) => vec![Backend::Syscall, Backend::Uring],
        Err(error) => {
            eprintln!("SKIPPED: no io_uring here: failed to {error}");
            vec![Backend::Syscall]
        }
    }
}

fn open(backend: Backend) -> NetworkPort {
    let address = "127.0.0.1:0".parse().unwrap();
    NetworkPort::bind(address, SocketOptions::default(), backend).expect("a socket for the test")
}

/// The far half, driven as a node's thread drives it.
struct FarThread {
    far: PortRunner<NetworkPort>,
    cycles: u64,
    allocations: u64,
}

impl Agent for FarThread {
    fn role_name(&self) -> &'static str {
        "far"
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let before = count_of_thread();
        let work = self.far.do_work(now);
        self.cycles += 1;
        self.allocations += count_of_thread() - before;
        work
    }

    fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
        self.far.next_deadline()
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.far.name_wake_sources(sources);
    }

    fn has_ended(&self) -> bool {
        self.far.has_ended()
    }
}

/// Sends `datagram` to `to` and waits, asleep where nothing is to be done, for the answer.
fn ask(
    port: &mut NetworkPort,
    idle: &mut Idler,
    to: SocketAddr,
    datagram: &[u8],
    buffer: &mut [u8],
) -> usize {
    assert_eq!(port.send(0, to, datagram), SendOutcome::Sent);
    port.flush(0);
    loop {
        let received = port.receive(0, buffer);
        idle.idle_until(received.iter().len(), monotonic_now(), || None);
        if let Some(received) = received {
            assert_eq!(received.source, to);
            return received.length;
        }
    }
}

#[test]
fn two_sleeping_threads_wake_each_other_and_neither_allocates() {
    const QUESTIONS: usize = 300;
    for backend in backends() {
        let (mut near, far) = open(backend).on_a_thread();
        let mut other = open(Backend::Syscall);
        let (address, to) = (near.local_address(), other.local_address());
        let far = FarThread {
            far,
            cycles: 0,
            allocations: 0,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let idle = IdleStrategy::Adaptive;
        let thread = spawn(far, idle, None, stop, monotonic_now).unwrap();
        let peer = std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            for _ in 0..QUESTIONS {
                let received = loop {
                    match other.receive(0, &mut buffer) {
                        Some(received) => break received,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(received.source, address);
                let answer = &buffer[..received.length];
                assert_eq!(other.send(0, address, answer), SendOutcome::Sent);
            }
        });
        let mut idle = Idler::new(idle);
        near.name_wake_sources(idle.wake_sources().expect("it sleeps"));
        let mut buffer = [0; 2_048];
        let before = count_of_thread();
        for question in 0..QUESTIONS {
            let length = question * 7 % 1_400;
            let asked = [question as u8; 1_400];
            let answered = ask(&mut near, &mut idle, to, &asked[..length], &mut buffer);
            assert_eq!(buffer[..answered], asked[..length]);
        }
        assert_eq!(count_of_thread() - before, 0);
        peer.join().unwrap();
        drop(near);
        let far = thread.join().unwrap();
        assert_eq!(far.allocations, 0, "in {} cycles", far.cycles);
    }
}

#[test]
fn what_a_port_is_and_counts_is_known_at_the_half_that_makes_no_system_call() {
    for backend in backends() {
        let port = open(backend);
        let facts = |port: &NetworkPort| {
            let buffers = (port.receive_buffer(), port.send_buffer());
            (port.local_address(), port.backend(), buffers)
        };
        let of_whole = facts(&port);
        let (mut near, mut far) = port.on_a_thread();
        assert_eq!(facts(&near), of_whole);
        let to = near.local_address();
        let elsewhere = "192.0.2.1:9000".parse().unwrap();
        for (to, length) in [(to, 100), (elsewhere, 1), (to, 60)] {
            assert_eq!(near.send(0, to, &vec![1; length]), SendOutcome::Sent);
        }
        let longer = vec![0; DATAGRAM_LENGTH_MAX + 1];
        assert_eq!(near.send(0, to, &longer), SendOutcome::Refused);
        assert_eq!(near.counters().system_calls(), 0);
        let mut buffer = [0; 64];
        let received = loop {
            far.do_work(0);
            if let Some(received) = near.receive(0, &mut buffer) {
                break received;
            }
        };
        assert_eq!((received.source, received.length), (to, 60));
        far.do_work(0);
        let (counters, of_far) = (near.counters(), far.port().counters());
        assert_eq!(counters.system_calls(), of_far.system_calls());
        assert!(counters.system_calls() > 3);
        assert_eq!((counters.too_long, counters.refused), (1, 2));
        let told: Vec<_> = core::iter::from_fn(|| near.take_trouble())
            .map(|trouble| (trouble.kind, trouble.peer))
            .collect();
        let expected = [
            (TroubleKind::SendRefused, Some(to)),
            (TroubleKind::TooLong, None),
            (TroubleKind::SendRefused, Some(elsewhere)),
        ];
        assert_eq!(told, expected);
    }
}
