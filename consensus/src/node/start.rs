//! Cold start of a node: recovers what its disk holds and puts the parts together. The shell and
//! the simulator start nodes through this one path.

use lockstep_archive::disk::{ColdFiles, Disk};
use lockstep_archive::log::log_memory::LogMemory;
use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::recovery::RecoveryError;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::{Container, ServiceOutputs};
use lockstep_service::outbox::OutboxLimits;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::position::Geometry;
use lockstep_transport::prng::Prng;
use lockstep_transport::stream::{ImageLimits, ReceiverConfig};
use lockstep_transport::trace::Tracer;

use crate::apply::answers::Answers;
use crate::apply::applier::Applier;
use crate::apply::service_agent::ServiceAgent;
use crate::apply::service_elsewhere::ServiceElsewhere;
use crate::apply::service_queue;
use crate::apply::service_runner::ServiceRunner;
use crate::log::chain_query::ChainQuery;
use crate::log::replication::Replication;
use crate::module::output_agreement::OutputAt;
use crate::node::cluster_node::{Agents, ClusterNode};
use crate::node::consensus_agent::{ConsensusAgent, ConsensusParts};
use crate::node::counters::{CounterBlock, CounterBlocks};
use crate::node::facts::NodeFacts;
use crate::node::leadership::Leadership;
use crate::node::recovering::{OpenedStore, open_store};
use crate::node::snapshot_start::Begun;
use crate::node::start_error::StartError;
use crate::node::tracers::Tracers;
use crate::node::unusable_snapshot::UnusableSnapshot;
use crate::protocol::chunk_length_max;
use crate::session::client_agent::ClientAgent;
use crate::session::client_egress::ClientEgress;
use crate::session::client_news;
use crate::session::egress_channels::EgressChannels;
use crate::session::egress_streams::EgressStreams;
use crate::session::ingress_images::IngressImages;
use crate::session::response_egress::ResponseEgress;
use crate::session::session_table::SessionTable;
use crate::settings::config::{ClusterConfig, NodeConfig};
use crate::settings::threading::AgentName;
use crate::snapshot::exchange::SnapshotExchange;
use crate::snapshot::transfer::fetch::FetchConfig;

/// What a node is started with besides its configuration.
#[derive(Debug)]
pub struct StartParts<D, P, S> {
    /// Its disk.
    pub disk: D,
    /// Memory that outlives its process, and may hold what the process before it left there. It
    /// must be given wherever it exists, also to a node that syncs.
    pub log_memory: Option<LogMemory>,
    /// Where other members are heard.
    pub member_port: P,
    /// Where clients are heard.
    pub ingress_port: P,
    /// The application.
    pub service: S,
    /// Trace points.
    pub tracers: Tracers,
    /// Counters.
    pub counters: CounterBlocks,
    /// Wall clock minus monotonic clock, ns.
    pub wall_offset: i64,
    /// Bytes that may be under way to the member port without overflowing its buffer.
    pub receive_window: usize,
    /// Where the random ids of this node come from: filled by the operating system, or by the
    /// simulator's seed.
    pub randomness: Prng,
}

/// Starts a node: recovers what its disk holds and is a follower afterwards.
///
/// # Errors
/// See [`StartError`].
pub fn start<D: Disk, P: DatagramPort, S: ClusteredService>(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    parts: StartParts<D, P, S>,
) -> Result<ClusterNode<D, P, S>, StartError> {
    let geometry = Geometry::new(0, cluster.term_length).ok_or(RecoveryError::Geometry)?;
    let (mut randomness, tracers, counters) = (parts.randomness, parts.tracers, parts.counters);
    let disk = (parts.disk, parts.log_memory, counters.archive);
    let opened = open_store(cluster, node, geometry, disk, &mut randomness)?;
    let OpenedStore {
        log,
        mut archive,
        module,
        membership,
        is_copy,
        spoiled,
        begun,
    } = opened;
    // Random, so that a directory that counts its starts from 1 again shares no stream.
    let nonce = membership.sender().incarnation.nonce;
    let mut facts = NodeFacts::new(cluster, node);
    facts.receive_window = parts.receive_window.max(cluster.log_mtu);
    let body_max = facts.lengths.entry_body_max;
    // Readers of one disk are numbered: the followers' senders, then apply, egress, joins, and who
    // looks at snapshots of others.
    let members = cluster.members.len() as u16;
    let senders = log_readers(geometry, members)?;
    let limits = outbox_limits(cluster, &facts);
    let of_service = (tracers.service, counters.service);
    let (mut service, mut runner) =
        service(cluster, node, (limits, body_max), parts.service, of_service);
    let sessions = SessionTable::new(cluster.sessions_max);
    let mut applier = Applier::new(sessions, LogReader::new(geometry, members)?, body_max);
    let state = (&mut applier, &mut service, runner.as_deref_mut());
    let outputs = load(&begun, archive.disk_mut().files(), state)?;
    let (egress_reader, (news, news_reader)) =
        (LogReader::new(geometry, members + 1)?, client_news::queue());
    let clients = ClientAgent::new(
        parts.ingress_port,
        ingress_images(cluster.sessions_max, &facts, nonce),
        client_egress(cluster, node, (&facts, nonce), egress_reader),
        news_reader,
        tracers.clients,
        counters.clients,
    );
    let consensus = ConsensusAgent::new(ConsensusParts {
        facts,
        durable: archive.durable(&log),
        log,
        module,
        port: parts.member_port,
        applier,
        outputs,
        begun,
        replication: Replication::new(senders),
        chain_query: ChainQuery::new(geometry, members + 2)?,
        exchange: exchange(cluster, node, geometry)?,
        leadership: Leadership::new(cluster.sessions_max),
        news,
        tracer: tracers.consensus,
        counters: counters.consensus,
        wall_offset: parts.wall_offset,
        membership,
        is_copy,
        spoiled,
        randomness,
    });
    let agents = Agents::new(consensus, archive, service, clients);
    Ok(ClusterNode::new(agents, runner, counters.node))
}

