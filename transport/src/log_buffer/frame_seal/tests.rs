//! Sealing and verification.

use super::*;

/// A frame as it lies in the log: header, payload, zero padding.
fn frame(frame_type: u16, payload: &[u8], leadership_term: u32) -> Vec<u8> {
    let length = HEADER_LENGTH + payload.len();
    let mut bytes = vec![0; align_frame(length)];
    bytes[0..4].copy_from_slice(&(length as i32).to_le_bytes());
    bytes[5] = 0xC0;
    bytes[6..8].copy_from_slice(&frame_type.to_le_bytes());
    bytes[8..12].copy_from_slice(&640_i32.to_le_bytes());
    bytes[20..24].copy_from_slice(&7_i32.to_le_bytes());
    bytes[HEADER_LENGTH..length].copy_from_slice(payload);
    let header: [u8; 32] = *bytes.first_chunk().unwrap();
    let body = if frame_type == FRAME_TYPE_PAD {
        &[][..]
    } else {
        &bytes[HEADER_LENGTH..]
    };
    let reserved = FrameSeal::new(leadership_term).reserved_value(&header, body);
    bytes[24..32].copy_from_slice(&reserved.to_le_bytes());
    bytes
}

#[test]
fn a_sealed_frame_verifies_and_gives_its_leadership_term() {
    let bytes = frame(FRAME_TYPE_DATA, b"thirteen bytes", 42);
    assert_eq!(verify(&bytes), Ok(42));
    let place = FramePlace::read(&bytes).unwrap();
    assert_eq!((place.term_offset, place.term_id), (640, 7));
    assert_eq!(place.aligned_length, 64);
    assert_eq!(place.leadership_term(), 42);
}

#[test]
fn every_flipped_bit_of_a_frame_is_noticed() {
    let bytes = frame(FRAME_TYPE_DATA, b"thirteen bytes", 42);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_of_a_frame_is_noticed() {
    let bytes = frame(FRAME_TYPE_DATA, &[9; 100], 1);
    for length in 0..bytes.len() {
        assert_eq!(verify(&bytes[..length]), Err(ChecksumError::Truncated));
    }
}

#[test]
fn a_pad_is_verified_by_its_header_alone() {
    let bytes = frame(FRAME_TYPE_PAD, &[0; 4000], 3);
    assert_eq!(verify(&bytes[..HEADER_LENGTH]), Ok(3));
    let mut damaged = bytes;
    damaged[1] ^= 1;
    assert_eq!(verify(&damaged), Err(ChecksumError::Mismatch));
}

#[test]
fn zeros_and_heartbeats_are_no_frames_of_the_log() {
    assert_eq!(verify(&[0; 64]), Err(ChecksumError::Malformed));
    let mut heartbeat = frame(FRAME_TYPE_DATA, &[], 1);
    heartbeat[24..32].fill(0);
    assert_eq!(verify(&heartbeat), Err(ChecksumError::Mismatch));
}

#[test]
fn a_seal_has_these_golden_bytes() {
    let bytes = frame(FRAME_TYPE_DATA, b"lockstep", 0x0102_0304);
    let mut covered = bytes[..24].to_vec();
    covered.extend_from_slice(&[4, 3, 2, 1]);
    covered.extend_from_slice(&bytes[32..64]);
    let expected = crc32c::crc32c(&covered).to_le_bytes();
    assert_eq!(bytes[24..28], expected);
    assert_eq!(bytes[28..32], [4, 3, 2, 1]);
}
