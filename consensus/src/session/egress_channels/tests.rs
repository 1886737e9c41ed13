//! Which channels there are, for how long, who gives way to whom, and what is told of it.

use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Nak, StatusMessage, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::SECOND;

use super::*;

const STREAM: i32 = 2;
const TERM_LENGTH: usize = 1 << 16;
const SESSION: SessionId = SessionId::new(7);

/// A client at a host of its own.
fn client(host: u8, port: u16) -> SocketAddr {
    ([10, 0, 1, host], port).into()
}

fn config(destination: SocketAddr, session_id: i32) -> PublicationConfig {
    PublicationConfig {
        session_id,
        stream_id: STREAM,
        initial_term_id: 3,
        term_length: TERM_LENGTH,
        mtu: 1408,
        destination,
    }
}

/// What a client says that has consumed its stream up to `position`.
fn status(session_id: i32, position: i64) -> Packet<'static> {
    let geometry = Geometry::new(3, TERM_LENGTH).unwrap();
    let status = StatusMessage::new(session_id, STREAM, 1, (geometry, position), 32 * 1024);
    Packet::StatusMessage(status)
}

type News = Vec<(SessionId, Slot, ChannelChange)>;

/// Channels of a node, its port, and the port of `client(9, 7)`.
struct Node {
    channels: EgressChannels,
    port: SimPort,
    client: SimPort,
}

impl Node {
    fn new(sessions_max: usize) -> Self {
        let network = SimNetwork::new(1, LinkProfile::default());
        Self {
            channels: EgressChannels::new(sessions_max, 1),
            port: network.port("10.0.0.1:7".parse().unwrap()),
            client: network.port(client(9, 7)),
        }
    }

    /// Opens an answer to `client(9, 7)`.
    fn answer(&mut self, now: Nanos, session_id: i32) -> Option<Slot> {
        self.channels
            .open_answer(config(client(9, 7), session_id), now)
    }

    fn hear(&mut self, now: Nanos, session_id: i32) {
        let heard = status(session_id, 0);
        let taken = self
            .channels
            .on_packet(now, client(9, 7), session_id, &heard);
        assert_eq!(taken, Ok(()));
    }

    fn work(&mut self, now: Nanos) -> (usize, News) {
        let mut news = News::new();
        let port = &mut self.port;
        let work = self
            .channels
            .do_work(now, port, &mut |session, slot, what| {
                news.push((session, slot, what));
            });
        (work, news)
    }

    /// What has arrived at the client: SETUPs, the payloads of messages, ends of streams.
    fn arrived(&mut self) -> (usize, Vec<u8>, bool) {
        let (mut setups, mut messages, mut is_end, mut buffer) = (0, Vec::new(), false, [0; 2048]);
        while let Some(received) = self.client.receive(Nanos::MAX, &mut buffer) {
            match parse(&buffer[..received.length]).unwrap() {
                Packet::Setup(_) => setups += 1,
                Packet::Data(data) => {
                    let frames = lockstep_transport::log_buffer::frames(data.bytes());
                    messages.extend(frames.map(|frame| frame.payload()[0]));
                }
                Packet::Heartbeat(heartbeat) => is_end |= heartbeat.is_end_of_stream(),
                _ => {}
            }
        }
        (setups, messages, is_end)
    }
}

#[test]
fn a_stream_that_cannot_be_made_is_told_with_its_client() {
    let mut channels = EgressChannels::new(4, 1);
    let destination: SocketAddr = "10.0.0.9:7".parse().unwrap();
    let config = PublicationConfig {
        // No stream has such terms: the same way out as without memory.
        term_length: 1000,
        ..config(destination, 1)
    };
    for _ in 0..2 {
        assert!(channels.open_answer(config, 0).is_none());
    }
    let expected = (NodeNotice::EgressMemory, Detail::at(destination), 2);
    assert_eq!(channels.take_mishap(), Some(expected));
    assert_eq!(channels.take_mishap(), None);
}

