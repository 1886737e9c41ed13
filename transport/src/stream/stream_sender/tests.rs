//! What a sender sends, what it believes, and what it ignores.

use super::*;
use crate::log_buffer::{ExclusiveAppender, LogBuffer, PlainSeal};
use crate::protocol::{ERROR_IMAGE_REJECTED, Packet, parse};
use crate::stream::capturing_port::CapturingPort;
use crate::stream::frame_source::LogBufferSource;
use crate::time::MICROSECOND;

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

/// A sender over a log of `end` bytes in 1 KiB messages, connected, with everything sent.
fn sender(end: Position) -> (LogBuffer, StreamSender, CapturingPort) {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let mut appender = ExclusiveAppender::new(geometry(), SESSION, STREAM, MTU, 0);
    while appender.position() < end {
        appender.offer(&mut log, end, &[&[5; 992]], &mut PlainSeal);
    }
    let config = SenderConfig::default();
    let mut sender = StreamSender::new(IDS, geometry(), MTU, 0, address(2), config);
    let mut link = CapturingPort::default();
    let mut consumed = 0;
    while sender.position() < end {
        sender.on_status_message(0, &status(consumed, TERM / 2));
        sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
        consumed = sender.position();
    }
    link.datagrams.clear();
    (log, sender, link)
}

fn status(position: Position, window: usize) -> StatusMessage {
    StatusMessage::new(SESSION, STREAM, RECEIVER, (geometry(), position), window)
}

fn nak(position: Position, length: usize) -> Nak {
    Nak::new(SESSION, STREAM, geometry(), position, length)
}

fn offsets(link: &CapturingPort) -> Vec<usize> {
    let offset = |datagram: &Vec<u8>| match parse(datagram) {
        Ok(Packet::Data(data)) => Some(data.term_offset()),
        _ => None,
    };
    link.datagrams.iter().filter_map(offset).collect()
}

#[test]
fn a_storm_of_naks_brings_one_repetition_that_starts_exactly_at_the_gap() {
    let end = 32 * 1024;
    let (log, mut sender, mut link) = sender(end);
    for step in 0..90 {
        let now = step * 100 * MICROSECOND;
        sender.on_nak(now, &nak(4096, 2048));
        sender.do_work(now, &mut LogBufferSource::new(&log, end), &mut link);
    }
    assert_eq!(offsets(&link), [4096, 5120]);
    assert_eq!(sender.counters().naks_suppressed, 89);
    let lingered = 11 * MILLISECOND;
    sender.on_nak(lingered, &nak(4096, 1024));
    sender.do_work(lingered, &mut LogBufferSource::new(&log, end), &mut link);
    assert_eq!(offsets(&link), [4096, 5120, 4096]);
}

#[test]
fn a_repetition_is_capped_and_never_passes_what_was_sent() {
    let end = 3 * TERM as Position;
    let (log, mut sender, mut link) = sender(end);
    sender.on_nak(0, &nak(end - TERM as Position, TERM));
    for _ in 0..10 {
        sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
    }
    // 32 KiB is half a term.
    assert_eq!(offsets(&link), []);
    sender.on_nak(0, &nak(end - 34 * 1024, 34 * 1024));
    for _ in 0..10 {
        sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
    }
    assert_eq!(offsets(&link).len(), 32);

    let (log, mut sender, mut link) = self::sender(4096);
    let more = LogBufferSource::new(&log, 4096);
    sender.on_nak(0, &nak(3072, 8192));
    sender.do_work(0, &mut { more }, &mut link);
    assert_eq!(offsets(&link), [3072]);
}

#[test]
fn naks_that_name_no_sent_range_are_ignored() {
    let end = 32 * 1024;
    let (log, mut sender, mut link) = sender(end);
    let foreign = Nak::new(SESSION + 1, STREAM, geometry(), 0, 1024);
    let before = Nak::new(SESSION, STREAM, Geometry::new(-1, TERM).unwrap(), 0, 1024);
    for bad in [
        nak(4096, 0),
        nak(4096, -1_i32 as usize),
        nak(end, 1024),
        nak(TERM as Position - 1024, 2048),
        foreign,
        before,
    ] {
        sender.on_nak(0, &bad);
        sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
        assert_eq!(offsets(&link), [], "{bad:?}");
    }
    assert_eq!(sender.counters().naks_rejected, 6);
}

#[test]
fn a_nak_into_the_middle_of_a_frame_sends_no_garbage() {
    let end = 32 * 1024;
    let (log, mut sender, mut link) = sender(end);
    sender.on_nak(0, &nak(4096 + 64, 1024));
    for step in 0..20 {
        let now = step * MILLISECOND;
        sender.do_work(now, &mut LogBufferSource::new(&log, end), &mut link);
    }
    assert_eq!(offsets(&link), []);
    assert_eq!(sender.next_deadline(), Some(100 * MILLISECOND));
}

