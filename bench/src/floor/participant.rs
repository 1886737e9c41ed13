//! The floor's participants: what a client, a leader and a follower cannot avoid doing, and
//! nothing else. Each is polled; nothing blocks, allocates or keeps a log.
//!
//! Each has one socket it receives from, so that an idle poll is one system call however many
//! peers it has, and one connected socket per peer to send on, so that the kernel looks up no
//! route per datagram. A datagram's first byte is its kind, bytes 8..16 the number of the
//! crossing it belongs to; a peer introduces itself with the port it receives at.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::time::Nanos;

use super::block_writer::BlockWriter;
use super::host::{bind, monotonic_now};
use super::plan::{DATAGRAM_LENGTH_MIN, FloorSizes};
use crate::histogram::LatencyHistogram;

const REQUEST: u8 = 1;
const REPLICATE: u8 = 2;
const ACK: u8 = 3;
const RESPONSE: u8 = 4;
const HELLO: u8 = 5;
const STOP: u8 = 9;

/// Copies that make an entry durable at a majority of the floor's three nodes.
const QUORUM: usize = 2;

/// The socket a participant receives from, with its buffer.
struct Inbox {
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl Inbox {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let buffer = vec![0; DATAGRAM_LENGTH_MAX];
        Ok(Self { socket, buffer })
    }

    fn port(&self) -> io::Result<i64> {
        Ok(i64::from(self.socket.local_addr()?.port()))
    }

    /// Kind and number of the next datagram: one system call.
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
}

/// The socket on which one peer is sent to, with a datagram that only has to be stamped.
struct Outbox {
    socket: UdpSocket,
    datagram: Vec<u8>,
}

impl Outbox {
    /// Sends datagrams of `length` bytes to the peer that receives at `to`.
    fn new(to: SocketAddr, length: usize) -> io::Result<Self> {
        let socket = bind()?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let datagram = vec![0; length];
        Ok(Self { socket, datagram })
    }

    /// The same, for a peer that has introduced itself with its port.
    fn of_port(port: i64, length: usize) -> io::Result<Self> {
        let port = u16::try_from(port).map_err(io::Error::other)?;
        Self::new((Ipv4Addr::LOCALHOST, port).into(), length)
    }

    fn send(&mut self, kind: u8, number: i64) -> io::Result<()> {
        self.datagram[0] = kind;
        self.datagram[8..16].copy_from_slice(&number.to_le_bytes());
        match self.socket.send(&self.datagram) {
            // A peer that has had its last answer is gone while late acknowledgements arrive.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            outcome => outcome.map(|_| ()),
        }
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
    inbox: Inbox,
    leader: Option<Outbox>,
    durability: Durability,
    ack_length: usize,
    is_stopped: bool,
}

impl Follower {
    /// A follower that receives from `socket`; the leader introduces itself.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(
        socket: UdpSocket,
        sizes: &FloorSizes,
        writer: Option<BlockWriter>,
    ) -> io::Result<Self> {
        Ok(Self {
            inbox: Inbox::new(socket)?,
            leader: None,
            durability: Durability::new(writer),
            ack_length: sizes.ack,
            is_stopped: false,
        })
    }

    fn acknowledge(&mut self, number: i64) -> io::Result<()> {
        match &mut self.leader {
            Some(leader) => leader.send(ACK, number),
            None => Ok(()),
        }
    }

    fn poll(&mut self) -> io::Result<bool> {
        let mut work = false;
        if let Some((kind, number)) = self.inbox.receive()? {
            work = true;
            match kind {
                REPLICATE => {
                    self.durability.append(number)?;
                    if self.durability.writer.is_none() {
                        self.acknowledge(number)?;
                    }
                }
                HELLO => self.leader = Some(Outbox::of_port(number, self.ack_length)?),
                STOP => self.is_stopped = true,
                _ => {}
            }
        }
        if self.durability.poll()? {
            work = true;
            self.acknowledge(self.durability.durable)?;
        }
        Ok(work)
    }
}

/// Sends each request to both followers, waits for a majority, and answers the client.
pub struct Leader {
    inbox: Inbox,
    client: Option<Outbox>,
    followers: [Outbox; 2],
    acknowledged: [i64; 2],
    durability: Durability,
    response_length: usize,
    crossings: i64,
    current: i64,
    committed: i64,
    is_stopped: bool,
}

impl Leader {
    /// A leader that receives from `socket`; it introduces itself to the followers, and the
    /// client introduces itself to it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(
        socket: UdpSocket,
        followers: [SocketAddr; 2],
        sizes: &FloorSizes,
        crossings: u8,
        writer: Option<BlockWriter>,
    ) -> io::Result<Self> {
        let inbox = Inbox::new(socket)?;
        let mut followers = [
            Outbox::new(followers[0], sizes.replicate)?,
            Outbox::new(followers[1], sizes.replicate)?,
        ];
        for follower in &mut followers {
            follower.send(HELLO, inbox.port()?)?;
        }
        Ok(Self {
            inbox,
            client: None,
            followers,
            acknowledged: [0; 2],
            durability: Durability::new(writer),
            response_length: sizes.response,
            crossings: i64::from(crossings),
            current: 0,
            committed: 0,
            is_stopped: false,
        })
    }

    fn poll(&mut self) -> io::Result<bool> {
        let mut work = false;
        if let Some((kind, number)) = self.inbox.receive()? {
            work = true;
            match kind {
                REQUEST => self.cross(number * self.crossings)?,
                ACK => self.on_ack(number),
                HELLO => self.client = Some(Outbox::of_port(number, self.response_length)?),
                STOP => self.stop()?,
                _ => {}
            }
        }
        work |= self.durability.poll()?;
        if self.current > self.committed && self.is_committed() {
            self.committed = self.current;
            let next = self.current + 1;
            if next % self.crossings != 0 {
                self.cross(next)?;
            } else if let Some(client) = &mut self.client {
                client.send(RESPONSE, self.current / self.crossings)?;
            }
        }
        Ok(work)
    }

    /// The followers' writes are what commits last, so they are given a head start.
    fn cross(&mut self, number: i64) -> io::Result<()> {
        self.current = number;
        for follower in &mut self.followers {
            follower.send(REPLICATE, number)?;
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
        for follower in &mut self.followers {
            follower.send(STOP, 0)?;
        }
        Ok(())
    }
}

/// Sends one request at a time and times each answer.
pub(crate) struct Client {
    inbox: Inbox,
    leader: Outbox,
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
        socket: UdpSocket,
        leader: SocketAddr,
        sizes: &FloorSizes,
        warmup: u32,
        messages: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            inbox: Inbox::new(socket)?,
            leader: Outbox::new(leader, sizes.request)?,
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
        self.leader.send(STOP, 0)
    }

    fn send_next(&mut self) -> io::Result<()> {
        self.number += 1;
        if self.is_done() {
            return Ok(());
        }
        self.sent_at = monotonic_now();
        self.leader.send(REQUEST, self.number)
    }

    fn poll(&mut self) -> io::Result<bool> {
        if self.number == 0 {
            self.leader.send(HELLO, self.inbox.port()?)?;
            self.send_next()?;
            return Ok(true);
        }
        match self.inbox.receive()? {
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
pub(crate) enum Participant {
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
