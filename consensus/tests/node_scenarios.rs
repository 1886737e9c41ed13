//! One real node between puppets: scenarios that random runs meet too rarely, each with the
//! rule it proves.
#![cfg(feature = "sim")]

mod stage;

use lockstep_archive::log::log_reader::{LogRead, ReadSpan};
use lockstep_archive::log::token::OWNER_READER_FIRST;
use lockstep_consensus::log::entry_body::NewLeadershipTerm;
use lockstep_consensus::log::log_session_id::log_session_id;
use lockstep_consensus::log::log_writer::{Appended, LogWriter};
use lockstep_consensus::module::member::{MemberId, TermBase};
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_consensus::session::egress_channel::EgressChannel;
use lockstep_consensus::session::egress_streams::EgressStreams;
use lockstep_consensus::settings::cluster_limits::ClusterLimits;
use lockstep_consensus::settings::config::NodeConfig;
use lockstep_consensus::sim::scenario::boot::{address, three_members};
use lockstep_service::log_entry::{ENTRY_HEADER_LENGTH, EntryHeader, EntryKind};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::{HEADER_LENGTH, LogBuffer};
use lockstep_transport::position::{Geometry, Position, align_frame};
use lockstep_transport::protocol::{Packet, StatusMessage};
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::MILLISECOND;
use stage::{Stage, geometry};

const MTU: usize = 1408;

/// The log of a puppet.
struct PuppetLog {
    log: LogBuffer,
    writer: LogWriter,
}

impl PuppetLog {
    fn new(stage: &Stage, leader: MemberId, term: i64) -> Self {
        let mut log = LogBuffer::allocate(geometry(), MTU).expect("memory");
        let writer = Self::lead(&mut log, stage, leader, (term, 0));
        Self { log, writer }
    }

    /// Goes on in another term, of which `leader` writes the first entry.
    fn begin_term(&mut self, stage: &Stage, leader: MemberId, term: i64) {
        let end = self.writer.position();
        self.writer = Self::lead(&mut self.log, stage, leader, (term, end));
    }

    fn lead(
        log: &mut LogBuffer,
        stage: &Stage,
        leader: MemberId,
        (term, start): (i64, Position),
    ) -> LogWriter {
        let cluster = &stage.cluster;
        let session = log_session_id(&cluster.name);
        let mut writer = LogWriter::new(log, session, MTU, start, LeadershipTermId::new(term), 0);
        let body = NewLeadershipTerm {
            term: LeadershipTermId::new(term),
            leader,
            id: 1 + u128::from(leader),
            formation: stage.record,
            limits: ClusterLimits::of(cluster),
        };
        let header = EntryHeader::of_kind(EntryKind::NewLeadershipTerm);
        writer
            .append(log, Position::MAX, 0, header, &body.encode())
            .expect("the log has room");
        writer
    }

    /// Appends an entry that changes nothing, `length` bytes long in its body.
    fn append(&mut self, length: usize) -> Appended {
        let header = EntryHeader::of_kind(EntryKind::SessionAck);
        let body = vec![0; length];
        let log = &mut self.log;
        loop {
            // The first try at the end of a term only pads it.
            let appended = self.writer.append(log, Position::MAX, 0, header, &body);
            if let Some(appended) = appended {
                log.clean_ahead(appended.end, 64 * 1024);
                return appended;
            }
        }
    }

    /// The frames between two positions of one term.
    fn bytes(&self, from: Position, to: Position) -> Vec<u8> {
        self.log.bytes(from, (to - from) as usize).to_vec()
    }
}

#[test]
fn a_restarted_node_names_its_egress_streams_anew() {
    let node = NodeConfig::default();
    let names = |nonce| {
        let mut streams = EgressStreams::new(&node, nonce, 1 << 20);
        let mut name = || streams.publication(address(100, 1), 102);
        [0; 4].map(|_| name().session_id)
    };
    let (first, second) = (names(1), names(2));
    assert_eq!(first, names(1));
    assert!(first.iter().all(|id| !second.contains(id)));
}

