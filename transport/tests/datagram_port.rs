//! The conformance suite of [`DatagramPort`], run on every implementation: system calls,
//! io_uring, the fault injecting port without faults, the simulator's twin, and each of them with
//! its system calls in another half.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lockstep_transport::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort, Received, SendOutcome};
use lockstep_transport::fault::FaultyPort;
use lockstep_transport::media::{
    Backend, NetworkPort, PortError, SocketOptions, SyscallPort, UringPort,
};
use lockstep_transport::port_trouble::PortTrouble;
use lockstep_transport::queued_port::{PortRunner, QueuedPort, queued_port};
use lockstep_transport::time::{MICROSECOND, Nanos};

/// Polls before a test gives up; each empty one yields and moves virtual time on.
const POLLS_MAX: usize = 100_000;

const IPV4: fn() -> SocketAddr = || (Ipv4Addr::LOCALHOST, 0).into();
const IPV6: fn() -> SocketAddr = || (Ipv6Addr::LOCALHOST, 0).into();

/// Two ports of one kind, and the time they are told.
struct Pair<P> {
    near: P,
    far: P,
    now: Nanos,
}

impl<P: DatagramPort> Pair<P> {
    fn new(mut open: impl FnMut() -> P) -> Self {
        Self {
            near: open(),
            far: open(),
            now: 0,
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        let to = self.far.local_address();
        for _ in 0..POLLS_MAX {
            match self.near.send(self.now, to, datagram) {
                SendOutcome::Sent => return self.near.flush(self.now),
                SendOutcome::BackPressured => std::thread::yield_now(),
                SendOutcome::Refused => panic!("{} bytes refused", datagram.len()),
            }
        }
        panic!("back-pressured for ever");
    }

    /// The next datagram at the far port.
    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        for _ in 0..POLLS_MAX {
            if let Some(received) = self.far.receive(self.now, buffer) {
                return received;
            }
            self.now += 10 * MICROSECOND;
            std::thread::yield_now();
        }
        panic!("nothing arrived");
    }

    fn delivers_in_order_and_names_the_source(&mut self) {
        let mut buffer = [0; 64];
        for number in 0..10_u8 {
            self.send(&vec![number; usize::from(number)]);
        }
        for number in 0..10_u8 {
            let received = self.receive(&mut buffer);
            assert_eq!(received.source, self.near.local_address());
            assert_eq!(received.length, usize::from(number));
            assert!(buffer[..received.length].iter().all(|b| *b == number));
        }
        assert_eq!(self.far.receive(self.now, &mut buffer), None);
    }

    fn answers_reach_the_source(&mut self) {
        self.send(b"ping");
        let mut buffer = [0; 64];
        let source = self.receive(&mut buffer).source;
        assert_eq!(self.far.send(self.now, source, b"pong"), SendOutcome::Sent);
        self.far.flush(self.now);
        core::mem::swap(&mut self.near, &mut self.far);
        let received = self.receive(&mut buffer);
        assert_eq!(&buffer[..received.length], b"pong");
        core::mem::swap(&mut self.near, &mut self.far);
    }

    fn drops_what_is_too_long_and_never_truncates(&mut self) {
        let mut buffer = [0; 100];
        self.send(&[1; 101]);
        self.send(&[2; 5_000]);
        self.send(&[3; 100]);
        let received = self.receive(&mut buffer);
        assert_eq!(received.length, 100);
        assert!(buffer.iter().all(|b| *b == 3));
        assert_eq!(self.far.receive(self.now, &mut buffer), None);
    }

    fn carries_the_longest_datagram_and_refuses_a_longer_one(&mut self) {
        let longest: Vec<u8> = (0..DATAGRAM_LENGTH_MAX).map(|i| i as u8).collect();
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        self.send(&longest);
        let received = self.receive(&mut buffer);
        assert_eq!(received.length, DATAGRAM_LENGTH_MAX);
        assert_eq!(buffer, longest);
        let longer = vec![0; DATAGRAM_LENGTH_MAX + 1];
        let to = self.far.local_address();
        assert_eq!(self.near.send(self.now, to, &longer), SendOutcome::Refused);
    }

    fn an_empty_poll_finds_nothing(&mut self) {
        for _ in 0..100 {
            assert_eq!(self.far.receive(self.now, &mut [0; 64]), None);
        }
    }

