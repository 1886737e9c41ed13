//! A UDP endpoint that receives through io_uring and sends by system call.
//!
//! An empty poll costs no system call; one system call takes over everything that arrived since
//! the last. Sends stay `sendto`: measured better than the ring (`performance.md` 2). Bound to the
//! first thread that polls it; should the ring ever fail (another thread polls it, the kernel
//! takes it away), the port counts it and goes on receiving by system call.

use core::net::SocketAddr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::error::PortError;
use super::socket_address;
use super::syscall_port::{SocketOptions, SyscallPort};
use super::uring::{Completion, ReceiveRing};
use crate::datagram_port::{DatagramPort, Received, SendOutcome};
use crate::port_counters::PortCounters;
use crate::port_trouble::PortTrouble;
use crate::time::Nanos;

/// Completions and system calls that one `receive` gets through at most before it gives up:
/// over-long datagrams and errors are stepped over, but must not hold up the duty cycle.
const STEPS_MAX: usize = 8;

/// See the module. Fields drop in order: the ring goes before the socket it receives from.
#[derive(Debug)]
pub struct UringPort {
    ring: ReceiveRing,
    socket: SyscallPort,
    failed: bool,
}

impl UringPort {
    /// Opens an endpoint at `address`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`PortError::RingRefused`] when the kernel gives no ring: the caller then takes a
    /// [`SyscallPort`]. Otherwise as [`SyscallPort::bind`].
    pub fn bind(address: SocketAddr, options: SocketOptions) -> Result<Self, PortError> {
        let socket = SyscallPort::bind(address, options)?;
        let ring = ReceiveRing::new(socket.as_raw_fd()).map_err(PortError::RingRefused)?;
        Ok(Self {
            ring,
            socket,
            failed: false,
        })
    }

    /// Bytes the kernel granted for waiting datagrams; see [`SyscallPort::receive_buffer`].
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.socket.receive_buffer()
    }

    /// Bytes the kernel granted for datagrams on their way out; see
    /// [`SyscallPort::send_buffer`].
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        self.socket.send_buffer()
    }

    /// What was dropped and refused so far.
    #[must_use]
    pub const fn counters(&self) -> &PortCounters {
        self.socket.counters()
    }

    /// Copies out and gives back a filled buffer; `None` when its datagram was dropped.
    fn take(&mut self, id: u16, length: usize, buffer: &mut [u8]) -> Option<Received> {
        let socket = &mut self.socket;
        let received = match self.ring.message(id, length) {
            None => {
                socket.on_receive_failed(0);
                None
            }
            Some(message) => match (message.payload, socket_address::decode(message.source)) {
                (Some(payload), Some(source)) if payload.len() <= buffer.len() => {
                    buffer[..payload.len()].copy_from_slice(payload);
                    let length = payload.len();
                    Some(Received { source, length })
                }
                (_, None) => {
                    socket.on_unknown_source();
                    None
                }
                _ => {
                    socket.on_too_long();
                    None
                }
            },
        };
        self.ring.release(id);
        received
    }

    /// Makes the kernel bring more. False: there is no more, now.
    fn replenish(&mut self) -> bool {
        let result = if !self.ring.is_armed() {
            self.ring.arm()
        } else if self.ring.has_work() {
            self.ring.take_over()
        } else {
            return false;
        };
        self.socket.counters_mut().system_calls += 1;
        match result {
            Ok(()) => true,
            Err(error) => self.on_ring_error(&error),
        }
    }

    /// True when the ring is still good and worth another look.
    #[cold]
    #[inline(never)]
    fn on_ring_error(&mut self, error: &io::Error) -> bool {
        let passing = matches!(
            error.raw_os_error(),
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
        );
        if !passing {
            self.failed = true;
            self.socket
                .on_ring_failed(error.raw_os_error().unwrap_or(0));
        }
        passing
    }
}

impl AsRawFd for UringPort {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl DatagramPort for UringPort {
    fn local_address(&self) -> SocketAddr {
        self.socket.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        for _ in 0..STEPS_MAX {
            match self.ring.complete() {
                Some(Completion::Filled { id, length }) => {
                    let received = self.take(id, length, buffer);
                    if received.is_some() {
                        return received;
                    }
                }
                // It is armed again with the next look; what has come waits in the socket.
                Some(Completion::Exhausted) => {}
                Some(Completion::Error(errno)) => self.socket.on_receive_failed(errno),
                None if self.failed => return self.socket.receive(now, buffer),
                None => {
                    if !self.replenish() && !self.failed {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.socket.take_trouble()
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.socket.send(now, to, datagram)
    }
}
