//! One real node between puppets: members 1 and 2 are played by the test, datagram by datagram.
#![allow(dead_code, reason = "each test file uses a part of it")]

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_archive::sim::SimDisk;
use lockstep_client::cluster_id::cluster_id;
use lockstep_consensus::log::log_session_id::log_session_id;
use lockstep_consensus::module::formation::{DurableFormation, FormationRecord, Incarnation};
use lockstep_consensus::module::member::{MEMBERS_MAX, MemberId, TermBase};
use lockstep_consensus::module::membership::{Hello, KnownLife, Sender, Standing};
use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};
use lockstep_consensus::protocol::{Envelope, MEMBER_MESSAGE_MAX, decode, encode};
use lockstep_consensus::settings::config::{ClusterConfig, NodeConfig};
use lockstep_consensus::settings::config_digest::config_digest;
use lockstep_consensus::sim::scenario::boot::{Boot, SimNode, boot, disk, three_members};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::protocol::{Heartbeat, Packet, StatusMessage, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos};

/// The cluster's uuid.
pub const CLUSTER: u128 = 9 << 64;

/// The directory of a puppet.
pub fn directory_of(member: MemberId) -> u128 {
    1000 + u128::from(member)
}

/// Answers nothing.
pub struct Silent;

impl ClusteredService for Silent {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {}

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Of the log.
pub fn geometry() -> Geometry {
    Geometry::new(0, 64 * 1024).expect("a term length")
}

/// The node under test and what it is played to.
pub struct Stage {
    pub cluster: ClusterConfig,
    network: SimNetwork,
    disk: SimDisk,
    pub node: SimNode<Silent>,
    puppets: [SimPort; 2],
    /// The record that the cluster was formed with, as the puppets say.
    pub record: FormationRecord,
    pub now: Nanos,
    /// An entry that nobody can apply may stop the node by name, once it is committed.
    pub may_halt: bool,
}

impl Stage {
    pub fn new() -> Self {
        let cluster = three_members();
        let network = SimNetwork::new(1, LinkProfile::default());
        let disk = disk(1, 50 * MICROSECOND, 16 << 20);
        let puppets = [1, 2].map(|id: usize| network.port(cluster.members[id].member));
        let node = Self::start(&cluster, &network, &disk);
        let mut stage = Self {
            cluster,
            network,
            disk,
            node,
            puppets,
            record: FormationRecord::default(),
            now: 0,
            may_halt: false,
        };
        stage.greet();
        stage
    }

    fn start(cluster: &ClusterConfig, network: &SimNetwork, disk: &SimDisk) -> SimNode<Silent> {
        let config = NodeConfig {
            insecure: true,
            disk_budget_bytes: 8 << 20,
            ..NodeConfig::default()
        };
        let started = boot(Boot {
            cluster,
            config: &config,
            disk,
            memory: None,
            network,
            service: Silent,
            wall_offset: 0,
            receive_window: 32 * 1024,
            seed: 1,
        });
        started.expect("the node starts")
    }

    /// How far its log is durable.
    pub fn durable(&self) -> i64 {
        let agents = self.node.agents();
        agents.archive.durable(&agents.consensus.log)
    }

