//! A snapshot arrives whole and in order, over links that lose, repeat and reorder, from members
//! that restart, refuse, or fall silent; nothing that was not asked for is taken.
#![cfg(feature = "sim")]

mod ferry;

use ferry::{BAD, CHUNK, GOOD, World, config, id};
use lockstep_archive::snapshot_file::reader::READ_AHEAD_LENGTH;
use lockstep_consensus::protocol::snapshot_message::{SnapshotChunk, SnapshotId, SnapshotRefusal};
use lockstep_consensus::snapshot::transfer::fetch::{
    ChunkOutcome, FetchState, SILENCE_NS, SnapshotFetch,
};
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// Lengths at which chunk, window or read ahead end together with the snapshot.
const LENGTHS: [usize; 8] = [
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    32 * CHUNK,
    32 * CHUNK + 5,
    128 * 1024,
    500_000,
];

#[test]
fn a_snapshot_arrives_whole_over_good_links_and_each_piece_once() {
    for (seed, length) in LENGTHS.into_iter().enumerate() {
        let mut world = World::new(seed as u64, length, GOOD);
        world.begin(1, 0);
        assert_eq!(world.fetch.state(), FetchState::Fetching);
        world.run_to_the_end();
        let counters = world.fetch.counters();
        assert_eq!(counters.chunks, length.div_ceil(CHUNK) as u64);
        let vain = counters.asked_again + counters.repeated + counters.unasked;
        assert_eq!(vain, 0, "{counters:?}");
        assert_eq!(world.sent_bytes, length as u64);
        assert!(world.fetch.next_deadline().is_none());
    }
}

#[test]
fn links_that_lose_repeat_and_reorder_only_cost_time() {
    let mut repeated = 0;
    for seed in 0..24 {
        let length = LENGTHS[seed as usize % LENGTHS.len()];
        let mut world = World::new(seed, length, BAD);
        world.begin(2, 0);
        world.run_to_the_end();
        let counters = world.fetch.counters();
        assert_eq!(counters.chunks, length.div_ceil(CHUNK) as u64);
        repeated += counters.repeated;
    }
    assert!(repeated > 0, "none came twice");
}

#[test]
fn a_sink_that_is_full_is_waited_for_without_asking_anybody_again() {
    let mut world = World::new(1, 300_000, GOOD);
    world.sink = 0;
    world.begin(1, 0);
    let (start, mut requests) = (world.now, 0);
    world.run(|world| {
        if world.now - start > SECOND && requests == 0 {
            requests = world.requests;
        }
        world.now - start > 3 * SILENCE_NS
    });
    assert_eq!(world.fetch.state(), FetchState::Fetching);
    assert_eq!(world.requests, requests, "a full window is asked for once");
    assert_eq!(world.sent_bytes, 32 * CHUNK as u64);
    world.sink = 100;
    world.run_to_the_end();
    assert_eq!(world.sent_bytes, 300_000);
}

#[test]
fn a_member_that_restarts_in_the_middle_is_asked_on_and_repeats_little() {
    for seed in 0..8 {
        let mut world = World::new(seed, 400_000, BAD);
        world.begin(1, 0);
        for part in 1..4 {
            world.run_to(part * 100_000);
            let content = world.content.clone();
            world.server(1).restart(&content);
            world.server(1).disk.kill(seed);
        }
        world.run_to_the_end();
        let counters = world.fetch.counters();
        assert_eq!(counters.chunks, 400_000_u64.div_ceil(CHUNK as u64));
    }
}

#[test]
fn another_member_goes_on_where_one_refuses_or_falls_silent() {
    for is_deaf in [false, true] {
        let mut world = World::new(3, 400_000, BAD);
        world.begin(1, 0);
        world.run_to(150_000);
        world.server(1).is_deaf = is_deaf;
        if is_deaf {
            world.run_into_silence();
        } else {
            world.server(1).serve.set_snapshots([None, None]);
            world.run(|_| false);
            let refusal = SnapshotRefusal::NoSuchSnapshot;
            assert_eq!(world.fetch.state(), FetchState::Refused(refusal));
        }
        assert!(world.fetch.poll_request(world.now).is_none());
        let chunks = world.fetch.counters().chunks;
        world.fetch.ask(world.now, 2);
        assert_eq!(world.fetch.from(), 2);
        world.run_to_the_end();
        // What was here was not fetched again.
        let counters = world.fetch.counters();
        assert_eq!(counters.chunks, 400_000_u64.div_ceil(CHUNK as u64));
        assert!(chunks > 0);
    }
}

#[test]
fn a_member_that_cannot_read_its_snapshot_says_so() {
    let mut world = World::new(3, 400_000, GOOD);
    world.begin(1, 0);
    world.run_to(100_000);
    world.server(1).disk.fail_reads(1);
    world.run(|_| false);
    let refusal = SnapshotRefusal::Unreadable;
    assert_eq!(world.fetch.state(), FetchState::Refused(refusal));
    world.fetch.ask(world.now, 1);
    world.run_to_the_end();
}

#[test]
fn whoever_starts_again_goes_on_from_any_byte() {
    for offset in [1, CHUNK, 777, 399_999] {
        let mut world = World::new(5, 400_000, BAD);
        world.begin(1, 0);
        if offset < 399_999 {
            world.run_to(offset);
        } else {
            world.received = world.content.clone();
        }
        // Another process, that knows what it has, and another member to ask.
        world.fetch = SnapshotFetch::new(config(1 << 40));
        world.begin(2, offset as u64);
        world.run_to_the_end();
        let chunks = (400_000 - offset).div_ceil(CHUNK) as u64;
        assert_eq!(world.fetch.counters().chunks, chunks);
    }
}

