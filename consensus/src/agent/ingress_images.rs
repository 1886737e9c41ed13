//! The images of clients' ingress publications, on every member: followers need them to answer
//! connects with a redirect.
//!
//! Bounded in all and per source, so that strangers cannot make a node keep state for them
//! beyond a budget (`design.md` §9).

use core::net::SocketAddr;

use lockstep_client::protocol::INGRESS_STREAM_ID;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::protocol::{Packet, Setup};
use lockstep_transport::stream::{Image, ImageLimits, Message, PollAction};
use lockstep_transport::time::{Nanos, earliest};

use crate::notice::NodeNotice;

/// Images one source address may have: a client that reconnects leaves its old image behind
/// until that times out.
const IMAGES_PER_SOURCE: usize = 16;

/// Images beyond one per session: clients on their way to the leader.
const SPARE_IMAGES: usize = 64;

/// Messages taken from one image per duty cycle, so that one client cannot starve the others.
const FRAGMENTS_PER_POLL: usize = 64;

/// All ingress images of a node.
#[derive(Debug, Default)]
pub struct IngressImages {
    images: Vec<Image>,
    capacity: usize,
    limits: ImageLimits,
    receiver_id: i64,
}

impl IngressImages {
    /// Room for `sessions_max` sessions; `receiver_id` names this node to senders.
    #[must_use]
    pub fn new(sessions_max: usize, limits: ImageLimits, receiver_id: i64) -> Self {
        let capacity = sessions_max + SPARE_IMAGES;
        let images = Vec::with_capacity(capacity);
        Self {
            images,
            capacity,
            limits,
            receiver_id,
        }
    }

    /// Takes a SETUP, data frame or heartbeat from `source`.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        session_id: i32,
        packet: &Packet<'_>,
    ) -> Result<(), NodeNotice> {
        let known = self
            .images
            .iter_mut()
            .find(|image| image.session_id() == session_id && image.source() == source);
        match (known, packet) {
            (Some(image), _) => {
                image.on_packet(now, packet);
                Ok(())
            }
            (None, Packet::Setup(setup)) => self.on_setup(now, source, setup),
            (None, _) => Err(NodeNotice::UnknownIngressStream),
        }
    }

    fn on_setup(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        setup: &Setup,
    ) -> Result<(), NodeNotice> {
        if setup.stream_id() != INGRESS_STREAM_ID {
            return Err(NodeNotice::IngressParameters);
        }
        let same_source = self
            .images
            .iter()
            .filter(|image| image.source() == source)
            .count();
        let has_room = self.images.len() < self.capacity && same_source < IMAGES_PER_SOURCE;
        if !has_room {
            return Err(NodeNotice::IngressImagesFull);
        }
        let image = Image::from_setup(now, setup, source, self.receiver_id, &self.limits);
        self.images
            .push(image.map_err(|_| NodeNotice::IngressParameters)?);
        Ok(())
    }

    /// Hands waiting messages to `handler`, which may refuse to take one now.
    pub fn poll(
        &mut self,
        handler: &mut impl FnMut(SocketAddr, &Message<'_>) -> PollAction,
    ) -> usize {
        let mut work = 0;
        for image in &mut self.images {
            let source = image.source();
            work += image.poll(FRAGMENTS_PER_POLL, &mut |message| handler(source, &message));
        }
        work
    }

    /// Sends status messages and NAKs; drops images that have ended.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = 0;
        for image in &mut self.images {
            work += image.do_work(now, port);
        }
        let before = self.images.len();
        self.images.retain(|image| !image.is_closed(now));
        work + before - self.images.len()
    }

    /// The next moment an image has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.images
            .iter()
            .fold(None, |next, image| earliest(next, image.next_deadline()))
    }
}
