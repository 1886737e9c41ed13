//! Connects whose session is on its way through the log.

use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::log::entry_body::SessionOpen;
use crate::session::client_egress::ClientEgress;
use crate::session::egress_channels::Slot;

/// Connects that may wait for their SessionOpen to be applied.
pub(crate) const CONNECTS_MAX: usize = 64;

/// A connect request whose SessionOpen is on its way through the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingConnect {
    /// What will be applied.
    pub open: SessionOpen,
    /// Comes back in the answer.
    pub correlation_id: i64,
    /// Where the answer goes.
    pub channel: Slot,
    /// Position of the last response the client has.
    pub last_received: Position,
}

impl PendingConnect {
    /// Whether it waits for this very entry or a repeat of it.
    #[must_use]
    pub fn is_for(&self, open: &SessionOpen) -> bool {
        let key = |open: &SessionOpen| (open.client(), open.connect_epoch, open.incarnation);
        key(&self.open) == key(open)
    }

    /// Where to tell about this session, if any: on the channel that it waits for, or on another
    /// one where that belongs to another session by now.
    pub fn channel_left(
        &self,
        egress: &mut ClientEgress,
        session: Option<SessionId>,
        now: Nanos,
    ) -> Option<Slot> {
        if !egress.channels.is_anothers(self.channel, session) {
            return Some(self.channel);
        }
        let client = (self.open.response_address, self.open.response_stream_id);
        egress.channel(client, session, now)
    }
}
