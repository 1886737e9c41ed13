//! Who serves a snapshot gives everybody what was asked for, in turn, so much per cycle and no
//! more, forgets who is silent, and refuses or ignores what makes no sense. Neither side allocates.
#![cfg(feature = "sim")]

mod ferry;

use ferry::{CHUNK, GOOD, MEMBERS, MTU, Server, World, config, content, id};
use lockstep_archive::disk::{Busy, Completion, Disk, DiskOp, FileId};
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::protocol::snapshot_message::{
    CHUNKS_PER_REQUEST_MAX, SnapshotChunk, SnapshotId, SnapshotRefusal, SnapshotRequest,
};
use lockstep_consensus::snapshot::transfer::fetch::{FetchState, SnapshotFetch};
use lockstep_consensus::snapshot::transfer::serve::{
    DATAGRAMS_PER_CYCLE, FORGOTTEN_NS, RequestOutcome, Served, ServedSnapshot,
};
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LENGTH: usize = 400_000;

/// A member that serves, and what it has sent to whom.
struct Stand {
    now: Nanos,
    server: Server,
    content: Vec<u8>,
    sent: Vec<(MemberId, SnapshotChunk)>,
    refused: Vec<(MemberId, SnapshotRefusal)>,
    /// Datagrams that the port takes per cycle.
    room: usize,
}

impl Stand {
    fn new() -> Self {
        let content = content(LENGTH);
        Self {
            now: SECOND,
            server: Server::new(1, &content),
            content,
            sent: Vec::new(),
            refused: Vec::new(),
            room: usize::MAX,
        }
    }

    fn request(&self, offset: u64, chunks: u32) -> SnapshotRequest {
        SnapshotRequest {
            id: id(&self.content),
            offset,
            chunk_length: CHUNK as u32,
            chunks,
        }
    }

    fn ask(&mut self, from: MemberId, request: SnapshotRequest) -> RequestOutcome {
        self.server.serve.on_request(self.now, from, &request)
    }

    /// One cycle. Returns how many datagrams left.
    fn cycle(&mut self) -> usize {
        let before = self.sent.len() + self.refused.len();
        let Server { disk, serve, .. } = &mut self.server;
        while let Some(completion) = disk.poll_completion(self.now) {
            assert!(serve.on_completion(&completion));
        }
        let mut room = self.room;
        let (sent, refused, content) = (&mut self.sent, &mut self.refused, &self.content);
        serve.do_work(self.now, disk, |to, served| {
            if room == 0 {
                return false;
            }
            room -= 1;
            match served {
                Served::Chunk(chunk, bytes) => {
                    let start = chunk.offset as usize;
                    assert_eq!(bytes, &content[start..start + chunk.length as usize]);
                    sent.push((to, chunk));
                }
                Served::Refused(_, refusal) => refused.push((to, refusal)),
            }
            true
        });
        self.now += 100 * MICROSECOND;
        self.sent.len() + self.refused.len() - before
    }

    fn cycles(&mut self, count: usize) {
        for _ in 0..count {
            self.cycle();
        }
    }

    fn sent_to(&self, member: MemberId) -> Vec<u64> {
        let of_member = self.sent.iter().filter(|(to, _)| *to == member);
        of_member.map(|(_, chunk)| chunk.offset).collect()
    }
}

#[test]
fn two_who_ask_are_served_in_turn_and_so_much_per_cycle() {
    let mut stand = Stand::new();
    for member in 1..MEMBERS as MemberId {
        assert_eq!(
            stand.ask(member, stand.request(0, CHUNKS_PER_REQUEST_MAX)),
            RequestOutcome::Taken
        );
    }
    let mut is_full = false;
    for _ in 0..30 {
        let sent = stand.cycle();
        is_full |= sent == DATAGRAMS_PER_CYCLE;
        assert!(sent <= DATAGRAMS_PER_CYCLE);
        let apart = stand.sent_to(1).len().abs_diff(stand.sent_to(2).len());
        assert!(
            apart <= 2 * DATAGRAMS_PER_CYCLE,
            "one runs ahead by {apart}"
        );
    }
    assert!(is_full, "a cycle is used while both have enough");
    let expected: Vec<u64> = (0..64).map(|chunk| chunk * CHUNK as u64).collect();
    assert_eq!(stand.sent_to(1), expected);
    assert_eq!(stand.sent_to(2), expected);
}

