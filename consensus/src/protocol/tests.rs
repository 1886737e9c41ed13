//! Member messages: every one survives the wire, hostile bytes are refused.

use lockstep_transport::ids::LeadershipTermId;

use super::*;
use crate::module::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::module::member::TermBase;
use crate::module::membership::{Found, Hello, KnownLife};
use crate::module::output_agreement::{OutputAt, OutputMessage};
use crate::protocol::message::TermPage;
use crate::protocol::snapshot_message::{
    SnapshotChunk, SnapshotId, SnapshotOffer, SnapshotRefusal, SnapshotRequest, SnapshotStatus,
};
use proptest::prelude::*;

const CLUSTER: u64 = 0x1122_3344_5566_7788;
const DIGEST: u64 = 0x99AA_BBCC_DDEE_FF00;

fn page(count: u32) -> TermPage {
    let mut terms = [TermBase {
        term: LeadershipTermId::NONE,
        base: 0,
    }; JOIN_PAGE_TERMS];
    for (index, entry) in terms.iter_mut().take(count as usize).enumerate() {
        *entry = TermBase {
            term: LeadershipTermId::new(index as i64 + 1),
            base: index as i64 * 96,
        };
    }
    TermPage {
        page: 2,
        pages: 5,
        count,
        terms,
    }
}

fn messages() -> Vec<MemberMessage> {
    let mut messages = messages_of_terms();
    messages.extend(messages_about_snapshots());
    messages.push(MemberMessage::StandNow {
        term: LeadershipTermId::new(8),
        position: 96,
    });
    messages
}

fn messages_of_terms() -> Vec<MemberMessage> {
    let join_reply = |count| MemberMessage::JoinReply {
        term: LeadershipTermId::new(9),
        commit: 640,
        end: 1 << 40,
        page: page(count),
    };
    vec![
        MemberMessage::PreVoteRequest {
            term: LeadershipTermId::new(7),
            log_term: LeadershipTermId::NONE,
            position: 0,
        },
        MemberMessage::PreVote {
            term: LeadershipTermId::new(7),
            granted: true,
        },
        MemberMessage::VoteRequest {
            term: LeadershipTermId::new(i64::from(i32::MAX)),
            log_term: LeadershipTermId::new(6),
            position: 32,
            handed_over: LeadershipTermId::new(5),
        },
        MemberMessage::Vote {
            term: LeadershipTermId::new(1),
            granted: false,
        },
        MemberMessage::CommitPosition {
            term: LeadershipTermId::new(3),
            position: 96,
            durable: 128,
        },
        MemberMessage::JoinRequest {
            term: LeadershipTermId::new(3),
            log_term: LeadershipTermId::new(2),
            end: 64,
            page: u32::MAX,
        },
        join_reply(0),
        join_reply(1),
        join_reply(32),
        MemberMessage::JoinStart {
            term: LeadershipTermId::new(3),
            position: 64,
            join: 4,
        },
        MemberMessage::AppendPosition {
            term: LeadershipTermId::new(3),
            durable: 1 << 50,
            checkpoint: 65536,
            checkpoint_hash: u64::MAX,
            output: OutputAt {
                position: 1 << 49,
                hash: u64::MAX - 7,
            },
        },
        MemberMessage::Output(question()),
        MemberMessage::Output(answer()),
        MemberMessage::Hello(Hello::default()),
        MemberMessage::Hello(hello()),
    ]
}

fn messages_about_snapshots() -> [MemberMessage; 7] {
    [
        MemberMessage::Snapshot(SnapshotMessage::Status(SnapshotStatus::default())),
        MemberMessage::Snapshot(SnapshotMessage::Status(status())),
        MemberMessage::Snapshot(SnapshotMessage::Request(SnapshotRequest {
            id: snapshot(640),
            offset: (1 << 40) - 1,
            chunk_length: 1248,
            chunks: 64,
        })),
        chunk((1 << 40) - 100, 100),
        chunk(0, 1248),
        MemberMessage::Snapshot(SnapshotMessage::Refused {
            id: snapshot(640),
            refusal: SnapshotRefusal::Unreadable,
        }),
        MemberMessage::Snapshot(SnapshotMessage::Wanted(32 * 77)),
    ]
}

