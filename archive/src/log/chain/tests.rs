//! Folding, checkpoints and rewinding.

use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{FRAME_TYPE_DATA, HEADER_LENGTH, Seal};
use lockstep_transport::position::align_frame;

use super::*;

/// A sealed frame as it lies in the log: header, payload, zero padding.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = HEADER_LENGTH + payload.len();
    let mut bytes = vec![0; align_frame(length)];
    bytes[0..4].copy_from_slice(&(length as i32).to_le_bytes());
    bytes[5] = 0xC0;
    bytes[6..8].copy_from_slice(&FRAME_TYPE_DATA.to_le_bytes());
    bytes[HEADER_LENGTH..length].copy_from_slice(payload);
    let header: [u8; 32] = *bytes.first_chunk().unwrap();
    let reserved = FrameSeal::new(1).reserved_value(&header, &bytes[HEADER_LENGTH..]);
    bytes[24..32].copy_from_slice(&reserved.to_le_bytes());
    bytes
}

#[test]
fn chains_differ_by_any_frame_and_agree_whatever_the_batching() {
    let log: Vec<u8> = (0..64_u8).flat_map(|n| frame(&[n; 70])).collect();
    let mut whole = Chain::new();
    whole.fold_frames(&log).unwrap();
    let mut pieces = Chain::new();
    for piece in log.chunks(128 * 5) {
        pieces.fold_frames(piece).unwrap();
    }
    assert_eq!(whole.position(), log.len() as Position);
    assert_eq!(whole.hash(), pieces.hash());
    let mut other = Chain::new();
    other.fold_frames(&log[..128 * 63]).unwrap();
    other.fold_frames(&frame(&[0; 70])).unwrap();
    assert_ne!(whole.hash(), other.hash());
}

#[test]
fn a_chain_rewinds_to_a_checkpoint_and_folds_to_the_same_hash_again() {
    let mut chain = Chain::new();
    let mut hashes = Vec::new();
    for n in 0..4096_i64 {
        chain.fold(n * 31, (n + 1) * 1024);
        hashes.push(chain.hash());
    }
    let checkpoint = chain.checkpoint_at_or_below(3_000_000).unwrap();
    assert_eq!(checkpoint.position % CHECKPOINT_INTERVAL, 0);
    assert!(3_000_000 - checkpoint.position < CHECKPOINT_INTERVAL);
    assert_eq!(chain.rewind(3_000_000), Some(checkpoint));
    for n in checkpoint.position / 1024..4096 {
        chain.fold(n * 31, (n + 1) * 1024);
    }
    assert_eq!(chain.hash(), hashes[4095]);
}

#[test]
fn checkpoints_are_bounded_and_the_oldest_go_first() {
    let mut chain = Chain::new();
    let frames = (CHECKPOINTS_MAX as i64 + 10) * 2;
    for n in 0..frames {
        chain.fold(n, (n + 1) * CHECKPOINT_INTERVAL / 2);
    }
    // But for the start of the log.
    let first = chain.checkpoint_at_or_below(CHECKPOINT_INTERVAL);
    assert_eq!(first, Some(Checkpoint::ZERO));
    let oldest = (frames / 2 - CHECKPOINTS_MAX as i64 + 1) * CHECKPOINT_INTERVAL;
    let found = chain.checkpoint_at_or_below(oldest).unwrap();
    assert_eq!(found.position, oldest);
}

/// A chain of `frames` frames of 1 KiB from `origin` on, and its hash after each.
fn folded(chain: &mut Chain, frames: i64) -> Vec<Checkpoint> {
    let mut hashes = Vec::new();
    for _ in 0..frames {
        let position = chain.position();
        chain.fold(position / 1024 * 31, position + 1024);
        hashes.push(Checkpoint {
            position: chain.position(),
            hash: chain.hash(),
        });
    }
    hashes
}

#[test]
fn a_chain_taken_up_at_a_checkpoint_has_the_hashes_of_the_whole_one() {
    const SEGMENT: usize = 256 * 1024;
    let mut whole = Chain::of_log(Checkpoint::ZERO, Checkpoint::ZERO, SEGMENT);
    let hashes = folded(&mut whole, 2000);
    let (start, origin) = (hashes[255], hashes[700]);
    let mut chain = Chain::of_log(start, origin, SEGMENT);
    assert_eq!(folded(&mut chain, 1299), hashes[701..]);
    assert_eq!(chain.start(), start);
    // Where segments begin, and where it was taken up.
    for (position, anchor) in [
        (300_000, start),
        (origin.position - 32, start),
        (origin.position, origin),
        (3 * 256 * 1024 - 1024, origin),
        (3 * 256 * 1024, hashes[767]),
        (Position::MAX, hashes[1791]),
    ] {
        assert_eq!(chain.anchor_at_or_below(position), Some(anchor));
    }
    assert_eq!(chain.anchor_at_or_below(start.position - 32), None);
    assert_eq!(chain.checkpoint_at_or_below(start.position - 32), None);
    // It goes back below where it was taken up, and forward to the same hash.
    assert_eq!(chain.rewind(origin.position - 1024), Some(start));
    assert_eq!(folded(&mut chain, 1744), hashes[256..]);
    assert_eq!(chain.anchor_at_or_below(Position::MAX), Some(hashes[1791]));
}

#[test]
fn a_log_that_starts_higher_knows_nothing_below() {
    const SEGMENT: usize = 64 * 1024;
    let mut chain = Chain::of_log(Checkpoint::ZERO, Checkpoint::ZERO, SEGMENT);
    let hashes = folded(&mut chain, 500);
    let start = chain.anchor_at_or_below(200_000).unwrap();
    assert_eq!(start, hashes[191]);
    chain.forget_below(start);
    assert_eq!(chain.start(), start);
    assert_eq!(chain.checkpoint_at_or_below(start.position - 32), None);
    assert_eq!(chain.checkpoint_at_or_below(start.position), Some(start));
    assert_eq!(chain.hash(), hashes[499].hash);
}
