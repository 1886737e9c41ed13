//! A small world for transfers of a snapshot: members that have it, one that lacks it, and links
//! that lose, repeat and reorder what goes over them, in virtual time.
#![allow(dead_code, reason = "each test file uses its part")]

use lockstep_archive::disk::{ColdFiles, Disk, FileId};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_consensus::module::formation::Incarnation;
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::module::membership::Sender;
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_consensus::protocol::snapshot_message::{
    SnapshotId, SnapshotMessage, SnapshotRequest,
};
use lockstep_consensus::protocol::{
    Envelope, MEMBER_MESSAGE_MAX, chunk_bytes, chunk_length_max, decode, encode, encode_chunk,
};
use lockstep_consensus::snapshot::transfer::fetch::{
    FetchConfig, FetchState, SILENCE_NS, SnapshotFetch,
};
use lockstep_consensus::snapshot::transfer::serve::{
    RequestOutcome, Served, ServedSnapshot, SnapshotServe,
};
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

pub const MTU: usize = 1408;
pub const CHUNK: usize = chunk_length_max(MTU);

/// The member that lacks the snapshot; all others have it.
pub const LACKING: MemberId = 0;
pub const MEMBERS: usize = 3;

const CLUSTER: u64 = 7;
const DIGEST: u64 = 8;

pub fn content(length: usize) -> Vec<u8> {
    let mut random = Prng::new(length as u64);
    (0..length).map(|_| random.next_u64() as u8).collect()
}

/// What a link does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub loss: f64,
    pub repetition: f64,
    pub delay: (Nanos, Nanos),
}

pub const GOOD: Link = Link {
    loss: 0.0,
    repetition: 0.0,
    delay: (20 * MICROSECOND, 50 * MICROSECOND),
};

pub const BAD: Link = Link {
    loss: 0.2,
    repetition: 0.1,
    delay: (20 * MICROSECOND, 8 * MILLISECOND),
};

pub fn envelope(from: MemberId, message: SnapshotMessage) -> Envelope {
    Envelope {
        cluster_id: CLUSTER,
        config_digest: DIGEST,
        from,
        sender: Sender {
            cluster: 1,
            directory: 2 + u128::from(from),
            incarnation: Incarnation {
                counter: 1,
                nonce: 1,
            },
        },
        message: MemberMessage::Snapshot(message),
    }
}

struct OnItsWay {
    due: Nanos,
    to: MemberId,
    bytes: Vec<u8>,
}

/// A member that has the snapshot.
pub struct Server {
    pub disk: SimDisk,
    pub serve: SnapshotServe,
    pub file: FileId,
    pub is_deaf: bool,
}

impl Server {
    pub fn new(seed: u64, content: &[u8]) -> Self {
        let mut disk = SimDisk::new(SimDiskConfig {
            seed,
            ..SimDiskConfig::default()
        });
        let length = content.len().next_multiple_of(4096) as u64;
        let file = disk.create("1-640.rec", length).expect("created");
        disk.write(file, 0, content).expect("written");
        let mut server = Self {
            disk,
            serve: Self::serve(),
            file,
            is_deaf: false,
        };
        server.offer(content);
        server
    }

    fn serve() -> SnapshotServe {
        SnapshotServe::new(MEMBERS, CHUNK).expect("some memory")
    }

    /// Its process is another one.
    pub fn restart(&mut self, content: &[u8]) {
        self.serve = Self::serve();
        self.offer(content);
    }

    fn offer(&mut self, content: &[u8]) {
        let served = ServedSnapshot {
            id: id(content),
            file: self.file,
        };
        self.serve.set_snapshots([Some(served), None]);
    }
}

pub fn id(content: &[u8]) -> SnapshotId {
    SnapshotId {
        position: 640,
        length: content.len() as u64,
        hash: 77,
    }
}

pub struct World {
    pub now: Nanos,
    pub random: Prng,
    pub link: Link,
    pub content: Vec<u8>,
    pub fetch: SnapshotFetch,
    pub received: Vec<u8>,
    /// Bytes the sink takes at a time, at most.
    pub sink: usize,
    /// By member; nobody in the place of the one that lacks it.
    pub servers: Vec<Option<Server>>,
    /// Bytes of chunks that have left, and requests.
    pub sent_bytes: u64,
    pub requests: u64,
    on_their_way: Vec<OnItsWay>,
}

impl World {
    pub fn new(seed: u64, length: usize, link: Link) -> Self {
        let content = content(length);
        let server = |member: usize| (member > 0).then(|| Server::new(seed, &content));
        Self {
            now: SECOND,
            random: Prng::new(seed),
            link,
            fetch: SnapshotFetch::new(config(1 << 40)),
            received: Vec::new(),
            sink: usize::MAX,
            servers: (0..MEMBERS).map(server).collect(),
            sent_bytes: 0,
            requests: 0,
            on_their_way: Vec::new(),
            content,
        }
    }

    pub fn begin(&mut self, from: MemberId, offset: u64) {
        self.received.truncate(offset as usize);
        self.fetch.begin(self.now, from, id(&self.content), offset);
    }

    pub fn server(&mut self, member: MemberId) -> &mut Server {
        self.servers[usize::from(member)]
            .as_mut()
            .expect("it has the snapshot")
    }