#[test]
fn a_channel_nobody_connects_to_is_told_after_a_second_and_gone_after_five() {
    let mut node = Node::new(4);
    let opened = 9 * SECOND;
    let slot = node.answer(opened, 1).unwrap();
    node.channels.queue_event(slot, b"ok");
    assert_eq!(node.channels.next_deadline(), Some(0));
    let mut setups = 0;
    for now in (opened..opened + SECOND).step_by(MILLISECOND as usize) {
        node.work(now);
        setups += node.arrived().0;
    }
    assert_eq!(setups, 3, "of a stranger's address no more is known");
    node.work(opened + SECOND - 1);
    assert_eq!(node.channels.take_mishap(), None);
    assert_eq!(node.channels.next_deadline(), Some(opened + SECOND));
    node.work(opened + SECOND);
    let expected = (NodeNotice::ClientUnheard, Detail::at(client(9, 7)), 1);
    assert_eq!(node.channels.take_mishap(), Some(expected));
    assert_eq!(node.channels.next_deadline(), Some(opened + 5 * SECOND + 1));
    node.channels.queue_event(slot, b"ok");
    node.work(opened + 5 * SECOND);
    assert_eq!(node.channels.take_mishap(), None, "once");
    assert!(node.channels.get(slot).is_some());
    assert_eq!(node.work(opened + 5 * SECOND + 1), (1, vec![]));
    assert!(node.channels.get(slot).is_none());
    assert_eq!(node.channels.next_deadline(), None);
}

#[test]
fn whoever_asks_again_is_sent_three_setups_more() {
    let mut node = Node::new(4);
    let slot = node.answer(0, 1).unwrap();
    let setups_until = |node: &mut Node, end| {
        for now in (0..end).step_by(MILLISECOND as usize) {
            node.work(now);
        }
        node.arrived().0
    };
    assert_eq!(setups_until(&mut node, SECOND), 3);
    node.channels.allow_setups(slot);
    assert_eq!(setups_until(&mut node, 2 * SECOND), 3);
}

#[test]
fn a_session_hears_that_its_channel_is_live_and_when_its_client_is_silent_for_five_seconds() {
    let mut node = Node::new(4);
    let slot = node.answer(0, 1).unwrap();
    node.channels.queue_event(slot, b"ok");
    node.channels.bind(slot, SESSION);
    assert_eq!(node.work(0).1, []);
    let heard = 10 * MILLISECOND;
    node.hear(heard, 1);
    assert_eq!(node.work(heard).1, [(SESSION, slot, ChannelChange::Live)]);
    assert_eq!(node.arrived().1, b"o");
    let channel = node.channels.get(slot).unwrap();
    assert_eq!(
        (channel.session(), channel.address()),
        (Some(SESSION), client(9, 7))
    );
    assert!(channel.is_live(heard + 5 * SECOND - 1) && !channel.is_closing());
    assert_eq!(node.channels.count(), 1);
    assert_eq!(
        node.work(heard + 5 * SECOND - 1).1,
        [(SESSION, slot, ChannelChange::Live)]
    );
    assert!(node.channels.next_deadline() <= Some(heard + 5 * SECOND));
    assert_eq!(
        node.work(heard + 5 * SECOND).1,
        [(SESSION, slot, ChannelChange::Ended)]
    );
    assert_eq!(
        (node.channels.get(slot).is_none(), node.channels.count()),
        (true, 0)
    );
    assert_eq!(node.channels.take_mishap(), None);
}