    /// The node's process dies and starts again.
    pub fn restart(&mut self) {
        self.disk.kill(7);
        self.disk.restart();
        self.node = Self::start(&self.cluster, &self.network, &self.disk);
        self.greet();
    }

    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.node.do_work(self.now);
            let fault = self.node.fault();
            let is_named = matches!(fault, Some(NodeFault::MalformedEntry { .. }));
            assert!(fault.is_none() || (self.may_halt && is_named), "{fault:?}");
            self.now += 50 * MICROSECOND;
        }
    }

    /// Sends a datagram in the name of member `from`.
    pub fn send(&mut self, from: MemberId, bytes: &[u8]) {
        let to = self.cluster.members[0].member;
        self.puppets[usize::from(from) - 1].send(self.now, to, bytes);
    }

    /// Who the puppet `from` is.
    fn sender(&self, from: MemberId) -> Sender {
        Sender {
            cluster: self.record.cluster,
            directory: directory_of(from),
            incarnation: Incarnation {
                counter: 1,
                nonce: 5,
            },
        }
    }

    /// The puppets tell the node that its cluster has formed, and that they know its start.
    fn greet(&mut self) {
        self.run(MILLISECOND);
        let (id, digest) = (cluster_id(&self.cluster.name), config_digest(&self.cluster));
        let mut buffer = [0; 2048];
        let mut node = Sender::default();
        for port in &mut self.puppets {
            while let Some(datagram) = port.receive(self.now, &mut buffer) {
                // The rest is what is left of a former life's stream.
                if let Ok(envelope) = decode(&buffer[..datagram.length], id, digest) {
                    node = envelope.sender;
                }
            }
        }
        let mut directories = [0; MEMBERS_MAX];
        directories[..3].copy_from_slice(&[node.directory, directory_of(1), directory_of(2)]);
        self.record = FormationRecord {
            cluster: CLUSTER,
            draw: 1,
            members: 3,
            directories,
        };
        for from in [1, 2] {
            let hello = Hello {
                formation: DurableFormation {
                    record: self.record,
                    is_formed: true,
                },
                is_ready: true,
                is_asking: false,
                known: KnownLife {
                    directory: node.directory,
                    incarnation: node.incarnation,
                },
                is_settled: true,
                ..Hello::default()
            };
            self.say(from, MemberMessage::Hello(hello));
        }
        self.run(5 * MILLISECOND);
        let membership = &self.node.agents().consensus.membership;
        assert_eq!(membership.standing(), Standing::Voter);
        for member in [1, 2] {
            self.heard(member);
        }
    }

    /// Says something in the name of member `from`.
    pub fn say(&mut self, from: MemberId, message: MemberMessage) {
        let envelope = Envelope {
            cluster_id: cluster_id(&self.cluster.name),
            config_digest: config_digest(&self.cluster),
            from,
            sender: self.sender(from),
            message,
        };
        let mut bytes = [0; MEMBER_MESSAGE_MAX];
        let length = encode(&envelope, &mut bytes);
        self.send(from, &bytes[..length]);
        self.run(MILLISECOND);
    }

    /// `leader` leads `terms`' last term: the node joins it.
    pub fn join(&mut self, leader: MemberId, terms: &[(i64, Position)], end: Position) {
        let (term, _) = *terms.last().expect("a term is led");
        self.say(
            leader,
            MemberMessage::CommitPosition {
                term: LeadershipTermId::new(term),
                position: 0,
                durable: 0,
            },
        );
        let mut list = [TermBase {
            term: LeadershipTermId::NONE,
            base: 0,
        }; JOIN_PAGE_TERMS];
        for (slot, (term, base)) in list.iter_mut().zip(terms) {
            *slot = TermBase {
                term: LeadershipTermId::new(*term),
                base: *base,
            };
        }
        let page = TermPage {
            page: 0,
            pages: 1,
            count: terms.len() as u32,
            terms: list,
        };
        let reply = MemberMessage::JoinReply {
            term: LeadershipTermId::new(term),
            commit: 0,
            end,
            page,
        };
        self.say(leader, reply);
        self.run(5 * MILLISECOND);
        // The puppet agrees with whatever the node's log is.
        for message in self.heard(leader).0 {
            if let MemberMessage::JoinCheck {
                term,
                position,
                hash,
            } = message
            {
                let verdict = MemberMessage::JoinVerdict {
                    term,
                    position,
                    hash,
                };
                self.say(leader, verdict);
                self.run(5 * MILLISECOND);
            }
        }
    }

    pub fn heartbeat(&mut self, from: MemberId, position: Position, is_end: bool) {
        let session = log_session_id(&self.cluster.name);
        let beat = Heartbeat::new(session, LOG_STREAM_ID, geometry(), position, is_end);
        self.send(from, &beat.encode());
        self.run(MILLISECOND);
    }

    /// What the node has said to `member` since the last call.
    pub fn heard(&mut self, member: MemberId) -> (Vec<MemberMessage>, Vec<StatusMessage>) {
        let mut buffer = [0; 2048];
        let (mut messages, mut statuses) = (Vec::new(), Vec::new());
        let id = cluster_id(&self.cluster.name);
        let digest = config_digest(&self.cluster);
        let port = &mut self.puppets[usize::from(member) - 1];
        while let Some(datagram) = port.receive(self.now, &mut buffer) {
            let bytes = &buffer[..datagram.length];
            if let Ok(envelope) = decode(bytes, id, digest) {
                messages.push(envelope.message);
            } else if let Ok(Packet::StatusMessage(status)) = parse(bytes) {
                statuses.push(status);
            }
        }
        (messages, statuses)
    }
}
