//! Message header, fixed block and variable data: the reading and writing every template shares.

use lockstep_transport::codec::{FieldReader, FieldWriter, decoded, encoded};

use super::{MESSAGE_HEADER_LENGTH, ProtocolError, SCHEMA_ID, SCHEMA_VERSION, Template};

/// Bytes of the length field in front of variable data.
pub(super) const VAR_LENGTH: usize = 4;

/// A message taken apart: its template, its block and what follows the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) template: Template,
    version: u16,
    block: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the header and checks that the block it announces is there.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = FieldReader::new(bytes);
        let header = fields.array::<MESSAGE_HEADER_LENGTH>();
        let [block_length, template, schema, version] = header
            .and_then(|header| decoded(header, read_header))
            .ok_or(ProtocolError::Truncated {
                needed: MESSAGE_HEADER_LENGTH,
                length: bytes.len(),
            })?;
        if schema != SCHEMA_ID {
            return Err(ProtocolError::UnknownSchema(schema));
        }
        if version < SCHEMA_VERSION {
            return Err(ProtocolError::UnknownVersion(version));
        }
        let template =
            Template::from_number(template).ok_or(ProtocolError::UnexpectedTemplate(template))?;
        let block_length = usize::from(block_length);
        let block = fields.bytes(block_length).ok_or(ProtocolError::Truncated {
            needed: MESSAGE_HEADER_LENGTH + block_length,
            length: bytes.len(),
        })?;
        Ok(Self {
            template,
            version,
            block,
            rest: fields.rest(),
        })
    }

    /// What `read` makes of the first `N` bytes of the block: the fields of version 1.
    #[inline]
    pub(super) fn block<const N: usize, T>(
        &self,
        read: impl FnOnce(&mut FieldReader<'a>) -> Option<T>,
    ) -> Result<T, ProtocolError> {
        let block = self.block.first_chunk::<N>();
        block
            .and_then(|block| decoded(block, read))
            .ok_or(ProtocolError::ShortBlock {
                template: self.template as u16,
                length: self.block.len() as u16,
            })
    }

    /// Everything after the block: the application's payload.
    pub(super) const fn payload(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next variable data field.
    pub(super) fn var_data(&mut self) -> Result<&'a [u8], ProtocolError> {
        let length_of_rest = self.rest.len();
        let truncated = |needed| ProtocolError::Truncated {
            needed,
            length: length_of_rest,
        };
        let mut fields = FieldReader::new(self.rest);
        let length = fields.u32().ok_or(truncated(VAR_LENGTH))? as usize;
        let data = fields
            .bytes(length)
            .ok_or(truncated(length.saturating_add(VAR_LENGTH)))?;
        self.rest = fields.rest();
        Ok(data)
    }

    /// Refuses left-over bytes, unless a newer peer may have put fields there.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        if self.version == SCHEMA_VERSION && !self.rest.is_empty() {
            return Err(ProtocolError::TrailingBytes(self.rest.len()));
        }
        Ok(())
    }
}

/// Block length, template, schema and version.
#[inline]
fn read_header(fields: &mut FieldReader<'_>) -> Option<[u16; 4]> {
    Some([fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?])
}

/// Header and block of a message, `N` bytes together.
#[inline]
pub(super) fn message<const N: usize>(
    template: Template,
    write: impl FnOnce(&mut FieldWriter<'_>),
) -> [u8; N] {
    encoded(|fields| {
        let block_length = (N - MESSAGE_HEADER_LENGTH) as u16;
        fields.u16(block_length).u16(template as u16);
        fields.u16(SCHEMA_ID).u16(SCHEMA_VERSION);
        write(fields);
    })
}

/// Writes `fixed` and then one variable data field; `None` when `buffer` is too short.
pub(super) fn write_with_var_data(fixed: &[u8], data: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let length = u32::try_from(data.len()).ok()?;
    let end = fixed.len() + VAR_LENGTH + data.len();
    let mut fields = FieldWriter::new(buffer.get_mut(..end)?);
    fields.bytes(fixed).u32(length).bytes(data);
    Some(end)
}
