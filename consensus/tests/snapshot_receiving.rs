//! A snapshot of another member is in a file here, whole, checked and durable, or is given up: from
//! members that restart, lie, refuse and die, onto disks that fail.
#![cfg(feature = "sim")]

use lockstep_archive::disk::{ColdFiles, Disk, DiskError, FileId};
use lockstep_archive::log::token::{OWNER_SNAPSHOT_WRITER, owner};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_archive::snapshot_file::writer::{SnapshotFileState, SnapshotFileWriter};
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::protocol::snapshot_message::{
    SnapshotId, SnapshotOffer, SnapshotRefusal, SnapshotStatus,
};
use lockstep_consensus::snapshot::transfer::fetch::FetchConfig;
use lockstep_consensus::snapshot::transfer::offers::{SnapshotOffers, Wanted};
use lockstep_consensus::snapshot::transfer::receiver::{
    LOST_NS, RECEIVED_RECORDING_ID, ReceiverState, ReceiverTrouble, SnapshotReceiver,
};
use lockstep_consensus::snapshot::transfer::serve::{
    RequestOutcome, Served, ServedSnapshot, SnapshotServe,
};
use lockstep_service::snapshot::SnapshotWriter;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};

const CHUNK: usize = 1248;
const OWN: MemberId = 0;

/// A snapshot, and what others say of it.
fn snapshot(position: i64) -> (Vec<u8>, SnapshotOffer) {
    let mut random = Prng::new(position as u64);
    let state: Vec<u8> = (0..540_000).map(|_| random.next_u64() as u8).collect();
    let mut writer = SnapshotWriter::new();
    writer.begin_section("state").expect("a name");
    writer.write(&state).expect("room");
    writer.end_section().expect("begun");
    let summary = writer.finish().expect("ended");
    let offer = SnapshotOffer {
        id: SnapshotId {
            position,
            length: summary.length,
            hash: summary.hash,
        },
        term: LeadershipTermId::new(3),
        is_copy: false,
    };
    (writer.pending().to_vec(), offer)
}

/// A member that serves a snapshot.
struct Server {
    disk: SimDisk,
    serve: SnapshotServe,
    file: FileId,
    offer: SnapshotOffer,
    is_up: bool,
}

impl Server {
    fn new(content: &[u8], offer: SnapshotOffer) -> Self {
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let length = content.len().next_multiple_of(4096) as u64;
        let file = disk.create("1-640.rec", length).expect("created");
        disk.write(file, 0, content).expect("written");
        let mut server = Self {
            disk,
            serve: SnapshotServe::new(3, CHUNK).expect("some memory"),
            file,
            offer,
            is_up: true,
        };
        server.set(true);
        server
    }

    /// Has its snapshot, or has it not.
    fn set(&mut self, has: bool) {
        let served = ServedSnapshot {
            id: self.offer.id,
            file: self.file,
        };
        self.serve.set_snapshots([has.then_some(served), None]);
    }
}

struct World {
    now: Nanos,
    disk: SimDisk,
    writer: SnapshotFileWriter,
    receiver: SnapshotReceiver,
    offers: SnapshotOffers,
    servers: [Server; 2],
    content: Vec<u8>,
    offer: SnapshotOffer,
    troubles: Vec<ReceiverTrouble>,
}

impl World {
    fn new() -> Self {
        let (content, offer) = snapshot(640);
        let config = FetchConfig {
            chunk_length: CHUNK,
            bytes_per_second: 10_000_000,
        };
        Self {
            now: SECOND,
            disk: SimDisk::new(SimDiskConfig::default()),
            writer: SnapshotFileWriter::new().expect("some memory"),
            receiver: SnapshotReceiver::new(config),
            offers: SnapshotOffers::default(),
            servers: [Server::new(&content, offer), Server::new(&content, offer)],
            content,
            offer,
            troubles: Vec::new(),
        }
    }

    fn begin(&mut self, floor: i64) -> bool {
        self.tell();
        let (receiver, writer) = (&mut self.receiver, &mut self.writer);
        receiver.begin(self.now, &Wanted::above(floor), &self.offers, writer)
    }

    /// Who is up says what it has, also where it lies about that.
    fn tell(&mut self) {
        for (index, server) in self.servers.iter().enumerate() {
            if server.is_up {
                let status = SnapshotStatus {
                    log_start: 640,
                    offers: [Some(server.offer), None],
                };
                self.offers.hear(self.now, index as MemberId + 1, status);
            }
        }
    }

