//! Message header, fixed block and variable data: the reading and writing every template shares.
//!
//! All offsets are constants of the template tables; lengths were checked once when the block
//! was taken, so field access cannot fail.

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
        let Some((header, body)) = bytes.split_first_chunk::<MESSAGE_HEADER_LENGTH>() else {
            return Err(ProtocolError::Truncated {
                needed: MESSAGE_HEADER_LENGTH,
                length: bytes.len(),
            });
        };
        let block_length = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let template = u16::from_le_bytes([header[2], header[3]]);
        let schema = u16::from_le_bytes([header[4], header[5]]);
        let version = u16::from_le_bytes([header[6], header[7]]);
        if schema != SCHEMA_ID {
            return Err(ProtocolError::UnknownSchema(schema));
        }
        if version < SCHEMA_VERSION {
            return Err(ProtocolError::UnknownVersion(version));
        }
        let template =
            Template::from_number(template).ok_or(ProtocolError::UnexpectedTemplate(template))?;
        let (block, rest) =
            body.split_at_checked(block_length)
                .ok_or(ProtocolError::Truncated {
                    needed: MESSAGE_HEADER_LENGTH + block_length,
                    length: bytes.len(),
                })?;
        Ok(Self {
            template,
            version,
            block,
            rest,
        })
    }

    /// The first `N` bytes of the block: the fields of version 1.
    pub(super) fn block<const N: usize>(&self) -> Result<&'a [u8; N], ProtocolError> {
        self.block
            .first_chunk::<N>()
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
        let (prefix, rest) = self
            .rest
            .split_first_chunk::<VAR_LENGTH>()
            .ok_or(truncated(VAR_LENGTH))?;
        let length = u32::from_le_bytes(*prefix) as usize;
        let (data, rest) = rest
            .split_at_checked(length)
            .ok_or(truncated(length.saturating_add(VAR_LENGTH)))?;
        self.rest = rest;
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

/// Writes the fields of one message front to back into an array of exactly its length.
#[derive(Debug)]
pub(super) struct BlockWriter<const N: usize> {
    bytes: [u8; N],
    offset: usize,
}

impl<const N: usize> BlockWriter<N> {
    /// Starts a message whose header and block fill `N` bytes.
    pub(super) fn new(template: Template) -> Self {
        let mut writer = Self {
            bytes: [0; N],
            offset: 0,
        };
        writer.put(&((N - MESSAGE_HEADER_LENGTH) as u16).to_le_bytes());
        writer.put(&(template as u16).to_le_bytes());
        writer.put(&SCHEMA_ID.to_le_bytes());
        writer.put(&SCHEMA_VERSION.to_le_bytes());
        writer
    }

    fn put(&mut self, field: &[u8]) {
        self.bytes[self.offset..self.offset + field.len()].copy_from_slice(field);
        self.offset += field.len();
    }

    pub(super) fn i64(mut self, value: i64) -> Self {
        self.put(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.put(&value.to_le_bytes());
        self
    }

    pub(super) fn i32(mut self, value: i32) -> Self {
        self.put(&value.to_le_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.put(&value.to_le_bytes());
        self
    }

    /// The finished header and block.
    pub(super) fn finish(self) -> [u8; N] {
        assert!(
            self.offset == N,
            "block written to {} of {N} bytes",
            self.offset
        );
        self.bytes
    }
}

/// Writes `fixed` and then one variable data field; `None` when `buffer` is too short.
pub(super) fn write_with_var_data(fixed: &[u8], data: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let length = u32::try_from(data.len()).ok()?;
    let end = fixed.len() + VAR_LENGTH + data.len();
    let target = buffer.get_mut(..end)?;
    let (head, tail) = target.split_at_mut(fixed.len());
    head.copy_from_slice(fixed);
    tail[..VAR_LENGTH].copy_from_slice(&length.to_le_bytes());
    tail[VAR_LENGTH..].copy_from_slice(data);
    Some(end)
}

fn array_at<const W: usize, const N: usize>(block: &[u8; N], offset: usize) -> [u8; W] {
    let mut raw = [0; W];
    raw.copy_from_slice(&block[offset..offset + W]);
    raw
}

pub(super) fn i64_at<const N: usize>(block: &[u8; N], offset: usize) -> i64 {
    i64::from_le_bytes(array_at(block, offset))
}

pub(super) fn u64_at<const N: usize>(block: &[u8; N], offset: usize) -> u64 {
    u64::from_le_bytes(array_at(block, offset))
}

pub(super) fn i32_at<const N: usize>(block: &[u8; N], offset: usize) -> i32 {
    i32::from_le_bytes(array_at(block, offset))
}

pub(super) fn u32_at<const N: usize>(block: &[u8; N], offset: usize) -> u32 {
    u32::from_le_bytes(array_at(block, offset))
}
