//! What an appender leaves in the log buffer, frame by frame.

use super::*;
use crate::log_buffer::{Frame, frames};

const TERM: usize = 65_536;
const MTU: usize = 1408;
const NO_LIMIT: Position = Position::MAX;

fn geometry() -> Geometry {
    Geometry::new(100, TERM).unwrap()
}

fn pair(start: Position) -> (LogBuffer, ExclusiveAppender) {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(start, &[]);
    let appender = ExclusiveAppender::new(geometry(), 0x1122_3344, 1001, MTU, start);
    (log, appender)
}

fn flags_and_payloads(log: &LogBuffer, from: Position, length: usize) -> Vec<(u8, usize)> {
    frames(log.bytes(from, length))
        .map(|frame| (frame.flags(), frame.payload().len()))
        .collect()
}

/// Counts frames, to show that each is sealed once with its final bytes.
#[derive(Default)]
struct Recording {
    seals: Vec<(i32, usize)>,
}

impl Seal for Recording {
    fn reserved_value(&mut self, header: &[u8; 32], payload_and_padding: &[u8]) -> i64 {
        let length = i32::from_le_bytes(*header.first_chunk().unwrap());
        assert_eq!(header[24..], [0; 8]);
        self.seals.push((length, payload_and_padding.len()));
        self.seals.len() as i64
    }
}

#[test]
fn a_message_of_parts_is_one_frame_with_its_parts_in_order() {
    let (mut log, mut appender) = pair(0);
    let offer = appender.offer(&mut log, NO_LIMIT, &[b"he", b"", b"llo"], &mut PlainSeal);
    assert_eq!(offer, Offer::Accepted(64));
    let frame = Frame::first(log.bytes(0, 64)).unwrap();
    assert_eq!(frame.payload(), b"hello");
    assert_eq!(frame.header().term_id.get(), 100);
    assert_eq!(frame.header().session_id.get(), 0x1122_3344);
}

#[test]
fn an_empty_message_is_a_bare_header() {
    let (mut log, mut appender) = pair(0);
    let offer = appender.offer(&mut log, NO_LIMIT, &[], &mut PlainSeal);
    assert_eq!(offer, Offer::Accepted(32));
    assert_eq!(log.frame_length(0), 32);
}

#[test]
fn a_long_message_is_cut_into_full_frames_and_a_rest() {
    let (mut log, mut appender) = pair(192);
    let message: Vec<u8> = (0..3000_u32).map(|i| i as u8).collect();
    let (a, b) = message.split_at(1000);
    let offer = appender.offer(&mut log, NO_LIMIT, &[a, b], &mut PlainSeal);
    assert_eq!(offer, Offer::Accepted(3296));
    let kinds = flags_and_payloads(&log, 192, 3296 - 192);
    assert_eq!(kinds, [(0x80, 1376), (0x00, 1376), (0x40, 248)]);
    let gathered: Vec<u8> = frames(log.bytes(192, 3104))
        .flat_map(|frame| frame.payload().to_vec())
        .collect();
    assert_eq!(gathered, message);
    assert_eq!(aligned_length(3000, MTU), 3104);
}

#[test]
fn lengths_at_the_fragment_boundary_take_what_the_formula_says() {
    for length in [0, 1, 1375, 1376, 1377, 2751, 2752, 2753, 8192] {
        let (mut log, mut appender) = pair(0);
        let message = vec![1; length];
        let expected = aligned_length(length, MTU) as Position;
        let offer = appender.offer(&mut log, NO_LIMIT, &[&message], &mut PlainSeal);
        assert_eq!(offer, Offer::Accepted(expected), "length {length}");
    }
}

#[test]
fn what_does_not_fit_the_term_goes_to_the_next_behind_padding() {
    let start = TERM as Position - 128;
    let (mut log, mut appender) = pair(start);
    let mut seal = Recording::default();
    let offer = appender.offer(&mut log, NO_LIMIT, &[&[7; 200]], &mut seal);
    assert_eq!(offer, Offer::Accepted(TERM as Position + 256));
    let pad = Frame::first(log.bytes(start, 128)).unwrap();
    assert!(pad.is_padding());
    assert_eq!(pad.aligned_length(), 128);
    assert_eq!(pad.reserved_value(), 1);
    let frame = Frame::first(log.bytes(TERM as Position, 256)).unwrap();
    assert_eq!(
        (frame.header().term_id.get(), frame.reserved_value()),
        (101, 2)
    );
    assert_eq!(seal.seals, [(128, 0), (232, 224)]);
}