#[test]
fn frames_out_of_order_are_gone_when_a_follower_stops_following() {
    let mut stage = Stage::new();
    let mut puppet = PuppetLog::new(&stage, 1, 1);
    let first = puppet.append(160);
    let second = puppet.append(160);
    stage.join(1, &[(1, 0)], second.end);
    // The second entry, of which the first is missing, and the beginning of the term.
    stage.send(1, &puppet.bytes(second.position, second.end));
    stage.send(1, &puppet.bytes(0, first.position));
    stage.run(5 * MILLISECOND);
    let log = |stage: &Stage, at| stage.node.agents().consensus.log.buffer().frame_length(at);
    assert_eq!(stage.node.agents().consensus.log.append(), first.position);
    assert!(log(&stage, second.position) > 0);
    stage.say(
        2,
        MemberMessage::CommitPosition {
            term: LeadershipTermId::new(2),
            position: 0,
            durable: 0,
        },
    );
    assert_eq!(stage.node.followed_position(), None);
    assert_eq!(log(&stage, second.position), 0);
    assert!(log(&stage, 0) > 0);
}

#[test]
fn a_cursor_out_of_reach_is_not_taken_for_the_one_asked_for() {
    let mut stage = Stage::new();
    let mut puppet = PuppetLog::new(&stage, 1, 1);
    let end = puppet.append(160).end;
    stage.join(1, &[(1, 0)], end);
    stage.send(1, &puppet.bytes(0, end));
    stage.run(50 * MILLISECOND);
    assert_eq!(stage.durable(), end);
    // It holds the first entry of the term already when it joins again, and the cursor of its
    // earlier life is more than half a term ahead.
    stage.restart();
    stage.join(1, &[(1, 0)], end);
    stage.heard(1);
    stage.heartbeat(1, 40_000, false);
    stage.run(120 * MILLISECOND);
    let (messages, _) = stage.heard(1);
    let asked = messages.iter().find_map(|message| match message {
        MemberMessage::JoinStart { position, .. } => Some(*position),
        _ => None,
    });
    assert_eq!(asked, Some(end), "{messages:?}");
}

#[test]
fn the_log_never_ends_whatever_a_heartbeat_says() {
    let mut stage = Stage::new();
    let mut puppet = PuppetLog::new(&stage, 1, 1);
    let entry = puppet.append(160);
    stage.join(1, &[(1, 0)], entry.end);
    stage.heartbeat(1, 0, true);
    stage.send(1, &puppet.bytes(0, entry.end));
    stage.run(300 * MILLISECOND);
    assert_eq!(stage.node.agents().consensus.log.append(), entry.end);
    let (_, statuses) = stage.heard(1);
    assert!(!statuses.is_empty());
    assert!(statuses.iter().all(|status| !status.is_end_of_stream()));
}

#[test]
fn an_egress_channel_that_was_connected_introduces_nobody_else() {
    let cluster = three_members();
    let mut streams = EgressStreams::new(&NodeConfig::default(), 1, 1 << 20);
    let client = address(100, 1);
    let config = streams.publication(client, 102);
    let mut channel = EgressChannel::open(config, 0).unwrap();
    assert!(channel.is_fresh_for(client, 102, None));
    assert!(!channel.is_fresh_for(client, 103, None));
    assert!(!channel.is_fresh_for(address(101, 1), 102, None));
    let geometry = Geometry::new(config.initial_term_id, config.term_length).unwrap();
    let status = StatusMessage::new(config.session_id, 102, 1, (geometry, 0), 64 * 1024);
    channel.on_packet(1, &Packet::StatusMessage(status));
    let network = SimNetwork::new(1, LinkProfile::default());
    channel.do_work(1, &mut network.port(cluster.members[0].ingress));
    assert!(!channel.is_fresh_for(client, 102, None));
}

/// Length of the frame of a term's first entry.
const FIRST: Position =
    align_frame(HEADER_LENGTH + ENTRY_HEADER_LENGTH + NewLeadershipTerm::LENGTH) as Position;

