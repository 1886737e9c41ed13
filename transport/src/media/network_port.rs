//! The two backends as one type, chosen once at start: a predictable branch, no `dyn`. Or the near
//! half of such a port, whose system calls another thread makes.

use core::net::SocketAddr;

use super::error::PortError;
use super::syscall_port::{SocketOptions, SyscallPort};
use super::uring_port::UringPort;
use crate::agent::{WakeSource, WakeSources};
use crate::datagram_port::{DatagramPort, Received, SendOutcome};
use crate::port_counters::PortCounters;
use crate::port_trouble::PortTrouble;
use crate::queued_port::{PortRunner, QueuedPort, counted_port};
use crate::setting::IoChoice;
use crate::time::Nanos;

/// A way to reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One system call per datagram.
    Syscall,
    /// Receives through io_uring, sends by system call.
    Uring,
}

impl Backend {
    /// The backend's name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => IoChoice::Syscall.name(),
            Self::Uring => IoChoice::Uring.name(),
        }
    }
}

/// A UDP endpoint on either backend.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a node has a handful of ports; a box would cost a cache miss per poll"
)]
pub enum NetworkPort {
    /// See [`SyscallPort`].
    Syscall(SyscallPort),
    /// See [`UringPort`].
    Uring(UringPort),
    /// One of these on another thread.
    Elsewhere(DistantPort),
}

/// The near half of a port, and what is known of the far one since it was opened.
#[derive(Debug)]
pub struct DistantPort {
    near: QueuedPort,
    backend: Backend,
    receive_buffer: usize,
    send_buffer: usize,
}

impl NetworkPort {
    /// Opens an endpoint at `address` on `backend`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`PortError`], which names the address, the reason and the remedy.
    pub fn bind(
        address: SocketAddr,
        options: SocketOptions,
        backend: Backend,
    ) -> Result<Self, PortError> {
        match backend {
            Backend::Syscall => SyscallPort::bind(address, options).map(Self::Syscall),
            Backend::Uring => UringPort::bind(address, options).map(Self::Uring),
        }
    }

    /// Cuts this port in two: one half for whoever sends and receives, which makes no system call,
    /// and one for the thread that makes them all.
    #[must_use]
    pub fn on_a_thread(self) -> (Self, PortRunner<Self>) {
        let (backend, receive_buffer) = (self.backend(), self.receive_buffer());
        let send_buffer = self.send_buffer();
        let (near, far) = counted_port(self, Self::counters);
        let distant = DistantPort {
            near,
            backend,
            receive_buffer,
            send_buffer,
        };
        (Self::Elsewhere(distant), far)
    }

    /// The backend in use.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Syscall(_) => Backend::Syscall,
            Self::Uring(_) => Backend::Uring,
            Self::Elsewhere(port) => port.backend,
        }
    }

    /// What was dropped and refused so far, on whatever thread.
    #[must_use]
    pub fn counters(&self) -> PortCounters {
        match self {
            Self::Syscall(port) => *port.counters(),
            Self::Uring(port) => *port.counters(),
            Self::Elsewhere(port) => port.near.counters(),
        }
    }

    /// Bytes the kernel granted for waiting datagrams.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        match self {
            Self::Syscall(port) => port.receive_buffer(),
            Self::Uring(port) => port.receive_buffer(),
            Self::Elsewhere(port) => port.receive_buffer,
        }
    }

    /// Bytes the kernel granted for datagrams on their way out.
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        match self {
            Self::Syscall(port) => port.send_buffer(),
            Self::Uring(port) => port.send_buffer(),
            Self::Elsewhere(port) => port.send_buffer,
        }
    }
}

impl WakeSource for NetworkPort {
    /// A socket is readable while a datagram waits that the port has not looked at, on either
    /// backend, for the ring takes nothing over from the socket but when it is polled. One on
    /// another thread is watched there, and that thread wakes this one.
    fn name_wake_sources(&self, sources: &mut WakeSources) {
        match self {
            Self::Syscall(port) => port.name_wake_sources(sources),
            Self::Uring(port) => port.name_wake_sources(sources),
            Self::Elsewhere(port) => port.near.name_wake_sources(sources),
        }
    }
}

impl DatagramPort for NetworkPort {
    fn local_address(&self) -> SocketAddr {
        match self {
            Self::Syscall(port) => port.local_address(),
            Self::Uring(port) => port.local_address(),
            Self::Elsewhere(port) => port.near.local_address(),
        }
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        match self {
            Self::Syscall(port) => port.receive(now, buffer),
            Self::Uring(port) => port.receive(now, buffer),
            Self::Elsewhere(port) => port.near.receive(now, buffer),
        }
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        match self {
            Self::Syscall(port) => port.take_trouble(),
            Self::Uring(port) => port.take_trouble(),
            Self::Elsewhere(port) => port.near.take_trouble(),
        }
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        match self {
            Self::Syscall(port) => port.send(now, to, datagram),
            Self::Uring(port) => port.send(now, to, datagram),
            Self::Elsewhere(port) => port.near.send(now, to, datagram),
        }
    }

    fn flush(&mut self, now: Nanos) {
        match self {
            // Neither queues anything.
            Self::Syscall(_) | Self::Uring(_) => {}
            Self::Elsewhere(port) => port.near.flush(now),
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match self {
            Self::Syscall(_) | Self::Uring(_) => None,
            Self::Elsewhere(port) => port.near.next_deadline(),
        }
    }
}
