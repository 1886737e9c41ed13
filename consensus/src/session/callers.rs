//! Who speaks on an ingress stream, judged by what it says: clients whose session is known have
//! places of their own among the images, strangers share a few.

use core::net::SocketAddr;

use lockstep_client::protocol::{ClientMessage, ConnectRequest};
use lockstep_transport::ids::SessionId;
use lockstep_transport::stable_hash::stable_hash;

use crate::log::entry_body::ClientKey;
use crate::node::leadership::Leadership;
use crate::notice::NodeNotice;
use crate::session::egress_channels::EgressChannels;
use crate::session::ingress_images::Standing;
use crate::session::response_egress::ResponseEgress;
use crate::session::session_table::SessionTable;

/// What is known of clients.
#[derive(Debug)]
pub(crate) struct Callers<'a> {
    /// The sessions there are.
    pub sessions: &'a SessionTable,
    /// The connects under way.
    pub leadership: &'a Leadership,
    /// Which channel a session has.
    pub egress: &'a ResponseEgress,
    /// Where a channel leads.
    pub channels: &'a EgressChannels,
}

impl Callers<'_> {
    /// Whose a half-open stream is that begins with this message.
    ///
    /// # Errors
    /// When no client begins like that.
    pub fn first_words(&self, source: SocketAddr, bytes: &[u8]) -> Result<Standing, NodeNotice> {
        match ClientMessage::decode(bytes) {
            Ok(ClientMessage::ConnectRequest(connect)) => Ok(self.resuming(&connect)),
            Ok(message) => {
                let served = self.served(source, session_of(&message));
                // Somebody who hears us may be told that its session is not served here.
                let heard = || self.is_heard_by(source).then_some(Standing::Stranger);
                served.or_else(heard).ok_or(NodeNotice::IngressBeginning)
            }
            // Noted by whoever asks.
            Err(_) => Err(NodeNotice::DamagedClientMessage),
        }
    }

    /// Whose a stream is after this message was taken, or was left for later.
    #[must_use]
    pub fn standing(&self, source: SocketAddr, bytes: &[u8], is_taken: bool) -> Standing {
        match ClientMessage::decode(bytes) {
            Ok(ClientMessage::ConnectRequest(connect)) if !is_taken => self.resuming(&connect),
            Ok(ClientMessage::ConnectRequest(connect)) => self.answered(source, &connect),
            Ok(message) => self
                .served(source, session_of(&message))
                .unwrap_or(Standing::Stranger),
            // Noted when it was taken.
            Err(_) => Standing::Dismissed,
        }
    }

    fn resuming(&self, connect: &ConnectRequest<'_>) -> Standing {
        let client = key_of(connect);
        match self.sessions.find(client) {
            Some(_) => Standing::Resuming(client),
            None => Standing::Stranger,
        }
    }

    fn answered(&self, source: SocketAddr, connect: &ConnectRequest<'_>) -> Standing {
        let client = key_of(connect);
        let session = self.sessions.find(client);
        if let Some(served) = session.and_then(|session| self.served(source, session.id)) {
            served
        } else if self.leadership.awaits(client) {
            Standing::Awaited(client)
        } else {
            Standing::Dismissed
        }
    }

    /// The client of this session, if it is bound to `source`.
    fn served(&self, source: SocketAddr, session: SessionId) -> Option<Standing> {
        if !self.egress.is_bound_to(self.channels, session, source) {
            return None;
        }
        let session = self.sessions.get(session)?;
        Some(Standing::Served(session.client()))
    }

    fn is_heard_by(&self, source: SocketAddr) -> bool {
        self.channels.find_open(source).is_some()
    }
}

fn key_of(connect: &ConnectRequest<'_>) -> ClientKey {
    (connect.nonce, stable_hash(connect.principal))
}

const fn session_of(message: &ClientMessage<'_>) -> SessionId {
    match message {
        ClientMessage::ConnectRequest(connect) => connect.resume_session,
        ClientMessage::Request { header, .. } => header.session_id,
        ClientMessage::KeepAlive(keep_alive) => keep_alive.session_id,
        ClientMessage::CloseRequest(close) => close.session_id,
    }
}
