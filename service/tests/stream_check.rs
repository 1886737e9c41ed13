//! A snapshot that comes by piece by piece is known by its hash, and no other stream passes.

use lockstep_service::snapshot::{SnapshotSummary, SnapshotWriter, StreamCheck, verify};

fn snapshot() -> (Vec<u8>, SnapshotSummary) {
    let mut writer = SnapshotWriter::new();
    for name in ["header", "service/x"] {
        writer.begin_section(name).expect("a name");
        writer.write(&[7; 300]).expect("room");
        writer.end_section().expect("begun");
    }
    let summary = writer.finish().expect("ended");
    (writer.pending().to_vec(), summary)
}

fn checked(bytes: &[u8], length: usize, piece: usize) -> Option<u128> {
    let mut check = StreamCheck::new(length as u64);
    for piece in bytes.chunks(piece) {
        check.push(piece);
    }
    check.finish()
}

#[test]
fn a_whole_snapshot_has_the_hash_that_its_writer_and_its_reader_say() {
    let (bytes, summary) = snapshot();
    let read = verify(&mut &bytes[..]).expect("whole");
    assert_eq!(read.hash, summary.hash);
    assert_eq!(summary.length, bytes.len() as u64);
    for piece in [1, 7, 43, 44, 45, 1 << 20] {
        let hash = checked(&bytes, bytes.len(), piece);
        assert_eq!(hash, Some(summary.hash), "in pieces of {piece}");
    }
}

#[test]
fn no_part_of_a_snapshot_and_none_with_a_flipped_bit_is_whole_under_its_hash() {
    let (bytes, summary) = snapshot();
    for length in 0..bytes.len() {
        assert_eq!(checked(&bytes[..length], bytes.len(), 64), None);
        assert_eq!(checked(&bytes[..length], length, 64), None);
    }
    let mut bytes = bytes;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hash = checked(&bytes, bytes.len(), 64);
        assert_ne!(hash, Some(summary.hash), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
#[should_panic(expected = "has more")]
fn more_than_a_stream_has_is_refused() {
    let (bytes, _) = snapshot();
    let _ = checked(&bytes, bytes.len() - 1, 64);
}