    fn a_burst_arrives_whole_and_in_order(&mut self) {
        let mut buffer = [0; 64];
        // Batches that any socket buffer holds, more than the ring has buffers.
        for batch in 0..10_u32 {
            for number in 0..100 {
                self.send(&(batch * 100 + number).to_le_bytes());
            }
            for number in 0..100 {
                let received = self.receive(&mut buffer);
                assert_eq!(received.length, 4);
                assert_eq!(buffer[..4], (batch * 100 + number).to_le_bytes());
            }
        }
        assert_eq!(self.far.receive(self.now, &mut buffer), None);
    }

    fn an_absent_peer_does_not_disturb(&mut self, absent: SocketAddr) {
        for _ in 0..3 {
            let outcome = self.near.send(self.now, absent, b"anyone?");
            assert_eq!(outcome, SendOutcome::Sent);
        }
        assert_eq!(self.near.receive(self.now, &mut [0; 64]), None);
        self.send(b"you");
        assert_eq!(self.receive(&mut [0; 64]).length, 3);
    }

    fn conforms(&mut self, absent: SocketAddr) {
        self.an_empty_poll_finds_nothing();
        self.delivers_in_order_and_names_the_source();
        self.answers_reach_the_source();
        self.drops_what_is_too_long_and_never_truncates();
        self.carries_the_longest_datagram_and_refuses_a_longer_one();
        self.a_burst_arrives_whole_and_in_order();
        self.an_absent_peer_does_not_disturb(absent);
        self.an_empty_poll_finds_nothing();
    }
}

/// A port in two halves, of which the far one has its turn after each send phase and before each
/// look.
struct InTwo<P> {
    near: QueuedPort,
    far: PortRunner<P>,
}

impl<P: DatagramPort> InTwo<P> {
    fn new(port: P) -> Self {
        let (near, far) = queued_port(port);
        Self { near, far }
    }
}

impl<P: DatagramPort> DatagramPort for InTwo<P> {
    fn local_address(&self) -> SocketAddr {
        self.near.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.far.do_work(now);
        self.near.receive(now, buffer)
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.near.send(now, to, datagram)
    }

    fn flush(&mut self, now: Nanos) {
        self.near.flush(now);
        self.far.do_work(now);
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.near.take_trouble()
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.far.next_deadline()
    }
}

fn syscall_port(address: SocketAddr) -> SyscallPort {
    SyscallPort::bind(address, SocketOptions::default()).expect("a socket for the test")
}

/// An address at which nobody listens any more.
fn absent() -> SocketAddr {
    syscall_port(IPV4()).local_address()
}

/// Whether the host has io_uring; says so when it has not.
fn has_ring() -> bool {
    match UringPort::bind(IPV4(), SocketOptions::default()) {
        Ok(_) => true,
        Err(PortError::RingRefused(reason)) => {
            eprintln!("SKIPPED: no io_uring here, so its port is not tested: {reason}");
            false
        }
        Err(error) => panic!("failed to {error}"),
    }
}

fn has_ipv6() -> bool {
    match SyscallPort::bind(IPV6(), SocketOptions::default()) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED: no IPv6 loopback here: failed to {error}");
            false
        }
    }
}

fn uring_port(address: SocketAddr) -> UringPort {
    UringPort::bind(address, SocketOptions::default()).expect("a ring for the test")
}

#[test]
fn the_syscall_port_conforms() {
    Pair::new(|| syscall_port(IPV4())).conforms(absent());
}

#[test]
fn the_syscall_port_conforms_over_ipv6() {
    if has_ipv6() {
        let absent = syscall_port(IPV6()).local_address();
        Pair::new(|| syscall_port(IPV6())).conforms(absent);
    }
}

#[test]
fn the_uring_port_conforms() {
    if has_ring() {
        let mut pair = Pair::new(|| uring_port(IPV4()));
        pair.conforms(absent());
        assert_eq!(pair.far.counters().too_long, 2);
        assert_eq!(pair.far.counters().ring_failures, 0);
    }
}

#[test]
fn the_uring_port_conforms_over_ipv6() {
    if has_ring() && has_ipv6() {
        let absent = syscall_port(IPV6()).local_address();
        Pair::new(|| uring_port(IPV6())).conforms(absent);
    }
}

