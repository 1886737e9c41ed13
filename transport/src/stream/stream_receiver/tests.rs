//! What a receiver places, reports and asks for.

use super::*;
use crate::log_buffer::{ExclusiveAppender, PlainSeal};
use crate::protocol::{Packet, parse};
use crate::stream::capturing_port::CapturingPort;

const TERM: usize = 65_536;
const MTU: usize = 1408;
const SESSION: i32 = -77;
const STREAM: i32 = 1001;
const RECEIVER: i64 = 42;
const IDS: StreamIds = StreamIds {
    session_id: SESSION,
    stream_id: STREAM,
};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn geometry() -> Geometry {
    Geometry::new(0, TERM).unwrap()
}

/// A receiver of a fresh stream with a window of 4 KiB.
fn receiver() -> (LogBuffer, StreamReceiver) {
    let log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let config = ReceiverConfig {
        window_length: 4096,
        receiver_id: RECEIVER,
        ..ReceiverConfig::default()
    };
    let receiver = StreamReceiver::new(IDS, geometry(), MTU, 0, config, address(1));
    (log, receiver)
}

/// The frame of `length` bytes that lies at `position` of the stream.
fn frame(position: Position, length: usize) -> Vec<u8> {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(position, &[]);
    let mut appender = ExclusiveAppender::new(geometry(), SESSION, STREAM, MTU, position);
    let payload = vec![3; length - 32];
    appender.offer(&mut log, Position::MAX, &[&payload], &mut PlainSeal);
    log.bytes(position, length).to_vec()
}

fn place(receiver: &mut StreamReceiver, log: &mut LogBuffer, datagram: &[u8]) -> Placement {
    place_at(0, receiver, log, datagram)
}

