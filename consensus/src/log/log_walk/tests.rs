//! What joins the log, and which frames contradict it.

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_transport::log_buffer::ExclusiveAppender;
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::position::Geometry;

use super::*;
use crate::log::entry_body::NewLeadershipTerm;
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::ClusterConfig;

const TERM_LENGTH: usize = 1 << 16;
const MTU: usize = 1408;

fn formation() -> FormationRecord {
    FormationRecord {
        cluster: 5,
        members: 3,
        ..FormationRecord::default()
    }
}

fn first_entry(term: LeadershipTermId) -> NewLeadershipTerm {
    NewLeadershipTerm {
        term,
        leader: 1,
        id: 9,
        formation: formation(),
        limits: ClusterLimits::of(&ClusterConfig::default()),
    }
}

/// A log as some leader might write it.
struct Written {
    log: LogBuffer,
    end: Position,
    chain: Chain,
    tail_term: Option<TermBase>,
}

impl Written {
    fn new() -> Self {
        let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
        Self {
            log: LogBuffer::allocate(geometry, MTU).unwrap(),
            end: 0,
            chain: Chain::new(),
            tail_term: None,
        }
    }

    /// Appends an entry with a frame of this leadership term; returns where it begins.
    fn append(&mut self, term: u32, header: EntryHeader, body: &[u8]) -> Position {
        let (geometry, start) = (self.log.geometry(), self.end);
        let mut appender = ExclusiveAppender::new(geometry, 1, LOG_STREAM_ID, MTU, start);
        let parts: [&[u8]; 2] = [&header.encode(), body];
        let limit = Position::MAX;
        appender.offer(&mut self.log, limit, &parts, &mut FrameSeal::new(term));
        self.end = appender.position();
        start
    }

    /// Appends the first entry of a term.
    fn begin(&mut self, entry: &NewLeadershipTerm) -> Position {
        let header = EntryHeader::of_kind(EntryKind::NewLeadershipTerm);
        self.append(entry.term.get() as u32, header, &entry.encode())
    }

    /// Appends a request of `length` bytes, at this log time, of a leader that has committed so
    /// much.
    fn request(
        &mut self,
        term: u32,
        (log_time, commit): (i64, Position),
        length: usize,
    ) -> Position {
        let header = EntryHeader {
            log_time,
            leader_commit: commit,
            ..EntryHeader::of_kind(EntryKind::Request)
        };
        self.append(term, header, &vec![7; length])
    }

    /// Walks up to `to`.
    fn walk(&mut self, to: Position, expected: Expected<'_>) -> Walked {
        let mut walked = Walked::new();
        let (chain, tail_term) = (&mut self.chain, &mut self.tail_term);
        walk(&self.log, chain, tail_term, to, expected, &mut walked);
        walked
    }
}

const fn commit(term: LeadershipTermId, position: Position) -> Event {
    Event::LeaderCommit { term, position }
}

#[test]
fn what_an_own_log_says_is_told_once_in_order() {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    let end = written.end;
    let first = written.request(2, (40, 0), 100);
    written.request(2, (50, first), 100);
    let walked = written.walk(written.end, Expected::Own);
    let term_entry = Event::TermEntry {
        term: LeadershipTermId::new(2),
        base: 0,
        end,
    };
    assert_eq!(
        walked.events,
        [term_entry, commit(LeadershipTermId::new(2), first)]
    );
    assert_eq!((walked.log_time, walked.refused), (Some(50), None));
    assert_eq!(
        written.tail_term,
        Some(TermBase {
            term: LeadershipTermId::new(2),
            base: 0
        })
    );
    assert_eq!(written.chain.position(), written.end);
    let walked = written.walk(written.end, Expected::Own);
    assert_eq!((walked.events, walked.log_time), (vec![], None), "once");
}

#[test]
fn a_message_of_several_frames_is_walked_frame_by_frame_and_says_its_time_once() {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    let start = written.request(2, (40, 0), 3_000);
    written.walk(start + MTU as Position, Expected::Own);
    assert_eq!(written.chain.position(), start + MTU as Position);
    let walked = written.walk(written.end, Expected::Own);
    assert_eq!(
        (walked.log_time, walked.refused, walked.events.len()),
        (None, None, 0)
    );
    assert_eq!(written.chain.position(), written.end);
}

#[test]
fn one_walk_yields_so_many_events_and_the_next_one_goes_on() {
    let mut written = Written::new();
    for term in 1..=20 {
        written.begin(&first_entry(LeadershipTermId::new(term)));
    }
    let mut terms = 0;
    for events in [WALK_EVENTS_MAX, 20 - WALK_EVENTS_MAX + 2] {
        let walked = written.walk(written.end, Expected::Own);
        assert_eq!((walked.events.len(), walked.refused), (events, None));
        terms += events - 1;
    }
    assert_eq!((terms, written.chain.position()), (20, written.end));
}