fn snapshot(position: i64) -> SnapshotId {
    SnapshotId {
        position,
        length: 1 << 40,
        hash: u128::MAX - 9,
    }
}

fn status() -> SnapshotStatus {
    let offer = |position, term| SnapshotOffer {
        id: snapshot(position),
        term: LeadershipTermId::new(term),
        is_copy: term == 6,
    };
    SnapshotStatus {
        log_start: 320,
        offers: [Some(offer(1 << 50, 7)), Some(offer(640, 6))],
    }
}

fn chunk(offset: u64, length: u32) -> MemberMessage {
    MemberMessage::Snapshot(SnapshotMessage::Chunk(SnapshotChunk {
        id: snapshot(640),
        offset,
        length,
    }))
}

/// What follows a message: the bytes of a chunk.
fn bytes_of(message: &MemberMessage) -> Vec<u8> {
    match message {
        MemberMessage::Snapshot(SnapshotMessage::Chunk(chunk)) => {
            (0..chunk.length).map(|byte| byte as u8 ^ 0x5A).collect()
        }
        _ => Vec::new(),
    }
}

fn question() -> OutputMessage {
    OutputMessage::Question {
        output: OutputAt {
            position: 640,
            hash: 9,
        },
        response: 704,
    }
}

fn answer() -> OutputMessage {
    OutputMessage::Answer {
        cause: 640,
        response: 704,
        hash: Some(9),
        matches: Some(true),
    }
}

fn hello() -> Hello {
    let mut directories = [0; MEMBERS_MAX];
    directories[..3].copy_from_slice(&[1 << 100, 2, u128::MAX]);
    Hello {
        formation: DurableFormation {
            record: FormationRecord {
                cluster: 5 << 90,
                draw: FormationRecord::DRAW_MAX,
                members: 3,
                directories,
            },
            is_formed: true,
        },
        is_ready: true,
        is_asking: true,
        known: KnownLife {
            directory: 77,
            incarnation: Incarnation {
                counter: 8,
                nonce: u64::MAX,
            },
        },
        is_settled: true,
        is_outlived: true,
        named: KnownLife {
            directory: u128::MAX - 77,
            incarnation: Incarnation {
                counter: 1,
                nonce: 2,
            },
        },
        found: Found {
            term: LeadershipTermId::new(3),
            vote: Some(6),
            log_term: LeadershipTermId::new(2),
            end: 1 << 50,
        },
    }
}

fn envelope(message: MemberMessage) -> Envelope {
    Envelope {
        cluster_id: CLUSTER,
        config_digest: DIGEST,
        from: 2,
        sender: Sender {
            cluster: 1 << 127,
            directory: u128::MAX - 1,
            incarnation: Incarnation {
                counter: u64::MAX - 1,
                nonce: 3,
            },
        },
        message,
    }
}

fn encoded(message: MemberMessage) -> Vec<u8> {
    let mut buffer = [0xAA; 1408];
    let bytes = bytes_of(&message);
    let length = if bytes.is_empty() {
        encode(&envelope(message), &mut buffer)
    } else {
        encode_chunk(&envelope(message), &bytes, &mut buffer)
    };
    buffer[..length].to_vec()
}

fn decode_here(datagram: &[u8]) -> Result<Envelope, MemberMessageError> {
    decode(datagram, CLUSTER, DIGEST)
}

/// Puts a good checksum on changed bytes, as a peer of another version would.
fn resealed(mut datagram: Vec<u8>) -> Vec<u8> {
    let header: [u8; 32] = *datagram.first_chunk().unwrap();
    let reserved = FrameSeal::new(2).reserved_value(&header, &datagram[32..]);
    datagram[24..32].copy_from_slice(&reserved.to_le_bytes());
    datagram
}