#[test]
fn a_status_half_a_term_away_or_with_too_large_a_window_is_ignored() {
    let (_, mut sender, _) = sender(1024);
    let limit = sender.limit();
    let far = 1024 + TERM as Position / 2 + 32;
    sender.on_status_message(SECOND, &status(far, TERM / 2));
    sender.on_status_message(SECOND, &status(1024, TERM / 2 + 32));
    sender.on_status_message(SECOND, &status(1024, i32::MAX as usize));
    let foreign = StatusMessage::new(SESSION, STREAM + 1, RECEIVER, (geometry(), 1024), 1024);
    sender.on_status_message(SECOND, &foreign);
    assert_eq!(sender.limit(), limit);
    assert_eq!(sender.counters().status_messages_rejected, 4);
    sender.on_status_message(SECOND, &status(far - 32, TERM / 2));
    assert_eq!(sender.limit(), far - 32 + TERM as Position / 2);
}

#[test]
fn an_elicited_setup_carries_the_current_position_and_connects_nobody() {
    let (log, mut sender, mut link) = sender(4096);
    sender.on_status_message(6 * SECOND, &StatusMessage::send_setup(SESSION, STREAM, 1));
    assert!(!sender.is_connected(6 * SECOND));
    sender.do_work(6 * SECOND, &mut LogBufferSource::new(&log, 4096), &mut link);
    let first = link.take().unwrap();
    let Ok(Packet::Setup(setup)) = parse(&first) else {
        panic!("no SETUP");
    };
    assert_eq!(setup.position(), Some(4096));
}

#[test]
fn a_sender_never_passes_the_window_and_a_full_port_loses_nothing() {
    let end = 32 * 1024;
    let (log, _, mut link) = sender(end);
    let config = SenderConfig::default();
    let mut sender = StreamSender::new(IDS, geometry(), MTU, 0, address(2), config);
    sender.on_status_message(0, &status(0, 3000));
    link.refuse_every = 2;
    for _ in 0..50 {
        sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
    }
    assert_eq!(sender.position(), 2048);
    assert_eq!(offsets(&link), [0, 1024]);
    assert!(sender.counters().back_pressured > 0);
}

#[test]
fn a_source_that_no_longer_has_the_frames_is_reported() {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(5 * TERM as Position, &[]);
    let config = SenderConfig::default();
    let start = 4 * TERM as Position;
    let mut sender = StreamSender::new(IDS, geometry(), MTU, start, address(2), config);
    sender.on_status_message(0, &status(start, 1024 * 32));
    let mut link = CapturingPort::default();
    let mut source = LogBufferSource::new(&log, 5 * TERM as Position + 64);
    sender.do_work(0, &mut source, &mut link);
    assert!(sender.is_gone);
    assert_eq!(sender.position(), start);
}

#[test]
fn a_status_message_behind_a_pad_that_passed_the_window_still_counts() {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let start = TERM as Position - 8192;
    log.restart(start - TERM as Position / 2 + 32, &[]);
    let mut appender = ExclusiveAppender::new(geometry(), SESSION, STREAM, MTU, start);
    appender.offer(&mut log, Position::MAX, &[&[1; 8192]], &mut PlainSeal);
    let end = appender.position();
    let config = SenderConfig::default();
    let mut sender = StreamSender::new(IDS, geometry(), MTU, start, address(2), config);
    let consumed = start - TERM as Position / 2 + 32;
    let mut link = CapturingPort::default();
    sender.on_status_message(0, &status(consumed, TERM / 2));
    sender.do_work(0, &mut LogBufferSource::new(&log, end), &mut link);
    assert_eq!(sender.position(), TERM as Position);
    sender.on_status_message(SECOND, &status(consumed, TERM / 2));
    assert_eq!(sender.counters().status_messages_rejected, 0);
}

#[test]
fn a_round_trip_request_is_answered_and_an_error_disconnects() {
    let (log, mut sender, mut link) = sender(1024);
    let request = Rtt::request(SESSION, STREAM, RECEIVER, 99);
    sender.on_rtt(0, &request);
    sender.do_work(0, &mut LogBufferSource::new(&log, 1024), &mut link);
    let reply = link.take().unwrap();
    assert!(matches!(parse(&reply), Ok(Packet::Rtt(rtt)) if rtt == request.reply()));

    assert!(sender.is_connected(0));
    let error = ErrorFrame::new(SESSION, STREAM, RECEIVER, ERROR_IMAGE_REJECTED, b"no");
    sender.on_error(0, &error);
    assert!(!sender.is_connected(0));
}
