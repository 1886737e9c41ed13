//! What a thread sleeps on: descriptors that become readable, and a doorbell that others ring.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::time::{Nanos, SECOND};

/// Bytes of what is written to an eventfd and read from it.
const COUNT_LENGTH: usize = size_of::<u64>();

/// An eventfd: readable from the first ring to the next [`silence`](Self::silence).
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    /// A silent one.
    ///
    /// # Errors
    /// The operating system's, when it has no descriptor to give.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable. One system call; never blocks: a count that is full rings already.
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the bytes are live and as many as said.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), COUNT_LENGTH) };
    }

    /// Forgets all rings so far. One system call; never blocks.
    pub fn silence(&self) {
        let mut count = [0_u8; COUNT_LENGTH];
        let target = count.as_mut_ptr().cast();
        // SAFETY: the target is live, exclusively borrowed, and as long as said.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), target, COUNT_LENGTH) };
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Descriptors, one of which becomes readable.
#[derive(Debug, Default)]
pub(crate) struct WatchList(Vec<libc::pollfd>);

impl WatchList {
    /// One more.
    pub fn push(&mut self, fd: RawFd) {
        self.0.push(libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
    }

    /// Blocks until one of them is readable, for `timeout_ns` at most, or until a signal comes.
    pub fn wait(&mut self, timeout_ns: Nanos) {
        let timeout = libc::timespec {
            tv_sec: timeout_ns / SECOND,
            tv_nsec: timeout_ns % SECOND,
        };
        let (list, count) = (self.0.as_mut_ptr(), self.0.len() as libc::nfds_t);
        // SAFETY: the list is live, exclusively borrowed, and as long as said; so is the timeout.
        let _ = unsafe { libc::ppoll(list, count, &raw const timeout, core::ptr::null()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::monotonic_now;
    use crate::time::MILLISECOND;

    /// How long a wait of at most `timeout_ns` took.
    fn waited(list: &mut WatchList, timeout_ns: Nanos) -> Nanos {
        let began = monotonic_now();
        list.wait(timeout_ns);
        monotonic_now() - began
    }

    #[test]
    fn a_ring_ends_every_wait_until_it_is_silenced() {
        let doorbell = Doorbell::new().unwrap();
        let mut list = WatchList::default();
        list.push(doorbell.as_raw_fd());
        assert!(waited(&mut list, MILLISECOND) >= MILLISECOND);
        doorbell.ring();
        doorbell.ring();
        for _ in 0..2 {
            assert!(waited(&mut list, 60 * SECOND) < 60 * SECOND);
        }
        doorbell.silence();
        assert!(waited(&mut list, MILLISECOND) >= MILLISECOND);
    }
}
