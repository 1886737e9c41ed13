//! Random, truncated and bit-flipped datagrams at every port of a real cluster under load: they
//! are counted and dropped, and every request is answered exactly once all the same.
#![allow(
    clippy::disallowed_types,
    reason = "strangers have sockets of their own"
)]

mod trio;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;

use lockstep_bench::load::{LoadConfig, LoadLimit, LoadShape};
use lockstep_bench::scenario::addresses::reserve;
use lockstep_bench::scenario::agreement;
use lockstep_bench::scenario::load_client::LoadClient;
use lockstep_bench::scenario::node_process::NodeProcess;
use lockstep_bench::scenario::process_cluster::ProcessCluster;
use lockstep_bench::scenario::workload::Workload;
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::log::log_session_id::log_session_id;
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::module::membership::Sender;
use lockstep_consensus::module::output_agreement::OutputAt;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_consensus::protocol::{Envelope, MEMBER_MESSAGE_MAX, encode};
use lockstep_consensus::settings::config::{ClusterConfig, SyncMode};
use lockstep_consensus::settings::config_digest::config_digest;
use lockstep_transport::agent::Agent;
use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now};
use lockstep_transport::position::Geometry;
use lockstep_transport::prng::Prng;
use lockstep_transport::protocol::{Heartbeat, Packet, parse};
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};
use trio::start_members;

/// Hostile datagrams of one run, and the longest they may take.
const HOSTILE: usize = 20_000;
const TIME_LIMIT: Nanos = 12 * SECOND;

/// Time between two of them: sent all at once, most would die in the kernel's buffers.
const INTERVAL: Nanos = 250 * MICROSECOND;

/// Sockets they come from: more images than one source may have fit on them all together.
const STRANGERS: usize = 8;

/// Frames of the real client that serve as models; then the oldest are replaced.
const MODELS_MAX: usize = 256;

/// Numbers that arithmetic is most easily wrong about.
const EXTREMES: [u32; 6] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFE0, 0xFFFF_FFFF];

type Models = Rc<RefCell<Vec<Vec<u8>>>>;

/// A real port that keeps copies of what passes. A connect request is not kept: whoever repeats
/// it verbatim holds the session's token, and is the client as far as anybody can tell.
struct TappedPort {
    port: NetworkPort,
    models: Models,
    seen: usize,
    is_connected: bool,
}

impl TappedPort {
    fn keep(&mut self, datagram: &[u8]) {
        let is_connect = matches!(parse(datagram), Ok(Packet::Data(_))) && !self.is_connected;
        if is_connect || self.seen > 64 * MODELS_MAX {
            return;
        }
        let mut models = self.models.borrow_mut();
        if models.len() < MODELS_MAX {
            models.push(datagram.to_vec());
        } else {
            models[self.seen % MODELS_MAX] = datagram.to_vec();
        }
        self.seen += 1;
    }
}

impl DatagramPort for TappedPort {
    fn local_address(&self) -> SocketAddr {
        self.port.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        let received = self.port.receive(now, buffer)?;
        self.keep(&buffer[..received.length]);
        Some(received)
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.keep(datagram);
        self.port.send(now, to, datagram)
    }

    fn flush(&mut self, now: Nanos) {
        self.port.flush(now);
    }
}

/// Who sends what nobody should.
struct Strangers {
    sockets: Vec<UdpSocket>,
    targets: Vec<SocketAddr>,
    models: Models,
    own: Vec<Vec<u8>>,
    random: Prng,
    sent: usize,
}

impl Strangers {
    fn new(cluster: &ClusterConfig, models: Models) -> Self {
        let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let members = cluster.members.iter();
        Self {
            sockets: (0..STRANGERS).map(bind).collect(),
            targets: members.flat_map(|m| [m.ingress, m.member]).collect(),
            models,
            own: member_frames(cluster),
            random: Prng::new(0x0DD_BA11),
            sent: 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.range(0..end as u64) as usize
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.next_u64() as u8).collect()
    }

