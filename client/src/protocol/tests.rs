//! Golden bytes of every template, and what hostile bytes are met with.

use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};

use super::*;

const CONNECT: ConnectRequest<'_> = ConnectRequest {
    correlation_id: 0x0102_0304_0506_0708,
    cluster_id: 0x1112,
    nonce: 0x2122,
    resume_session: SessionId::UNKNOWN,
    resume_token: 0x3132,
    last_received: 0x40,
    last_received_ordinal: 5,
    response_stream_id: 102,
    version: 1,
    session_timeout_ms: 10_000,
    connect_epoch: 6,
    incarnation: 0x4142,
    principal: b"me",
};

const EVENT: SessionEvent<'_> = SessionEvent {
    session_id: SessionId::new(7),
    correlation_id: 8,
    leadership_term_id: LeadershipTermId::new(9),
    applied_number: RequestNumber::new(10),
    acknowledged: 11,
    resume_token: 12,
    leader_member_id: 2,
    code: EventCode::Redirect,
    version: 1,
    session_timeout_ms: 0x1234,
    connect_epoch: 13,
    detail: b"0=127.0.0.1:9",
};

const NEW_LEADER: NewLeaderEvent<'_> = NewLeaderEvent {
    leadership_term_id: LeadershipTermId::new(3),
    session_id: SessionId::new(7),
    applied_number: RequestNumber::new(6),
    leader_member_id: 1,
    connect_epoch: 14,
    endpoints: b"1=[::1]:9",
};

const REQUEST: RequestHeader = RequestHeader {
    leadership_term_id: LeadershipTermId::new(1),
    session_id: SessionId::new(2),
    number: RequestNumber::new(3),
    acknowledged: 4,
    connect_epoch: 5,
};

const RESPONSE: ResponseHeader = ResponseHeader {
    leadership_term_id: LeadershipTermId::new(1),
    session_id: SessionId::new(2),
    position: 3,
    cause: 4,
    number: RequestNumber::new(5),
    applied_number: RequestNumber::new(6),
    log_time: 7,
    ordinal: 8,
    flags: 1,
};

const REFUSED: Refused = Refused {
    session_id: SessionId::new(1),
    number: RequestNumber::new(2),
    expected_number: RequestNumber::new(3),
    reason: RefusalReason::WrongTerm,
    leadership_term_id: LeadershipTermId::new(4),
    connect_epoch: 5,
};

const PROGRESS: Progress = Progress {
    session_id: SessionId::new(1),
    applied_number: RequestNumber::new(2),
    acknowledged: 3,
    leadership_term_id: LeadershipTermId::new(4),
};

const KEEP_ALIVE: KeepAlive = KeepAlive {
    leadership_term_id: LeadershipTermId::new(1),
    session_id: SessionId::new(2),
    acknowledged: 3,
    connect_epoch: 4,
};

const CLOSE: CloseRequest = CloseRequest {
    leadership_term_id: LeadershipTermId::new(1),
    session_id: SessionId::new(2),
    connect_epoch: 3,
};

fn with_buffer(encode: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buffer = vec![0xEE; 512];
    let length = encode(&mut buffer).unwrap();
    assert!(buffer[length..].iter().all(|byte| *byte == 0xEE));
    buffer.truncate(length);
    let mut short = vec![0; length - 1];
    assert_eq!(encode(&mut short), None);
    buffer
}

fn client_messages() -> Vec<Vec<u8>> {
    vec![
        with_buffer(|buffer| CONNECT.encode(buffer)),
        [REQUEST.encode().as_slice(), b"payload"].concat(),
        KEEP_ALIVE.encode().to_vec(),
        CLOSE.encode().to_vec(),
    ]
}