#[test]
fn a_channel_is_found_fresh_until_it_was_connected_and_open_until_it_ends() {
    let mut node = Node::new(4);
    let slot = node.answer(0, 1).unwrap();
    let (here, port, host) = (client(9, 7), client(9, 8), client(8, 7));
    assert_eq!(node.channels.find_fresh(here, STREAM, None), Some(slot));
    for (address, stream) in [(here, STREAM + 1), (port, STREAM), (host, STREAM)] {
        assert_eq!(node.channels.find_fresh(address, stream, None), None);
    }
    node.channels.queue_event(slot, b"wait");
    node.work(0);
    assert_eq!(node.channels.find_live(here, 0), None);
    node.hear(0, 1);
    node.work(0);
    assert_eq!(
        node.channels.find_fresh(here, STREAM, None),
        None,
        "its client knows it"
    );
    assert_eq!(node.channels.find_live(here, 0), Some(slot));
    assert_eq!(node.channels.find_open(here), Some(slot));
    for other in [port, host] {
        assert_eq!(node.channels.find_live(other, 0), None);
        assert_eq!(node.channels.find_open(other), None);
    }
    node.channels.close(slot);
    assert_eq!(node.channels.find_open(here), None);
    assert_eq!(node.channels.find_live(here, 0), None);
    let next = node.answer(0, 2).unwrap();
    node.channels.close(next);
    assert_eq!(node.channels.find_fresh(here, STREAM, None), None);
}

#[test]
fn a_channel_that_belongs_to_a_session_is_fresh_for_that_alone_and_never_changes_hands() {
    let mut node = Node::new(4);
    let slot = node.answer(0, 1).unwrap();
    for session in [None, Some(SESSION)] {
        assert_eq!(
            node.channels.find_fresh(client(9, 7), STREAM, session),
            Some(slot)
        );
        assert!(!node.channels.is_anothers(slot, session));
    }
    node.channels.bind(slot, SESSION);
    for (session, is_its) in [
        (None, false),
        (Some(SESSION.next()), false),
        (Some(SESSION), true),
    ] {
        let found = node.channels.find_fresh(client(9, 7), STREAM, session);
        assert_eq!(found, is_its.then_some(slot), "{session:?}");
        assert_eq!(node.channels.is_anothers(slot, session), !is_its);
    }
    // It ends for its session: whoever waits for it still finds that it ends.
    node.channels.close(slot);
    assert!(!node.channels.is_anothers(slot, None));
}

#[test]
fn of_nine_events_that_wait_the_newest_eight_are_sent_in_order() {
    let mut node = Node::new(4);
    let slot = node.answer(0, 1).unwrap();
    for event in b'a'..=b'i' {
        assert_eq!(node.channels.get(slot).unwrap().has_events(), event > b'a');
        node.channels.queue_event(slot, &[event]);
    }
    node.work(0);
    assert_eq!(node.arrived(), (1, vec![], false));
    node.hear(1, 1);
    let (work, _) = node.work(1);
    assert!(work >= 8, "{work}");
    assert_eq!(node.arrived().1, b"bcdefghi");
    assert!(!node.channels.get(slot).unwrap().has_events());
    assert!(node.channels.offer(slot, 1, &[b"m"]));
    node.work(1);
    assert_eq!(node.arrived().1, b"m");
}

#[test]
fn a_channel_that_is_closed_sends_its_last_event_first_and_one_abandoned_does_not() {
    for is_abandoned in [false, true] {
        let mut node = Node::new(4);
        let slot = node.answer(0, 1).unwrap();
        node.hear(0, 1);
        node.channels.queue_event(slot, b"closed");
        if is_abandoned {
            node.channels.abandon_all();
        } else {
            node.channels.close(slot);
        }
        assert!(node.channels.get(slot).unwrap().is_closing());
        for now in 0..2000 {
            node.work(now * MILLISECOND);
        }
        let expected: &[u8] = if is_abandoned { b"" } else { b"c" };
        let (_, messages, is_end) = node.arrived();
        assert_eq!((&messages[..], is_end), (expected, true));
        assert!(!node.channels.offer(slot, SECOND, &[b"m"]));
    }
}

