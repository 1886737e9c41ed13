//! Little-endian fields in a fixed order: the one way in which Lockstep's own messages, log
//! entries and files are written and read.
//!
//! [`encoded`] and [`decoded`] are for layouts of a fixed length: what the closure writes or
//! reads fills exactly that length, so that a layout's constant and its fields cannot differ.
//! [`FieldWriter`] and [`FieldReader`] are for what has a variable tail. Reading never panics:
//! `None` once the bytes are used up. Writing beyond the buffer is an error of the program and
//! panics. With a constant length both come down to plain loads and stores. A struct literal reads
//! in the order in which its fields stand there: it is the layout's, not the struct's.
//!
//! Aeron's frames alone are read in another way: their headers are laid over buffers that are
//! shared, as the structs of [`crate::log_buffer`] and [`crate::protocol`] are with zerocopy.

/// Writes fields one after the other into a buffer.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> FieldWriter<'a> {
    /// A writer that begins at the start of `buffer`.
    #[inline]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// What is written so far.
    #[inline]
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    #[inline]
    fn next(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length += length;
        &mut self.buffer[start..start + length]
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.next(bytes.len()).copy_from_slice(bytes);
        self
    }

    /// Writes `length` zeros.
    #[inline]
    pub fn zeros(&mut self, length: usize) -> &mut Self {
        self.next(length).fill(0);
        self
    }

    /// Writes one byte.
    #[inline]
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Writes 2 bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes 4 bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes 8 bytes.
    #[inline]
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes 16 bytes.
    #[inline]
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes 4 bytes.
    #[inline]
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes 8 bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
}

/// Reads fields one after the other; `None` once the bytes are used up.
#[derive(Clone, Copy, Debug)]
pub struct FieldReader<'a> {
    bytes: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// A reader that begins at the start of `bytes`.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is not read yet.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `length` bytes as they are.
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(bytes)
    }

    /// The next `N` bytes as they are.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(bytes)
    }

    /// A reader of the next `length` bytes alone; this one goes on behind them.
    #[inline]
    pub fn block(&mut self, length: usize) -> Option<Self> {
        self.bytes(length).map(Self::new)
    }

    /// Passes over `length` bytes, whatever they are.
    #[inline]
    pub fn skip(&mut self, length: usize) -> Option<()> {
        self.bytes(length).map(|_| ())
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[value]| *value)
    }

    /// Reads 2 bytes.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|raw| u16::from_le_bytes(*raw))
    }

    /// Reads 4 bytes.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|raw| u32::from_le_bytes(*raw))
    }

    /// Reads 8 bytes.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(|raw| u64::from_le_bytes(*raw))
    }

    /// Reads 16 bytes.
    #[inline]
    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(|raw| u128::from_le_bytes(*raw))
    }

    /// Reads 4 bytes.
    #[inline]
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(|raw| i32::from_le_bytes(*raw))
    }

    /// Reads 8 bytes.
    #[inline]
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(|raw| i64::from_le_bytes(*raw))
    }
}

/// The `N` bytes that `write` writes.
///
/// # Panics
/// When it writes more or fewer.
#[inline]
pub fn encoded<const N: usize>(write: impl FnOnce(&mut FieldWriter<'_>)) -> [u8; N] {
    let mut bytes = [0; N];
    let mut fields = FieldWriter::new(&mut bytes);
    write(&mut fields);
    let length = fields.length();
    assert!(length == N, "{length} bytes written of a layout of {N}");
    bytes
}

/// What `read` makes of a layout of `N` bytes: `None` when it says so, or does not read all of
/// them.
#[inline]
pub fn decoded<'a, const N: usize, T>(
    bytes: &'a [u8; N],
    read: impl FnOnce(&mut FieldReader<'a>) -> Option<T>,
) -> Option<T> {
    let mut fields = FieldReader::new(bytes);
    let value = read(&mut fields)?;
    fields.rest().is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 1 + 2 + 4 + 8 + 16 + 4 + 8 + 3 + 2;

    type Fields = (u8, u16, u32, u64, u128, i32, i64, [u8; 3]);

    const FIELDS: Fields = (
        0x01,
        0x0203,
        0x0405_0607,
        u64::MAX - 8,
        9 << 100,
        -10,
        i64::MIN + 11,
        [12, 13, 14],
    );

    fn write(fields: &mut FieldWriter<'_>) {
        fields.u8(FIELDS.0).u16(FIELDS.1).u32(FIELDS.2);
        fields.u64(FIELDS.3).u128(FIELDS.4).i32(FIELDS.5);
        fields.i64(FIELDS.6).bytes(&FIELDS.7).zeros(2);
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Fields> {
        let all = (
            fields.u8()?,
            fields.u16()?,
            fields.u32()?,
            fields.u64()?,
            fields.u128()?,
            fields.i32()?,
            fields.i64()?,
            *fields.array()?,
        );
        fields.skip(2)?;
        Some(all)
    }

    #[test]
    fn fields_survive_and_lie_little_endian_in_the_order_written() {
        let bytes: [u8; LENGTH] = encoded(write);
        assert_eq!(bytes[..7], [1, 3, 2, 7, 6, 5, 4]);
        assert_eq!(bytes[LENGTH - 5..], [12, 13, 14, 0, 0]);
        assert_eq!(decoded(&bytes, read), Some(FIELDS));
    }

    #[test]
    fn short_input_of_every_length_is_refused() {
        let bytes: [u8; LENGTH] = encoded(write);
        for length in 0..LENGTH {
            let mut fields = FieldReader::new(&bytes[..length]);
            assert_eq!(read(&mut fields), None, "{length} bytes");
        }
    }

    #[test]
    fn a_layout_that_is_not_read_to_its_end_is_refused() {
        let two_of_three = |fields: &mut FieldReader<'_>| fields.u16();
        assert_eq!(decoded(&[1, 0, 0], two_of_three), None);
        assert_eq!(decoded(&[1, 0], two_of_three), Some(1));
    }

    #[test]
    fn a_block_ends_where_it_says_and_the_rest_goes_on_behind_it() {
        let mut fields = FieldReader::new(&[1, 2, 3, 4]);
        let mut block = fields.block(3).unwrap();
        assert_eq!((block.u16(), block.u16()), (Some(0x0201), None));
        assert_eq!(block.rest(), [3], "a failed read takes nothing");
        assert_eq!((fields.bytes(2), fields.u8()), (None, Some(4)));
        assert!(fields.block(1).is_none() && fields.rest().is_empty());
    }

    #[test]
    fn zeros_overwrite_what_was_there() {
        let mut bytes = [7; 4];
        let mut fields = FieldWriter::new(&mut bytes);
        fields.u8(1).zeros(2);
        assert_eq!((fields.written(), fields.length()), (&[1, 0, 0][..], 3));
        assert_eq!(bytes, [1, 0, 0, 7]);
    }

    #[test]
    #[should_panic(expected = "2 bytes written of a layout of 3")]
    fn a_layout_that_is_not_filled_is_an_error_of_the_program() {
        let _: [u8; 3] = encoded(|fields| {
            fields.u16(1);
        });
    }
}