    fn serve(&mut self) {
        let now = self.now;
        for (index, server) in self.servers.iter_mut().enumerate() {
            let member = index as MemberId + 1;
            while let Some(completion) = server.disk.poll_completion(now) {
                server.serve.on_completion(&completion);
            }
            if !server.is_up {
                continue;
            }
            let receiver = &mut self.receiver;
            server.serve.do_work(now, &mut server.disk, |_, served| {
                match served {
                    Served::Chunk(chunk, bytes) => {
                        receiver.on_chunk(now, member, &chunk, bytes);
                    }
                    Served::Refused(id, refusal) => {
                        receiver.on_refused(member, id, refusal);
                    }
                }
                true
            });
        }
    }

    fn cycle(&mut self) {
        self.tell();
        self.serve();
        let (receiver, writer) = (&mut self.receiver, &mut self.writer);
        receiver.do_work(self.now, &self.offers, writer);
        self.troubles.extend(receiver.take_trouble());
        while let Some((member, request)) = receiver.poll_request(self.now) {
            let server = &mut self.servers[usize::from(member) - 1];
            if !server.is_up {
                continue;
            }
            let outcome = server.serve.on_request(self.now, OWN, &request);
            if let RequestOutcome::Refused(refusal) = outcome {
                receiver.on_refused(member, request.id, refusal);
            }
        }
        writer.do_work(self.now, &mut self.disk);
        while let Some(completion) = self.disk.poll_completion(self.now) {
            assert_eq!(owner(completion.token), OWNER_SNAPSHOT_WRITER);
            assert!(writer.on_completion(&completion));
        }
        self.now += 100 * MICROSECOND;
    }

    fn received(&self) -> u64 {
        match self.receiver.state() {
            ReceiverState::Receiving { received, .. } => received,
            other => panic!("{other:?} after {:?}", self.troubles),
        }
    }

    fn run_to(&mut self, length: u64) {
        while self.received() < length {
            self.cycle();
        }
    }

    fn run(&mut self) {
        let end = self.now + 300 * SECOND;
        while matches!(self.receiver.state(), ReceiverState::Receiving { .. }) {
            self.cycle();
            assert!(self.now < end, "{:?}", self.troubles);
        }
    }

    fn expect_received(&mut self) {
        self.run();
        let state = self.receiver.state();
        assert_eq!(
            state,
            ReceiverState::Received(self.offer),
            "{:?}",
            self.troubles
        );
        self.disk.crash(7);
        self.disk.restart();
        let name = SnapshotReceiver::file_name(self.offer.id.position);
        assert_eq!(name.recording_id, RECEIVED_RECORDING_ID);
        let stored = self.disk.contents(&name.file_name()).expect("it is there");
        assert!(stored[..self.content.len()] == self.content);
    }

    fn expect_given_up(&mut self) {
        self.run();
        assert_eq!(self.receiver.state(), ReceiverState::Idle);
        for _ in 0..100 {
            self.cycle();
        }
        assert_eq!(self.writer.state(), SnapshotFileState::Idle);
        let name = SnapshotReceiver::file_name(self.offer.id.position);
        assert_eq!(self.disk.contents(&name.file_name()), None);
    }
}

#[test]
fn the_newest_snapshot_that_is_needed_is_received_and_durable() {
    let mut world = World::new();
    assert!(!world.begin(640), "nothing newer is there");
    assert_eq!(world.receiver.state(), ReceiverState::Idle);
    assert!(world.begin(608));
    assert!(!world.begin(608), "one at a time");
    world.expect_received();
    assert_eq!(world.troubles, []);
    let chunks = world.content.len().div_ceil(CHUNK) as u64;
    assert_eq!(world.receiver.counters().chunks, chunks);
}

#[test]
fn another_member_goes_on_where_one_has_it_no_more_and_nothing_is_fetched_twice() {
    let mut world = World::new();
    assert!(world.begin(0));
    world.run_to(100_000);
    world.servers[0].set(false);
    world.expect_received();
    let refusal = SnapshotRefusal::NoSuchSnapshot;
    assert_eq!(world.troubles, [ReceiverTrouble::Refused(1, refusal)]);
    let chunks = world.content.len().div_ceil(CHUNK) as u64;
    assert_eq!(world.receiver.counters().chunks, chunks);
}