#[test]
fn a_network_port_conforms_on_either_backend() {
    let options = SocketOptions::default();
    for backend in [Backend::Syscall, Backend::Uring] {
        if backend == Backend::Syscall || has_ring() {
            Pair::new(|| NetworkPort::bind(IPV4(), options, backend).unwrap()).conforms(absent());
        }
    }
}

#[test]
fn the_faulty_port_without_faults_conforms() {
    Pair::new(|| FaultyPort::new(syscall_port(IPV4()), 1)).conforms(absent());
}

#[test]
#[cfg(feature = "sim")]
fn the_simulated_port_conforms() {
    use lockstep_transport::sim::{LinkProfile, SimNetwork};

    let network = SimNetwork::new(1, LinkProfile::default());
    let mut last = 0_u16;
    let mut open = || {
        last += 1;
        network.port((Ipv4Addr::LOCALHOST, last).into())
    };
    let absent = (Ipv4Addr::LOCALHOST, 9).into();
    Pair::new(&mut open).conforms(absent);
    Pair::new(|| InTwo::new(open())).conforms(absent);
}

#[test]
fn a_port_in_two_halves_conforms() {
    Pair::new(|| InTwo::new(syscall_port(IPV4()))).conforms(absent());
    if has_ring() {
        Pair::new(|| InTwo::new(uring_port(IPV4()))).conforms(absent());
    }
}

#[test]
fn a_ring_polled_first_on_another_thread_belongs_to_that_thread() {
    if has_ring() {
        let pair = Pair::new(|| uring_port(IPV4()));
        let run = move || {
            let mut pair = pair;
            pair.conforms(absent());
            pair.far.counters().ring_failures
        };
        let failures = std::thread::scope(|scope| scope.spawn(run).join());
        assert_eq!(failures.unwrap(), 0);
    }
}

#[test]
fn a_ring_that_changes_threads_goes_on_by_system_call() {
    if has_ring() {
        let mut pair = Pair::new(|| uring_port(IPV4()));
        pair.delivers_in_order_and_names_the_source();
        let run = move || {
            let mut pair = pair;
            pair.a_burst_arrives_whole_and_in_order();
            pair.far.counters().ring_failures
        };
        let failures = std::thread::scope(|scope| scope.spawn(run).join());
        assert_eq!(failures.unwrap(), 1);
    }
}

#[test]
fn an_empty_poll_is_one_system_call_or_none() {
    let mut port = syscall_port(IPV4());
    assert_eq!(port.receive(0, &mut [0; 64]), None);
    assert_eq!(port.counters().system_calls(), 1);
    if has_ring() {
        let mut port = uring_port(IPV4());
        assert_eq!(port.receive(0, &mut [0; 64]), None);
        let armed = port.counters().system_calls();
        for _ in 0..100 {
            assert_eq!(port.receive(0, &mut [0; 64]), None);
        }
        assert_eq!(port.counters().system_calls(), armed);
    }
}

#[test]
fn a_closed_port_can_be_opened_again_at_once() {
    for backend in [Backend::Syscall, Backend::Uring] {
        if backend == Backend::Uring && !has_ring() {
            continue;
        }
        let options = SocketOptions::default();
        let mut address = IPV4();
        for _ in 0..20 {
            let mut port = NetworkPort::bind(address, options, backend)
                .unwrap_or_else(|error| panic!("{}: failed to {error}", backend.name()));
            assert_eq!(port.receive(0, &mut [0; 64]), None);
            address = port.local_address();
        }
    }
}

#[test]
fn a_refused_address_is_named_with_reason_and_remedy() {
    let holder = syscall_port(IPV4());
    let options = SocketOptions::default();
    let refusal = SyscallPort::bind(holder.local_address(), options).unwrap_err();
    assert!(matches!(refusal, PortError::InUse(_)));
    let message = refusal.to_string();
    assert!(message.contains(&holder.local_address().to_string()));
    assert!(message.contains("in use") && message.contains("configure another port"));

    let foreign = (Ipv4Addr::new(192, 0, 2, 1), 20_110).into();
    let refusal = SyscallPort::bind(foreign, options).unwrap_err();
    assert!(matches!(refusal, PortError::NotLocal(_)), "{refusal}");
}