    /// A datagram that looks more or less like one that belongs.
    fn datagram(&mut self) -> Vec<u8> {
        let kinds = self.own.len() + self.models.borrow().len();
        let chosen = self.below(kinds);
        let mut bytes = match self.own.get(chosen) {
            Some(own) => own.clone(),
            None => self.models.borrow()[chosen - self.own.len()].clone(),
        };
        match self.below(8) {
            0 => {}
            1..4 => {
                for _ in 0..=self.below(8) {
                    let bit = self.below(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            4 => bytes.truncate(self.below(bytes.len())),
            5 => {
                let length = self.below(128);
                let tail = self.noise(length);
                bytes.extend(tail);
            }
            6 => {
                let field = self.below(bytes.len() / 4) * 4;
                let extreme = EXTREMES[self.below(EXTREMES.len())];
                bytes[field..field + 4].copy_from_slice(&extreme.to_le_bytes());
            }
            _ => {
                let length = [self.below(64), self.below(2_048), 60_000][self.below(3)];
                bytes = self.noise(length);
            }
        }
        bytes
    }

    fn send_one(&mut self) {
        let bytes = self.datagram();
        let (socket, target) = (self.below(STRANGERS), self.below(self.targets.len()));
        // A full buffer loses it, as networks do.
        let _ = self.sockets[socket].send_to(&bytes, self.targets[target]);
        self.sent += 1;
    }
}

/// Frames as members send them, sealed for this cluster.
fn member_frames(cluster: &ClusterConfig) -> Vec<Vec<u8>> {
    let geometry = Geometry::new(0, cluster.term_length).expect("a valid term length");
    let session = log_session_id(&cluster.name);
    let term = 1_000;
    let messages = [
        MemberMessage::CommitPosition {
            term: LeadershipTermId::new(term),
            position: 1 << 40,
            durable: 0,
        },
        MemberMessage::AppendPosition {
            term: LeadershipTermId::new(term),
            durable: 1 << 40,
            checkpoint: 1 << 40,
            checkpoint_hash: 7,
            output: OutputAt {
                position: 1 << 40,
                hash: 7,
            },
        },
    ];
    let mut frames = Vec::new();
    for message in messages {
        for from in 0..cluster.members.len() as MemberId {
            let envelope = Envelope {
                cluster_id: cluster_id(&cluster.name),
                config_digest: config_digest(cluster),
                from,
                sender: Sender {
                    cluster: 1,
                    directory: 1,
                    ..Sender::default()
                },
                message,
            };
            let mut bytes = [0; MEMBER_MESSAGE_MAX];
            let length = encode(&envelope, &mut bytes);
            frames.push(bytes[..length].to_vec());
        }
    }
    let beat = Heartbeat::new(session, 100, geometry, 1 << 20, true);
    frames.push(beat.encode().to_vec());
    frames
}

fn cluster() -> ClusterConfig {
    ClusterConfig {
        name: "hostile".to_owned(),
        members: reserve(3).expect("loopback has free ports"),
        term_length: 1 << 20,
        segment_length: 1 << 20,
        ..ClusterConfig::default()
    }
}

fn tapped_client(cluster: &ClusterConfig, models: Models) -> LoadClient<TappedPort> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall);
    let port = TappedPort {
        port: port.expect("a free port"),
        models,
        seen: 0,
        is_connected: false,
    };
    let config = ClientConfig {
        members: cluster.members.iter().map(|m| m.ingress).collect(),
        cluster_id: cluster_id(&cluster.name),
        ..ClientConfig::default()
    };
    let client = ClusterClient::new(config, port, ClientIdentity::of_seed(7))
        .expect("a valid configuration");
    LoadClient::new(client, Workload::echo(288), monotonic_now, |_| 0)
}

#[test]
fn hostile_datagrams_at_every_port_are_counted_and_harm_nobody() {
    let place = tempfile::tempdir().unwrap();
    let (cluster, models) = (cluster(), Models::default());
    let members = start_members(&cluster, place.path(), SyncMode::Data);
    let mut members = ProcessCluster { members };
    members.await_leader().unwrap();
    let mut client = tapped_client(&cluster, Rc::clone(&models));
    let give_up = monotonic_now() + 20 * SECOND;
    while !client.is_connected() {
        client.do_work(monotonic_now());
        assert!(monotonic_now() < give_up, "no session");
        std::thread::yield_now();
    }
    client.client_mut().port_mut().is_connected = true;
    client.start(LoadConfig {
        shape: LoadShape::Closed { window: 8 },
        warmup_ns: 0,
        limit: LoadLimit::Duration(60 * SECOND),
        messages_cap: u64::MAX,
    });
    let refused: Vec<i64> = counters(&mut members, Counter::Refused);
    let mut strangers = Strangers::new(&cluster, models);
    let end = monotonic_now() + TIME_LIMIT;
    let mut next = monotonic_now();
    while strangers.sent < HOSTILE && monotonic_now() < end {
        client.do_work(monotonic_now());
        if monotonic_now() >= next {
            next += INTERVAL;
            strangers.send_one();
        }
        std::thread::yield_now();
    }
    let answered_meanwhile = client.responses();
    client.stop();
    while !client.is_done(monotonic_now()) && monotonic_now() < end + 20 * SECOND {
        client.do_work(monotonic_now());
        std::thread::yield_now();
    }
    let (sent, received) = client.load().map_or((0, 0), |l| (l.sent(), l.received()));
    println!("{} hostile datagrams, {sent} requests", strangers.sent);
    assert_eq!(client.faults(), Vec::<String>::new());
    assert_eq!((sent, client.responses()), (received, received));
    assert!(
        answered_meanwhile > 200,
        "{answered_meanwhile} answers under fire"
    );
    members.check().expect("every member still runs");
    let now_refused = counters(&mut members, Counter::Refused);
    for (before, after) in refused.iter().zip(&now_refused) {
        assert!(after - before > 500, "{refused:?} {now_refused:?}");
    }
    agreement::state_hash(&mut members).expect("the members agree");
    let commit = agreement::await_caught_up(&mut members).unwrap();
    agreement::compare_logs(&mut members, cluster.segment_length, commit).unwrap();
}

fn counters(members: &mut ProcessCluster, counter: Counter) -> Vec<i64> {
    let each = |member: &mut NodeProcess| member.counter(counter);
    members.members.iter_mut().map(each).collect()
}
