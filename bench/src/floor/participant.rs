//! The floor's participants: what a client, a leader and a follower cannot avoid doing, and
//! nothing else. Each is polled; nothing blocks, allocates or keeps a log.
//!
//! A datagram's first byte is its kind, bytes 8..16 the number of the crossing it belongs to.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use lockstep_transport::time::Nanos;

use super::block_writer::BlockWriter;
use super::{FloorSizes, monotonic_now};
use crate::histogram::LatencyHistogram;

const REQUEST: u8 = 1;
const REPLICATE: u8 = 2;
const ACK: u8 = 3;
const RESPONSE: u8 = 4;
const STOP: u8 = 9;

/// Shortest datagram: kind and number.
pub const DATAGRAM_LENGTH_MIN: usize = 16;

/// Longest datagram the floor sends.
pub const DATAGRAM_LENGTH_MAX: usize = 65_000;

/// Copies that make an entry durable at a majority of the floor's three nodes.
const QUORUM: usize = 2;

/// A non-blocking socket with a buffer of its own.
struct Endpoint {
    socket: std::net::UdpSocket,
    buffer: Vec<u8>,
}

impl Endpoint {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let buffer = vec![0; DATAGRAM_LENGTH_MAX];
        Ok(Self { socket, buffer })
    }

    /// Kind and number of the next datagram.
    fn receive(&mut self) -> io::Result<Option<(u8, i64)>> {
        match self.socket.recv(&mut self.buffer) {
            Ok(length) if length >= DATAGRAM_LENGTH_MIN => {
                let mut number = [0; 8];
                number.copy_from_slice(&self.buffer[8..16]);
                Ok(Some((self.buffer[0], i64::from_le_bytes(number))))
            }
            Ok(_) => Ok(None),
            Err(error) if is_transient(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stamp(&mut self, kind: u8, number: i64) {
        self.buffer[0] = kind;
        self.buffer[8..16].copy_from_slice(&number.to_le_bytes());
    }

    fn send(&mut self, kind: u8, number: i64, length: usize) -> io::Result<()> {
        self.stamp(kind, number);
        self.socket.send(&self.buffer[..length]).map(|_| ())
    }

    fn send_to(&mut self, to: SocketAddr, kind: u8, number: i64, length: usize) -> io::Result<()> {
        self.stamp(kind, number);
        self.socket.send_to(&self.buffer[..length], to).map(|_| ())
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionRefused
    )
}

/// Keeps one node's newest crossing durable: one write in flight, the newest covers all.
struct Durability {
    writer: Option<BlockWriter>,
    appended: i64,
    writing: i64,
    durable: i64,
}

impl Durability {
    fn new(writer: Option<BlockWriter>) -> Self {
        Self {
            writer,
            appended: 0,
            writing: 0,
            durable: 0,
        }
    }

    fn append(&mut self, number: i64) -> io::Result<()> {
        self.appended = self.appended.max(number);
        match &mut self.writer {
            None => self.durable = self.appended,
            Some(writer) if !writer.is_in_flight() => {
                self.writing = self.appended;
                writer.start()?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether the durable number advanced.
    fn poll(&mut self) -> io::Result<bool> {
        let Some(writer) = &mut self.writer else {
            return Ok(false);
        };
        if !writer.is_in_flight() || !writer.poll()? {
            return Ok(false);
        }
        self.durable = self.writing;
        if self.appended > self.durable {
            self.writing = self.appended;
            writer.start()?;
        }
        Ok(true)
    }
}

/// Places what the leader sends, makes it durable, acknowledges.
pub struct Follower {
    endpoint: Endpoint,
    leader: Option<SocketAddr>,
    durability: Durability,
    ack_length: usize,
    is_stopped: bool,
}

impl Follower {
    /// A follower on `socket`; the first datagram tells it where the leader is.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(
        socket: std::net::UdpSocket,
        sizes: &FloorSizes,
        writer: Option<BlockWriter>,
    ) -> io::Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new(socket)?,
            leader: None,
            durability: Durability::new(writer),
            ack_length: sizes.ack,
            is_stopped: false,
        })
    }

    fn learn_leader(&mut self) -> io::Result<()> {
        let mut byte = [0; DATAGRAM_LENGTH_MIN];
        match self.endpoint.socket.peek_from(&mut byte) {
            Ok((_, source)) => {
                self.endpoint.socket.connect(source)?;
                self.leader = Some(source);
                Ok(())
            }
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn poll(&mut self) -> io::Result<bool> {
        if self.leader.is_none() {
            self.learn_leader()?;
            return Ok(self.leader.is_some());
        }
        let mut work = false;
        if let Some((kind, number)) = self.endpoint.receive()? {
            work = true;
            self.is_stopped |= kind == STOP;
            if kind == REPLICATE {
                self.durability.append(number)?;
                if self.durability.writer.is_none() {
                    self.endpoint.send(ACK, number, self.ack_length)?;
                }
            }
        }
        if self.durability.poll()? {
            work = true;
            let durable = self.durability.durable;
            self.endpoint.send(ACK, durable, self.ack_length)?;
        }
        Ok(work)
    }
}

/// Sends each request to both followers, waits for a majority, and answers the client.
pub struct Leader {
    endpoint: Endpoint,
    client: Option<SocketAddr>,
    followers: [SocketAddr; 2],
    acknowledged: [i64; 2],
    durability: Durability,
    sizes: FloorSizes,
    crossings: i64,
    current: i64,
    committed: i64,
    is_stopped: bool,
}

impl Leader {
    /// A leader on `socket`; the first request tells it where the client is.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(
        socket: std::net::UdpSocket,
        followers: [SocketAddr; 2],
        sizes: &FloorSizes,
        crossings: u8,
        writer: Option<BlockWriter>,
    ) -> io::Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new(socket)?,
            client: None,
            followers,
            acknowledged: [0; 2],
            durability: Durability::new(writer),
            sizes: *sizes,
            crossings: i64::from(crossings),
            current: 0,
            committed: 0,
            is_stopped: false,
        })
    }

    fn learn_client(&mut self) -> io::Result<()> {
        let mut byte = [0; DATAGRAM_LENGTH_MIN];
        match self.endpoint.socket.peek_from(&mut byte) {
            Ok((_, source)) => {
                self.client = Some(source);
                Ok(())
            }
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn poll(&mut self) -> io::Result<bool> {
        let Some(client) = self.client else {
            self.learn_client()?;
            return Ok(self.client.is_some());
        };
        let mut work = false;
        if let Some((kind, number)) = self.endpoint.receive()? {
            work = true;
            match kind {
                REQUEST => self.cross(number * self.crossings)?,
                ACK => self.on_ack(number),
                STOP => self.stop()?,
                _ => {}
            }
        }
        work |= self.durability.poll()?;
        if self.current > self.committed && self.is_committed() {
            self.committed = self.current;
            let next = self.current + 1;
            if next % self.crossings == 0 {
                let number = self.current / self.crossings;
                let length = self.sizes.response;
                self.endpoint.send_to(client, RESPONSE, number, length)?;
            } else {
                self.cross(next)?;
            }
        }
        Ok(work)
    }

    fn cross(&mut self, number: i64) -> io::Result<()> {
        self.current = number;
        for follower in self.followers {
            let length = self.sizes.replicate;
            self.endpoint.send_to(follower, REPLICATE, number, length)?;
        }
        self.durability.append(number)
    }

    /// Acks carry no sender, so the smaller of the two counters is raised first; with one
    /// crossing in flight the first ack is all that matters.
    fn on_ack(&mut self, number: i64) {
        let slowest = usize::from(self.acknowledged[1] < self.acknowledged[0]);
        self.acknowledged[slowest] = self.acknowledged[slowest].max(number);
    }

    fn is_committed(&self) -> bool {
        let own = [self.durability.durable];
        let copies = self.acknowledged.iter().chain(&own);
        copies.filter(|number| **number >= self.current).count() >= QUORUM
    }

    fn stop(&mut self) -> io::Result<()> {
        self.is_stopped = true;
        for follower in self.followers {
            self.endpoint
                .send_to(follower, STOP, 0, DATAGRAM_LENGTH_MIN)?;
        }
        Ok(())
    }
}

/// Sends one request at a time and times each answer.
pub struct Client {
    endpoint: Endpoint,
    request_length: usize,
    sent_at: Nanos,
    number: i64,
    warmup: i64,
    last: i64,
    latencies: LatencyHistogram,
}

impl Client {
    /// A client of the leader at `leader`: `messages` timed round trips after `warmup` others.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(
        socket: std::net::UdpSocket,
        leader: SocketAddr,
        sizes: &FloorSizes,
        warmup: u32,
        messages: u32,
    ) -> io::Result<Self> {
        socket.connect(leader)?;
        Ok(Self {
            endpoint: Endpoint::new(socket)?,
            request_length: sizes.request,
            sent_at: 0,
            number: 0,
            warmup: i64::from(warmup),
            last: i64::from(warmup) + i64::from(messages),
            latencies: LatencyHistogram::default(),
        })
    }

    /// Whether the last answer has arrived.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.number > self.last
    }

    /// Round trips completed.
    #[must_use]
    pub fn completed(&self) -> i64 {
        self.number
    }

    /// Latencies of the timed round trips.
    #[must_use]
    pub fn latencies(&self) -> &LatencyHistogram {
        &self.latencies
    }

    /// Tells the leader, and through it the followers, to end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn stop(&mut self) -> io::Result<()> {
        self.endpoint.send(STOP, 0, DATAGRAM_LENGTH_MIN)
    }

    fn send_next(&mut self) -> io::Result<()> {
        self.number += 1;
        if self.is_done() {
            return Ok(());
        }
        self.sent_at = monotonic_now();
        self.endpoint
            .send(REQUEST, self.number, self.request_length)
    }

    fn poll(&mut self) -> io::Result<bool> {
        if self.number == 0 {
            self.send_next()?;
            return Ok(true);
        }
        match self.endpoint.receive()? {
            Some((RESPONSE, number)) if number == self.number => {
                if number > self.warmup {
                    self.latencies.record(monotonic_now() - self.sent_at);
                }
                self.send_next()?;
                Ok(true)
            }
            other => Ok(other.is_some()),
        }
    }
}

/// Any participant.
pub enum Participant {
    /// The client.
    Client(Box<Client>),
    /// The leader.
    Leader(Box<Leader>),
    /// A follower.
    Follower(Box<Follower>),
}

impl Participant {
    /// Does what there is to do; returns whether there was something.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll(&mut self) -> io::Result<bool> {
        match self {
            Self::Client(client) => client.poll(),
            Self::Leader(leader) => leader.poll(),
            Self::Follower(follower) => follower.poll(),
        }
    }

    /// Whether it was told to end, or has finished.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        match self {
            Self::Client(client) => client.is_done(),
            Self::Leader(leader) => leader.is_stopped,
            Self::Follower(follower) => follower.is_stopped,
        }
    }
}
