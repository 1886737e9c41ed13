//! What a node keeps of a service, in a snapshot: the section `outbox`.

use lockstep_transport::codec::{decoded, encoded};

use super::service_outputs::ServiceOutputs;
use crate::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

/// What the section is called.
const SECTION: &str = "outbox";

/// Bytes of its head.
const HEAD_LENGTH: usize = 24;

impl ServiceOutputs {
    /// Writes the next part of the section `outbox`, about 64 KiB: `from` is 0, then what the call
    /// before returned, until there is nothing left. Nothing may be applied in between.
    ///
    /// It begins with this and what is of the outbox alone, behind which come the effects that
    /// wait:
    ///
    /// | offset | size | field of the section outbox |
    /// |---|---|---|
    /// | 0 | 8 | everything before this position is applied |
    /// | 8 | 8 | log time, ns; the least number before the first entry |
    /// | 16 | 1 | service |
    /// | 17 | 7 | zeros |
    ///
    /// # Errors
    /// When `writer` cannot begin this section.
    pub fn save(
        &self,
        from: usize,
        writer: &mut SnapshotWriter,
    ) -> Result<Option<usize>, SnapshotError> {
        if from == 0 {
            writer.begin_section(SECTION)?;
            let head: [u8; HEAD_LENGTH] = encoded(|fields| {
                fields.i64(self.applied).i64(self.log_time);
                fields.u8(self.outbox.limits().service).zeros(7);
            });
            writer.write(&head)?;
            self.outbox.save_head(writer)?;
        }
        let next = self.outbox.save_effects(from, writer)?;
        if next.is_none() {
            writer.end_section()?;
        }
        Ok(next)
    }

    /// Takes over what [`save`](Self::save) wrote, if that is possible within the limits given at
    /// construction.
    ///
    /// # Errors
    /// When it is not; nothing here can be used then.
    pub fn load(&mut self, reader: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        reader.expect_section(SECTION)?;
        let mut head = [0; HEAD_LENGTH];
        reader.read_exact(&mut head)?;
        let read = decoded(&head, |fields| {
            let (applied, log_time) = (fields.i64()?, fields.i64()?);
            let service = fields.u64()?;
            Some((applied, log_time, service))
        });
        let (applied, log_time, service) = read.expect("these are as many bytes");
        if applied < 0 {
            return Err(reader.refuse(format!("applied up to {applied}")));
        }
        let own = self.outbox.limits().service;
        if service != u64::from(own) {
            return Err(reader.refuse(format!("effects of service {service} instead of {own}")));
        }
        self.outbox.load(applied, reader)?;
        (self.applied, self.log_time, self.stopped) = (applied, log_time, None);
        reader.end_section()
    }

    /// Becomes what `other` is, but for the effects that wait: what the service's side of two
    /// threads keeps, where the other has what waits.
    pub fn resume(&mut self, other: &Self) {
        self.outbox.resume(&other.outbox);
        (self.applied, self.log_time) = (other.applied, other.log_time);
    }
}
