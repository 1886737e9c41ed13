//! The images of egress streams: one per member and leadership, at most a handful at a time.
//!
//! Only members of the cluster may open one; whoever else sends is counted and ignored. Which
//! image the session listens to is not decided here but by the
//! [`ClusterSession`](crate::cluster_session::ClusterSession).

use core::net::SocketAddr;

use lockstep_transport::datagram_port::DatagramPort;
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::protocol::{Packet, Setup, StatusMessage};
use lockstep_transport::stream::{Image, ImageLimits, PollAction};
use lockstep_transport::time::{Nanos, SECOND, earliest};

use crate::cluster_session::Origin;

/// Images at a time: the present leader's, and for each of the up to seven members one that
/// answered a connect request and is coming to its end.
const IMAGES_MAX: usize = 8;

/// Streams remembered that were asked for a SETUP: as many as there may be images.
const ELICITED_MAX: usize = 8;

/// A stream is asked for its SETUP once in this time (`wire.md` A.9).
const ELICIT_INTERVAL_NS: Nanos = SECOND;

#[derive(Debug)]
struct EgressImage {
    image: Image,
    origin: Origin,
    last_heard: Nanos,
}

/// A stream that was asked for its SETUP.
#[derive(Clone, Copy, Debug)]
struct Elicited {
    source: SocketAddr,
    session_id: i32,
    asked: Nanos,
}

/// All egress images of a client.
#[derive(Debug)]
pub struct EgressImages {
    images: Vec<EgressImage>,
    elicited: Vec<Elicited>,
    limits: ImageLimits,
    stream_id: i32,
    receiver_id: i64,
    opened: u64,
    too_long: Option<(usize, u64)>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It belongs to an image.
    Yes,
    /// It belongs to a stream that has no image yet: this answer asks for its SETUP.
    Elicit(StatusMessage),
    /// It belongs to no image of this client.
    Unexpected,
    /// It asked for an image that cannot be had.
    Refused,
}

impl EgressImages {
    /// What there is of images, and of streams that were asked for a SETUP.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn fills(&self) -> (Fill, Fill) {
        (
            Fill::of("egress images", self.images.len(), IMAGES_MAX),
            Fill::of(
                "streams asked for a SETUP",
                self.elicited.len(),
                ELICITED_MAX,
            ),
        )
    }

    /// No images yet, of streams with `stream_id`; `receiver_id` names this client to senders.
    #[must_use]
    pub fn new(stream_id: i32, receiver_id: i64, limits: ImageLimits) -> Self {
        Self {
            images: Vec::with_capacity(IMAGES_MAX),
            elicited: Vec::with_capacity(ELICITED_MAX),
            limits,
            stream_id,
            receiver_id,
            opened: 0,
            too_long: None,
        }
    }

    /// Takes a SETUP, data frame or heartbeat that `member` sent from `source`. `kept` is the
    /// image that must not give way to a new one.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        (source, member): (SocketAddr, usize),
        packet: &Packet<'_>,
        kept: Option<u64>,
    ) -> Admitted {
        let session_id = packet.session_id();
        let known = self.images.iter_mut().find(|egress| {
            Some(egress.image.session_id()) == session_id && egress.image.source() == source
        });
        match (known, packet) {
            (Some(egress), _) => {
                egress.last_heard = now;
                let before = egress.image.receiver_counters().foreign;
                egress.image.on_packet(now, packet);
                if egress.image.receiver_counters().foreign > before {
                    Admitted::Unexpected
                } else {
                    Admitted::Yes
                }
            }
            (None, Packet::Setup(setup)) if setup.stream_id() == self.stream_id => {
                self.on_setup(now, (source, member), setup, kept)
            }
            (None, Packet::Heartbeat(heartbeat)) if heartbeat.is_end_of_stream() => {
                Admitted::Unexpected
            }
            (None, Packet::Data(_) | Packet::Heartbeat(_))
                if packet.stream_id() == Some(self.stream_id) =>
            {
                self.elicit(now, source, session_id.unwrap_or_default())
            }
            _ => Admitted::Unexpected,
        }
    }

    /// A client that restarted at its old address meets streams that the cluster believes to
    /// be connected, and that send no SETUP by themselves.
    fn elicit(&mut self, now: Nanos, source: SocketAddr, session_id: i32) -> Admitted {
        self.elicited
            .retain(|elicited| now - elicited.asked < ELICIT_INTERVAL_NS);
        let is_known = self
            .elicited
            .iter()
            .any(|elicited| elicited.source == source && elicited.session_id == session_id);
        if is_known || self.elicited.len() == ELICITED_MAX {
            return Admitted::Unexpected;
        }
        self.elicited.push(Elicited {
            source,
            session_id,
            asked: now,
        });
        let request = StatusMessage::send_setup(session_id, self.stream_id, self.receiver_id);
        Admitted::Elicit(request)
    }

    fn on_setup(
        &mut self,
        now: Nanos,
        (source, member): (SocketAddr, usize),
        setup: &Setup,
        kept: Option<u64>,
    ) -> Admitted {
        let Ok(image) = Image::from_setup(now, setup, source, self.receiver_id, &self.limits)
        else {
            return Admitted::Refused;
        };
        if self.images.len() == IMAGES_MAX {
            // The oldest that nobody listens to: its member has had its say.
            let oldest = self
                .images
                .iter()
                .position(|egress| Some(egress.origin.image) != kept);
            self.images.remove(oldest.unwrap_or(0));
        }
        self.opened += 1;
        self.images.push(EgressImage {
            image,
            origin: Origin {
                member,
                image: self.opened,
            },
            last_heard: now,
        });
        Admitted::Yes
    }

    /// Hands up to `limit` waiting messages to `handler`, which may leave one for later.
    pub fn poll(
        &mut self,
        limit: usize,
        handler: &mut impl FnMut(Origin, &[u8]) -> PollAction,
    ) -> usize {
        let mut work = 0;
        for egress in &mut self.images {
            if work >= limit {
                break;
            }
            let origin = egress.origin;
            let before = egress.image.counters().messages_too_long;
            work += egress.image.poll(limit - work, &mut |message| {
                handler(origin, message.payload)
            });
            let more = egress.image.counters().messages_too_long - before;
            if more > 0 {
                let (_, count) = self.too_long.unwrap_or_default();
                self.too_long = Some((origin.member, count + more));
            }
        }
        work
    }

    /// A member of which messages were longer than is taken since it was last asked, and how many.
    pub const fn take_too_long(&mut self) -> Option<(usize, u64)> {
        self.too_long.take()
    }

    /// When the image was last heard of, and whether it has ended; `None` when there is none.
    #[must_use]
    pub fn health(&self, now: Nanos, number: Option<u64>) -> Option<(Nanos, bool)> {
        self.images
            .iter()
            .find(|egress| Some(egress.origin.image) == number)
            .map(|egress| {
                let is_ended = egress.image.has_ended() || egress.image.is_closed(now);
                (egress.last_heard, is_ended)
            })
    }

    /// Tells all senders that nobody listens any more.
    pub fn close(&mut self, now: Nanos) {
        for egress in &mut self.images {
            egress.image.close(now);
        }
    }

    /// Sends status messages and NAKs; drops images that have ended.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = 0;
        for egress in &mut self.images {
            work += egress.image.do_work(now, port);
        }
        let before = self.images.len();
        self.images.retain(|egress| !egress.image.is_closed(now));
        work + before - self.images.len()
    }

    /// When an image next has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.images.iter().fold(None, |next, egress| {
            earliest(next, egress.image.next_deadline())
        })
    }
}

#[cfg(test)]
mod tests;
