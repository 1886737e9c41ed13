//! The two backends as one type, chosen once at start: a predictable branch, no `dyn`.

use core::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use super::error::PortError;
use super::syscall_port::{PortCounters, SocketOptions, SyscallPort};
use super::uring_port::UringPort;
use crate::datagram_port::{DatagramPort, Received, SendOutcome};
use crate::port_trouble::PortTrouble;
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

    /// The backend in use.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Syscall(_) => Backend::Syscall,
            Self::Uring(_) => Backend::Uring,
        }
    }

    /// What was dropped and refused so far.
    #[must_use]
    pub const fn counters(&self) -> &PortCounters {
        match self {
            Self::Syscall(port) => port.counters(),
            Self::Uring(port) => port.counters(),
        }
    }

    /// Bytes the kernel granted for waiting datagrams.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        match self {
            Self::Syscall(port) => port.receive_buffer(),
            Self::Uring(port) => port.receive_buffer(),
        }
    }

    /// Bytes the kernel granted for datagrams on their way out.
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        match self {
            Self::Syscall(port) => port.send_buffer(),
            Self::Uring(port) => port.send_buffer(),
        }
    }
}

impl AsRawFd for NetworkPort {
    /// The socket: readable while a datagram waits that the port has not looked at, on either
    /// backend, for the ring takes nothing over from the socket but when it is polled.
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Syscall(port) => port.as_raw_fd(),
            Self::Uring(port) => port.as_raw_fd(),
        }
    }
}

impl DatagramPort for NetworkPort {
    fn local_address(&self) -> SocketAddr {
        match self {
            Self::Syscall(port) => port.local_address(),
            Self::Uring(port) => port.local_address(),
        }
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        match self {
            Self::Syscall(port) => port.receive(now, buffer),
            Self::Uring(port) => port.receive(now, buffer),
        }
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        match self {
            Self::Syscall(port) => port.take_trouble(),
            Self::Uring(port) => port.take_trouble(),
        }
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        match self {
            Self::Syscall(port) => port.send(now, to, datagram),
            Self::Uring(port) => port.send(now, to, datagram),
        }
    }
}
