//! Why an endpoint could not be opened, in words that name the remedy.

use core::net::SocketAddr;
use std::io;

/// Why a port could not be opened. Finishes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another socket has the address.
    #[error(
        "bind {0}: the port is in use by another process (`ss -lunp` lists them); stop that \
         process or configure another port"
    )]
    InUse(SocketAddr),
    /// The process may not have the address.
    #[error(
        "bind {0}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, so configure a \
         higher port, or look for a security profile that forbids UDP sockets"
    )]
    NotPermitted(SocketAddr),
    /// The address belongs to no interface of this host.
    #[error(
        "bind {0}: no interface of this host has that address (`ip address` lists them); \
         configure an address of this host"
    )]
    NotLocal(SocketAddr),
    /// The host does not speak the address family.
    #[error(
        "bind {0}: this host does not support the address family (IPv6 switched off?); \
         configure an address of the other family"
    )]
    Family(SocketAddr),
    /// Anything else that the operating system said.
    #[error("open a UDP socket on {address}: {reason}")]
    Socket {
        /// The address that was wanted.
        address: SocketAddr,
        /// What the operating system said.
        reason: io::Error,
    },
    /// The kernel gives this process no usable io_uring; the `syscall` backend still works.
    #[error("set up io_uring: {0}")]
    RingRefused(RingRefusal),
}

/// Why there is no io_uring.
#[derive(Debug, thiserror::Error)]
pub enum RingRefusal {
    /// `EPERM` or `EACCES`.
    #[error("not permitted (kernel.io_uring_disabled is set, or a seccomp profile forbids it)")]
    NotPermitted,
    /// `ENOSYS`.
    #[error("this kernel has no io_uring, or a seccomp profile hides it")]
    Missing,
    /// `EINVAL`: a flag or registration that the kernel does not know.
    #[error("this kernel is too old for what Lockstep uses (6.1 or newer is needed)")]
    TooOld,
    /// A ring was set up, and did not bring the datagram that was sent to it.
    #[error("it can be set up and not be used (a seccomp profile that forbids io_uring_enter?)")]
    Unusable,
    /// `ENOMEM`.
    #[error("not enough lockable memory; raise RLIMIT_MEMLOCK (`ulimit -l`)")]
    Memory,
    /// Anything else that the operating system said.
    #[error("{0}")]
    Other(io::Error),
}

impl PortError {
    /// What `reason` means for a socket that was to be bound to `address`.
    pub(super) fn from_bind(address: SocketAddr, reason: io::Error) -> Self {
        match reason.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::InUse(address),
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted(address),
            Some(libc::EADDRNOTAVAIL) => Self::NotLocal(address),
            Some(libc::EAFNOSUPPORT) => Self::Family(address),
            _ => Self::Socket { address, reason },
        }
    }
}

impl From<io::Error> for RingRefusal {
    fn from(reason: io::Error) -> Self {
        match reason.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EINVAL) => Self::TooOld,
            Some(libc::ENOMEM) => Self::Memory,
            _ => Self::Other(reason),
        }
    }
}