fn cluster_messages() -> Vec<Vec<u8>> {
    vec![
        with_buffer(|buffer| EVENT.encode(buffer)),
        with_buffer(|buffer| NEW_LEADER.encode(buffer)),
        [RESPONSE.encode().as_slice(), b"payload"].concat(),
        REFUSED.encode().to_vec(),
        PROGRESS.encode().to_vec(),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn ingress_messages_have_their_golden_bytes() {
    let messages = client_messages();
    let connect = "5000 0300 534c 0100  0807060504030201 1211000000000000 2221000000000000
        ffffffffffffffff 3231000000000000 4000000000000000 05000000 66000000 01000000 10270000
        0600000000000000 4241000000000000 02000000 6d65";
    assert_eq!(messages[0], hex(connect));
    let request = "2800 0100 534c 0100  0100000000000000 0200000000000000 0300000000000000
        0400000000000000 0500000000000000 7061796c6f6164";
    assert_eq!(messages[1], hex(request));
    let keep_alive = "2000 0500 534c 0100  0100000000000000 0200000000000000 0300000000000000
        0400000000000000";
    assert_eq!(messages[2], hex(keep_alive));
    let close = "1800 0400 534c 0100  0100000000000000 0200000000000000 0300000000000000";
    assert_eq!(messages[3], hex(close));
}

#[test]
fn egress_messages_have_their_golden_bytes() {
    let messages = cluster_messages();
    let event = "4800 0200 534c 0100  0700000000000000 0800000000000000 0900000000000000
        0a00000000000000 0b00000000000000 0c00000000000000 02000000 02000000 01000000 34120000
        0d00000000000000 0d000000 303d3132372e302e302e313a39";
    assert_eq!(messages[0], hex(event));
    let new_leader = "2800 0600 534c 0100  0300000000000000 0700000000000000 0600000000000000
        01000000 00000000 0e00000000000000 09000000 313d5b3a3a315d3a39";
    assert_eq!(messages[1], hex(new_leader));
    let response = "4000 2800 534c 0100  0100000000000000 0200000000000000 0300000000000000
        0400000000000000 0500000000000000 0600000000000000 0700000000000000 08000000 01000000
        7061796c6f6164";
    assert_eq!(messages[2], hex(response));
    let refused = "3000 2900 534c 0100  0100000000000000 0200000000000000 0300000000000000
        07000000 00000000 0400000000000000 0500000000000000";
    assert_eq!(messages[3], hex(refused));
    let progress = "2000 2a00 534c 0100  0100000000000000 0200000000000000 0300000000000000
        0400000000000000";
    assert_eq!(messages[4], hex(progress));
}

#[test]
fn what_was_encoded_is_decoded() {
    let messages = client_messages();
    let decoded: Vec<_> = messages
        .iter()
        .map(|bytes| ClientMessage::decode(bytes).unwrap())
        .collect();
    let expected = [
        ClientMessage::ConnectRequest(CONNECT),
        ClientMessage::Request {
            header: REQUEST,
            payload: b"payload",
        },
        ClientMessage::KeepAlive(KEEP_ALIVE),
        ClientMessage::CloseRequest(CLOSE),
    ];
    assert_eq!(decoded, expected);
    let messages = cluster_messages();
    let decoded: Vec<_> = messages
        .iter()
        .map(|bytes| ClusterMessage::decode(bytes).unwrap())
        .collect();
    let expected = [
        ClusterMessage::SessionEvent(EVENT),
        ClusterMessage::NewLeaderEvent(NEW_LEADER),
        ClusterMessage::Response {
            header: RESPONSE,
            payload: b"payload",
        },
        ClusterMessage::Refused(REFUSED),
        ClusterMessage::Progress(PROGRESS),
    ];
    assert_eq!(decoded, expected);
}

#[test]
fn every_truncation_is_refused() {
    for bytes in client_messages() {
        // The application's payload has no length of its own: what is left of it is payload.
        let fixed = if bytes[2] == 1 { 48 } else { bytes.len() };
        for length in 0..fixed {
            assert!(ClientMessage::decode(&bytes[..length]).is_err());
        }
    }
    for bytes in cluster_messages() {
        let fixed = if bytes[2] == 40 { 72 } else { bytes.len() };
        for length in 0..fixed {
            assert!(ClusterMessage::decode(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn left_over_bytes_are_refused_from_our_own_version_and_skipped_from_a_newer_one() {
    let mut bytes = [PROGRESS.encode().as_slice(), &[0; 4]].concat();
    assert_eq!(
        ClusterMessage::decode(&bytes),
        Err(ProtocolError::TrailingBytes(4))
    );
    bytes[6] = 2;
    assert_eq!(
        ClusterMessage::decode(&bytes),
        Ok(ClusterMessage::Progress(PROGRESS))
    );
}

#[test]
fn a_longer_block_is_skipped_and_a_shorter_one_refused() {
    let header = REQUEST.encode();
    let longer = [&[48, 0], &header[2..], &[9; 8], b"payload"].concat();
    assert_eq!(
        ClientMessage::decode(&longer),
        Ok(ClientMessage::Request {
            header: REQUEST,
            payload: b"payload"
        })
    );
    let shorter = [&[39, 0], &header[2..]].concat();
    assert_eq!(
        ClientMessage::decode(&shorter),
        Err(ProtocolError::ShortBlock {
            template: 1,
            length: 39
        })
    );
}

#[test]
fn foreign_schemas_versions_directions_and_codes_are_refused() {
    let progress = PROGRESS.encode();
    let mut foreign = progress;
    foreign[4] = 111;
    assert_eq!(
        ClusterMessage::decode(&foreign),
        Err(ProtocolError::UnknownSchema(0x4C6F))
    );
    let mut ancient = progress;
    ancient[6] = 0;
    assert_eq!(
        ClusterMessage::decode(&ancient),
        Err(ProtocolError::UnknownVersion(0))
    );
    assert_eq!(
        ClientMessage::decode(&progress),
        Err(ProtocolError::UnexpectedTemplate(42))
    );
    assert_eq!(
        ClusterMessage::decode(&KEEP_ALIVE.encode()),
        Err(ProtocolError::UnexpectedTemplate(5))
    );
    let mut refused = REFUSED.encode();
    refused[32] = 99;
    assert_eq!(
        ClusterMessage::decode(&refused),
        Err(ProtocolError::UnknownCode(99))
    );
    let mut event = with_buffer(|buffer| EVENT.encode(buffer));
    event[60] = 9;
    assert_eq!(
        ClusterMessage::decode(&event),
        Err(ProtocolError::UnknownCode(9))
    );
}

#[test]
fn a_var_data_length_beyond_the_message_is_refused() {
    let mut bytes = with_buffer(|buffer| CONNECT.encode(buffer));
    for length in [3_u32, 0x7fff_ffff, u32::MAX] {
        bytes[88..92].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(
            ClientMessage::decode(&bytes),
            Err(ProtocolError::Truncated { .. })
        ));
    }
}

#[test]
fn endpoints_survive_their_text_form() {
    let addresses = ["127.0.0.1:1", "[::1]:65535", "10.0.0.3:9"].map(|a| a.parse().unwrap());
    let endpoints = Endpoints::new(&addresses);
    let text = endpoints.to_string();
    assert_eq!(text, "0=127.0.0.1:1,1=[::1]:65535,2=10.0.0.3:9");
    assert_eq!(Endpoints::decode(text.as_bytes()), Ok(endpoints));
    assert_eq!(endpoints.member_at(addresses[2]), Some(2));
    assert_eq!(endpoints.at_or_after(3), Some(0));
    assert_eq!(endpoints.count(), 3);
}

#[test]
fn endpoints_that_are_no_list_are_refused() {
    for text in [
        "",
        "0",
        "0=",
        "0=localhost:1",
        "7=127.0.0.1:1",
        "-1=127.0.0.1:1",
        "0=127.0.0.1:1,",
        "0=127.0.0.1:1,0=127.0.0.1:2",
        "0=127.0.0.1:65536",
    ] {
        let result = Endpoints::decode(text.as_bytes());
        assert_eq!(result, Err(ProtocolError::InvalidEndpoints), "{text}");
    }
    assert_eq!(
        Endpoints::decode(&[0xFF, 0xFE]),
        Err(ProtocolError::InvalidEndpoints)
    );
}

#[test]
fn configured_addresses_win_over_learned_ones() {
    let mut known = Endpoints::new(&["127.0.0.1:1".parse().unwrap()]);
    known.learn(&Endpoints::decode(b"0=127.0.0.1:7,1=127.0.0.1:8").unwrap());
    assert_eq!(known.to_string(), "0=127.0.0.1:1,1=127.0.0.1:8");
}

proptest::proptest! {
    #[test]
    fn mutated_messages_never_panic(
        which in 0_usize..9,
        changes in proptest::collection::vec((0_usize..128, proptest::num::u8::ANY), 1..6),
        cut in 0_usize..128,
    ) {
        let mut messages = client_messages();
        messages.extend(cluster_messages());
        let mut bytes = messages.swap_remove(which);
        for (offset, value) in changes {
            let length = bytes.len();
            bytes[offset % length] = value;
        }
        bytes.truncate(bytes.len() - cut % bytes.len() / 8);
        let _ = ClientMessage::decode(&bytes);
        if let Ok(ClusterMessage::SessionEvent(event)) = ClusterMessage::decode(&bytes) {
            let _ = Endpoints::decode(event.detail);
        }
    }
}