#[test]
fn a_member_that_alone_has_it_is_waited_for_while_it_is_down() {
    let mut world = World::new();
    world.servers[1].is_up = false;
    assert!(world.begin(0));
    world.run_to(100_000);
    world.servers[0].is_up = false;
    let end = world.now + LOST_NS / 2;
    while world.now < end {
        world.cycle();
    }
    assert_eq!(world.troubles, [ReceiverTrouble::Silent(1)]);
    assert!(world.received() >= 100_000);
    world.servers[0].is_up = true;
    world.expect_received();
    let chunks = world.content.len().div_ceil(CHUNK) as u64;
    assert_eq!(world.receiver.counters().chunks, chunks);
}

#[test]
fn who_has_it_no_more_once_everything_has_come_is_not_missed() {
    let mut world = World::new();
    world.disk.stall_until(3 * SECOND);
    assert!(world.begin(0));
    let chunks = world.content.len().div_ceil(CHUNK) as u64;
    while world.receiver.counters().chunks < chunks {
        world.cycle();
    }
    assert!(world.received() < world.content.len() as u64, "it waits");
    for server in &mut world.servers {
        server.is_up = false;
    }
    let refusal = SnapshotRefusal::NoSuchSnapshot;
    assert!(world.receiver.on_refused(1, world.offer.id, refusal));
    world.expect_received();
}

#[test]
fn what_nobody_has_any_more_is_given_up_and_another_one_is_received() {
    let mut world = World::new();
    assert!(world.begin(0));
    world.run_to(100_000);
    world.servers[0].is_up = false;
    world.servers[1].is_up = false;
    world.expect_given_up();
    assert_eq!(
        world.troubles,
        [ReceiverTrouble::Silent(1), ReceiverTrouble::Lost]
    );
    let (content, offer) = snapshot(1280);
    world.servers[1] = Server::new(&content, offer);
    (world.content, world.offer) = (content, offer);
    assert!(world.begin(0));
    world.expect_received();
}

#[test]
fn who_alone_has_it_is_not_waited_for_where_another_member_has_a_newer_one() {
    let mut world = World::new();
    world.servers[1].is_up = false;
    assert!(world.begin(0));
    world.run_to(100_000);
    world.servers[0].is_up = false;
    let (content, offer) = snapshot(1280);
    world.servers[1] = Server::new(&content, offer);
    let since = world.now;
    world.expect_given_up();
    assert_eq!(world.troubles, [ReceiverTrouble::Silent(1)]);
    assert!(world.now - since < LOST_NS / 4, "log is held meanwhile");
    (world.content, world.offer) = (content, offer);
    assert!(world.begin(0));
    world.expect_received();
}

#[test]
fn bytes_that_are_not_what_the_name_says_are_given_up_and_come_from_another_member() {
    let mut world = World::new();
    assert!(world.servers[0].disk.flip_bit("1-640.rec", 300_000, 3));
    assert!(world.begin(0));
    world.expect_given_up();
    assert_eq!(world.troubles, [ReceiverTrouble::OtherBytes(1)]);
    assert!(world.begin(0));
    world.expect_received();
    let chunks = world.content.len().div_ceil(CHUNK) as u64;
    assert_eq!(world.receiver.counters().chunks, 2 * chunks);
}

#[test]
fn a_disk_that_fails_ends_it_and_it_is_begun_again() {
    let mut world = World::new();
    assert!(world.begin(0));
    world.run_to(300_000);
    world.disk.fail_writes(1);
    world.expect_given_up();
    let [ReceiverTrouble::Disk(DiskError::Io { .. })] = world.troubles[..] else {
        panic!("{:?}", world.troubles);
    };
    assert!(world.begin(0));
    world.expect_received();
}

#[test]
fn what_is_not_needed_any_more_is_stopped() {
    let mut world = World::new();
    assert!(world.begin(0));
    world.run_to(300_000);
    world.receiver.stop(&mut world.writer);
    world.expect_given_up();
    assert_eq!(world.receiver.next_deadline(), None);
    assert!(world.receiver.poll_request(world.now).is_none());
    assert_eq!(world.troubles, []);
}

#[test]
fn whoever_sleeps_until_something_is_due_misses_nothing() {
    let mut world = World::new();
    assert!(world.begin(0));
    for server in &mut world.servers {
        server.is_up = false;
    }
    let mut turns = 0;
    while matches!(world.receiver.state(), ReceiverState::Receiving { .. }) {
        world.cycle();
        let next = world.receiver.next_deadline();
        world.now = next.map_or(world.now, |next| next.max(world.now));
        turns += 1;
        assert!(turns < 1000, "{:?}", world.troubles);
    }
    assert_eq!(world.troubles.last(), Some(&ReceiverTrouble::Lost));
}
