//! Whose responses are sent, queued or left to a scan, and which closed sessions are waited for.

use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Packet, StatusMessage};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::stream::PublicationConfig;
use lockstep_transport::trace::Tracer;

use super::*;
use crate::log::entry_body::{CloseReason, SessionOpen};
use crate::session::session_table::Session;

const STREAM: i32 = 2;
const SESSION: SessionId = SessionId::new(7);

fn client(port: u16) -> core::net::SocketAddr {
    ([10, 0, 1, 9], port).into()
}

fn session(id: i64) -> Session {
    Session {
        id: SessionId::new(id),
        nonce: 0,
        principal_hash: 0,
        response_address: client(7),
        response_stream_id: STREAM,
        connect_epoch: 1,
        incarnation: 0,
        open_position: 0,
        applied_number: RequestNumber::NONE,
        acknowledged: 0,
        answered: 0,
        owed_since: 0,
        timeout_ns: 0,
    }
}

fn closed(id: i64) -> ClosedSession {
    ClosedSession {
        session: session(id),
        reason: CloseReason::Timeout,
    }
}

/// A closed session that has an answer in the log at 320.
fn closed_owed(id: SessionId) -> ClosedSession {
    let mut closed = closed(id.get());
    (closed.session.owed_since, closed.session.answered) = (320, 320);
    closed
}

struct Leader {
    egress: ResponseEgress,
    channels: EgressChannels,
    tracer: Tracer,
    port: SimPort,
}

impl Leader {
    fn new(is_direct: bool) -> Self {
        let reader = LogReader::new(Geometry::new(0, 1 << 16).unwrap(), 0).unwrap();
        let network = SimNetwork::new(1, LinkProfile::default());
        let mut egress = ResponseEgress::new(100, reader, 512, is_direct);
        egress.open(LeadershipTermId::new(3), &VoidResponses::default());
        Self {
            egress,
            channels: EgressChannels::new(100, 1),
            tracer: Tracer::disabled(),
            port: network.port(([10, 0, 0, 1], 1).into()),
        }
    }

    /// A channel of the session whose client has been told so, and has room for 32 KiB.
    fn channel(&mut self, id: SessionId) -> Slot {
        let address = client(id.get() as u16);
        let config = PublicationConfig {
            session_id: id.get() as i32,
            stream_id: STREAM,
            initial_term_id: 3,
            term_length: 1 << 16,
            mtu: 1408,
            destination: address,
        };
        let channels = &mut self.channels;
        let slot = channels.open_for(id, config, 0).unwrap();
        channels.queue_event(slot, b"ok");
        let place = (Geometry::new(3, 1 << 16).unwrap(), 0);
        let heard = StatusMessage::new(id.get() as i32, STREAM, 1, place, 32 * 1024);
        let heard = Packet::StatusMessage(heard);
        channels
            .on_packet(0, address, id.get() as i32, &heard)
            .unwrap();
        channels.do_work(0, &mut self.port, &mut |_, _, _| ());
        slot
    }

    /// A response of the session at `position` is applied.
    fn apply(&mut self, id: SessionId, position: Position) {
        let entry = Entry {
            position,
            end: position + 64,
            header: EntryHeader {
                session: id,
                ..EntryHeader::of_kind(EntryKind::Response)
            },
            body: &[0; 400],
        };
        let mut context = EgressContext {
            now: 0,
            channels: &mut self.channels,
            tracer: &mut self.tracer,
        };
        self.egress
            .on_response(&mut context, &entry, RequestNumber::FIRST);
    }

    /// A direct effect for the session.
    fn effect(&mut self, id: SessionId) {
        let effect = DirectEffect {
            session: id,
            cause: 64,
            ordinal: 0,
            number: RequestNumber::FIRST,
            log_time: 5,
            payload: &[0; 400],
            is_failure: false,
        };
        let mut context = EgressContext {
            now: 0,
            channels: &mut self.channels,
            tracer: &mut self.tracer,
        };
        self.egress
            .on_direct_effect(&mut context, &effect, RequestNumber::FIRST);
    }

