//! A UDP endpoint by plain system calls: one per datagram, one per empty poll, nothing else.
//!
//! The fastest way through the loopback interface and on few cores (`performance.md` 2). Owned by
//! the thread that polls it; holds no buffers of its own. Loss is normal here: what the kernel
//! refuses is counted and kept until [`DatagramPort::take_trouble`], never reported as an error.

use core::net::SocketAddr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::PortError;
use super::socket_address::SocketAddress;
use crate::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort, Received, SendOutcome};
use crate::port_counters::PortCounters;
use crate::port_trouble::{PortTrouble, PortTroubles, TroubleKind};
use crate::time::Nanos;

/// System calls one `receive` or `send` makes at most. Errors left behind by earlier datagrams
/// and over-long datagrams are stepped over; a flood of them must not hold up the duty cycle.
const ATTEMPTS_MAX: usize = 8;

/// What to ask the kernel for when a socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes of the socket's receive buffer (`SO_RCVBUF`).
    pub receive_buffer: usize,
    /// Bytes of the socket's send buffer (`SO_SNDBUF`).
    pub send_buffer: usize,
}

impl Default for SocketOptions {
    /// 4 MiB each way: the kernel accounts about 800 bytes for a small datagram, so this holds
    /// some 5,000 of them, several windows of every peer.
    fn default() -> Self {
        Self {
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
        }
    }
}

/// One unconnected, non-blocking UDP socket.
#[derive(Debug)]
pub struct SyscallPort {
    socket: Socket,
    local: SocketAddr,
    counters: PortCounters,
    troubles: PortTroubles,
}

impl SyscallPort {
    /// Opens an endpoint at `address`; port 0 lets the system choose one.
    ///
    /// A buffer smaller than asked for is no error, see
    /// [`receive_buffer`](Self::receive_buffer).
    ///
    /// # Errors
    /// [`PortError`], which names the address, the reason and the remedy.
    pub fn bind(address: SocketAddr, options: SocketOptions) -> Result<Self, PortError> {
        let refuse = |reason| PortError::from_bind(address, reason);
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(refuse)?;
        if address.is_ipv6() {
            // A peer has one address: never the same IPv4 peer in two notations.
            socket.set_only_v6(true).map_err(refuse)?;
        }
        socket.set_nonblocking(true).map_err(refuse)?;
        let fd = socket.as_raw_fd();
        if !force_buffer(fd, libc::SO_RCVBUFFORCE, options.receive_buffer) {
            let length = options.receive_buffer;
            socket.set_recv_buffer_size(length).map_err(refuse)?;
        }
        if !force_buffer(fd, libc::SO_SNDBUFFORCE, options.send_buffer) {
            let length = options.send_buffer;
            socket.set_send_buffer_size(length).map_err(refuse)?;
        }
        socket.bind(&address.into()).map_err(refuse)?;
        let local = socket.local_addr().map_err(refuse)?;
        let local = local.as_socket().ok_or(PortError::Family(address))?;
        Ok(Self {
            socket,
            local,
            counters: PortCounters::default(),
            troubles: PortTroubles::default(),
        })
    }