#[test]
fn every_message_comes_back_as_it_was_sent() {
    for message in messages() {
        let datagram = encoded(message);
        assert_eq!(datagram.len() % 32, 0);
        assert_eq!(decode_here(&datagram), Ok(envelope(message)));
        let bytes = bytes_of(&message);
        assert!(bytes.is_empty() || chunk_bytes(&datagram) == bytes);
    }
}

#[test]
fn a_heartbeat_has_these_bytes() {
    let datagram = encoded(MemberMessage::CommitPosition {
        term: LeadershipTermId::new(3),
        position: 96,
        durable: 128,
    });
    let mut expected = [0_u8; 160];
    expected[0] = 136;
    expected[5] = 0xC0;
    expected[6] = 1;
    expected[12..16].copy_from_slice(&0x4444_44CC_i32.to_le_bytes());
    expected[16] = 108;
    expected[28] = 2;
    expected[32..40].copy_from_slice(&[24, 0, 5, 0, 0x53, 0x4C, 4, 0]);
    expected[40..48].copy_from_slice(&CLUSTER.to_le_bytes());
    expected[48..56].copy_from_slice(&DIGEST.to_le_bytes());
    expected[56..72].copy_from_slice(&(1_u128 << 127).to_le_bytes());
    expected[72..88].copy_from_slice(&(u128::MAX - 1).to_le_bytes());
    expected[88..96].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
    expected[96] = 3;
    expected[104] = 2;
    expected[112] = 3;
    expected[120] = 96;
    expected[128] = 128;
    assert_eq!(datagram[..24], expected[..24]);
    assert_eq!(datagram[28..], expected[28..]);
}

#[test]
fn an_acknowledgement_has_these_bytes_and_takes_the_output_with_it() {
    let datagram = encoded(MemberMessage::AppendPosition {
        term: LeadershipTermId::new(3),
        durable: 128,
        checkpoint: 96,
        checkpoint_hash: 0x0102_0304_0506_0708,
        output: OutputAt {
            position: 64,
            hash: 0x1112_1314_1516_1718,
        },
    });
    assert_eq!(datagram.len(), 160, "no longer than without the output");
    assert_eq!(datagram[32..40], [48, 0, 9, 0, 0x53, 0x4C, 4, 0]);
    let fields = [
        3_u64,
        128,
        96,
        0x0102_0304_0506_0708,
        64,
        0x1112_1314_1516_1718,
    ];
    assert_eq!(datagram[112..], fields.map(u64::to_le_bytes).concat());
}

#[test]
fn an_acknowledgement_with_an_output_that_nobody_has_is_refused() {
    let good = encoded(messages()[10]);
    assert!(decode_here(&good).is_ok());
    // A position between frames, a negative one, and output before the first entry.
    for position in [1_i64, -32, 0] {
        let mut datagram = good.clone();
        datagram[144..152].copy_from_slice(&position.to_le_bytes());
        let refused = decode_here(&resealed(datagram));
        assert_eq!(refused, Err(MemberMessageError::Field), "{position}");
    }
    // As it was before it took the output with it.
    let mut older = good;
    older[32] = 32;
    let refused = decode_here(&resealed(older));
    assert!(matches!(refused, Err(MemberMessageError::Unknown { .. })));
}

#[test]
fn no_truncation_is_accepted() {
    for message in messages() {
        let datagram = encoded(message);
        for length in 0..datagram.len() {
            assert!(decode_here(&datagram[..length]).is_err(), "{length} bytes");
        }
        let mut longer = datagram.clone();
        longer.extend([0; 32]);
        assert!(decode_here(&longer).is_err());
    }
}

