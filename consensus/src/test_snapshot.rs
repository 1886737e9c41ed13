//! Snapshots of one section, for tests of what writes and reads it.

use lockstep_service::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

/// A snapshot of what `write` writes: it is handed 0, then what it returned.
pub fn saved(
    mut write: impl FnMut(usize, &mut SnapshotWriter) -> Result<Option<usize>, SnapshotError>,
) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    let mut from = Some(0);
    while let Some(index) = from {
        from = write(index, &mut writer).unwrap();
    }
    writer.finish().unwrap();
    writer.pending().to_vec()
}

/// What `read` makes of it.
pub fn loaded<T>(
    mut stream: &[u8],
    read: impl FnOnce(&mut SnapshotReader<'_>) -> Result<T, SnapshotError>,
) -> Result<T, SnapshotError> {
    let mut reader = SnapshotReader::open(&mut stream)?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// What the section `name` of it holds.
pub fn content(stream: &[u8], name: &str) -> Vec<u8> {
    let read = |reader: &mut SnapshotReader<'_>| {
        reader.expect_section(name)?;
        let mut content = Vec::new();
        while reader.has_more()? {
            content.push(reader.u8()?);
        }
        reader.end_section()?;
        Ok(content)
    };
    loaded(stream, read).unwrap()
}

/// A snapshot in which the section `name` holds this.
pub fn forged(name: &str, content: &[u8]) -> Vec<u8> {
    saved(|_, writer| {
        writer.begin_section(name)?;
        writer.write(content)?;
        writer.end_section()?;
        Ok(None)
    })
}

/// These numbers, one after the other.
pub fn words(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