#[test]
fn control_frames_are_taken_from_the_client_of_the_stream_only_and_where_they_fit() {
    let mut node = Node::new(4);
    node.answer(0, 1).unwrap();
    node.work(0);
    let mut tell = |source, session_id, packet| {
        let channels = &mut node.channels;
        channels.on_packet(0, source, session_id, &packet)
    };
    let unknown = Err(NodeNotice::UnknownEgressStream);
    assert_eq!(tell(client(9, 7), 2, status(2, 0)), unknown);
    assert_eq!(tell(client(9, 8), 1, status(1, 0)), unknown);
    assert_eq!(tell(client(9, 7), 1, status(1, 0)), Ok(()));
    let geometry = Geometry::new(3, TERM_LENGTH).unwrap();
    let nak = Packet::Nak(Nak::new(1, STREAM, geometry, 4096, 64));
    assert_eq!(
        tell(client(9, 7), 1, nak),
        Err(NodeNotice::EgressPacketRefused)
    );
}

#[test]
fn an_address_has_sixteen_channels_of_which_one_that_ends_gives_way() {
    let mut node = Node::new(4);
    let slots: Vec<Slot> = (0..16).map(|id| node.answer(0, id).unwrap()).collect();
    assert_eq!(node.answer(SECOND, 16), None);
    // Another process at that host is no worse for it.
    let other = config(client(9, 8), 16);
    assert!(node.channels.open_answer(other, SECOND).is_some());
    node.channels.close(slots[5]);
    assert!(node.answer(SECOND, 16).is_some());
    assert!(node.channels.get(slots[5]).is_none() && node.channels.get(slots[4]).is_some());
    assert_eq!(node.answer(SECOND, 17), None);
}

/// Answers to `count` processes of a host.
fn flood(channels: &mut EgressChannels, host: u8, count: u16, now: Nanos) -> Vec<Option<Slot>> {
    let open = |port| channels.open_answer(config(client(host, port), 1), now);
    (0..count).map(open).collect()
}

#[test]
fn a_host_that_asks_and_asks_displaces_its_own_answers_once_they_had_their_time() {
    let mut channels = EgressChannels::new(4, 1);
    let opened = SECOND;
    let slots = flood(&mut channels, 1, 128, opened);
    assert!(slots.iter().all(Option::is_some));
    let open =
        |channels: &mut EgressChannels, now| channels.open_answer(config(client(1, 500), 1), now);
    channels.queue_event(slots[1].unwrap(), b"wait");
    let due = opened + 20 * MILLISECOND;
    assert_eq!(open(&mut channels, due - 1), None);
    assert!(open(&mut channels, due).is_some());
    assert!(channels.get(slots[0].unwrap()).is_none() && channels.get(slots[1].unwrap()).is_some());
    assert_eq!(channels.take_mishap(), None, "it had nothing to say");
    assert!(open(&mut channels, due).is_some());
    let expected = (NodeNotice::AnswerDisplaced, Detail::at(client(1, 1)), 1);
    assert_eq!(channels.take_mishap(), Some(expected));
    assert_eq!(channels.count(), 128);
}

#[test]
fn of_all_answers_the_oldest_of_the_fullest_group_gives_way() {
    let mut channels = EgressChannels::new(4, 1);
    let group = |channels: &EgressChannels, host| channels.group(client(host, 1));
    let first = group(&channels, 1);
    let second = (2..).find(|host| group(&channels, *host) != first).unwrap();
    let of_second = group(&channels, second);
    let is_third = |host: &u8| ![first, of_second].contains(&group(&channels, *host));
    let third = (2..).find(is_third).unwrap();
    let slots = flood(&mut channels, 1, 127, 0);
    assert!(flood(&mut channels, second, 128, 0)[0].is_some());
    let one_more = flood(&mut channels, third, 1, 0)[0];
    assert!(one_more.is_some(), "there is one place left");
    let next = config(client(third, 500), 1);
    assert_eq!(channels.open_answer(next, 20 * MILLISECOND - 1), None);
    assert!(channels.open_answer(next, 20 * MILLISECOND).is_some());
    let of_first = slots
        .iter()
        .filter(|slot| channels.get(slot.unwrap()).is_some());
    assert_eq!(of_first.count(), 127);
    assert!(channels.get(one_more.unwrap()).is_some());
    assert_eq!(channels.count(), 256);
    // A channel that has become a session's takes no place of an answer.
    channels.bind(one_more.unwrap(), SESSION);
    let more = config(client(third, 501), 1);
    assert!(channels.open_answer(more, 0).is_some());
    assert_eq!(channels.count(), 257);
}