#[test]
fn no_more_is_asked_for_than_the_rate_allows_and_hardly_less() {
    for link in [GOOD, BAD] {
        let (rate, length) = (200_000, 1_000_000);
        let mut world = World::new(9, length, link);
        world.fetch = SnapshotFetch::new(config(rate));
        world.begin(1, 0);
        let start = world.now;
        let mut before = (0, start);
        world.run(|world| {
            if world.now - before.1 >= SECOND {
                let bytes = world.sent_bytes - before.0;
                // One run of chunks, and ten milliseconds, may be ahead.
                assert!(bytes <= rate + 16 * CHUNK as u64 + rate / 50, "{bytes}");
                before = (world.sent_bytes, world.now);
            }
            false
        });
        assert_eq!(world.fetch.state(), FetchState::Complete);
        let seconds = (world.now - start) as f64 / SECOND as f64;
        let needed = world.sent_bytes as f64 / rate as f64;
        assert!(
            seconds < needed * 1.6 + 0.5,
            "{seconds} s, {needed} s needed"
        );
    }
}

#[test]
fn a_slow_disk_is_waited_for_and_not_asked_again_and_again() {
    let mut world = World::new(9, 300_000, GOOD);
    world
        .server(1)
        .disk
        .set_latency(40 * MILLISECOND, 60 * MILLISECOND);
    world.begin(1, 0);
    world.run_to_the_end();
    // The window that waits for a read, once for each of them.
    let reads = 300_000_usize.div_ceil(READ_AHEAD_LENGTH - 4096) as u64;
    let counters = world.fetch.counters();
    assert!(counters.asked_again <= reads * 32, "{counters:?}");
}

/// Somebody fetches the snapshot from member 1, and has asked for the first chunks.
fn asking() -> (SnapshotFetch, SnapshotId, Nanos) {
    let id = id(&[0; 100_000]);
    let mut fetch = SnapshotFetch::new(config(1 << 40));
    fetch.begin(0, 1, id, 0);
    let request = fetch.poll_request(0).expect("chunks are lacking");
    assert_eq!((request.id, request.offset), (id, 0));
    assert_eq!(request.chunk_length as usize, CHUNK);
    (fetch, id, 10)
}

#[test]
fn a_chunk_that_was_not_asked_for_changes_nothing() {
    let (mut fetch, id, now) = asking();
    let bytes = vec![7; 2 * CHUNK];
    let other = |change: fn(&mut SnapshotId)| {
        let mut other = id;
        change(&mut other);
        (1, other, 0, CHUNK)
    };
    let all = [
        other(|id| id.hash += 1),
        other(|id| id.position += 32),
        other(|id| id.length += 1),
        // From somebody else; between two chunks; shorter and longer than it is; of a run that was
        // not asked for; far away; the last one, with more than there is.
        (2, id, 0, CHUNK),
        (1, id, 1, CHUNK),
        (1, id, 0, CHUNK - 1),
        (1, id, 0, CHUNK + 1),
        (1, id, 31 * CHUNK as u64, CHUNK),
        (1, id, 40 * CHUNK as u64, CHUNK),
        (1, id, u64::MAX - 3, CHUNK),
        (1, id, 80 * CHUNK as u64, CHUNK),
    ];
    for (from, id, offset, length) in all {
        let chunk = SnapshotChunk {
            id,
            offset,
            length: length as u32,
        };
        let outcome = fetch.on_chunk(now, from, &chunk, &bytes[..length]);
        assert_eq!(outcome, ChunkOutcome::Unasked, "{chunk:?} from {from}");
    }
    assert_eq!(fetch.counters().unasked, all.len() as u64);
    let mut delivered = 0;
    fetch.deliver(|bytes| {
        delivered += bytes.len();
        bytes.len()
    });
    assert_eq!(delivered, 0);
    // What was asked for is taken, once.
    let chunk = SnapshotChunk {
        id,
        offset: 0,
        length: CHUNK as u32,
    };
    for outcome in [ChunkOutcome::Taken, ChunkOutcome::Repeated] {
        assert_eq!(fetch.on_chunk(now, 1, &chunk, &bytes[..CHUNK]), outcome);
    }
    assert_eq!(fetch.deliver(<[u8]>::len), CHUNK);
    let late = fetch.on_chunk(now, 1, &chunk, &bytes[..CHUNK]);
    assert_eq!(late, ChunkOutcome::Repeated);
}

#[test]
fn only_who_is_asked_for_what_is_wanted_can_refuse() {
    let (mut fetch, id, _) = asking();
    let refusal = SnapshotRefusal::NoSuchSnapshot;
    let other = SnapshotId {
        position: 672,
        ..id
    };
    assert!(!fetch.on_refused(2, id, refusal));
    assert!(!fetch.on_refused(1, other, refusal));
    assert_eq!(fetch.state(), FetchState::Fetching);
    assert!(fetch.on_refused(1, id, refusal));
    assert_eq!(fetch.state(), FetchState::Refused(refusal));
    fetch.stop();
    assert_eq!(fetch.state(), FetchState::Idle);
    assert!(!fetch.on_refused(1, id, refusal));
    assert!(fetch.poll_request(SECOND).is_none());
}

#[test]
fn whoever_sleeps_until_something_is_due_misses_nothing() {
    let (mut fetch, _, _) = asking();
    let mut now = 0;
    let mut requests = 0;
    while fetch.state() == FetchState::Fetching {
        while fetch.poll_request(now).is_some() {
            requests += 1;
        }
        let Some(next) = fetch.next_deadline() else {
            break;
        };
        assert!(next > now, "something was due at {next}, and is not done");
        now = next;
    }
    assert_eq!(fetch.state(), FetchState::Silent);
    assert_eq!(now, SILENCE_NS);
    assert!(requests < 64, "{requests} in vain");
}