fn place_at(
    now: Nanos,
    receiver: &mut StreamReceiver,
    log: &mut LogBuffer,
    datagram: &[u8],
) -> Placement {
    match parse(datagram) {
        Ok(Packet::Data(data)) => receiver.on_data(now, log, &data),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receiver_places_only_what_is_new_and_within_its_bounds() {
    let (mut log, mut receiver) = receiver();
    let half_term = TERM as Position / 2;
    let cases = [
        (frame(64, 64), Placement::Inserted),
        (frame(64, 64), Placement::Duplicate),
        (frame(0, 64), Placement::Inserted),
        (frame(0, 64), Placement::Duplicate),
        (frame(half_term - 64, 64), Placement::Inserted),
        (frame(half_term - 32, 64), Placement::Overrun),
        (frame(3 * TERM as Position, 64), Placement::Overrun),
    ];
    for (datagram, expected) in cases {
        assert_eq!(place(&mut receiver, &mut log, &datagram), expected);
    }
    receiver.set_limit(1024);
    assert_eq!(
        place(&mut receiver, &mut log, &frame(992, 64)),
        Placement::Overrun
    );
    assert_eq!(
        place(&mut receiver, &mut log, &frame(960, 64)),
        Placement::Inserted
    );
    let mut foreign = frame(128, 64);
    foreign[12] ^= 1;
    assert_eq!(place(&mut receiver, &mut log, &foreign), Placement::Foreign);
    assert_eq!(receiver.rebuild_position(), 128);
    assert_eq!(receiver.high_water_mark(), half_term);
}

#[test]
fn a_datagram_whose_later_frames_are_known_fills_what_is_missing_before_them() {
    let (mut log, mut receiver) = receiver();
    assert_eq!(
        place(&mut receiver, &mut log, &frame(64, 64)),
        Placement::Inserted
    );
    let both = [frame(0, 64), frame(64, 64), frame(128, 64)].concat();
    assert_eq!(place(&mut receiver, &mut log, &both), Placement::Inserted);
    assert_eq!(receiver.rebuild_position(), 192);
    assert_eq!(log.bytes(0, 192), both);
}

#[test]
fn status_messages_go_out_at_once_every_quarter_window_and_every_200_ms() {
    let (log, mut receiver) = receiver();
    let mut link = CapturingPort::default();
    let mut work = |now, consumption| {
        receiver.do_work(now, &log, consumption, &mut link);
        link.take().map(|datagram| match parse(&datagram) {
            Ok(Packet::StatusMessage(status)) => {
                (status.position(geometry()).unwrap(), status.window())
            }
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(work(0, 0), Some((0, 4096)));
    assert_eq!(work(1, 1024), None);
    assert_eq!(work(2, 1056), Some((1056, 4096)));
    assert_eq!(work(199 * MILLISECOND, 1056), None);
    assert_eq!(work(201 * MILLISECOND, 1088), Some((1088, 4096)));
}

#[test]
fn the_announced_window_never_passes_the_owners_limit_and_opens_with_it() {
    let (log, mut receiver) = receiver();
    let mut link = CapturingPort::default();
    let mut announced = |receiver: &mut StreamReceiver, now| {
        receiver.do_work(now, &log, 0, &mut link);
        link.take().map(|datagram| match parse(&datagram) {
            Ok(Packet::StatusMessage(status)) => status.window(),
            other => panic!("{other:?}"),
        })
    };
    receiver.set_limit(1000);
    assert_eq!(announced(&mut receiver, 0), Some(992));
    receiver.set_limit(1100);
    assert_eq!(announced(&mut receiver, 1), None);
    receiver.set_limit(Position::MAX);
    assert_eq!(announced(&mut receiver, 2), Some(4096));
}

#[test]
fn naks_name_the_first_hole_after_the_delay_and_repeat_until_it_is_filled() {
    let (mut log, mut receiver) = receiver();
    let mut link = CapturingPort::default();
    place(&mut receiver, &mut log, &frame(0, 64));
    place(&mut receiver, &mut log, &frame(192, 64));
    place(&mut receiver, &mut log, &frame(384, 64));
    let mut naks = |receiver: &mut StreamReceiver, log: &LogBuffer, now| {
        receiver.do_work(now, log, 0, &mut link);
        let datagrams: Vec<Vec<u8>> = std::iter::from_fn(|| link.take()).collect();
        let nak = |datagram: &Vec<u8>| match parse(datagram) {
            Ok(Packet::Nak(nak)) => Some((nak.position(geometry()).unwrap(), nak.length())),
            _ => None,
        };
        datagrams.iter().find_map(nak)
    };
    assert_eq!(naks(&mut receiver, &log, 0), None);
    assert_eq!(receiver.next_deadline(), Some(MICROSECOND));
    assert_eq!(naks(&mut receiver, &log, MICROSECOND), Some((64, 128)));
    assert_eq!(naks(&mut receiver, &log, 50 * MICROSECOND), None);
    assert_eq!(
        naks(&mut receiver, &log, 101 * MICROSECOND),
        Some((64, 128))
    );
    place(
        &mut receiver,
        &mut log,
        &[frame(64, 64), frame(128, 64)].concat(),
    );
    assert_eq!(naks(&mut receiver, &log, 102 * MICROSECOND), None);
    assert_eq!(
        naks(&mut receiver, &log, 103 * MICROSECOND),
        Some((256, 128))
    );
}

#[test]
fn reordering_within_the_configured_delay_asks_for_nothing() {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let config = ReceiverConfig {
        nak_delay_ns: 20 * MICROSECOND,
        ..ReceiverConfig::default()
    };
    let mut receiver = StreamReceiver::new(IDS, geometry(), MTU, 0, config, address(1));
    let mut link = CapturingPort::default();
    place(&mut receiver, &mut log, &frame(64, 64));
    receiver.do_work(0, &log, 0, &mut link);
    receiver.do_work(19 * MICROSECOND, &log, 0, &mut link);
    place(&mut receiver, &mut log, &frame(0, 64));
    receiver.do_work(40 * MICROSECOND, &log, 0, &mut link);
    assert_eq!(receiver.counters().naks_sent, 0);
    assert_eq!(receiver.rebuild_position(), 128);
}

#[test]
fn padding_may_pass_the_window_but_never_the_owners_limit() {
    let (mut log, mut receiver) = receiver();
    let half_term = TERM as Position / 2;
    let mut pad = frame(half_term - 32, 32);
    pad[..4].copy_from_slice(&4096_i32.to_le_bytes());
    pad[6] = 0;
    receiver.set_limit(half_term);
    assert_eq!(place(&mut receiver, &mut log, &pad), Placement::Overrun);
    receiver.set_limit(Position::MAX);
    assert_eq!(place(&mut receiver, &mut log, &pad), Placement::Inserted);
    assert_eq!(receiver.high_water_mark(), half_term - 32 + 4096);
}

#[test]
fn what_lies_below_the_contiguous_stream_is_never_placed_even_on_recycled_memory() {
    let join = 2 * TERM as Position + 64;
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(join, &[]);
    let config = ReceiverConfig::default();
    let mut receiver = StreamReceiver::new(IDS, geometry(), MTU, join, config, address(1));
    for position in [0, TERM as Position, join - 64] {
        let stale = frame(position, 64);
        assert_eq!(place(&mut receiver, &mut log, &stale), Placement::Duplicate);
        assert_eq!(log.frame_length(position), 0);
    }
}

/// When NAKs leave until `until`, in steps of 10 µs.
fn naks(
    receiver: &mut StreamReceiver,
    log: &LogBuffer,
    port: &mut CapturingPort,
    (from, until): (Nanos, Nanos),
) -> Vec<Nanos> {
    let mut asked = Vec::new();
    for step in from..until {
        let before = receiver.counters().naks_sent;
        receiver.do_work(step * 10 * MICROSECOND, log, 0, port);
        if receiver.counters().naks_sent > before {
            asked.push(step);
        }
    }
    asked
}

/// One that is gone, or cannot be reached, was asked ten thousand times a second, and later 625.
#[test]
fn a_hole_that_nobody_fills_is_asked_for_less_and_less_often() {
    let (mut log, mut receiver) = receiver();
    place(&mut receiver, &mut log, &frame(128, 64));
    let mut port = CapturingPort::default();
    let asked = naks(&mut receiver, &log, &mut port, (0, 200_000));
    assert_eq!(asked[..4], [1, 11, 21, 31]);
    for pair in asked.windows(2) {
        let (waited, pause) = (pair[0] - asked[0], pair[1] - pair[0]);
        assert!(pause <= 10 + waited / 16 && pause <= 2560, "{pair:?}");
    }
    let in_the_first_second = asked.iter().filter(|step| **step < 100_000).count();
    assert_eq!(in_the_first_second, 130);
    assert_eq!(asked.len() - in_the_first_second, 39);
}

#[test]
fn a_nak_that_the_port_refuses_is_due_at_once_and_lengthens_no_pause() {
    let (mut log, mut receiver) = receiver();
    place(&mut receiver, &mut log, &frame(128, 64));
    let mut port = CapturingPort {
        refuse_every: 2,
        ..CapturingPort::default()
    };
    // The status message is refused, then sent; each NAK likewise.
    assert_eq!(naks(&mut receiver, &log, &mut port, (0, 2)), []);
    assert_eq!(receiver.next_deadline(), Some(MICROSECOND));
    let asked = naks(&mut receiver, &log, &mut port, (600, 630));
    assert_eq!(asked, [600, 611, 622]);
}

#[test]
fn a_hole_out_of_which_something_comes_is_asked_for_as_soon_as_at_first() {
    // What is new says only that the sender is heard, not that it hears.
    for (placed, expected) in [(64, &[1010, 1020, 1030][..]), (256, &[1025])] {
        let (mut log, mut receiver) = receiver();
        place(&mut receiver, &mut log, &frame(128, 64));
        let mut port = CapturingPort::default();
        let asked = naks(&mut receiver, &log, &mut port, (0, 1000));
        assert_eq!(asked[asked.len() - 2..], [907, 964]);
        // Frames that were there already say nothing new.
        place(&mut receiver, &mut log, &frame(128, 64));
        assert!(receiver.next_deadline() > Some(10_200 * MICROSECOND));
        place_at(
            10 * MILLISECOND,
            &mut receiver,
            &mut log,
            &frame(placed, 64),
        );
        let asked = naks(&mut receiver, &log, &mut port, (1000, 1035));
        assert_eq!(asked, expected);
    }
}

#[test]
fn what_still_comes_out_of_a_hole_that_has_shrunk_was_asked_for_too() {
    let (mut log, mut receiver) = receiver();
    place(&mut receiver, &mut log, &frame(256, 64));
    let mut port = CapturingPort::default();
    naks(&mut receiver, &log, &mut port, (0, 1000));
    place_at(10 * MILLISECOND, &mut receiver, &mut log, &frame(64, 64));
    // Asked for again: but for what lies before the frame that came.
    let asked = naks(&mut receiver, &log, &mut port, (1000, 2000));
    assert_eq!(asked[..2], [1010, 1020]);
    assert!(receiver.next_deadline() > Some(20_200 * MICROSECOND));
    place_at(20 * MILLISECOND, &mut receiver, &mut log, &frame(128, 64));
    let asked = naks(&mut receiver, &log, &mut port, (2000, 2025));
    assert_eq!(asked, [2010, 2020]);
}

/// The receiver hears its sender, which does not hear it.
#[test]
fn a_sender_that_goes_on_without_hearing_is_asked_no_more_often_than_one_that_is_gone() {
    let mut counts = [0; 2];
    for (goes_on, count) in [false, true].into_iter().zip(&mut counts) {
        let (mut log, mut receiver) = receiver();
        place(&mut receiver, &mut log, &frame(128, 64));
        let mut port = CapturingPort::default();
        for half_millisecond in 0..400 {
            let now = half_millisecond * MILLISECOND / 2;
            if goes_on {
                let newer = frame(192 + 64 * half_millisecond, 64);
                let placement = place_at(now, &mut receiver, &mut log, &newer);
                assert_eq!(placement, Placement::Inserted);
            }
            let steps = (50 * half_millisecond, 50 * (half_millisecond + 1));
            *count += naks(&mut receiver, &log, &mut port, steps).len();
        }
    }
    assert_eq!(counts, [95; 2]);
}