#[test]
fn where_every_place_is_taken_a_channel_that_leads_to_nobody_gives_way() {
    let mut channels = EgressChannels::new(1, 1);
    let capacity = 1 + CLOSED_SESSIONS_MAX + CONNECT_ANSWERS_MAX;
    let open = |channels: &mut EgressChannels, number: usize| {
        let config = config(client(number as u8, number as u16), 1);
        channels.open_for(SessionId::new(number as i64), config, 0)
    };
    let slots: Vec<Slot> = (0..capacity)
        .map(|number| open(&mut channels, number).unwrap())
        .collect();
    assert_eq!(open(&mut channels, capacity), None);
    channels.close(slots[3]);
    channels.close(slots[4]);
    channels.abandon(slots[9]);
    for (round, gone) in [9, 3, 4].into_iter().enumerate() {
        assert!(open(&mut channels, capacity + round).is_some());
        let is_gone = |index: &usize| channels.get(slots[*index]).is_none();
        assert!(is_gone(&gone));
        assert_eq!((0..capacity).filter(is_gone).count(), round + 1);
    }
    assert_eq!(open(&mut channels, capacity + 3), None);
}

#[test]
fn a_cycle_visits_so_many_channels_and_says_that_others_wait() {
    let mut node = Node::new(300);
    for number in 0..300_u16 {
        let config = config(client(number as u8, number), 1);
        node.channels
            .open_for(SessionId::new(i64::from(number)), config, 0);
    }
    let visits = node.channels.visits();
    assert_eq!(
        node.work(0).0,
        256 + 1,
        "a SETUP each, and word of the others"
    );
    assert!(node.channels.visits() > visits);
    assert_eq!(node.channels.next_deadline(), Some(0));
    assert_eq!(node.work(0).0, 44);
    assert!(node.channels.next_deadline() > Some(0));
    assert_eq!(node.work(0).0, 0);
    // Their moments come at once, too: 256 of them in one cycle.
    let due = node.channels.next_deadline().unwrap();
    assert_eq!(node.work(due).0, 256);
    assert_eq!(node.work(due).0, 44);
}

#[test]
fn a_channel_that_has_more_to_send_than_one_visit_allows_goes_on_in_the_next_cycle() {
    let mut node = Node::new(4);
    let term_length = 1 << 18;
    let long = PublicationConfig {
        term_length,
        ..config(client(9, 7), 1)
    };
    let slot = node.channels.open_for(SESSION, long, 0).unwrap();
    node.channels.queue_event(slot, b"ok");
    let geometry = Geometry::new(3, term_length).unwrap();
    let room = StatusMessage::new(1, STREAM, 1, (geometry, 0), term_length / 2);
    let heard = Packet::StatusMessage(room);
    assert_eq!(node.channels.on_packet(0, client(9, 7), 1, &heard), Ok(()));
    node.work(0);
    let mut answer = || node.channels.answer(slot, 0, SESSION, &[&[0; 1300]]);
    assert!(
        (0..1000).any(|_| !answer()),
        "more than its client has room for"
    );
    for _ in 0..3 {
        assert_eq!(node.work(0).0, DATAGRAMS_PER_VISIT);
        assert_eq!(node.channels.next_deadline(), Some(0));
    }
    assert!((1..DATAGRAMS_PER_VISIT).contains(&node.work(0).0));
    assert_ne!(
        node.channels.next_deadline(),
        Some(0),
        "its client has no more room"
    );
}

#[test]
fn streams_of_any_client_and_session_have_hashes_of_their_own() {
    let all = (0..100).flat_map(|address| (-50..50).map(move |session| (address, session)));
    let hashes = all.map(|(address, session)| stream_hash(mix(address), session));
    let hashes: std::collections::BTreeSet<u64> = hashes.collect();
    assert_eq!(hashes.len(), 10_000, "else strangers make searches long");
}