    /// Looks at those for which the log would be read from below `log_start` on. Returns how many
    /// those were, and the closed sessions that were told so.
    fn look_at_outlived(&mut self, log_start: Position, table: &SessionTable) -> (usize, Vec<i64>) {
        let mut context = EgressContext {
            now: 0,
            channels: &mut self.channels,
            tracer: &mut self.tracer,
        };
        let mut told = Vec::new();
        let mut on_told = |_: &mut EgressChannels, _, closed: &ClosedSession| {
            told.push(closed.session.id.get());
        };
        let looked_at = self
            .egress
            .look_at_outlived(&mut context, log_start, table, &mut on_told);
        (looked_at, told)
    }

    fn is_abandoned(&self, slot: Slot) -> bool {
        let channel = self.channels.get(slot);
        channel.is_none_or(|channel| channel.is_closing())
    }

    fn is_up_to_date(&self, id: SessionId) -> bool {
        self.egress.bound(id).unwrap().is_up_to_date
    }

    /// Responses from `first` on are applied until one finds no room: that one's position.
    fn fill(&mut self, id: SessionId, first: Position) -> Position {
        let mut positions = (first..).step_by(64).take(1000);
        let is_queued = |position: &Position| {
            self.apply(id, *position);
            !self.is_up_to_date(id)
        };
        positions
            .find(is_queued)
            .expect("a client has room for 32 KiB")
    }
}

#[test]
fn a_new_session_is_sent_its_responses_at_once_and_in_order_of_the_log_when_there_is_no_room() {
    let mut leader = Leader::new(false);
    let slot = leader.channel(SESSION);
    leader.egress.bind_new(SESSION, slot, 64);
    assert_eq!(
        (leader.egress.channel(SESSION), leader.egress.count()),
        (Some(slot), 1)
    );
    leader.apply(SESSION, 128);
    leader.apply(SESSION.next(), 192);
    let index = leader.egress.rows.find(SESSION).unwrap();
    assert!(leader.is_up_to_date(SESSION));
    assert_eq!(leader.egress.rows.at(index).unwrap().after, 128);
    let queued = leader.fill(SESSION, 256);
    assert!(queued > 256 + 40 * 64, "{queued}");
    assert_eq!(leader.egress.rows.queued(index), Some(queued));
    // Room for it would not be used: what is queued goes first.
    leader.apply(SESSION, queued + 64);
    leader.egress.rows.pop_queued(index);
    assert_eq!(leader.egress.rows.queued(index), Some(queued + 64));
}

#[test]
fn a_session_that_comes_back_lags_unless_responses_are_not_in_the_log() {
    for is_direct in [false, true] {
        let mut leader = Leader::new(is_direct);
        let slot = leader.channel(SESSION);
        leader.egress.bind(SESSION, slot, 64, 128);
        assert_eq!(leader.is_up_to_date(SESSION), is_direct);
        let index = leader.egress.rows.find(SESSION).unwrap();
        let row = *leader.egress.rows.at(index).unwrap();
        assert_eq!(
            (row.lags_from, row.after),
            ((!is_direct).then_some(64), 128)
        );
        leader.apply(SESSION, 256);
        let after = leader.egress.rows.at(index).unwrap().after;
        assert_eq!(
            after,
            if is_direct { 256 } else { 128 },
            "the scan brings it"
        );
    }
}