/// A frame after the first entry of term 2 is refused, with what the leader of term 3 lists.
fn expect_refused(terms: &[TermBase], append: impl FnOnce(&mut Written) -> Position) {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    let refused = append(&mut written);
    let formation = formation();
    let expected = Expected::Leader {
        terms,
        formation: &formation,
    };
    let walked = written.walk(written.end, expected);
    assert_eq!(walked.refused, Some(refused));
    assert_eq!(written.chain.position(), refused, "nothing of it is taken");
}

const SECOND: [TermBase; 1] = [TermBase {
    term: LeadershipTermId::new(2),
    base: 0,
}];

/// The list of a leader whose term begins here.
const fn third(base: Position) -> [TermBase; 2] {
    [
        TermBase {
            term: LeadershipTermId::new(2),
            base: 0,
        },
        TermBase {
            term: LeadershipTermId::new(3),
            base,
        },
    ]
}

/// Where the first entry of the first term ends.
fn end_of_first() -> Position {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    written.end
}

#[test]
fn a_frame_of_another_term_than_the_leader_lists_is_refused() {
    let base = end_of_first();
    expect_refused(&SECOND, |written| written.request(1, (0, 0), 10));
    expect_refused(&SECOND, |written| {
        written.begin(&first_entry(LeadershipTermId::new(3)))
    });
    expect_refused(&third(base), |written| written.request(2, (0, 0), 10));
    // The later term begins within the frame.
    expect_refused(&third(base + 32), |written| written.request(2, (0, 0), 100));
}

#[test]
fn a_term_begins_with_its_own_entry_once_and_with_nothing_else() {
    let base = end_of_first();
    expect_refused(&third(base), |written| written.request(3, (0, 0), 10));
    expect_refused(&SECOND, |written| {
        written.begin(&first_entry(LeadershipTermId::new(2)))
    });
    // It says another term than its frame, or is of another cluster.
    let entry = first_entry(LeadershipTermId::new(4)).encode();
    let header = EntryHeader::of_kind(EntryKind::NewLeadershipTerm);
    expect_refused(&third(base), |written| written.append(3, header, &entry));
    let mut other = first_entry(LeadershipTermId::new(3));
    other.formation.cluster = 6;
    expect_refused(&third(base), |written| written.begin(&other));
    expect_refused(&third(base), |written| {
        written.append(3, header, &entry[..20])
    });
}

#[test]
fn an_entry_that_says_more_is_committed_than_was_written_or_less_than_nothing_is_refused() {
    let base = end_of_first();
    expect_refused(&SECOND, |written| written.request(2, (0, base + 1), 10));
    expect_refused(&SECOND, |written| written.request(2, (0, -1), 10));
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    written.request(2, (0, base), 10);
    let walked = written.walk(written.end, Expected::Own);
    assert_eq!(
        (walked.refused, walked.events.last()),
        (None, Some(&commit(LeadershipTermId::new(2), base)))
    );
}

#[test]
fn a_frame_that_reaches_above_what_is_there_is_refused() {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    let start = written.request(2, (0, 0), 100);
    let walked = written.walk(written.end - 32, Expected::Own);
    assert_eq!(walked.refused, Some(start));
    let walked = written.walk(written.end, Expected::Own);
    assert_eq!(
        (walked.refused, written.chain.position()),
        (None, written.end)
    );
}

#[test]
fn a_first_entry_that_follows_a_pad_belongs_to_it_and_is_waited_for() {
    let mut written = Written::new();
    written.begin(&first_entry(LeadershipTermId::new(2)));
    // Up to 64 bytes below the end of the log's term.
    while written.end < TERM_LENGTH as Position - 64 {
        let left = TERM_LENGTH as Position - 64 - written.end;
        written.request(2, (0, 0), (left.min(1024) - 80) as usize);
    }
    let base = written.end;
    assert_eq!(base, TERM_LENGTH as Position - 64);
    written.walk(base, Expected::Own);
    written.begin(&first_entry(LeadershipTermId::new(3)));
    let pad_end = TERM_LENGTH as Position;
    let terms = third(base);
    let formation = formation();
    let expected = Expected::Leader {
        terms: &terms,
        formation: &formation,
    };
    let walked = written.walk(pad_end, expected);
    assert_eq!((walked.refused, walked.events.len()), (None, 0));
    assert_eq!(
        written.chain.position(),
        base,
        "a PAD alone says nothing of a term"
    );
    assert_eq!(written.tail_term, Some(SECOND[0]));
    let walked = written.walk(written.end, expected);
    let term_entry = Event::TermEntry {
        term: LeadershipTermId::new(3),
        base,
        end: written.end,
    };
    assert_eq!(
        walked.events,
        [term_entry, commit(LeadershipTermId::new(3), 0)]
    );
    assert_eq!(written.tail_term, Some(terms[1]));
}
