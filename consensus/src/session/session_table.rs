//! The table of sessions: a function of the log and nothing else (`log.md` 6).
//!
//! Every node builds the same table by applying the same entries. What only the leader knows
//! (appended numbers, activity, bindings to publications) lives elsewhere and is dropped with
//! leadership (C5).

use core::net::{IpAddr, SocketAddr};

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::invariant;
use lockstep_transport::position::Position;
use lockstep_transport::prng::mix;
use lockstep_transport::time::Nanos;

use crate::log::entry_body::{ClientKey, SessionOpen};

mod sessions_snapshot;

/// What indexes of sessions find one of this id by.
pub(crate) const fn session_hash(id: SessionId) -> u64 {
    mix(id.get() as u64)
}

/// One session as the log describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Assigned at apply, from 1, never reused.
    pub id: SessionId,
    /// The client's secret; finds the session on a repeated connect.
    pub nonce: u64,
    /// Hash of who opened it.
    pub principal_hash: u64,
    /// Where the client listens: as the last SessionOpen of the session said.
    pub response_address: SocketAddr,
    /// Stream it listens on.
    pub response_stream_id: i32,
    /// The connect epoch granted last: messages of an older one are of a process that another
    /// one has replaced.
    pub connect_epoch: i64,
    /// The process it was granted to.
    pub incarnation: u64,
    /// Position of its first SessionOpen entry.
    pub open_position: Position,
    /// Number of the last request applied.
    pub applied_number: RequestNumber,
    /// Greatest response position acknowledged by the client's present process.
    pub acknowledged: Position,
    /// Position of the session's last Response in the log, void or not; 0 before the first, and
    /// where responses are not logged.
    pub answered: Position,
    /// No Response of the session that lies below is above what its client acknowledged.
    pub owed_since: Position,
    /// Silence after which the leader closes it.
    pub timeout_ns: Nanos,
}

impl Session {
    /// Whose it is.
    #[must_use]
    pub const fn client(&self) -> ClientKey {
        (self.nonce, self.principal_hash)
    }

    /// Whether this connect epoch was granted to this process.
    #[must_use]
    pub const fn is_granted(&self, connect_epoch: i64, incarnation: u64) -> bool {
        self.connect_epoch == connect_epoch && self.incarnation == incarnation
    }

    /// All that is known of it. Taken apart by name, so that a field that is added is not left out.
    fn words(&self) -> [u64; 15] {
        let Self {
            id,
            nonce,
            principal_hash,
            response_address,
            response_stream_id,
            connect_epoch,
            incarnation,
            open_position,
            applied_number,
            acknowledged,
            answered,
            owed_since,
            timeout_ns,
        } = *self;
        let host = match response_address.ip() {
            IpAddr::V4(host) => host.to_ipv6_mapped().to_bits(),
            IpAddr::V6(host) => host.to_bits(),
        };
        [
            id.get() as u64,
            nonce,
            principal_hash,
            (host >> 64) as u64,
            host as u64,
            response_address.port().into(),
            response_stream_id as u64,
            connect_epoch as u64,
            incarnation,
            open_position as u64,
            applied_number.get() as u64,
            acknowledged as u64,
            answered as u64,
            owed_since as u64,
            timeout_ns as u64,
        ]
    }

    /// Whether the log has an answer for the client above `received`, which it has.
    #[must_use]
    pub(crate) const fn is_owed(&self, received: Position) -> bool {
        self.answered > received
    }

    /// The log from here on may be needed to answer the client, which has what it was answered up
    /// to `received`. `None` when that is all.
    #[must_use]
    pub(crate) fn needed_from(&self, received: Position) -> Option<Position> {
        let from = self.owed_since.max(received);
        self.is_owed(received).then_some(from)
    }

    /// What [`needed_from`](Self::needed_from) says of what it has acknowledged.
    #[must_use]
    pub(crate) fn owed_from(&self) -> Option<Position> {
        self.needed_from(self.acknowledged)
    }