    /// Bytes the kernel granted for waiting datagrams; less than asked for where
    /// `net.core.rmem_max` is low and the process lacks CAP_NET_ADMIN.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        // The kernel doubles the request for its own bookkeeping and reports the double.
        self.socket.recv_buffer_size().unwrap_or(0) / 2
    }

    /// Bytes the kernel granted for datagrams on their way out; as for
    /// [`receive_buffer`](Self::receive_buffer), with `net.core.wmem_max`.
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        self.socket.send_buffer_size().unwrap_or(0) / 2
    }

    /// What was dropped and refused so far.
    #[must_use]
    pub const fn counters(&self) -> &PortCounters {
        &self.counters
    }

    /// The same, for the port that adds a ring to this socket.
    pub(super) const fn counters_mut(&mut self) -> &mut PortCounters {
        &mut self.counters
    }

    #[cold]
    #[inline(never)]
    fn on_receive_error(&mut self) -> ReceiveError {
        match last_error() {
            libc::EAGAIN => ReceiveError::Empty,
            libc::EINTR => ReceiveError::Passing,
            errno => {
                self.on_receive_failed(errno);
                ReceiveError::Passing
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn on_send_error(&mut self, to: SocketAddr) -> Option<SendOutcome> {
        match last_error() {
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => {
                self.counters.back_pressured += 1;
                Some(SendOutcome::BackPressured)
            }
            // The report of an earlier datagram that found no listener; this one was not tried.
            libc::EINTR | libc::ECONNREFUSED => None,
            errno => Some(self.refuse(errno, to)),
        }
    }

    const fn refuse(&mut self, errno: libc::c_int, to: SocketAddr) -> SendOutcome {
        // Kept with its number until the node asks for it.
        self.counters.refused += 1;
        self.troubles
            .note(TroubleKind::SendRefused, errno, Some(to));
        SendOutcome::Refused
    }

    pub(super) const fn on_receive_failed(&mut self, errno: libc::c_int) {
        self.troubles.note(TroubleKind::ReceiveFailed, errno, None);
    }

    pub(super) const fn on_too_long(&mut self) {
        self.counters.too_long += 1;
        self.troubles.note(TroubleKind::TooLong, 0, None);
    }

    pub(super) const fn on_unknown_source(&mut self) {
        self.troubles.note(TroubleKind::UnknownSource, 0, None);
    }

    pub(super) const fn on_ring_failed(&mut self, errno: libc::c_int) {
        self.counters.ring_failures += 1;
        self.troubles.note(TroubleKind::RingFailed, errno, None);
    }
}

/// What became of a receive that delivered nothing.
enum ReceiveError {
    /// Nothing is waiting.
    Empty,
    /// Try again: the error was about something else.
    Passing,
}

fn last_error() -> libc::c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Asks for a buffer beyond the system's limit, which needs CAP_NET_ADMIN. False: refused.
fn force_buffer(fd: RawFd, option: libc::c_int, length: usize) -> bool {
    let length = libc::c_int::try_from(length).unwrap_or(libc::c_int::MAX);
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `fd` is open, and the value is a c_int of this frame, described by `size`.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw const length).cast(),
            size,
        )
    };
    result == 0
}

impl AsRawFd for SyscallPort {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl DatagramPort for SyscallPort {
    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn receive(&mut self, _now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        for _ in 0..ATTEMPTS_MAX {
            let mut source = SocketAddress::empty();
            self.counters.system_calls += 1;
            // SAFETY: the buffer and the address are live, exclusively borrowed, and as long
            // as said. MSG_TRUNC only makes the result the datagram's true length.
            let result = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_TRUNC,
                    source.as_mut_ptr(),
                    source.length_mut(),
                )
            };
            let Ok(length) = usize::try_from(result) else {
                match self.on_receive_error() {
                    ReceiveError::Empty => return None,
                    ReceiveError::Passing => continue,
                }
            };
            if length > buffer.len() {
                self.on_too_long();
                continue;
            }
            match source.decode() {
                Some(source) => return Some(Received { source, length }),
                None => self.on_unknown_source(),
            }
        }
        None
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.troubles.take()
    }

    fn send(&mut self, _now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if datagram.len() > DATAGRAM_LENGTH_MAX {
            return self.refuse(libc::EMSGSIZE, to);
        }
        let peer = SocketAddress::encode(to);
        for _ in 0..ATTEMPTS_MAX {
            self.counters.system_calls += 1;
            // SAFETY: the datagram and the address are live and as long as said.
            let result = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    datagram.as_ptr().cast(),
                    datagram.len(),
                    libc::MSG_NOSIGNAL,
                    peer.as_ptr(),
                    peer.length(),
                )
            };
            if result >= 0 {
                return SendOutcome::Sent;
            }
            if let Some(outcome) = self.on_send_error(to) {
                return outcome;
            }
        }
        self.refuse(libc::ECONNREFUSED, to)
    }
}
