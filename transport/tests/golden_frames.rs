//! Every transport frame of `wire.md` G.1, byte for byte in both directions, and what
//! must never pass: cut, mutated and contradictory datagrams.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use lockstep_transport::log_buffer::{
    ExclusiveAppender, FLAG_BEGIN, FLAG_END, FLAGS_UNFRAGMENTED, Frame, LogBuffer, PlainSeal,
    frames, scanner,
};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::protocol::{
    ERROR_IMAGE_REJECTED, ERROR_LENGTH_MAX, ErrorFrame, FrameError, Heartbeat, Nak, Packet, Rtt,
    STATUS_MESSAGE_LENGTH_MAX, Setup, StatusMessage, parse,
};
use proptest::prelude::*;

const SESSION: i32 = 0x1122_3344;
const STREAM: i32 = 1001;
const RECEIVER: i64 = 0x0102_0304_0506_0708;
const MTU: usize = 1408;

const T1: &str = "28000000 00000500 00000000 44332211 e9030000 64000000 64000000 00000100 \
                  80050000 00000000";
const T2: &str = "28000000 00c00500 40000000 44332211 e9030000 64000000 65000000 00000100 \
                  80050000 00000000";
const T3: &str = "24000000 00800300 44332211 e9030000 00000000 00000000 00000000 08070605 \
                  04030201";
const T4: &str = "24000000 00000300 44332211 e9030000 64000000 00000000 00800000 08070605 \
                  04030201";
const T5: &str = "2c000000 00400300 44332211 e9030000 64000000 40000000 00800000 08070605 \
                  04030201 d2040000 00000000";
const T6: &str = "25000000 00c00100 00000000 44332211 e9030000 64000000 00000000 00000000 \
                  68656c6c 6f000000 00000000 00000000 00000000 00000000 00000000 00000000";
const T7: &str = "23000000 00c00100 40000000 44332211 e9030000 64000000 00000000 00000000 \
                  61626300 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
                  2a000000 00c00100 80000000 44332211 e9030000 64000000 00000000 00000000 \
                  30313233 34353637 38390000 00000000 00000000 00000000 00000000 00000000";
const T8: &str = "80050000 00800100 c0000000 44332211 e9030000 64000000 00000000 00000000";
const T9: &str = "80050000 00000100 40060000 44332211 e9030000 64000000 00000000 00000000";
const T10: &str = "18010000 00400100 c00b0000 44332211 e9030000 64000000 00000000 00000000";
const T11: &str = "80000000 00c00000 80ff0000 44332211 e9030000 64000000 00000000 00000000";
const T12: &str = "00000000 00c00100 40000000 44332211 e9030000 64000000 00000000 00000000";
const T13: &str = "00000000 00e00100 40000000 44332211 e9030000 64000000 00000000 00000000";
const T14: &str = "00000000 00f00100 40000000 44332211 e9030000 64000000 00000000 00000000";
const T15: &str = "1c000000 00000200 44332211 e9030000 64000000 80000000 80000000";
const T16: &str = "28000000 00800600 44332211 e9030000 00ca9a3b 00000000 00000000 00000000 \
                   08070605 04030201";
const T17: &str = "28000000 00000600 44332211 e9030000 00ca9a3b 00000000 00000000 00000000 \
                   08070605 04030201";
const T18: &str = "2f000000 00000400 44332211 e9030000 08070605 04030201 00000000 00000000 \
                   0d000000 07000000 676f2061 776179";
const T19: &str = "14000000 00000b00 44332211 e9030000 88776655";
const T20: &str = "20000000 00000700 0180721f 00000000 c0a8010a 08006472 69766572 2d610000";