    fn apply_response(&mut self, position: Position) {
        if !self.is_owed(self.acknowledged) {
            self.owed_since = position;
        }
        self.answered = position;
    }

    /// The client's process is another one, which has less than the one before, or more.
    fn take_over(&mut self, received: Position) {
        if received < self.acknowledged {
            self.owed_since = received.max(self.open_position).min(self.answered);
        }
        self.acknowledged = received;
    }

    /// A greater epoch takes the session over; the present one may move to another address.
    fn apply_open(&mut self, open: &SessionOpen) -> OpenVerdict {
        let is_takeover = open.connect_epoch > self.connect_epoch;
        if !is_takeover && !self.is_granted(open.connect_epoch, open.incarnation) {
            return OpenVerdict::Fenced;
        }
        if is_takeover {
            self.take_over(open.last_received);
        }
        self.connect_epoch = open.connect_epoch;
        self.incarnation = open.incarnation;
        self.response_address = open.response_address;
        self.response_stream_id = open.response_stream_id;
        self.timeout_ns = open.timeout_ns;
        OpenVerdict::Continued {
            session: *self,
            is_takeover,
        }
    }

    /// Whether requests are missing before that of this `number`.
    pub(crate) fn misses_before(&self, number: RequestNumber) -> bool {
        number > self.applied_number.next()
    }
}

/// What applying a SessionOpen did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenVerdict {
    /// A new session.
    Opened(Session),
    /// The session of this nonce is continued, from where the entry says.
    Continued {
        /// The session as it is now.
        session: Session,
        /// By another process than before, which is fenced from now on.
        is_takeover: bool,
    },
    /// Nothing: the connect epoch was granted before, to another process.
    Fenced,
    /// Nothing: the session to continue is gone.
    Gone,
    /// Nothing: no further session fits.
    Full,
}

/// What applying a request to the table means for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestVerdict {
    /// The next request of its session: execute it.
    Apply,
    /// Applied before, or the session is gone: nothing to do.
    Ignore,
    /// A number was skipped: the session is closed now (S1).
    Gap,
}

/// All open sessions, ordered by id.
#[derive(Debug)]
pub struct SessionTable {
    sessions: Vec<Session>,
    /// Whose session has which id, by client: found without a walk.
    clients: Vec<(ClientKey, SessionId)>,
    capacity: usize,
    next_id: SessionId,
    #[cfg(feature = "sim")]
    is_repeating: bool,
}

