//! A port for tests: keeps what is sent through it, and is full now and then.

use core::net::SocketAddr;
use std::collections::VecDeque;

use crate::datagram_port::{DatagramPort, Received, SendOutcome};
use crate::time::Nanos;

/// Datagrams sent, oldest first.
#[derive(Debug, Default)]
pub(super) struct CapturingPort {
    pub(super) datagrams: VecDeque<Vec<u8>>,
    /// One send in so many finds the port full; 0: none.
    pub(super) refuse_every: usize,
    pub(super) sends: usize,
}

impl CapturingPort {
    /// The oldest datagram not yet taken.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }
}

impl DatagramPort for CapturingPort {
    fn local_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    fn receive(&mut self, _now: Nanos, _buffer: &mut [u8]) -> Option<Received> {
        None
    }

    fn send(&mut self, _now: Nanos, _to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.sends += 1;
        if self.refuse_every != 0 && self.sends % self.refuse_every == 1 {
            return SendOutcome::BackPressured;
        }
        self.datagrams.push_back(datagram.to_vec());
        SendOutcome::Sent
    }
}