/// Vectors that are whole datagrams of a kind handled here.
const DATAGRAMS: [&str; 15] = [
    T1, T2, T3, T4, T5, T6, T7, T11, T12, T13, T14, T15, T16, T17, T18,
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn geometry() -> Geometry {
    Geometry::new(100, 65_536).unwrap()
}

fn appended(start: Position, messages: &[&[u8]]) -> LogBuffer {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    log.restart(start, &[]);
    let mut appender = ExclusiveAppender::new(geometry(), SESSION, STREAM, MTU, start);
    for message in messages {
        appender.offer(&mut log, Position::MAX, &[message], &mut PlainSeal);
    }
    log
}

#[test]
fn setups_are_written_and_read_as_peers_do() {
    let setup = Setup::new(SESSION, STREAM, geometry(), MTU, 0);
    assert_eq!(setup.encode()[..], bytes(T1));
    let flags = Setup::FLAG_RESPONSE_SETUP | Setup::FLAG_GROUP;
    let joined = Setup::new(SESSION, STREAM, geometry(), MTU, 65_536 + 64).with_flags(flags);
    assert_eq!(joined.encode()[..], bytes(T2));

    let datagram = bytes(T2);
    let Ok(Packet::Setup(read)) = parse(&datagram) else {
        panic!("not a SETUP");
    };
    assert_eq!(read, joined);
    assert_eq!(read.position(), Some(65_536 + 64));
    assert_eq!((read.mtu(), read.term_length()), (MTU, 65_536));
    assert_eq!(parse(&datagram).unwrap().session_id(), Some(SESSION));
    assert_eq!(parse(&datagram).unwrap().stream_id(), Some(STREAM));
}

#[test]
fn status_messages_are_written_and_read_as_peers_do() {
    let mut target = [0; STATUS_MESSAGE_LENGTH_MAX];
    let elicit = StatusMessage::send_setup(SESSION, STREAM, RECEIVER);
    assert_eq!(elicit.encode(&mut target), bytes(T3));
    let plain = StatusMessage::new(SESSION, STREAM, RECEIVER, (geometry(), 0), 32_768);
    assert_eq!(plain.encode(&mut target), bytes(T4));
    let last = StatusMessage::new(SESSION, STREAM, RECEIVER, (geometry(), 64), 32_768)
        .with_group_tag(1234)
        .with_end_of_stream();
    assert_eq!(last.encode(&mut target), bytes(T5));

    for (vector, expected) in [(T3, elicit), (T4, plain), (T5, last)] {
        let datagram = bytes(vector);
        let Ok(Packet::StatusMessage(read)) = parse(&datagram) else {
            panic!("not a status message");
        };
        assert_eq!(read, expected);
        assert_eq!(read.receiver_id(), RECEIVER);
    }
    assert_eq!(last.position(geometry()), Some(64));
    assert_eq!(last.group_tag(), Some(1234));
    assert!(elicit.is_send_setup() && !elicit.is_end_of_stream());
    assert!(last.is_end_of_stream() && !last.is_send_setup());
}

#[test]
fn messages_are_framed_as_peers_do() {
    let log = appended(0, &[b"hello", b"abc", b"0123456789"]);
    assert_eq!(log.bytes(0, 64), bytes(T6));
    assert_eq!(log.bytes(64, 128), bytes(T7));

    let datagram = bytes(T7);
    let Ok(Packet::Data(data)) = parse(&datagram) else {
        panic!("not data");
    };
    assert_eq!((data.term_id(), data.term_offset()), (100, 64));
    assert_eq!(data.position(geometry()), Some(64));
    assert_eq!((data.advance(), data.bytes().len()), (128, 128));
    let payloads: Vec<&[u8]> = frames(data.bytes()).map(|frame| frame.payload()).collect();
    assert_eq!(payloads, [&b"abc"[..], b"0123456789"]);
}

#[test]
fn fragments_are_framed_as_peers_do() {
    let log = appended(192, &[&[7; 3000]]);
    assert_eq!(log.bytes(192, 32), bytes(T8));
    assert_eq!(log.bytes(1600, 32), bytes(T9));
    assert_eq!(log.bytes(3008, 32), bytes(T10));
    let flags: Vec<u8> = frames(log.bytes(192, 3104)).map(|f| f.flags()).collect();
    assert_eq!(flags, [FLAG_BEGIN, 0, FLAG_END]);
}

#[test]
fn padding_travels_as_a_bare_header() {
    let log = appended(65_408, &[&[1; 200]]);
    let block = scanner::scan(log.bytes(65_408, 128), MTU);
    assert_eq!((block.length, block.advance), (32, 128));
    assert_eq!(log.bytes(65_408, block.length), bytes(T11));

    let datagram = bytes(T11);
    let Ok(Packet::Data(data)) = parse(&datagram) else {
        panic!("not data");
    };
    assert_eq!(data.advance(), 128);
    assert!(Frame::first(data.bytes()).unwrap().is_padding());
}

#[test]
fn heartbeats_are_written_and_read_as_peers_do() {
    let plain = Heartbeat::new(SESSION, STREAM, geometry(), 64, false);
    assert_eq!(plain.encode()[..], bytes(T12));
    let last = Heartbeat::new(SESSION, STREAM, geometry(), 64, true);
    assert_eq!(last.encode()[..], bytes(T13));
    for (vector, is_end, is_revoked) in [(T12, false, false), (T13, true, false), (T14, true, true)]
    {
        let datagram = bytes(vector);
        let Ok(Packet::Heartbeat(read)) = parse(&datagram) else {
            panic!("not a heartbeat");
        };
        assert_eq!(read.position(geometry()), Some(64));
        assert_eq!(read.is_end_of_stream(), is_end);
        assert_eq!(read.is_revoked(), is_revoked);
    }
}

#[test]
fn naks_round_trips_and_errors_are_written_and_read_as_peers_do() {
    let nak = Nak::new(SESSION, STREAM, geometry(), 128, 128);
    assert_eq!(nak.encode()[..], bytes(T15));
    let request = Rtt::request(SESSION, STREAM, RECEIVER, 1_000_000_000);
    assert_eq!(request.encode()[..], bytes(T16));
    assert_eq!(request.reply().encode()[..], bytes(T17));
    let text = b"go away";
    let error = ErrorFrame::new(SESSION, STREAM, RECEIVER, ERROR_IMAGE_REJECTED, text);
    assert_eq!(error.encode(&mut [0; ERROR_LENGTH_MAX]), bytes(T18));

    assert!(matches!(parse(&bytes(T15)), Ok(Packet::Nak(read)) if read == nak));
    assert!(matches!(parse(&bytes(T16)), Ok(Packet::Rtt(read)) if read == request));
    assert!(matches!(parse(&bytes(T17)), Ok(Packet::Rtt(read)) if !read.is_request()));
    assert!(matches!(parse(&bytes(T18)), Ok(Packet::Error(read)) if read == error));
    assert_eq!((error.error_code(), error.text()), (13, &text[..]));
}

#[test]
fn frames_of_other_kinds_are_refused_by_name() {
    for vector in [T19, T20] {
        assert_eq!(parse(&bytes(vector)).unwrap_err(), FrameError::FrameType);
    }
}

#[test]
fn every_truncation_of_every_datagram_is_refused() {
    for vector in DATAGRAMS {
        let whole = bytes(vector);
        assert!(parse(&whole).is_ok(), "{vector}");
        for length in 0..whole.len() {
            // The first frame of two is a whole datagram by itself.
            let is_whole_frame = vector == T7 && length == 64;
            assert_eq!(
                parse(&whole[..length]).is_ok(),
                is_whole_frame,
                "{length}: {vector}"
            );
        }
    }
}

#[test]
fn every_other_version_is_refused() {
    for vector in DATAGRAMS {
        let mut datagram = bytes(vector);
        datagram[4] = 1;
        assert_eq!(parse(&datagram).unwrap_err(), FrameError::Version);
    }
}

fn with_i32(vector: &str, offset: usize, value: i32) -> Vec<u8> {
    let mut datagram = bytes(vector);
    datagram[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    datagram
}

#[test]
fn an_invalid_second_frame_means_that_none_of_the_datagram_is_used() {
    let second = 64;
    let contradictions = [
        (second, 0),
        (second, 31),
        (second, -1),
        (second, 1 << 20),
        (second + 4, 1),
        (second + 8, 64),
        (second + 8, 160),
        (second + 12, 1),
        (second + 16, 1),
        (second + 20, 101),
    ];
    for (offset, value) in contradictions {
        let datagram = with_i32(T7, offset, value);
        assert!(parse(&datagram).is_err(), "{value} at {offset}");
    }
    let mut control_in_between = bytes(T7);
    control_in_between[second + 6] = 5;
    assert_eq!(
        parse(&control_in_between).unwrap_err(),
        FrameError::FrameType
    );
}

#[test]
fn data_that_is_not_aligned_is_refused() {
    let mut trimmed = bytes(T6);
    trimmed.truncate(37);
    assert_eq!(parse(&trimmed).unwrap_err(), FrameError::Alignment);
    assert_eq!(parse(&with_i32(T6, 8, 16)).unwrap_err(), FrameError::Field);
    assert_eq!(parse(&with_i32(T6, 8, -32)).unwrap_err(), FrameError::Field);
}

#[test]
fn data_beyond_its_term_has_no_position() {
    let datagram = with_i32(T6, 8, 65_536 - 32);
    let Ok(Packet::Data(data)) = parse(&datagram) else {
        panic!("not data");
    };
    assert_eq!(data.position(geometry()), None);
    let datagram = with_i32(T6, 20, 99);
    let Ok(Packet::Data(data)) = parse(&datagram) else {
        panic!("not data");
    };
    assert_eq!(data.position(geometry()), None);
}

#[test]
fn setups_outside_the_rules_are_refused() {
    for (offset, value) in [
        (8, 16),
        (8, -32),
        (8, 65_536),
        (24, 99),
        (28, 0),
        (28, 65_535),
        (28, -1),
        (28, i32::MIN),
        (32, 0),
        (32, 1400),
        (32, 65_536),
        (32, -32),
    ] {
        let datagram = with_i32(T1, offset, value);
        assert_eq!(
            parse(&datagram).unwrap_err(),
            FrameError::Field,
            "{value} at {offset}"
        );
    }
}

#[test]
fn status_messages_and_naks_outside_the_rules_are_refused() {
    for (vector, offset, value) in [
        (T4, 20, 16),
        (T4, 20, -32),
        (T4, 24, -1),
        (T15, 20, 16),
        (T15, 20, -32),
        (T15, 24, 0),
        (T15, 24, -1),
        (T15, 24, i32::MIN),
    ] {
        let datagram = with_i32(vector, offset, value);
        assert_eq!(
            parse(&datagram).unwrap_err(),
            FrameError::Field,
            "{value} at {offset}"
        );
    }
    assert_eq!(
        parse(&with_i32(T5, 0, 40)).unwrap_err(),
        FrameError::FrameLength
    );
    assert_eq!(
        parse(&with_i32(T18, 36, 8)).unwrap_err(),
        FrameError::Truncated
    );
    assert_eq!(
        parse(&with_i32(T18, 36, -1)).unwrap_err(),
        FrameError::Field
    );
}

/// Looks at everything a packet offers; nothing may panic.
fn inspect(packet: &Packet<'_>) {
    let geometry = geometry();
    assert!(packet.session_id().is_some() && packet.stream_id().is_some());
    match packet {
        Packet::Data(data) => {
            let walked: usize = frames(data.bytes()).map(|f| f.aligned_length()).sum();
            assert_eq!(walked, data.advance());
            let whole: usize = frames(data.bytes()).map(|f| f.payload().len()).sum();
            assert!(whole <= data.bytes().len());
            assert!(data.position(geometry).is_none_or(|position| position >= 0));
        }
        Packet::Heartbeat(heartbeat) => {
            let position = heartbeat.position(geometry);
            assert!(position.is_none_or(|position| position >= 0));
        }
        Packet::Setup(setup) => assert!(setup.position().is_some()),
        Packet::StatusMessage(status) => {
            assert!(status.window() <= i32::MAX as usize);
            let _ = status.position(geometry);
        }
        Packet::Nak(nak) => assert!(nak.length() > 0 && nak.position(geometry) != Some(-1)),
        Packet::Rtt(rtt) => assert_eq!(rtt.reply().receiver_id(), rtt.receiver_id()),
        Packet::Error(error) => assert!(error.text().len() < ERROR_LENGTH_MAX),
    }
}

proptest! {
    #[test]
    fn mutated_datagrams_never_panic(
        vector in prop::sample::select(DATAGRAMS.to_vec()),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut datagram = bytes(vector);
        for (index, value) in mutations {
            let index = index.index(datagram.len());
            datagram[index] = value;
        }
        if is_cut {
            datagram.truncate(length.index(datagram.len()));
        }
        if let Ok(packet) = parse(&datagram) {
            inspect(&packet);
        }
    }

    #[test]
    fn random_datagrams_never_panic(mut datagram in prop::collection::vec(any::<u8>(), 0..256)) {
        if datagram.len() > 8 {
            datagram[4] = 0;
            datagram[6] %= 8;
            datagram[7] = 0;
        }
        if let Ok(packet) = parse(&datagram) {
            inspect(&packet);
        }
    }

    #[test]
    fn whatever_is_appended_parses_as_the_datagrams_it_is_sent_in(
        lengths in prop::collection::vec(0_usize..8192, 1..20),
        start in 0_i64..2000,
    ) {
        let start = start * 32;
        let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
        log.restart(start, &[]);
        let mut appender = ExclusiveAppender::new(geometry(), SESSION, STREAM, MTU, start);
        let message = [FLAGS_UNFRAGMENTED; 8192];
        for length in lengths {
            let before = appender.position();
            appender.offer(&mut log, Position::MAX, &[&message[..length]], &mut PlainSeal);
            let mut position = before;
            while position < appender.position() {
                let term_end = geometry().term_start(position) + 65_536;
                let available = (appender.position().min(term_end) - position) as usize;
                let block = scanner::scan(log.bytes(position, available), MTU);
                let sent = log.bytes(position, block.length);
                let Ok(Packet::Data(data)) = parse(sent) else {
                    panic!("what was appended is no data");
                };
                prop_assert_eq!(data.advance(), block.advance);
                prop_assert_eq!(data.position(geometry()), Some(position));
                position += block.advance as Position;
            }
        }
    }
}