#[test]
fn what_waits_already_is_not_sent_twice_and_too_much_is_dropped() {
    let mut stand = Stand::new();
    stand.ask(1, stand.request(0, 8));
    for offset in [0, 1, 7] {
        let again = stand.request(offset * CHUNK as u64, 1);
        assert_eq!(stand.ask(1, again), RequestOutcome::Taken);
    }
    stand.cycles(20);
    assert_eq!(stand.sent_to(1).len(), 8);
    let outcomes = (0..40).map(|chunk| stand.ask(1, stand.request(chunk * 2 * CHUNK as u64, 1)));
    let dropped = outcomes.filter(|outcome| *outcome == RequestOutcome::Dropped);
    assert_eq!(dropped.count(), 8, "32 may wait");
    stand.cycles(100);
    assert_eq!(stand.sent_to(1).len(), 8 + 32);
}

#[test]
fn a_port_that_is_full_costs_no_chunk() {
    let mut stand = Stand::new();
    stand.room = 3;
    stand.ask(1, stand.request(0, CHUNKS_PER_REQUEST_MAX));
    stand.cycles(200);
    let expected: Vec<u64> = (0..64).map(|chunk| chunk * CHUNK as u64).collect();
    assert_eq!(stand.sent_to(1), expected);
}

#[test]
fn the_last_chunk_is_as_short_as_the_snapshot_and_nothing_follows_it() {
    let mut stand = Stand::new();
    let offset = LENGTH - CHUNK - 5;
    stand.ask(1, stand.request(offset as u64, 64));
    stand.cycles(20);
    let lengths: Vec<u32> = stand.sent.iter().map(|(_, chunk)| chunk.length).collect();
    assert_eq!(lengths, [CHUNK as u32, 5]);
}

#[test]
fn whoever_is_silent_is_forgotten_and_found_again() {
    let mut stand = Stand::new();
    stand.room = 0;
    stand.ask(1, stand.request(0, CHUNKS_PER_REQUEST_MAX));
    stand.cycles(20);
    assert!(stand.server.serve.is_serving());
    stand.now += FORGOTTEN_NS;
    stand.cycles(2);
    assert!(!stand.server.serve.is_serving());
    assert_eq!(stand.server.serve.next_deadline(), None);
    stand.room = 100;
    stand.cycles(20);
    assert_eq!(stand.sent, []);
    stand.ask(1, stand.request(0, 3));
    stand.cycles(20);
    assert_eq!(stand.sent_to(1).len(), 3);
}

#[test]
fn requests_that_make_no_sense_are_refused_or_dropped() {
    let mut stand = Stand::new();
    let good = stand.request(0, 1);
    let other = |change: fn(&mut SnapshotId)| {
        let mut request = good;
        change(&mut request.id);
        request
    };
    let refused = RequestOutcome::Refused(SnapshotRefusal::NoSuchSnapshot);
    for request in [
        other(|id| id.hash += 1),
        other(|id| id.position += 32),
        other(|id| id.length += 1),
    ] {
        assert_eq!(stand.ask(1, request), refused);
    }
    let too_long = SnapshotRequest {
        chunk_length: CHUNK as u32 + 1,
        ..good
    };
    assert_eq!(stand.ask(1, too_long), RequestOutcome::Dropped);
    assert_eq!(
        stand.ask(MEMBERS as MemberId, good),
        RequestOutcome::Dropped
    );
    assert!(!stand.server.serve.is_serving());
    // Tiny chunks are as many datagrams as any.
    let tiny = SnapshotRequest {
        chunk_length: 1,
        chunks: 64,
        ..good
    };
    assert_eq!(stand.ask(1, tiny), RequestOutcome::Taken);
    stand.cycles(20);
    assert_eq!(stand.sent_to(1), (0..64).collect::<Vec<u64>>());
}

