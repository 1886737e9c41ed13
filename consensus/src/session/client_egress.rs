//! What clients are told, and where: the part of the side that faces clients that answers.

use core::net::SocketAddr;

use lockstep_transport::ids::SessionId;
use lockstep_transport::time::Nanos;

use crate::session::egress_channels::{EgressChannels, Slot};
use crate::session::egress_streams::EgressStreams;
use crate::session::response_egress::ResponseEgress;

/// See the module.
#[derive(Debug)]
pub struct ClientEgress {
    /// Channels to clients.
    pub channels: EgressChannels,
    /// What new ones are called.
    pub(crate) streams: EgressStreams,
    /// Egress of responses.
    pub responses: ResponseEgress,
}

impl ClientEgress {
    /// A channel to this address and stream; what is said there may be about this session, if
    /// any.
    pub(super) fn channel(
        &mut self,
        client: (SocketAddr, i32),
        session: Option<SessionId>,
        now: Nanos,
    ) -> Option<Slot> {
        self.channels
            .fresh_or_new(&mut self.streams, client, session, now)
    }
}