#[test]
fn no_flipped_bit_is_accepted() {
    for message in messages() {
        let mut datagram = encoded(message);
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_here(&datagram).is_err(), "bit {bit} of {message:?}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn other_clusters_and_configurations_are_refused_by_name() {
    let datagram = encoded(messages()[0]);
    let other_cluster = MemberMessageError::OtherCluster {
        from: 2,
        cluster_id: CLUSTER,
    };
    assert_eq!(decode(&datagram, 1, DIGEST), Err(other_cluster));
    let other_config = MemberMessageError::OtherConfig {
        from: 2,
        config_digest: DIGEST,
    };
    assert_eq!(decode(&datagram, CLUSTER, 1), Err(other_config));
}

#[test]
fn a_longer_block_is_a_newer_peers_and_a_shorter_one_is_refused() {
    let message = MemberMessage::PreVote {
        term: LeadershipTermId::new(7),
        granted: true,
    };
    let mut datagram = encoded(message);
    datagram[32] = 24;
    datagram[0] = 136;
    datagram[38] = 4;
    datagram.resize(160, 0);
    assert_eq!(
        decode_here(&resealed(datagram.clone())),
        Ok(envelope(message))
    );
    datagram[32] = 8;
    let refused = decode_here(&resealed(datagram));
    assert!(matches!(refused, Err(MemberMessageError::Unknown { .. })));
}

#[test]
fn fields_out_of_range_are_refused_even_with_a_good_checksum() {
    let heartbeat = encoded(MemberMessage::CommitPosition {
        term: LeadershipTermId::new(3),
        position: 96,
        durable: 128,
    });
    // Term 0, a term beyond 31 bits, an unaligned position, a negative one, another sender.
    for (offset, value) in [
        (112, 0_i64),
        (112, 1 << 31),
        (120, 33),
        (120, -32),
        (104, 3),
    ] {
        let mut datagram = heartbeat.clone();
        datagram[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        let refused = decode_here(&resealed(datagram));
        assert_eq!(
            refused,
            Err(MemberMessageError::Field),
            "{value} at {offset}"
        );
    }
}

#[test]
fn a_hello_that_nobody_says_is_refused_even_with_a_good_checksum() {
    let good = encoded(MemberMessage::Hello(hello()));
    // No uuid, no directory of a member, one beyond the members, more members than there may be,
    // an unknown flag, a record that is final and was never drawn; a vote for nobody, a negative
    // term, a log's end between frames; a draw that leaves no room for a later one.
    for (range, value) in [
        (120..136, 0_u8),
        (144..160, 0),
        (192..193, 1),
        (136..137, 8),
        (142..143, 1),
        (112..120, 0),
        (328..329, 9),
        (327..328, 0x80),
        (344..345, 1),
        (112..120, 0xFF),
    ] {
        let mut datagram = good.clone();
        datagram[range.clone()].fill(value);
        let refused = decode_here(&resealed(datagram));
        assert_eq!(refused, Err(MemberMessageError::Field), "{range:?}");
    }
    let mut nameless = good;
    nameless[72..88].fill(0);
    let refused = decode_here(&resealed(nameless));
    assert_eq!(refused, Err(MemberMessageError::Field));
}

#[test]
fn a_piece_of_a_snapshot_has_these_bytes() {
    let datagram = encoded(chunk(96, 100));
    assert_eq!(datagram.len(), 288);
    assert_eq!(datagram[..4], 260_u32.to_le_bytes());
    assert_eq!(datagram[32..40], [48, 0, 52, 0, 0x53, 0x4C, 4, 0]);
    assert_eq!(datagram[112..120], 640_u64.to_le_bytes());
    assert_eq!(datagram[120..128], (1_u64 << 40).to_le_bytes());
    assert_eq!(datagram[128..144], (u128::MAX - 9).to_le_bytes());
    assert_eq!(datagram[144..152], 96_u64.to_le_bytes());
    assert_eq!(datagram[152..160], 100_u64.to_le_bytes());
    assert_eq!(datagram[160..260], bytes_of(&chunk(96, 100)));
    assert_eq!(datagram[260..], [0; 28]);
}

#[test]
fn a_message_about_a_snapshot_that_nobody_sends_is_refused_even_with_a_good_checksum() {
    // No position, one between frames; no length, one that no file has.
    let of_every = [(112, 0), (112, 641), (120, 0), (120, u64::MAX)];
    let request = messages()[17];
    // At the end; no chunks, too many, none of any length.
    let of_requests = [
        (144, 1 << 40),
        (152, 1248),
        (152, 65 << 32 | 1248),
        (152, 64 << 32),
    ];
    // Beyond the end; of no bytes, of more and of fewer than follow; not plain.
    let of_chunks = [
        (144, (1 << 40) - 99),
        (144, u64::MAX),
        (152, 0),
        (152, 101),
        (152, 99),
        (152, 1 << 32 | 100),
    ];
    let refused = messages()[20];
    let all = of_every.map(|change| (request, change)).into_iter();
    let all = all.chain(of_every.map(|change| (chunk(96, 100), change)));
    let all = all.chain(of_every.map(|change| (refused, change)));
    let all = all.chain(of_requests.map(|change| (request, change)));
    let all = all.chain(of_chunks.map(|change| (chunk(96, 100), change)));
    let all = all.chain([0, 3].map(|why| (refused, (144, why))));
    let wanted = messages()[21];
    let all = all.chain([0, 641, u64::MAX].map(|position| (wanted, (112, position))));
    for (message, (offset, value)) in all {
        let mut datagram = encoded(message);
        datagram[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
        let decoded = decode_here(&resealed(datagram));
        let expected = Err(MemberMessageError::Field);
        assert_eq!(decoded, expected, "{value} at {offset} of {message:?}");
    }
}

#[test]
fn snapshots_that_no_member_has_are_refused_even_with_a_good_checksum() {
    let good = encoded(MemberMessage::Snapshot(SnapshotMessage::Status(status())));
    // A log that begins between frames; the newer one not first, nor first at all, of no term, of
    // a term beyond 31 bits; the older one of no length.
    for (range, value) in [
        (112..120, 1_u8),
        (120..128, 0),
        (120..160, 0),
        (152..160, 0),
        (152..160, 0x7F),
        (168..176, 0),
    ] {
        let mut datagram = good.clone();
        datagram[range.clone()].fill(value);
        let refused = decode_here(&resealed(datagram));
        assert_eq!(refused, Err(MemberMessageError::Field), "{range:?}");
    }
}

#[test]
fn only_a_piece_of_a_snapshot_is_longer_than_other_messages() {
    let mut datagram = encoded(chunk(96, 1200));
    assert!(datagram.len() > MEMBER_MESSAGE_MAX);
    assert!(decode_here(&datagram).is_ok());
    // Heartbeats, as long as they may be otherwise.
    datagram[34] = 5;
    let refused = decode_here(&resealed(datagram));
    assert_eq!(refused, Err(MemberMessageError::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        mut body in proptest::collection::vec(any::<u8>(), 0..600),
        index in 0..messages().len(),
        keep in 0_usize..200,
    ) {
        let _ = decode_here(&body);
        let mut datagram = encoded(messages()[index]);
        let from = keep.min(datagram.len()).max(40);
        body.resize(datagram.len(), 0);
        datagram[from..].copy_from_slice(&body[from..]);
        let datagram = resealed(datagram);
        if let Ok(decoded) = decode_here(&datagram) {
            let mut again = [0; 1408];
            let length = match decoded.message {
                MemberMessage::Snapshot(SnapshotMessage::Chunk(_)) => {
                    encode_chunk(&decoded, chunk_bytes(&datagram), &mut again)
                }
                _ => encode(&decoded, &mut again),
            };
            let again = &again[..length];
            prop_assert_eq!(decode_here(again).map(|e| e.message), Ok(decoded.message));
        }
    }
}
