//! The table of sessions in a snapshot: the section `sessions`.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use lockstep_service::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;

use super::{Session, SessionTable};

/// What the section is called.
const SECTION: &str = "sessions";

/// Bytes of a session.
const SESSION_LENGTH: usize = 112;

/// Sessions that one step writes: some 50 KiB.
const SESSIONS_PER_STEP: usize = 512;

/// The greatest id that is believed to be the next one: no cluster comes so far in its life.
const NEXT_ID_MAX: SessionId = SessionId::new(i64::MAX / 2);

impl SessionTable {
    /// Writes the next part of the section `sessions`: `from` is 0, then what the call before
    /// returned, until there is nothing left. Nothing may be applied in between.
    ///
    /// | offset | size | field of the section sessions |
    /// |---|---|---|
    /// | 0 | 8 | id of the next session |
    /// | 8 | 8 | open sessions |
    ///
    /// Then each session, by id:
    ///
    /// | offset | size | field of a session |
    /// |---|---|---|
    /// | 0 | 8 | id |
    /// | 8 | 8 | nonce |
    /// | 16 | 8 | hash of the principal |
    /// | 24 | 16 | response address, IPv6 or IPv4-mapped |
    /// | 40 | 2 | response port |
    /// | 42 | 2 | zeros |
    /// | 44 | 4 | response stream id |
    /// | 48 | 8 | connect epoch |
    /// | 56 | 8 | incarnation of the client's process |
    /// | 64 | 8 | position of its first SessionOpen |
    /// | 72 | 8 | number of the last request applied |
    /// | 80 | 8 | acknowledged position |
    /// | 88 | 8 | position of its last Response |
    /// | 96 | 8 | no Response below this is above the acknowledged position |
    /// | 104 | 8 | timeout, ns |
    ///
    /// # Errors
    /// When `writer` cannot begin this section.
    pub(crate) fn save(
        &self,
        from: usize,
        writer: &mut SnapshotWriter,
    ) -> Result<Option<usize>, SnapshotError> {
        if from == 0 {
            writer.begin_section(SECTION)?;
            writer.i64(self.next_id.get())?;
            writer.u64(self.sessions.len() as u64)?;
        }
        let until = self.sessions.len().min(from + SESSIONS_PER_STEP);
        for session in &self.sessions[from..until] {
            writer.write(&encode(session))?;
        }
        if until < self.sessions.len() {
            return Ok(Some(until));
        }
        writer.end_section()?;
        Ok(None)
    }

    /// The table of `capacity` sessions that [`save`](Self::save) wrote where the log was applied
    /// up to `applied`.
    ///
    /// # Errors
    /// When no log can have come to this.
    pub(crate) fn load(
        capacity: usize,
        applied: Position,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<Self, SnapshotError> {
        reader.expect_section(SECTION)?;
        let mut table = Self::new(capacity);
        table.next_id = SessionId::new(reader.i64()?);
        let count = reader.u64()?;
        let next = table.next_id;
        if next < SessionId::FIRST || next > NEXT_ID_MAX || count > capacity as u64 {
            let reason = format!("{count} sessions of {capacity}, and {next} is the next");
            return Err(reader.refuse(reason));
        }
        for _ in 0..count {
            let mut bytes = [0; SESSION_LENGTH];
            reader.read_exact(&mut bytes)?;
            let session = decode(&bytes);
            let session = session.filter(|session| table.may_follow(session, applied));
            let Some(session) = session else {
                return Err(reader.refuse("a session that cannot be open here"));
            };
            let client = session.client();
            let Err(place) = table.client_index(client) else {
                let id = session.id;
                return Err(reader.refuse(format!("session {id} is of a client that has one")));
            };
            table.sessions.push(session);
            table.clients.insert(place, (client, session.id));
        }
        reader.end_section()?;
        Ok(table)
    }

    /// Whether `session` can have been opened behind all others, and before `applied`.
    fn may_follow(&self, session: &Session, applied: Position) -> bool {
        let last = self.sessions.last();
        let (id, opened) = last.map_or((SessionId::NONE, -1), |last| (last.id, last.open_position));
        id < session.id
            && session.id < self.next_id
            && opened < session.open_position
            && session.open_position < applied
            && session.answered < applied
            && session.owed_since < applied
            && (RequestNumber::NONE..=RequestNumber::APPLIED_MAX).contains(&session.applied_number)
    }
}

fn encode(session: &Session) -> [u8; SESSION_LENGTH] {
    let address = match session.response_address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    encoded(|fields| {
        fields.i64(session.id.get()).u64(session.nonce);
        fields.u64(session.principal_hash);
        fields.bytes(&address.octets());
        fields.u16(session.response_address.port()).zeros(2);
        fields.i32(session.response_stream_id);
        fields.i64(session.connect_epoch).u64(session.incarnation);
        fields.i64(session.open_position);
        fields.i64(session.applied_number.get());
        fields.i64(session.acknowledged).i64(session.answered);
        fields.i64(session.owed_since);
        fields.i64(session.timeout_ns);
    })
}

/// The session; `None` for bytes that [`encode`] does not write.
fn decode(bytes: &[u8; SESSION_LENGTH]) -> Option<Session> {
    let session = decoded(bytes, |fields| {
        let id = SessionId::new(fields.i64()?);
        let (nonce, principal_hash) = (fields.u64()?, fields.u64()?);
        let address = Ipv6Addr::from(*fields.array()?);
        let ip = address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4);
        let response_address = SocketAddr::new(ip, fields.u16()?);
        fields.skip(2)?;
        Some(Session {
            id,
            nonce,
            principal_hash,
            response_address,
            response_stream_id: fields.i32()?,
            connect_epoch: fields.i64()?,
            incarnation: fields.u64()?,
            open_position: fields.i64()?,
            applied_number: RequestNumber::new(fields.i64()?),
            acknowledged: fields.i64()?,
            answered: fields.i64()?,
            owed_since: fields.i64()?,
            timeout_ns: fields.i64()?,
        })
    })?;
    (encode(&session) == *bytes).then_some(session)
}

#[cfg(test)]
mod tests;
