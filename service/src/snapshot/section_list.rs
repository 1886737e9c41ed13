//! The list of sections with which a stream ends, of whoever has only that.

use lockstep_transport::codec::FieldReader;

use super::record::{
    END_LENGTH, LISTED_LENGTH, RECORD_HEADER_LENGTH, RecordHeader, RecordKind, SECTIONS_MAX,
};
use super::section_name::SectionName;

const LISTED_RECORD_LENGTH: usize = RECORD_HEADER_LENGTH + LISTED_LENGTH;

const END_RECORD_LENGTH: usize = RECORD_HEADER_LENGTH + END_LENGTH;

/// In so many bytes at the end of a stream, or in all of a shorter one, is the whole list.
pub const SECTION_LIST_LENGTH_MAX: usize = SECTIONS_MAX * LISTED_RECORD_LENGTH + END_RECORD_LENGTH;

/// The first section in which two streams differ, of which these are the ends: by what their lists
/// say. `None` where they list the same, or one of them is no end of a stream. Allocates nothing.
#[must_use]
pub fn first_difference(one: &[u8], other: &[u8]) -> Option<SectionName> {
    let (one, other) = (list(one)?, list(other)?);
    let records = |list: &[u8]| list.len() / LISTED_RECORD_LENGTH;
    let record = |list, number: usize| {
        let start = number * LISTED_RECORD_LENGTH;
        <[u8]>::get(list, start..start + LISTED_RECORD_LENGTH)
    };
    let mut numbers = 0..records(one).max(records(other));
    let first = numbers.find(|number| record(one, *number) != record(other, *number))?;
    name(record(one, first).or_else(|| record(other, first))?)
}

/// The records of the list.
fn list(end_of_stream: &[u8]) -> Option<&[u8]> {
    let (rest, end) = end_of_stream.split_last_chunk::<END_RECORD_LENGTH>()?;
    let payload = payload(end, RecordKind::End)?;
    let count = FieldReader::new(payload).u64()?;
    let length = usize::try_from(count)
        .ok()?
        .checked_mul(LISTED_RECORD_LENGTH)?;
    rest.get(rest.len().checked_sub(length)?..)
}

fn name(record: &[u8]) -> Option<SectionName> {
    let payload = payload(record, RecordKind::Listed)?;
    let text = payload.get(24..)?;
    let length = text.iter().position(|byte| *byte == 0);
    SectionName::from_bytes(&text[..length.unwrap_or(text.len())])
}

/// What a record of this kind says.
fn payload(record: &[u8], kind: RecordKind) -> Option<&[u8]> {
    let (header, payload) = record.split_first_chunk::<RECORD_HEADER_LENGTH>()?;
    let header = RecordHeader::decode(header)?;
    (header.kind == kind && header.is_followed_by(payload)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotWriter;

    fn stream(sections: &[(&str, u8)]) -> Vec<u8> {
        let mut writer = SnapshotWriter::new();
        for (name, content) in sections {
            writer.begin_section(name).unwrap();
            writer.write(&[*content; 100]).unwrap();
            writer.end_section().unwrap();
        }
        writer.finish().unwrap();
        let stream = writer.pending();
        stream[stream.len().saturating_sub(SECTION_LIST_LENGTH_MAX)..].to_vec()
    }

    fn difference(one: &[(&str, u8)], other: &[(&str, u8)]) -> Option<String> {
        first_difference(&stream(one), &stream(other)).map(|name| name.to_string())
    }

    #[test]
    fn the_first_section_that_differs_is_named() {
        let own: &[_] = &[("header", 1), ("book", 2), ("names", 3)];
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(difference(own, own), None);
        let content: &[_] = &[("header", 1), ("book", 9), ("names", 8)];
        assert_eq!(difference(own, content), named("book"));
        let shorter = &own[..2];
        assert_eq!(difference(own, shorter), named("names"));
        assert_eq!(difference(shorter, own), named("names"));
        assert_eq!(difference(&[], own), named("header"));
    }

    #[test]
    fn what_is_no_end_of_a_stream_differs_in_nothing() {
        let whole = stream(&[("header", 1), ("book", 2)]);
        let other = stream(&[("header", 1), ("book", 3)]);
        assert_eq!(first_difference(&whole[..whole.len() - 1], &other), None);
        assert_eq!(first_difference(&[], &other), None);
        for byte in 0..whole.len() {
            let mut spoiled = whole.clone();
            spoiled[byte] ^= 1;
            // No panic, whatever it is taken for.
            let _ = first_difference(&spoiled, &other);
        }
    }

    #[test]
    fn a_list_is_never_longer_than_what_is_asked_for() {
        let names: Vec<String> = (0..SECTIONS_MAX)
            .map(|number| format!("s{number}"))
            .collect();
        let sections: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let mut last = sections.clone();
        last[SECTIONS_MAX - 1].1 = 2;
        assert_eq!(difference(&sections, &last), Some("s255".to_owned()));
    }
}
