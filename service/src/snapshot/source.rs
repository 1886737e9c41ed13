//! Where a snapshot is read from: a port.

/// The bytes of a snapshot, wherever they lie.
pub trait SnapshotSource {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on; there are as many.
    ///
    /// # Errors
    /// Why they cannot be read, for people.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), String>;
}

impl SnapshotSource for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        let start = offset as usize;
        let bytes = self.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or("there are not as many bytes")?);
        Ok(())
    }
}