    pub fn send(&mut self, to: MemberId, bytes: &[u8]) {
        if self.random.chance(self.link.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(self.link.repetition));
        for _ in 0..copies {
            let (shortest, longest) = self.link.delay;
            let delay = self.random.range(shortest as u64..longest as u64 + 1);
            self.on_their_way.push(OnItsWay {
                due: self.now + delay as Nanos,
                to,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn send_request(&mut self, request: SnapshotRequest) {
        self.requests += 1;
        let mut buffer = [0; MEMBER_MESSAGE_MAX];
        let message = SnapshotMessage::Request(request);
        let length = encode(&envelope(LACKING, message), &mut buffer);
        self.send(self.fetch.from(), &buffer[..length]);
    }

    fn receive(&mut self) {
        let now = self.now;
        let (due, left) = std::mem::take(&mut self.on_their_way)
            .into_iter()
            .partition::<Vec<_>, _>(|datagram| datagram.due <= now);
        self.on_their_way = left;
        for datagram in due {
            self.on_datagram(datagram.to, &datagram.bytes);
        }
    }

    fn on_datagram(&mut self, to: MemberId, bytes: &[u8]) {
        let envelope = decode(bytes, CLUSTER, DIGEST).expect("what members send is good");
        let MemberMessage::Snapshot(message) = envelope.message else {
            panic!("{envelope:?}");
        };
        let now = self.now;
        match message {
            SnapshotMessage::Request(request) => {
                let server = self.server(to);
                if server.is_deaf {
                    return;
                }
                let outcome = server.serve.on_request(now, envelope.from, &request);
                if let RequestOutcome::Refused(refusal) = outcome {
                    let id = request.id;
                    self.reply(to, Served::Refused(id, refusal));
                }
            }
            SnapshotMessage::Chunk(chunk) => {
                let bytes = chunk_bytes(bytes);
                self.fetch.on_chunk(now, envelope.from, &chunk, bytes);
            }
            SnapshotMessage::Refused { id, refusal } => {
                self.fetch.on_refused(envelope.from, id, refusal);
            }
            SnapshotMessage::Status(_) | SnapshotMessage::Wanted(_) => {}
        }
    }

    fn reply(&mut self, from: MemberId, served: Served<'_>) {
        let mut buffer = [0; MTU];
        let length = match served {
            Served::Chunk(chunk, bytes) => {
                self.sent_bytes += bytes.len() as u64;
                let message = SnapshotMessage::Chunk(chunk);
                encode_chunk(&envelope(from, message), bytes, &mut buffer)
            }
            Served::Refused(id, refusal) => {
                let message = SnapshotMessage::Refused { id, refusal };
                encode(&envelope(from, message), &mut buffer)
            }
        };
        self.send(LACKING, &buffer[..length]);
    }

    fn serve(&mut self) {
        for member in 0..MEMBERS {
            let Some(mut server) = self.servers[member].take() else {
                continue;
            };
            while let Some(completion) = server.disk.poll_completion(self.now) {
                assert!(server.serve.on_completion(&completion));
            }
            let (disk, now) = (&mut server.disk, self.now);
            server.serve.do_work(now, disk, |to, served| {
                assert_eq!(to, LACKING);
                self.reply(member as MemberId, served);
                true
            });
            self.servers[member] = Some(server);
        }
    }

    fn take(&mut self) {
        let mut room = self.sink;
        let received = &mut self.received;
        self.fetch.deliver(|bytes| {
            let taken = bytes.len().min(room);
            room -= taken;
            received.extend(&bytes[..taken]);
            taken
        });
    }

    /// One duty cycle of everybody.
    pub fn cycle(&mut self) {
        self.receive();
        self.serve();
        self.take();
        while let Some(request) = self.fetch.poll_request(self.now) {
            self.send_request(request);
        }
        self.now += 100 * MICROSECOND;
    }

    /// Until the transfer is over, one way or the other, or `until` says so.
    pub fn run(&mut self, mut until: impl FnMut(&mut Self) -> bool) {
        let end = self.now + 600 * SECOND;
        while self.fetch.state() == FetchState::Fetching && !until(self) {
            self.cycle();
            assert!(self.now < end, "{:?}", self.fetch);
        }
        let received = self.received.len();
        assert_eq!(self.fetch.delivered(), received as u64);
        assert!(self.received == self.content[..received], "other bytes");
    }

    pub fn run_to_the_end(&mut self) {
        self.run(|_| false);
        assert_eq!(self.fetch.state(), FetchState::Complete);
        assert_eq!(self.received.len(), self.content.len());
    }

    /// Until so many bytes are here.
    pub fn run_to(&mut self, length: usize) {
        self.run(|world| world.received.len() >= length);
        assert_eq!(self.fetch.state(), FetchState::Fetching);
    }

    pub fn run_into_silence(&mut self) {
        let start = self.now;
        self.run(|_| false);
        assert_eq!(self.fetch.state(), FetchState::Silent);
        assert!(self.now - start >= SILENCE_NS);
    }
}

pub const fn config(bytes_per_second: u64) -> FetchConfig {
    FetchConfig {
        chunk_length: CHUNK,
        bytes_per_second,
    }
}