#[test]
fn what_fits_the_term_exactly_leaves_no_padding() {
    let (mut log, mut appender) = pair(TERM as Position - 128);
    let offer = appender.offer(&mut log, NO_LIMIT, &[&[7; 96]], &mut PlainSeal);
    assert_eq!(offer, Offer::Accepted(TERM as Position));
    assert_eq!(log.frame_length(TERM as Position - 128), 128);
}

#[test]
fn nothing_is_written_when_the_end_would_pass_the_limit() {
    let start = TERM as Position - 128;
    let (mut log, mut appender) = pair(start);
    let limit = TERM as Position + 255;
    let offer = appender.offer(&mut log, limit, &[&[7; 200]], &mut PlainSeal);
    assert_eq!(offer, Offer::BackPressured);
    assert_eq!(appender.position(), start);
    assert!(log.bytes(start, 128).iter().all(|b| *b == 0));
    let offer = appender.offer(&mut log, limit + 1, &[&[7; 200]], &mut PlainSeal);
    assert_eq!(offer, Offer::Accepted(limit + 1));
}

#[test]
fn too_long_messages_and_the_last_position_are_refused() {
    let (mut log, mut appender) = pair(0);
    let longest = message_length_max(TERM);
    assert_eq!(longest, TERM / 8);
    let message = vec![0; longest + 1];
    let offer = appender.offer(&mut log, NO_LIMIT, &[&message], &mut PlainSeal);
    assert_eq!(offer, Offer::TooLong);

    let last = TERM as Position * TERM_IDS - 64;
    let (mut log, mut appender) = pair(last);
    let offer = appender.offer(&mut log, NO_LIMIT, &[&[0; 33]], &mut PlainSeal);
    assert_eq!(offer, Offer::MaxPosition);
    assert_eq!(appender.position(), last);
}

#[test]
fn a_burst_over_several_terms_finds_clean_memory_without_help() {
    let (mut log, mut appender) = pair(0);
    for round in 0..500_u32 {
        let message = [round as u8 | 1; 1000];
        let offer = appender.offer(&mut log, NO_LIMIT, &[&message], &mut PlainSeal);
        let Offer::Accepted(end) = offer else {
            panic!("{offer:?}")
        };
        let frame = Frame::first(log.bytes(end - 1056, 1056)).unwrap();
        assert_eq!(frame.payload(), message);
        assert_eq!(frame.bytes()[1032..], [0; 24]);
    }
}

#[test]
fn a_claim_appears_when_committed_and_turns_to_padding_when_aborted() {
    let (mut log, mut appender) = pair(0);
    let claim = appender
        .claim(&mut log, NO_LIMIT, 5, &mut PlainSeal)
        .unwrap();
    claim.bytes_mut(&mut log).copy_from_slice(b"hello");
    assert_eq!(log.frame_length(0), 0);
    assert_eq!(appender.commit(&mut log, claim, &mut PlainSeal), 64);
    assert_eq!(Frame::first(log.bytes(0, 64)).unwrap().payload(), b"hello");

    let claim = appender
        .claim(&mut log, NO_LIMIT, 40, &mut PlainSeal)
        .unwrap();
    claim.bytes_mut(&mut log).fill(9);
    assert_eq!(appender.abort(&mut log, claim, &mut PlainSeal), 160);
    let pad = Frame::first(log.bytes(64, 96)).unwrap();
    assert!(pad.is_padding());
    assert!(log.bytes(96, 64).iter().all(|b| *b == 0));

    let refused = appender.claim(&mut log, NO_LIMIT, MTU, &mut PlainSeal);
    assert_eq!(refused.unwrap_err(), Offer::TooLong);
}