#[test]
fn a_session_has_one_row_whose_channel_is_its_newest_until_it_is_unbound() {
    let mut leader = Leader::new(false);
    let (first, second) = (leader.channel(SESSION), leader.channel(SESSION));
    leader.egress.bind_new(SESSION, first, 64);
    leader.egress.bind_new(SESSION, second, 64);
    assert_eq!(
        (leader.egress.channel(SESSION), leader.egress.count()),
        (Some(second), 1)
    );
    // The end of the first is no news of the session.
    leader
        .egress
        .on_channel_news(SESSION, first, ChannelChange::Ended);
    leader
        .egress
        .on_channel_news(SESSION.next(), second, ChannelChange::Ended);
    assert_eq!(leader.egress.count(), 1);
    assert_eq!(leader.egress.unbind(SESSION.next()), None);
    leader
        .egress
        .on_channel_news(SESSION, second, ChannelChange::Ended);
    assert_eq!(
        (leader.egress.channel(SESSION), leader.egress.count()),
        (None, 0)
    );
    leader.egress.bind_new(SESSION, second, 64);
    assert_eq!(leader.egress.unbind(SESSION), Some(second));
    assert_eq!(
        (leader.egress.count(), leader.egress.bound(SESSION)),
        (0, None)
    );
}

#[test]
fn a_session_is_bound_to_the_address_of_its_channel_and_to_no_other() {
    let mut leader = Leader::new(false);
    let slot = leader.channel(SESSION);
    let is_bound_to = |leader: &Leader, session, port| {
        let Leader {
            egress, channels, ..
        } = leader;
        egress.is_bound_to(channels, session, client(port))
    };
    let port = SESSION.get() as u16;
    assert!(!is_bound_to(&leader, SESSION, port), "it has no row");
    leader.egress.bind_new(SESSION, slot, 64);
    assert!(is_bound_to(&leader, SESSION, port));
    assert!(!is_bound_to(&leader, SESSION, port + 1));
    assert!(!is_bound_to(&leader, SESSION.next(), port));
    leader.egress.unbind(SESSION);
    assert!(!is_bound_to(&leader, SESSION, port));
}

#[test]
fn only_a_session_that_lags_or_has_responses_queued_cares_that_its_channel_is_live() {
    let mut leader = Leader::new(false);
    let slots = [5, 6, 7].map(|id| leader.channel(SessionId::new(id)));
    leader.egress.bind_new(SessionId::new(5), slots[0], 64);
    leader.egress.bind(SessionId::new(6), slots[1], 64, 64);
    leader.egress.bind_new(SessionId::new(7), slots[2], 64);
    leader.fill(SessionId::new(7), 128);
    for (id, slot, ready) in [(5, slots[0], 0), (6, slots[1], 1), (7, slots[2], 2)] {
        leader
            .egress
            .on_channel_news(SessionId::new(id), slot, ChannelChange::Live);
        assert_eq!(leader.egress.rows.ready(), ready, "{id}");
    }
    leader.egress.clear();
    assert_eq!((leader.egress.count(), leader.egress.rows.ready()), (0, 0));
}

#[test]
fn sixty_four_closed_sessions_are_delivered_to_and_the_oldest_gives_way_to_one_more() {
    let mut leader = Leader::new(false);
    let closed_max = CLOSED_SESSIONS_MAX as i64;
    let slots: Vec<Slot> = (0..=closed_max)
        .map(|id| leader.channel(SessionId::new(id)))
        .collect();
    let close = |leader: &mut Leader, id| {
        let channels = &mut leader.channels;
        leader.egress.close(channels, closed(id))
    };
    assert_eq!(close(&mut leader, 0), None, "it has no row");
    leader.egress.bind_new(SessionId::NONE, slots[0], 64);
    assert_eq!(close(&mut leader, 0), Some(slots[0]), "it lacks nothing");
    assert_eq!(leader.egress.count(), 0);
    for id in 0..closed_max {
        leader
            .egress
            .bind(SessionId::new(id), slots[id as usize], 64, 64);
        assert_eq!(close(&mut leader, id), None, "{id}");
    }
    let is_abandoned = |leader: &Leader, id: usize| {
        let channel = leader.channels.get(slots[id]);
        channel.is_none_or(|channel| channel.is_closing())
    };
    assert!(!is_abandoned(&leader, 0));
    leader.egress.bind(
        SessionId::new(closed_max),
        slots[closed_max as usize],
        64,
        64,
    );
    assert_eq!(leader.egress.count(), CLOSED_SESSIONS_MAX + 1);
    assert_eq!(close(&mut leader, closed_max), None);
    assert_eq!(
        (
            leader.egress.count(),
            leader.egress.channel(SessionId::NONE)
        ),
        (CLOSED_SESSIONS_MAX, None)
    );
    assert!(is_abandoned(&leader, 0) && !is_abandoned(&leader, 1));
}