/// Reads one run of frames at 0 from the node's disk, as the sender to member 2 would.
fn read_start(stage: &mut Stage) -> Vec<u8> {
    for _ in 0..100 {
        let now = stage.now;
        let agents = stage.node.agents_mut();
        let replication = &mut agents.consensus.replication;
        let reader = replication
            .reader_mut(OWNER_READER_FIRST + 2)
            .expect("a reader per member");
        let span = ReadSpan {
            position: 0,
            limit: agents.consensus.log.append(),
            length_max: 512,
        };
        match reader.read(span, agents.archive.view(&agents.consensus.log)) {
            LogRead::Frames { bytes, .. } => return bytes.to_vec(),
            LogRead::Pending => {
                agents.archive.submit_order(now, reader);
                stage.run(MILLISECOND);
            }
            LogRead::Damaged | LogRead::Gone => break,
        }
    }
    panic!("the log cannot be read at 0");
}

#[test]
fn a_reader_forgets_what_it_read_ahead_of_a_truncated_log() {
    let mut stage = Stage::new();
    let mut old = PuppetLog::new(&stage, 1, 1);
    let end = old.append(160).end;
    stage.join(1, &[(1, 0)], end);
    stage.send(1, &old.bytes(0, end));
    stage.run(50 * MILLISECOND);
    assert_eq!(stage.durable(), end);
    // From here on the log of term 1 is on disk only, and read ahead.
    stage.restart();
    assert_eq!(read_start(&mut stage), old.bytes(0, FIRST));
    // Term 2 knows nothing of it.
    let mut new = PuppetLog::new(&stage, 2, 2);
    stage.join(2, &[(2, 0)], 0);
    assert_eq!(stage.node.agents().consensus.log.append(), 0);
    let beginning = new.bytes(0, FIRST);
    assert_ne!(beginning, old.bytes(0, FIRST));
    stage.send(2, &beginning);
    // Two terms of the log later memory no longer holds its beginning.
    while stage.node.agents().consensus.log.memory_start() == 0 {
        let from = stage.node.agents().consensus.log.append();
        let entry = new.append(1024);
        let pad = geometry().term_start(entry.position);
        if entry.position == pad && from < pad {
            stage.send(2, &new.bytes(from, from + 32));
        }
        let bytes = new.bytes(entry.position, entry.end);
        stage.send(2, &bytes);
        stage.run(MILLISECOND);
        assert_eq!(stage.node.agents().consensus.log.append(), entry.end);
    }
    assert_eq!(read_start(&mut stage), beginning);
}

#[test]
fn a_pad_that_begins_a_term_waits_for_the_entry_behind_it() {
    let mut stage = Stage::new();
    let mut puppet = PuppetLog::new(&stage, 1, 1);
    let term_length = geometry().term_length() as Position;
    let mut entries = vec![(0, FIRST)];
    // Term 1 ends one frame header below the end of a term of the log.
    let base = term_length - HEADER_LENGTH as Position;
    while puppet.writer.position() < base {
        let room = (base - puppet.writer.position()) as usize - HEADER_LENGTH - ENTRY_HEADER_LENGTH;
        let entry = puppet.append(if room < 1200 { room } else { 1000 });
        entries.push((entry.position, entry.end));
    }
    stage.join(1, &[(1, 0)], base);
    for (from, to) in entries {
        stage.send(1, &puppet.bytes(from, to));
        stage.run(MILLISECOND);
    }
    assert_eq!(stage.node.agents().consensus.log.append(), base);
    // The first entry of term 2 does not fit there.
    puppet.begin_term(&stage, 2, 2);
    let end = puppet.writer.position();
    assert_eq!(end, term_length + FIRST);
    stage.join(2, &[(1, 0), (2, base)], end);
    stage.send(2, &puppet.bytes(base, term_length));
    stage.run(20 * MILLISECOND);
    let reached = |stage: &Stage| stage.node.agents().consensus.log.append();
    assert_eq!(reached(&stage), base, "a PAD alone says nothing of a term");
    stage.send(2, &puppet.bytes(term_length, end));
    stage.run(50 * MILLISECOND);
    assert_eq!(stage.durable(), end);
    let terms = [(1, 0), (2, base)].map(|(term, base)| TermBase {
        term: LeadershipTermId::new(term),
        base,
    });
    assert_eq!(stage.node.agents().consensus.module.terms(), terms);
    stage.restart();
    assert_eq!(reached(&stage), end);
    assert_eq!(stage.node.agents().consensus.module.terms(), terms);
}
