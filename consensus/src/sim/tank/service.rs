//! The service that the node tank runs: answers request n with (n mod 4) responses, and keeps a
//! hash of everything it was told, in order, as its state. Answers depend on the state: on how
//! many requests there were, and on who wrote the request's register before.

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
};
use lockstep_transport::codec::{FieldReader, encoded};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::Nanos;

use crate::sim::service_time;

/// Responses that request `number` gets.
#[must_use]
pub const fn response_count(number: i64) -> u32 {
    (number % 4) as u32
}

/// What a tank client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which client.
    pub client: u64,
    /// Which of its requests, from 1.
    pub number: i64,
}

impl Request {
    /// Encodes the request with `padding` bytes behind it.
    pub fn encode(&self, padding: usize, payload: &mut Vec<u8>) {
        payload.clear();
        let bytes: [u8; 16] = encoded(|fields| {
            fields.u64(self.client).i64(self.number);
        });
        payload.extend_from_slice(&bytes);
        payload.resize(16 + padding, self.number as u8);
    }

    /// Decodes a request.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(bytes);
        Some(Self {
            client: fields.u64()?,
            number: fields.i64()?,
        })
    }
}

/// What the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The client that asked.
    pub client: u64,
    /// Its request.
    pub number: i64,
    /// Which response to it, from 0.
    pub ordinal: u32,
}

impl Response {
    /// Encodes the response, given the state that it depends on: the count of requests, and what
    /// the register held before.
    #[must_use]
    pub fn encode(&self, count: u64, before: u64) -> [u8; 40] {
        encoded(|fields| {
            fields.u64(self.client).i64(self.number);
            fields.u64(count).u64(before);
            fields.u32(self.ordinal).zeros(4);
        })
    }

    /// Decodes a response.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(bytes);
        let (client, number) = (fields.u64()?, fields.i64()?);
        fields.skip(16)?;
        Some(Self {
            client,
            number,
            ordinal: fields.u32()?,
        })
    }
}

/// A service that takes its time takes longer than a heartbeat interval over one request of so
/// many.
const LONG_REQUESTS: u64 = 32;
const LONG_TIMES: Nanos = 12;

/// Registers that requests write, by their number.
const REGISTERS: i64 = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct TankService {
    hash: u64,
    requests: u64,
    registers: [u64; REGISTERS as usize],
    /// Of the first client, the request that is answered wrongly; 0 for none.
    diverges_at: i64,
    service_ns: Nanos,
}

impl TankService {
    /// A service that takes `service_ns` over each request, and answers request `diverges_at` of
    /// the first client, if not 0, otherwise than all others.
    #[must_use]
    pub fn new(diverges_at: i64, service_ns: Nanos) -> Self {
        Self {
            diverges_at,
            service_ns,
            ..Self::default()
        }
    }

    fn note(&mut self, value: u64) {
        self.hash = (self.hash ^ value)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(31);
    }
}

impl ClusteredService for TankService {
    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClientSession) {
        self.note(session.id.get() as u64 ^ cluster.log_time() as u64);
    }

    fn on_session_close(&mut self, _cluster: &mut Cluster<'_>, session: ClientSession) {
        self.note(!session.id.get() as u64);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        self.requests += 1;
        let is_long = self.requests.is_multiple_of(LONG_REQUESTS);
        let times = if is_long { LONG_TIMES } else { 1 };
        service_time::spend(times * self.service_ns);
        self.note(cluster.position() as u64);
        self.note(cluster.log_time() as u64);
        let Some(request) = Request::decode(message) else {
            return;
        };
        self.note(request.client << 32 ^ request.number as u64 ^ message.len() as u64);
        let register = &mut self.registers[request.number.rem_euclid(REGISTERS) as usize];
        let before = std::mem::replace(register, request.client << 32 ^ request.number as u64);
        for ordinal in 0..response_count(request.number) {
            let Request { client, mut number } = request;
            if client == 0 && number == self.diverges_at {
                number += 1;
            }
            let response = Response {
                client,
                number,
                ordinal,
            };
            let sent = cluster.respond(session, &response.encode(self.requests, before));
            assert!(sent.is_ok(), "four small responses are within every limit");
        }
    }

    fn on_new_leadership_term(&mut self, leadership_term_id: LeadershipTermId, log_time: i64) {
        self.note(leadership_term_id.get() as u64);
        self.note(log_time as u64);
    }

    fn state_hash(&self) -> u64 {
        self.hash ^ self.requests
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    /// In several steps, and two sections: one ends within a step, one goes over several.
    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        service_time::spend(self.service_ns);
        let Some(register) = step.checked_sub(1) else {
            snapshot.begin_section("counts")?;
            snapshot.u64(self.hash)?;
            snapshot.u64(self.requests)?;
            snapshot.end_section()?;
            snapshot.begin_section("registers")?;
            return Ok(SnapshotProgress::More);
        };
        snapshot.u64(self.registers[register as usize])?;
        if register + 1 < REGISTERS as u64 {
            return Ok(SnapshotProgress::More);
        }
        snapshot.end_section()?;
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("counts")?;
        self.hash = snapshot.u64()?;
        self.requests = snapshot.u64()?;
        snapshot.end_section()?;
        snapshot.expect_section("registers")?;
        for register in &mut self.registers {
            *register = snapshot.u64()?;
        }
        snapshot.end_section()
    }
}
