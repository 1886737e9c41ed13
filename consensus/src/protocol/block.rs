//! Little-endian fields in order: a cursor to write them and one to read them.

/// Writes fields one after the other into a zeroed buffer.
#[derive(Debug)]
pub(super) struct BlockWriter<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> BlockWriter<'a> {
    pub(super) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(super) fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn put_u128(&mut self, value: u128) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn put_i64(&mut self, value: i64) {
        self.put(&value.to_le_bytes());
    }
}

/// Reads fields one after the other; `None` once the bytes are used up.
#[derive(Debug)]
pub(super) struct BlockReader<'a> {
    bytes: &'a [u8],
}

impl<'a> BlockReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// A reader of the next `length` bytes alone; this one goes on behind them.
    pub(super) fn block(&mut self, length: usize) -> Option<Self> {
        let (block, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(Self::new(block))
    }

    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (field, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*field)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}