#[test]
fn a_snapshot_that_is_gone_or_unreadable_is_refused() {
    let mut stand = Stand::new();
    stand.ask(1, stand.request(0, CHUNKS_PER_REQUEST_MAX));
    stand.server.disk.fail_reads(1);
    stand.cycles(20);
    assert_eq!(stand.refused, [(1, SnapshotRefusal::Unreadable)]);
    stand.ask(1, stand.request(0, 2));
    stand.cycles(20);
    assert_eq!(stand.sent_to(1).len(), 2, "it is tried afresh");
    // Another file of the same snapshot is read from its beginning.
    let served = ServedSnapshot {
        id: id(&stand.content),
        file: FileId(1000),
    };
    stand.server.serve.set_snapshots([None, Some(served)]);
    assert!(!stand.server.serve.is_serving());
    stand.server.serve.set_snapshots([None, None]);
    let refused = RequestOutcome::Refused(SnapshotRefusal::NoSuchSnapshot);
    assert_eq!(stand.ask(1, stand.request(0, 2)), refused);
}

/// A disk whose allocations are not those of who uses it.
struct UncountedDisk<'a> {
    disk: &'a mut SimDisk,
    allocations: u64,
}

impl Disk for UncountedDisk<'_> {
    type Files = SimDisk;

    fn files(&mut self) -> &mut SimDisk {
        self.disk
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        let before = count_of_thread();
        let outcome = self.disk.submit(now, operation);
        self.allocations += count_of_thread() - before;
        outcome
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.disk.poll_completion(now)
    }
}

#[test]
fn neither_side_allocates_once_it_is_made() {
    let content = content(LENGTH);
    let mut server = Server::new(1, &content);
    let mut fetch = SnapshotFetch::new(config(1 << 40));
    let mut ways: Vec<(SnapshotChunk, [u8; MTU])> = Vec::with_capacity(DATAGRAMS_PER_CYCLE);
    let mut received = Vec::with_capacity(LENGTH);
    let mut random = Prng::new(1);
    let (mut now, mut allocations) = (SECOND, 0);
    fetch.begin(now, 1, id(&content), 0);
    while fetch.state() == FetchState::Fetching {
        let completion = server.disk.poll_completion(now);
        let before = count_of_thread();
        if let Some(completion) = &completion {
            assert!(server.serve.on_completion(completion));
        }
        while let Some(request) = fetch.poll_request(now) {
            server.serve.on_request(now, 0, &request);
        }
        let disk = &mut server.disk;
        let mut disk = UncountedDisk {
            disk,
            allocations: 0,
        };
        server.serve.do_work(now, &mut disk, |_, served| {
            let Served::Chunk(chunk, bytes) = served else {
                panic!("{served:?}");
            };
            // One of ten is lost.
            if random.chance(0.9) {
                let mut datagram = [0; MTU];
                datagram[..bytes.len()].copy_from_slice(bytes);
                ways.push((chunk, datagram));
            }
            true
        });
        for (chunk, bytes) in ways.drain(..) {
            fetch.on_chunk(now, 1, &chunk, &bytes[..chunk.length as usize]);
        }
        fetch.deliver(|bytes| {
            received.extend_from_slice(bytes);
            bytes.len()
        });
        allocations += count_of_thread() - before - disk.allocations;
        now += MILLISECOND;
    }
    assert!(received == content);
    assert!(fetch.counters().asked_again > 0);
    assert_eq!(allocations, 0);
}

#[test]
fn a_link_between_them_is_all_they_need() {
    let mut world = World::new(1, LENGTH, GOOD);
    world.begin(1, 0);
    world.run_to_the_end();
    assert!(world.server(1).serve.is_serving());
    assert!(!world.server(2).serve.is_serving());
}
