//! The ingress stream to the member that the session talks to, and those that are coming to
//! their end.
//!
//! A stream lives for one attempt to connect or one leadership. When another member is wanted
//! the old stream is ended in good order, so that its member does not keep its image for long.

use core::net::SocketAddr;
use std::io;

use lockstep_transport::datagram_port::DatagramPort;
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::protocol::Packet;
use lockstep_transport::stream::{Offer, Publication, PublicationConfig};
use lockstep_transport::time::{Nanos, earliest};

/// Streams that may be ending at a time: more means that members do not answer anyway.
const ENDING_MAX: usize = 3;

#[derive(Debug)]
struct Stream {
    publication: Publication,
    address: SocketAddr,
}

/// Ingress streams of a client: at most one that is spoken on.
#[derive(Debug)]
pub struct IngressStreams {
    current: Option<Stream>,
    ending: Vec<Stream>,
    epoch: u32,
}

impl IngressStreams {
    /// No stream yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: None,
            ending: Vec::with_capacity(ENDING_MAX),
            epoch: 0,
        }
    }

    /// The session epoch that the current stream serves.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Streams that come to their end.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn fill(&self) -> Fill {
        Fill::of("ingress streams that end", self.ending.len(), ENDING_MAX)
    }

    /// Opens a stream for `epoch` and ends the one before.
    ///
    /// # Errors
    /// The operating system's, when there is no memory for a log buffer; nothing changes then.
    pub fn open(&mut self, epoch: u32, config: PublicationConfig) -> io::Result<()> {
        let address = config.destination;
        let publication = Publication::new(config)?;
        self.end();
        self.current = Some(Stream {
            publication,
            address,
        });
        self.epoch = epoch;
        Ok(())
    }

    /// Ends the current stream once what was offered is delivered.
    pub fn end(&mut self) {
        let Some(mut stream) = self.current.take() else {
            return;
        };
        stream.publication.close();
        if self.ending.len() == ENDING_MAX {
            self.ending.remove(0);
        }
        self.ending.push(stream);
    }

    /// Whether the member receives the current stream.
    #[must_use]
    pub fn is_connected(&self, now: Nanos) -> bool {
        self.current
            .as_ref()
            .is_some_and(|stream| stream.publication.is_connected(now))
    }

    /// When the member will count as gone unless it is heard of again; `None` when it does.
    #[must_use]
    pub fn connected_until(&self) -> Option<Nanos> {
        let current = self.current.as_ref();
        current.and_then(|stream| stream.publication.connected_until())
    }

    /// Whether nothing is left to be sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.current.is_none() && self.ending.is_empty()
    }

    /// Offers a message, as its header and payload. Returns whether it was taken.
    pub fn offer(&mut self, now: Nanos, parts: &[&[u8]]) -> bool {
        self.current
            .as_mut()
            .is_some_and(|s| matches!(s.publication.offer(now, parts), Offer::Accepted(_)))
    }

    /// Hands over a control frame that came from `source`. Returns whether it concerns a stream
    /// and has its place in it.
    pub fn on_packet(&mut self, now: Nanos, source: SocketAddr, packet: &Packet<'_>) -> bool {
        let session_id = packet.session_id();
        let concerned = self
            .current
            .iter_mut()
            .chain(&mut self.ending)
            .find(|s| Some(s.publication.session_id()) == session_id && s.address == source);
        concerned.is_some_and(|stream| stream.publication.on_packet(now, packet))
    }

    /// Puts what was offered on the wire.
    pub fn send(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        self.current
            .as_mut()
            .map_or(0, |stream| stream.publication.do_work(now, port))
    }

    /// Sends data, heartbeats and retransmissions; drops streams that have ended.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = self.send(now, port);
        if !self.ending.is_empty() {
            for stream in &mut self.ending {
                work += stream.publication.do_work(now, port);
            }
            // One that was never connected has nobody to tell of its end.
            self.ending.retain(|stream| {
                !stream.publication.is_done(now) && stream.publication.is_connected(now)
            });
        }
        work
    }

    /// When a stream next has something to do by itself, or is to be dropped.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let current = self.current.iter().map(|s| s.publication.next_deadline());
        let ending = self.ending.iter().map(|s| {
            let gone = s.publication.connected_until();
            earliest(s.publication.next_deadline(), gone)
        });
        current.chain(ending).fold(None, earliest)
    }
}

impl Default for IngressStreams {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
