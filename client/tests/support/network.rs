//! An in-memory network for tests: bounded queues of fixed slots, seeded loss, no allocation
//! once its ports exist.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::time::Nanos;

const SLOT_LENGTH: usize = 2048;
const QUEUE_LENGTH: usize = 4096;

struct Datagram {
    source: SocketAddr,
    length: usize,
    bytes: [u8; SLOT_LENGTH],
}

struct Queue {
    address: SocketAddr,
    datagrams: VecDeque<Datagram>,
    is_cut: bool,
}

struct State {
    queues: Vec<Queue>,
    random: u64,
    loss_percent: u64,
}

/// The network; clones are the same one.
#[derive(Clone)]
pub struct Network(Rc<RefCell<State>>);

impl Network {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            queues: Vec::new(),
            random: seed | 1,
            loss_percent: 0,
        })))
    }

    /// A port at `address`; one that was there before is gone, with what waited for it.
    pub fn port(&self, address: SocketAddr) -> NetworkPort {
        let mut state = self.0.borrow_mut();
        state.queues.retain(|queue| queue.address != address);
        state.queues.push(Queue {
            address,
            datagrams: VecDeque::with_capacity(QUEUE_LENGTH),
            is_cut: false,
        });
        drop(state);
        NetworkPort {
            network: self.clone(),
            address,
        }
    }

    pub fn lose(&self, percent: u64) {
        self.0.borrow_mut().loss_percent = percent;
    }

    /// Cuts `address` off in both directions, or joins it again.
    pub fn cut(&self, address: SocketAddr, is_cut: bool) {
        for queue in &mut self.0.borrow_mut().queues {
            if queue.address == address {
                queue.is_cut = is_cut;
                queue.datagrams.clear();
            }
        }
    }
}

pub struct NetworkPort {
    network: Network,
    address: SocketAddr,
}

impl DatagramPort for NetworkPort {
    fn local_address(&self) -> SocketAddr {
        self.address
    }

    fn receive(&mut self, _now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        let mut state = self.network.0.borrow_mut();
        let queue = state
            .queues
            .iter_mut()
            .find(|queue| queue.address == self.address)?;
        let datagram = queue.datagrams.pop_front()?;
        buffer[..datagram.length].copy_from_slice(&datagram.bytes[..datagram.length]);
        Some(Received {
            source: datagram.source,
            length: datagram.length,
        })
    }

    fn send(&mut self, _now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        let mut state = self.network.0.borrow_mut();
        state.random ^= state.random << 13;
        state.random ^= state.random >> 7;
        state.random ^= state.random << 17;
        let is_lost = state.random % 100 < state.loss_percent;
        let is_cut = state
            .queues
            .iter()
            .any(|queue| queue.is_cut && (queue.address == self.address || queue.address == to));
        let queue = state.queues.iter_mut().find(|queue| queue.address == to);
        if let Some(queue) = queue
            && !is_lost
            && !is_cut
            && queue.datagrams.len() < QUEUE_LENGTH
        {
            let mut bytes = [0; SLOT_LENGTH];
            bytes[..datagram.len()].copy_from_slice(datagram);
            queue.datagrams.push_back(Datagram {
                source: self.address,
                length: datagram.len(),
                bytes,
            });
        }
        SendOutcome::Sent
    }
}
