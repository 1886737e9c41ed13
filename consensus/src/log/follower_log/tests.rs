//! Which frames a follower places, which it refuses and why, and what counts as hearing its leader.

use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{ExclusiveAppender, Frame};
use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Heartbeat, Setup, StatusMessage, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::SECOND;

use super::*;
use crate::module::action::Actions;
use crate::module::consensus_module::{ConsensusConfig, Recovered};
use crate::module::event::Event;
use crate::module::member::TermBase;
use crate::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};

const TERM_LENGTH: usize = 1 << 16;

fn geometry() -> Geometry {
    Geometry::new(0, TERM_LENGTH).unwrap()
}

fn address(id: u8) -> SocketAddr {
    ([10, 0, 0, 1 + id], 1).into()
}

/// A member with an empty log that has joined the leader of term 3 at position 0. Of that one's
/// log the first 128 bytes are of term 1.
fn joined() -> ConsensusModule {
    let config = ConsensusConfig {
        member: 0,
        members: 3,
        heartbeat_interval_ns: 50,
        election_timeout_ns: 500,
    };
    let recovered = Recovered {
        term: LeadershipTermId::NONE,
        vote: None,
        incarnation: 1,
        terms: Vec::new(),
        durable: 0,
        lost: None,
        commit_floor: 0,
    };
    let (mut module, mut actions) = (
        ConsensusModule::new(config, recovered, 7),
        Actions::default(),
    );
    let mut terms = [TermBase {
        term: LeadershipTermId::NONE,
        base: 0,
    }; JOIN_PAGE_TERMS];
    terms[0] = TermBase {
        term: LeadershipTermId::new(1),
        base: 0,
    };
    terms[1] = TermBase {
        term: LeadershipTermId::new(3),
        base: 128,
    };
    let page = TermPage {
        page: 0,
        pages: 1,
        count: 2,
        terms,
    };
    let message = |message| Event::Message {
        from: 1,
        incarnation: 1,
        message,
    };
    let heartbeat = MemberMessage::CommitPosition {
        term: LeadershipTermId::new(3),
        position: 0,
        durable: 0,
    };
    let reply = MemberMessage::JoinReply {
        term: LeadershipTermId::new(3),
        commit: 0,
        end: 1024,
        page,
    };
    let persisted = Event::StatePersisted {
        term: LeadershipTermId::new(3),
        vote: None,
    };
    for event in [message(heartbeat), persisted, message(reply)] {
        module.on_event(SECOND, event, &mut actions);
        actions.clear();
    }
    assert_eq!(
        module.leader_term_at(0),
        Some(LeadershipTermId::new(1)),
        "frames are accepted"
    );
    module
}

struct Follower {
    log: LogBuffer,
    follower: FollowerLog,
    module: ConsensusModule,
    facts: NodeFacts,
}

impl Follower {
    /// Follows member 1 from position 0 on.
    fn new() -> Self {
        let log = LogBuffer::allocate(geometry(), 1408).unwrap();
        let (mut follower, facts) = (FollowerLog::default(), NodeFacts::of_three());
        follower.follow(&log, address(1), 0, &facts);
        Self {
            log,
            follower,
            module: joined(),
            facts,
        }
    }

    fn hear(&mut self, from: u8, packet: &Packet<'_>) -> Result<(), LogRefusal> {
        let (log, module) = (&mut self.log, &self.module);
        self.follower
            .on_packet(0, address(from), packet, log, module)
    }

    fn beat(&mut self, position: Position, is_end: bool) -> Result<(), LogRefusal> {
        let (session, stream) = (self.facts.log_session_id, LOG_STREAM_ID);
        let beat = Heartbeat::new(session, stream, geometry(), position, is_end);
        self.hear(1, &Packet::Heartbeat(beat))
    }

    fn set_up(&mut self, position: Position) -> Result<(), LogRefusal> {
        let (session, stream) = (self.facts.log_session_id, LOG_STREAM_ID);
        let setup = Setup::new(session, stream, geometry(), 1408, position);
        self.hear(1, &Packet::Setup(setup))
    }
}

/// A datagram with frames of 64 bytes of these terms, from `position` on.
fn frames_of(position: Position, terms: &[u32]) -> Vec<u8> {
    let mut log = LogBuffer::allocate(geometry(), 1408).unwrap();
    log.restart(position, &[]);
    let session = NodeFacts::of_three().log_session_id;
    let mut appender = ExclusiveAppender::new(geometry(), session, LOG_STREAM_ID, 1408, position);
    let mut bytes = Vec::new();
    for term in terms {
        let start = appender.position();
        let limit = Position::MAX;
        appender.offer(&mut log, limit, &[&[7; 32]], &mut FrameSeal::new(*term));
        let frame = Frame::first(log.bytes(start, 64)).unwrap();
        bytes.extend_from_slice(frame.bytes());
    }
    bytes
}

#[test]
fn frames_of_the_term_that_the_leaders_list_gives_them_are_placed_in_order() {
    let mut follower = Follower::new();
    for (position, terms) in [(0, &[1, 1][..]), (128, &[3])] {
        let bytes = frames_of(position, terms);
        assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), Ok(()));
    }
    assert_eq!(follower.follower.append_position(), Some(192));
    assert_eq!(follower.follower.stop(), Some(192));
    assert_eq!(
        (
            follower.follower.append_position(),
            follower.follower.stop()
        ),
        (None, None)
    );
    assert_eq!(follower.follower.next_deadline(), None);
}

