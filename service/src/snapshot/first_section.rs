//! The first section of a stream of which only the beginning is at hand.

use super::record::{HEAD_LENGTH, RECORD_HEADER_LENGTH, RecordHeader, RecordKind, format_of};

/// Bytes of a stream up to where its first section, of this name, has `length` bytes.
#[must_use]
pub const fn first_section_end(name: &str, length: usize) -> usize {
    HEAD_LENGTH + RECORD_HEADER_LENGTH + name.len() + RECORD_HEADER_LENGTH + length
}

/// What the first section says, which has this name and is short enough to be in one record: if
/// `beginning`, the first bytes of a stream, has it, whole. Allocates nothing.
#[must_use]
pub fn first_section<'a>(beginning: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = beginning.split_first_chunk::<HEAD_LENGTH>()?;
    format_of(head)?;
    let (found, rest) = record(rest, RecordKind::SectionBegins)?;
    if found != name.as_bytes() {
        return None;
    }
    record(rest, RecordKind::Chunk).map(|(section, _)| section)
}

/// What the record of this `kind` says with which `bytes` begin, and what follows it.
fn record(bytes: &[u8], kind: RecordKind) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_LENGTH>()?;
    let header = RecordHeader::decode(header)?;
    let (payload, rest) = rest.split_at_checked(header.length)?;
    (header.kind == kind && header.is_followed_by(payload)).then_some((payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotWriter;

    fn stream() -> Vec<u8> {
        let mut writer = SnapshotWriter::new();
        for name in ["header", "more"] {
            writer.begin_section(name).unwrap();
            writer.write(&[7; 100]).unwrap();
            writer.end_section().unwrap();
        }
        writer.finish().unwrap();
        writer.pending().to_vec()
    }

    #[test]
    fn the_first_section_is_found_as_soon_as_all_of_it_is_there() {
        let stream = stream();
        let end = first_section_end("header", 100);
        assert_eq!(first_section(&stream[..end], "header"), Some(&[7; 100][..]));
        assert_eq!(first_section(&stream[..end - 1], "header"), None);
        assert_eq!(first_section(&stream, "other"), None);
    }

    #[test]
    fn a_bit_that_is_another_one_is_found() {
        let stream = stream();
        for byte in 0..first_section_end("header", 100) {
            let mut other = stream.clone();
            other[byte] ^= 1;
            assert_eq!(first_section(&other, "header"), None, "byte {byte}");
        }
    }
}