impl SessionTable {
    /// A table for at most `capacity` sessions; memory is reserved now.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            sessions: Vec::with_capacity(capacity),
            clients: Vec::with_capacity(capacity),
            capacity,
            next_id: SessionId::FIRST,
            #[cfg(feature = "sim")]
            is_repeating: false,
        }
    }

    /// Breaks rule S1 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn apply_duplicates(&mut self) {
        self.is_repeating = true;
    }

    /// How many sessions there may be.
    #[must_use]
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sessions open, and how many there may be.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn fill(&self) -> (usize, usize) {
        (self.sessions.len(), self.capacity)
    }

    /// The open sessions, by id.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Those of them from this id on.
    #[must_use]
    pub(crate) fn from(&self, id: SessionId) -> &[Session] {
        let below = self.sessions.partition_point(|session| session.id < id);
        &self.sessions[below..]
    }

    /// The session with this id, if it is open.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.index(id).map(|index| &self.sessions[index])
    }

    /// Number of the last request of the session that is applied, of none where it is not open.
    #[must_use]
    pub(crate) fn applied_number(&self, id: SessionId) -> RequestNumber {
        let session = self.get(id);
        session.map_or(RequestNumber::NONE, |session| session.applied_number)
    }

    /// The session of this client.
    #[must_use]
    pub fn find(&self, client: ClientKey) -> Option<&Session> {
        let known = self.client_index(client).ok()?;
        self.get(self.clients[known].1)
    }

    /// Where a client stands among all, or would.
    fn client_index(&self, client: ClientKey) -> Result<usize, usize> {
        self.clients.binary_search_by_key(&client, |known| known.0)
    }

    /// Whether no further session fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sessions.len() >= self.capacity
    }

    fn index(&self, id: SessionId) -> Option<usize> {
        self.sessions.binary_search_by_key(&id, |s| s.id).ok()
    }

    /// Applies a SessionOpen. All that it depends on is a function of the log, so every node
    /// does the same.
    pub(crate) fn apply_open(&mut self, open: &SessionOpen, position: Position) -> OpenVerdict {
        let place = match self.client_index(open.client()) {
            Ok(known) => {
                let index = self.index(self.clients[known].1);
                let index = index.expect("a client that is known has a session");
                return self.sessions[index].apply_open(open);
            }
            Err(place) => place,
        };
        if open.resume_session.is_known() {
            return OpenVerdict::Gone;
        }
        if self.is_full() {
            return OpenVerdict::Full;
        }
        let session = Session {
            id: self.next_id,
            nonce: open.nonce,
            principal_hash: open.principal_hash,
            response_address: open.response_address,
            response_stream_id: open.response_stream_id,
            connect_epoch: open.connect_epoch,
            incarnation: open.incarnation,
            open_position: position,
            applied_number: RequestNumber::NONE,
            acknowledged: 0,
            answered: 0,
            owed_since: 0,
            timeout_ns: open.timeout_ns,
        };
        invariant!(
            SessionIdsRise,
            self.sessions.last().is_none_or(|last| last.id < session.id),
            "S5: session {} is opened after a later one",
            session.id
        );
        self.next_id = self.next_id.next();
        self.sessions.push(session);
        self.clients.insert(place, (session.client(), session.id));
        OpenVerdict::Opened(session)
    }

    /// Applies a SessionClose. Returns the session that was open until now.
    pub(crate) fn apply_close(&mut self, id: SessionId) -> Option<Session> {
        let index = self.index(id)?;
        let session = self.sessions.remove(index);
        if let Ok(known) = self.client_index(session.client()) {
            self.clients.remove(known);
        }
        Some(session)
    }

    /// Applies a request's number and acknowledgement (`log.md` 6.4).
    pub fn apply_request(
        &mut self,
        id: SessionId,
        number: RequestNumber,
        acknowledged: Position,
    ) -> RequestVerdict {
        let Some(index) = self.index(id) else {
            return RequestVerdict::Ignore;
        };
        let session = &mut self.sessions[index];
        #[cfg(feature = "sim")]
        if self.is_repeating && number <= session.applied_number {
            return RequestVerdict::Apply;
        }
        if number <= session.applied_number {
            return RequestVerdict::Ignore;
        }
        if session.misses_before(number) {
            return RequestVerdict::Gap;
        }
        session.applied_number = number;
        session.acknowledged = session.acknowledged.max(acknowledged);
        RequestVerdict::Apply
    }

    /// Applies a Response of the session at `position`.
    pub(crate) fn apply_response(&mut self, id: SessionId, position: Position) {
        if let Some(index) = self.index(id) {
            self.sessions[index].apply_response(position);
        }
    }

    /// Applies one acknowledgement of a SessionAck entry.
    pub(crate) fn apply_acknowledgement(&mut self, id: SessionId, position: Position) {
        if let Some(index) = self.index(id) {
            let session = &mut self.sessions[index];
            session.acknowledged = session.acknowledged.max(position);
        }
    }

    /// A hash of the whole table, equal on every node that applied the same log.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let fold = |hash: u64, word: &u64| mix(hash.rotate_left(29) ^ word);
        let words = self.sessions.iter().map(Session::words);
        words.fold(self.next_id.get() as u64, |hash, words| {
            words.iter().fold(hash, fold)
        })
    }
}

#[cfg(test)]
mod tests;
