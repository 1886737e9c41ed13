//! A port whose operating system says what a test lets it say.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use crate::datagram_port::{DatagramPort, Received, SendOutcome};
use crate::port_trouble::{PortTrouble, PortTroubles};
use crate::time::Nanos;

/// Another port, with troubles. It sends and receives as that one does.
pub struct TroubledPort<P> {
    port: P,
    troubles: Rc<RefCell<PortTroubles>>,
}

impl<P: DatagramPort> TroubledPort<P> {
    /// Gives `port` troubles: whatever is noted in `troubles`, until it is asked for.
    #[must_use]
    pub const fn new(port: P, troubles: Rc<RefCell<PortTroubles>>) -> Self {
        Self { port, troubles }
    }
}

impl<P: DatagramPort> DatagramPort for TroubledPort<P> {
    fn local_address(&self) -> SocketAddr {
        self.port.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.port.receive(now, buffer)
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.port.send(now, to, datagram)
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.troubles.borrow_mut().take()
    }
}
