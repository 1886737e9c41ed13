//! A leader whose frames have good checksums and hostile content: whatever it sends, the follower
//! refuses with a counter of its own, never by an assertion, and follows a good leader afterwards.
#![cfg(feature = "sim")]

mod stage;

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_consensus::log::entry_body::NewLeadershipTerm;
use lockstep_consensus::log::log_session_id::log_session_id;
use lockstep_consensus::module::formation::FormationRecord;
use lockstep_consensus::module::member::MEMBERS_MAX;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::cluster_limits::ClusterLimits;
use lockstep_consensus::settings::config::NodeConfig;
use lockstep_consensus::sim::scenario::boot::three_members;
use lockstep_service::log_entry::{ENTRY_HEADER_LENGTH, EntryHeader, EntryKind};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::Seal;
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::position::{Position, align_frame};
use lockstep_transport::time::MICROSECOND;
use proptest::prelude::*;
use stage::{CLUSTER, Stage, directory_of, geometry};

/// The leader's list: its own term begins after an older one.
const LIST: [(i64, Position); 2] = [(1, 0), (3, 640)];

/// A frame as a hostile leader writes it: everything is chosen, the checksum is good.
#[derive(Clone, Debug)]
struct HostileFrame {
    position: Position,
    term: u32,
    is_pad: bool,
    flags: u8,
    payload: Vec<u8>,
}

impl HostileFrame {
    fn bytes(&self, session_id: i32) -> Vec<u8> {
        let length = 32 + self.payload.len();
        let mut header = [0; 32];
        header[0..4].copy_from_slice(&(length as i32).to_le_bytes());
        header[5] = self.flags;
        header[6] = u8::from(!self.is_pad);
        let offset = geometry().term_offset(self.position) as i32;
        header[8..12].copy_from_slice(&offset.to_le_bytes());
        header[12..16].copy_from_slice(&session_id.to_le_bytes());
        header[16..20].copy_from_slice(&LOG_STREAM_ID.to_le_bytes());
        let term_id = geometry().term_id(self.position);
        header[20..24].copy_from_slice(&term_id.to_le_bytes());
        let mut body = self.payload.clone();
        body.resize(align_frame(length) - 32, 0);
        let sealed: &[u8] = if self.is_pad { &[] } else { &body };
        let reserved = FrameSeal::new(self.term).reserved_value(&header, sealed);
        header[24..32].copy_from_slice(&reserved.to_le_bytes());
        let mut bytes = header.to_vec();
        if !self.is_pad {
            bytes.extend(body);
        }
        bytes
    }
}

/// With a blank record, which the stage fills in with its cluster's.
fn term_entry(term: i64) -> Vec<u8> {
    term_entry_of(term, FormationRecord::default())
}

fn term_entry_of(term: i64, formation: FormationRecord) -> Vec<u8> {
    let body = NewLeadershipTerm {
        term: LeadershipTermId::new(term),
        leader: 1,
        id: term as u128,
        formation,
        limits: ClusterLimits::of(&three_members()),
    };
    let header = EntryHeader::of_kind(EntryKind::NewLeadershipTerm).encode();
    [&header[..], &body.encode()[..]].concat()
}

fn other_cluster() -> FormationRecord {
    let mut directories = [0; MEMBERS_MAX];
    directories[..3].copy_from_slice(&[1, directory_of(1), directory_of(2)]);
    FormationRecord {
        cluster: CLUSTER,
        draw: 1,
        members: 3,
        directories,
    }
}

fn entry(kind: EntryKind, length: usize, fill: u8) -> Vec<u8> {
    let header = EntryHeader::of_kind(kind).encode();
    [&header[..], &vec![fill; length][..]].concat()
}

/// The leader's true first frames: its list is what they say.
fn honest() -> Vec<HostileFrame> {
    let frame = |position, term, payload| HostileFrame {
        position,
        term,
        is_pad: false,
        flags: 0xC0,
        payload,
    };
    vec![
        frame(0, 1, term_entry(1)),
        frame(320, 1, entry(EntryKind::SessionAck, 240, 0)),
        frame(640, 3, term_entry(3)),
        frame(960, 3, entry(EntryKind::SessionAck, 160, 0)),
    ]
}

/// A node whose leader may be hostile.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.may_halt = true;
    stage
}

/// Member 1 leads term 3, and the node asks it for its list, which names the node's own frames.
fn join(stage: &mut Stage) {
    stage.join(1, &LIST, 1 << 20);
}

fn append(stage: &Stage) -> Position {
    stage.node.agents().consensus.log.append()
}

fn noted(stage: &Stage, kind: NodeNotice) -> u64 {
    stage.node.notice_count(kind)
}

/// The leader sends a frame; one that says how the cluster was formed says it of this one.
fn play(stage: &mut Stage, frame: &HostileFrame) {
    let session_id = log_session_id(&stage.cluster.name);
    let mut frame = frame.clone();
    let body = frame.payload.get(ENTRY_HEADER_LENGTH..);
    if let Some(mut entry) = body.and_then(NewLeadershipTerm::decode)
        && !entry.formation.is_drawn()
    {
        entry.formation = stage.record;
        frame.payload.truncate(ENTRY_HEADER_LENGTH);
        frame.payload.extend(entry.encode());
    }
    stage.send(1, &frame.bytes(session_id));
    stage.run(200 * MICROSECOND);
}