/// What it has to do with other members' snapshots.
fn exchange(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    geometry: Geometry,
) -> std::io::Result<SnapshotExchange> {
    let members = cluster.members.len();
    let config = FetchConfig {
        chunk_length: chunk_length_max(cluster.log_mtu),
        bytes_per_second: node.snapshot_rate_bytes,
    };
    let reader = (geometry, members as u16 + 3);
    let member = (node.member, members, node.election_timeout_ns);
    SnapshotExchange::new(member, config, reader)
}

/// The first so many readers of the log.
fn log_readers(geometry: Geometry, count: u16) -> std::io::Result<Vec<LogReader>> {
    (0..count)
        .map(|index| LogReader::new(geometry, index))
        .collect()
}

/// Where state goes that a snapshot holds.
type LoadedState<'a, S> = (
    &'a mut Applier,
    &'a mut ServiceAgent<S>,
    Option<&'a mut ServiceRunner<S>>,
);

/// Takes over the state that the snapshot holds from which this start begins, if it begins from
/// one. Returns the outputs that are remembered.
fn load<S: ClusteredService>(
    begun: &Begun,
    files: &mut impl ColdFiles,
    (applier, service, runner): LoadedState<'_, S>,
) -> Result<Vec<OutputAt>, StartError> {
    let Some(snapshot) = &begun.snapshot else {
        return Ok(Vec::new());
    };
    let position = snapshot.position();
    let capacity = applier.sessions().capacity();
    let mut outputs = Vec::new();
    snapshot
        .load(files, |reader| {
            let mut answers = Answers::new();
            outputs = answers.load(position, reader)?;
            let sessions = SessionTable::load(capacity, position, reader)?;
            applier.begin_at(snapshot.applied_log(), sessions, answers);
            service.load_snapshot(position, reader, runner)?;
            Ok::<(), UnusableSnapshot>(())
        })
        .map_err(|error: UnusableSnapshot| {
            let error = Box::new(error);
            StartError::Snapshot { position, error }
        })?;
    Ok(outputs)
}

/// The service, called from the node's thread or on one of its own.
fn service<S: ClusteredService>(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    (limits, body_max): (OutboxLimits, usize),
    service: S,
    (tracer, counters): (Tracer, CounterBlock),
) -> (ServiceAgent<S>, Option<Box<ServiceRunner<S>>>) {
    let message_max = cluster.message_max;
    if !node.threading.is_apart(AgentName::Service) {
        let container = Container::new(service, 0, limits, message_max);
        return (ServiceAgent::here(container, tracer, counters), None);
    }
    let (ends, service_ends) = service_queue::queues(&limits, body_max);
    let within = (limits, message_max);
    let runner = ServiceRunner::new(service, within, service_ends, tracer.clock());
    let outputs = ServiceOutputs::new(0, limits, message_max);
    let takes_snapshots = runner.container().takes_snapshots();
    let elsewhere = ServiceElsewhere::new(outputs, ends, takes_snapshots);
    let agent = ServiceAgent::elsewhere(elsewhere, tracer, counters);
    (agent, Some(Box::new(runner)))
}

fn client_egress(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    (facts, nonce): (&NodeFacts, u64),
    reader: LogReader,
) -> ClientEgress {
    let lengths = &facts.lengths;
    let (sessions_max, body_max) = (cluster.sessions_max, lengths.entry_body_max);
    ClientEgress {
        channels: EgressChannels::new(sessions_max, nonce),
        streams: EgressStreams::new(node, nonce, lengths.egress_term_length),
        responses: ResponseEgress::new(sessions_max, reader, body_max, facts.is_direct),
    }
}

fn ingress_images(sessions_max: usize, facts: &NodeFacts, nonce: u64) -> IngressImages {
    let limits = ImageLimits {
        term_length_max: facts.lengths.ingress_term_max,
        message_max: facts.lengths.ingress_message_max,
        window_length: ReceiverConfig::WINDOW_LENGTH,
    };
    let receiver_id = (nonce << 8 | u64::from(facts.member)) as i64;
    IngressImages::new(sessions_max, limits, receiver_id, nonce)
}

fn outbox_limits(cluster: &ClusterConfig, facts: &NodeFacts) -> OutboxLimits {
    OutboxLimits {
        effects_per_cause: cluster.effects_per_cause,
        effect_bytes_per_cause: cluster.effect_bytes_per_cause,
        capacity_bytes: cluster.outbox_bytes,
        enabled: !facts.is_direct,
        service: 0,
    }
}