#[test]
fn a_direct_effect_leaves_now_or_is_dropped_and_counted() {
    let mut leader = Leader::new(true);
    let slot = leader.channel(SESSION);
    leader.egress.bind_new(SESSION, slot, 64);
    leader.effect(SESSION.next());
    leader.effect(SESSION);
    assert_eq!(leader.egress.dropped(), 0);
    for _ in 0..200 {
        leader.effect(SESSION);
    }
    let dropped = leader.egress.dropped();
    assert!((100..200).contains(&dropped), "{dropped} of 200");
    leader.effect(SESSION);
    assert_eq!(leader.egress.dropped(), dropped + 1);
}

/// Sessions from 1 to `count`, each of which waits for a pass over the log from 64 on.
fn waiting(count: i64) -> (Leader, Vec<Slot>, SessionTable) {
    let (mut leader, mut table) = (Leader::new(false), SessionTable::new(count as usize));
    let mut slots = Vec::new();
    for id in 1..=count {
        table.apply_open(&SessionOpen::of_client(id as u64), 64);
        let slot = leader.channel(SessionId::new(id));
        leader.egress.bind(SessionId::new(id), slot, 64, 64);
        let index = leader.egress.rows.find(SessionId::new(id)).unwrap();
        leader.egress.rows.await_scan(index, None);
        slots.push(slot);
    }
    (leader, slots, table)
}

#[test]
fn where_log_has_gone_only_who_may_lack_an_answer_in_it_is_given_up_whether_a_pass_was_on_or_not() {
    for is_passing in [false, true] {
        let (mut leader, slots, mut table) = waiting(4);
        let [gone, there, nothing, last] = [1, 2, 3, 4].map(SessionId::new);
        table.apply_response(gone, 320);
        table.apply_response(there, 6400);
        leader.egress.close(&mut leader.channels, closed_owed(last));
        table.apply_close(last);
        if is_passing {
            let from = leader.egress.rows.begin_pass().unwrap();
            leader.egress.scanner.is_passing = true;
            leader.egress.scanner.cursor.move_to_frame(from);
        }
        let (looked_at, told) = leader.look_at_outlived(6400, &table);
        assert_eq!((looked_at, told), (4, vec![last.get()]));
        assert!(!leader.egress.scanner.is_passing);
        let is_left = [gone, there, nothing, last].map(|id| leader.egress.bound(id).is_some());
        assert_eq!(is_left, [false, true, true, false]);
        let is_abandoned = [0, 1, 2, 3].map(|index: usize| leader.is_abandoned(slots[index]));
        assert_eq!(is_abandoned, [true, false, false, false]);
        assert_eq!(leader.egress.rows.begin_pass(), Some(6400));
    }
}

#[test]
fn of_more_than_are_looked_at_in_a_cycle_whose_log_has_gone_the_rest_has_the_next_one() {
    let count = ROWS_PER_CYCLE as i64 + 3;
    let (mut leader, slots, mut table) = waiting(count);
    for id in 1..=count {
        table.apply_response(SessionId::new(id), 320);
    }
    for left in [3, 0] {
        leader.look_at_outlived(6400, &table);
        let abandoned = slots.iter().filter(|slot| leader.is_abandoned(**slot));
        assert_eq!(abandoned.count() + left, slots.len());
        assert_eq!(leader.egress.count(), left);
    }
}