#[test]
fn an_honest_leader_is_followed() {
    let mut stage = stage();
    join(&mut stage);
    for frame in honest() {
        play(&mut stage, &frame);
    }
    let refused = noted(&stage, NodeNotice::LogFrameContradicts);
    assert_eq!((append(&stage), refused), (1216, 0));
}

#[test]
fn frames_that_contradict_the_leaders_list_are_refused_and_counted() {
    let cases: Vec<(&str, usize, HostileFrame)> = {
        let honest = honest();
        let change = |index: usize, payload: Vec<u8>| {
            let mut frame = honest[index].clone();
            frame.payload = payload;
            frame
        };
        let mut pad = honest[2].clone();
        pad.is_pad = true;
        pad.payload = vec![0; 65_536 - 640 - 32];
        let mut middle = honest[2].clone();
        middle.flags = 0;
        let mut header = EntryHeader::of_kind(EntryKind::SessionAck);
        header.leader_commit = honest[1].position + 32;
        let committed = [&header.encode()[..], &[0; 240][..]].concat();
        vec![
            (
                "a term that begins with another entry",
                2,
                change(2, entry(EntryKind::SessionAck, 240, 0)),
            ),
            ("a term entry within a term", 1, change(1, term_entry(1))),
            ("a term entry of another term", 2, change(2, term_entry(2))),
            (
                "a term entry of a cluster of other directories",
                2,
                change(2, term_entry_of(3, other_cluster())),
            ),
            (
                "a term entry that does not decode",
                2,
                change(2, entry(EntryKind::NewLeadershipTerm, 224, 9)),
            ),
            ("an entry without a header", 1, change(1, vec![0xFF; 272])),
            ("a term that begins within an entry", 2, middle),
            (
                "an entry that was committed before it was written",
                1,
                change(1, committed),
            ),
            ("a term that begins with a pad and another entry", 2, pad),
        ]
    };
    for (name, index, frame) in cases {
        let mut stage = stage();
        join(&mut stage);
        for frame in &honest()[..index] {
            play(&mut stage, frame);
        }
        let before = append(&stage);
        assert_eq!(before, frame.position, "{name}");
        play(&mut stage, &frame);
        if frame.is_pad {
            let mut next = honest()[1].clone();
            (next.position, next.term) = (65_536, 3);
            play(&mut stage, &next);
        }
        assert_eq!(append(&stage), before, "{name}");
        assert!(noted(&stage, NodeNotice::LogFrameContradicts) > 0, "{name}");
        // The leader was wrong once; what it sends after the next join is taken, which begins a
        // heartbeat interval later.
        stage.run(NodeConfig::default().heartbeat_interval_ns);
        join(&mut stage);
        for frame in &honest()[index..] {
            play(&mut stage, frame);
        }
        assert_eq!(append(&stage), 1216, "{name}");
    }
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(EntryKind::SessionAck),
        Just(EntryKind::Request),
        Just(EntryKind::NewLeadershipTerm),
        Just(EntryKind::SessionOpen),
    ];
    prop_oneof![
        (0_i64..5).prop_map(term_entry),
        (kinds, 0_usize..600, any::<u8>())
            .prop_map(|(kind, length, fill)| entry(kind, length, fill)),
        proptest::collection::vec(any::<u8>(), 0..700),
    ]
}

fn any_frame() -> impl Strategy<Value = HostileFrame> {
    let positions = prop_oneof![0_i64..64, 2000_i64..2100];
    let flags = prop_oneof![4 => Just(0xC0), 1 => Just(0x80), 1 => Just(0x40), 1 => Just(0)];
    (positions, 0_u32..5, any_payload(), flags, 0_u8..12).prop_map(
        |(place, term, payload, flags, pad)| HostileFrame {
            position: place * 32,
            term,
            is_pad: pad == 0,
            flags,
            payload,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(96)
    })]

    #[test]
    fn no_frame_with_a_good_checksum_reaches_an_assertion(
        frames in proptest::collection::vec((any_frame(), 0_usize..4), 1..40),
    ) {
        let mut stage = stage();
        join(&mut stage);
        for (index, (frame, luck)) in frames.iter().enumerate() {
            // Often just where the log goes on, in a term that fits.
            let mut frame = frame.clone();
            if *luck > 0 {
                frame.position = append(&stage);
                frame.term = if frame.position < 640 { 1 } else { 3 };
            }
            if *luck == 3 {
                let honest = honest();
                let next = honest.iter().find(|frame| frame.position == append(&stage));
                frame = next.cloned().unwrap_or(frame);
            }
            play(&mut stage, &frame);
            if index % 5 == 4 {
                join(&mut stage);
            }
        }
    }
}
