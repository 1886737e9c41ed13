//! The subscriber's end of an image, and what hostile senders can do to it: nothing.

use proptest::prelude::*;

use super::*;
use crate::log_buffer::{ExclusiveAppender, PlainSeal};
use crate::protocol::parse;

const TERM: usize = 65_536;
const MTU: usize = 1408;

const LIMITS: ImageLimits = ImageLimits {
    term_length_max: TERM,
    message_max: 4096,
    window_length: 128 * 1024,
};

fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn geometry() -> Geometry {
    Geometry::new(7, TERM).unwrap()
}

fn image_at(position: Position, limits: &ImageLimits) -> Result<Image, ImageError> {
    let setup = Setup::new(1, 2, geometry(), MTU, position);
    Image::from_setup(0, &setup, source(), 3, limits)
}

/// Everything appended is received at once, one frame per datagram.
fn receive(image: &mut Image, messages: &[&[u8]]) {
    let start = image.receiver.rebuild_position();
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(start, &[]);
    let mut appender = ExclusiveAppender::new(geometry(), 1, 2, MTU, start);
    for message in messages {
        appender.offer(&mut log, Position::MAX, &[message], &mut PlainSeal);
    }
    let mut position = start;
    while position < appender.position() {
        let room = TERM - geometry().term_offset(position);
        let frame = Frame::first(log.bytes(position, room)).unwrap();
        image.on_packet(0, &parse(frame.bytes()).unwrap());
        position += frame.aligned_length() as Position;
    }
    assert_eq!(image.receiver.rebuild_position(), position);
}

fn polled(image: &mut Image, fragment_limit: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    image.poll(fragment_limit, &mut |message| {
        messages.push(message.payload.to_vec());
        PollAction::Continue
    });
    messages
}

#[test]
fn a_message_that_was_not_taken_is_offered_again_fragmented_or_not() {
    for length in [10, 4000] {
        let mut image = image_at(0, &LIMITS).unwrap();
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        receive(&mut image, &[&payload, b"next"]);
        for _ in 0..3 {
            let mut seen = 0;
            image.poll(10, &mut |message| {
                assert_eq!(message.payload, payload);
                seen += 1;
                PollAction::Abort
            });
            assert_eq!(seen, 1);
        }
        assert_eq!(polled(&mut image, 10), [payload, b"next".to_vec()]);
    }
}

#[test]
fn no_more_frames_than_asked_for_are_looked_at() {
    let mut image = image_at(0, &LIMITS).unwrap();
    receive(&mut image, &[&[1; 4000], b"a", b"b"]);
    assert!(polled(&mut image, 2).is_empty());
    assert_eq!(polled(&mut image, 2), [vec![1; 4000], b"a".to_vec()]);
    assert_eq!(polled(&mut image, 2), [b"b"]);
}

#[test]
fn padding_at_a_term_end_is_skipped() {
    let start = TERM as Position - 64;
    let mut image = image_at(start, &LIMITS).unwrap();
    receive(&mut image, &[&[9; 100]]);
    let mut ends = Vec::new();
    image.poll(10, &mut |message| {
        ends.push((message.position, message.session_id, message.stream_id));
        PollAction::Continue
    });
    assert_eq!(ends, [(TERM as Position + 160, 1, 2)]);
}

#[test]
fn a_message_longer_than_accepted_is_dropped_whole_and_counted() {
    let mut image = image_at(0, &LIMITS).unwrap();
    receive(&mut image, &[&[1; 6000], b"after"]);
    assert_eq!(polled(&mut image, 100), [b"after"]);
    assert_eq!(image.counters().messages_too_long, 1);
}

#[test]
fn joining_inside_a_message_waits_for_the_next_beginning() {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let mut appender = ExclusiveAppender::new(geometry(), 1, 2, MTU, 0);
    appender.offer(&mut log, Position::MAX, &[&[1; 4000]], &mut PlainSeal);
    appender.offer(&mut log, Position::MAX, &[b"whole"], &mut PlainSeal);
    let mut image = image_at(MTU as Position, &LIMITS).unwrap();
    let mut position = MTU as Position;
    while position < appender.position() {
        let frame = Frame::first(log.bytes(position, 4096)).unwrap();
        image.on_packet(0, &parse(frame.bytes()).unwrap());
        position += frame.aligned_length() as Position;
    }
    assert_eq!(polled(&mut image, 100), [b"whole"]);
    assert_eq!(image.counters().fragments_dropped, 2);
}

#[test]
fn streams_that_do_not_fit_the_limits_are_refused_with_the_numbers() {
    let small_window = ImageLimits {
        window_length: 1024,
        ..LIMITS
    };
    let refused = image_at(0, &small_window).unwrap_err().to_string();
    assert_eq!(
        refused,
        "datagrams of 1408 bytes do not fit a window of 1024"
    );
    let long_terms = Geometry::new(7, 2 * TERM).unwrap();
    let setup = Setup::new(1, 2, long_terms, MTU, 0);
    let refused = Image::from_setup(0, &setup, source(), 3, &LIMITS).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "terms of 131072 bytes, at most 65536 are accepted"
    );
}

/// A frame with any payload at any of the first slots of the stream, sealed by nobody.
fn frame(slot: usize, length: usize, word: i32, is_pad: bool) -> Vec<u8> {
    let offset = slot * 32;
    let header = crate::log_buffer::DataHeader {
        frame_length: (length as i32).into(),
        version: 0,
        flags: word as u8,
        frame_type: u16::from(!is_pad).into(),
        term_offset: (offset as i32).into(),
        session_id: 1.into(),
        stream_id: 2.into(),
        term_id: 7.into(),
        reserved_value: 0.into(),
    };
    let mut bytes = header.to_bytes().to_vec();
    if !is_pad {
        bytes.resize(crate::position::align_frame(length), 0);
        for chunk in bytes[32..].chunks_exact_mut(4) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

proptest! {
    #[test]
    fn a_sender_that_contradicts_itself_cannot_make_an_image_panic_or_pass_its_limit(
        frames in prop::collection::vec(
            (0_usize..64, 32_usize..600, any::<i32>(), any::<bool>(), any::<bool>()),
            1..60,
        ),
        limit in 0_i64..4096,
    ) {
        let mut image = image_at(0, &LIMITS).unwrap();
        let limit = limit * 32;
        image.receiver.set_limit(limit);
        for (slot, length, word, is_pad, is_small) in frames {
            // Small words look like frame lengths when frames overlap.
            let word = if is_small { word & 0x3FF } else { word };
            let datagram = frame(slot, length, word, is_pad);
            let packet = parse(&datagram).unwrap();
            image.on_packet(0, &packet);
            let rebuild = image.receiver.rebuild_position();
            prop_assert!(rebuild <= image.receiver.high_water_mark());
            prop_assert!(image.receiver.high_water_mark() <= limit);
            image.poll(64, &mut |message| {
                assert!(message.payload.len() <= LIMITS.message_max);
                PollAction::Continue
            });
            prop_assert!(image.position() <= rebuild);
        }
    }
}