#[test]
fn a_frame_of_another_term_or_a_damaged_one_is_refused_with_all_of_its_datagram() {
    let mut follower = Follower::new();
    // The third frame is where the leader's term begins.
    let bytes = frames_of(0, &[1, 1, 1]);
    let refused = LogRefusal {
        kind: NodeNotice::LogFrameOfOtherTerm,
        position: 128,
        term: LeadershipTermId::new(1),
    };
    assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), Err(refused));
    let mut bytes = frames_of(0, &[1, 1]);
    bytes[64 + 40] ^= 1;
    let refused = LogRefusal {
        kind: NodeNotice::LogFrameDamaged,
        position: 64,
        term: LeadershipTermId::NONE,
    };
    assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), Err(refused));
    assert_eq!(follower.follower.append_position(), Some(0));
    assert!(!follower.follower.take_heard());
}

#[test]
fn only_the_leader_is_heard_and_only_while_it_is_followed() {
    let mut follower = Follower::new();
    let bytes = frames_of(0, &[1]);
    let refused = Err(LogRefusal::new(NodeNotice::LogNotFollowed));
    assert_eq!(follower.hear(2, &parse(&bytes).unwrap()), refused);
    assert_eq!(follower.follower.stop(), Some(0));
    assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), refused);
    assert_eq!(follower.set_up(0), refused);
}

#[test]
fn the_leader_is_heard_once_by_data_a_heartbeat_or_a_setup_where_this_member_joined() {
    let bytes = frames_of(0, &[1]);
    let mut follower = Follower::new();
    assert!(!follower.follower.take_heard());
    // As new data, and as what is there already.
    for _ in 0..2 {
        assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), Ok(()));
        assert!(follower.follower.take_heard() && !follower.follower.take_heard());
    }
    assert_eq!(follower.beat(64, false), Ok(()));
    assert!(follower.follower.take_heard());
    assert_eq!(follower.set_up(64), Ok(()));
    assert!(follower.follower.take_heard());
    // A cursor of an earlier join is ahead of this one, or too far ahead for anything.
    assert_eq!(follower.set_up(4096), Ok(()));
    assert_eq!(follower.beat(9 * TERM_LENGTH as Position, false), Ok(()));
    assert!(!follower.follower.take_heard());
}

#[test]
fn the_log_never_ends_whatever_a_datagram_says() {
    let mut follower = Follower::new();
    let unexpected = Err(LogRefusal::new(NodeNotice::LogPacketUnexpected));
    assert_eq!(follower.beat(0, true), unexpected);
    let session = follower.facts.log_session_id;
    let status = StatusMessage::send_setup(session, LOG_STREAM_ID, 1);
    assert_eq!(follower.hear(1, &Packet::StatusMessage(status)), unexpected);
    assert!(!follower.follower.take_heard());
}

#[test]
fn a_follower_tells_its_leader_how_much_room_it_has_and_takes_nothing_above_its_limit() {
    let network = SimNetwork::new(1, LinkProfile::default());
    let (mut port, mut leader) = (network.port(address(0)), network.port(address(1)));
    let mut follower = Follower::new();
    let work = follower.follower.do_work(0, &follower.log, 64, &mut port);
    assert_eq!(work, 1);
    let mut buffer = [0; 2048];
    let received = leader.receive(SECOND, &mut buffer).unwrap();
    let Packet::StatusMessage(status) = parse(&buffer[..received.length]).unwrap() else {
        panic!("no status message");
    };
    assert_eq!(
        (status.position(geometry()), status.window()),
        (Some(0), 64)
    );
    assert!(follower.follower.next_deadline() > Some(0));
    let bytes = frames_of(0, &[1, 1]);
    assert_eq!(follower.hear(1, &parse(&bytes).unwrap()), Ok(()));
    assert_eq!(
        follower.follower.append_position(),
        Some(0),
        "it would reach above the limit"
    );
    assert!(!follower.follower.take_heard());
    let _ = follower.follower.stop();
    assert_eq!(
        follower
            .follower
            .do_work(SECOND, &follower.log, 64, &mut port),
        0
    );
}

#[test]
fn what_may_be_under_way_is_bounded_by_half_a_term_and_by_the_sockets_buffer() {
    for (receive_window, window) in [(4096, 4096), (1 << 20, TERM_LENGTH / 2)] {
        let network = SimNetwork::new(1, LinkProfile::default());
        let (mut port, mut leader) = (network.port(address(0)), network.port(address(1)));
        let mut follower = Follower::new();
        follower.facts.receive_window = receive_window;
        let (log, facts) = (&follower.log, &follower.facts);
        follower.follower.follow(log, address(1), 0, facts);
        follower.follower.do_work(0, log, Position::MAX, &mut port);
        let mut buffer = [0; 2048];
        let received = leader.receive(SECOND, &mut buffer).unwrap();
        let packet = parse(&buffer[..received.length]).unwrap();
        assert!(matches!(packet, Packet::StatusMessage(status) if status.window() == window));
    }
}
