//! One member as a process runs it: real ports, real disk, real clock around the agent.
//!
//! SHELL. [`launch`] opens everything a node needs, in the order in which a mistake costs
//! least (configuration, sockets, directory, then recovery), and returns a [`Node`] to be
//! driven by [`lockstep_transport::agent::run`] on a thread of the caller's choice.

mod answering;

use lockstep_archive::disk::{ColdFiles, Disk};
use lockstep_archive::log::log_memory::LogMemory;
use lockstep_archive::log::segment::{SEGMENT_DESCRIPTORS, SEGMENTS_MAX, SEGMENTS_MIN};
use lockstep_archive::slow_disk::SlowDisk;
use lockstep_archive::storage;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::agent::{Agent, WakeSource, WakeSources};
use lockstep_transport::fault::{Direction, Faults, FaultyPort};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::media::host::{cores_allowed, raise_open_files};
use lockstep_transport::media::{
    self, Backend, NetworkPort, PortError, SocketOptions, monotonic_now, realtime_now,
};
use lockstep_transport::notices::Notice;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, earliest};
use lockstep_transport::trace::TraceRecord;

use crate::directory::member_directory::FILES_BESIDE_ARCHIVE;
use crate::node::agent_threads::{AgentGroup, AgentThreads, GroupMembers};
use crate::node::closing::Closing;
use crate::node::cluster_node::ClusterNode;
use crate::node::control::{Asked, CONTROL_SOCKET, ControlSocket};
use crate::node::counters::{
    COUNTERS_FILE, COUNTERS_LENGTH, Counter, CounterBlock, CounterBlocks, Counters, ThreadBlocks,
};
use crate::node::fault::NodeFault;
use crate::node::launch_error::{
    CLOSE_PATIENCE_NS, CloseError, LaunchError, mapping_error, start_error,
};
use crate::node::log_file::{LogFile, PlacedLog};
use crate::node::log_memory::Claim;
use crate::node::measured_agent::MeasuredAgent;
use crate::node::notice_printer::{NoticePrinter, NoticeSink};
use crate::node::recovering::check_directory;
use crate::node::shared_file::SharedFile;
use crate::node::slow_service::slowed;
use crate::node::start::{StartParts, start};
use crate::node::start_line::{Granted, Started, start_line};
use crate::node::thread_plan::{PlannedThread, ThreadPlan};
use crate::node::tracers::{TRACE_FILE, TRACE_LENGTH, Tracers};
use crate::node::work_time::WorkTime;
use crate::notice::{NodeNotice, NoticeLine, Place};
use crate::settings::config::{ClusterConfig, NodeConfig, SyncMode};
use crate::settings::threading::AgentName;

/// Interval at which counters that need a look elsewhere are written.
const PUBLISH_INTERVAL_NS: Nanos = 20 * MILLISECOND;

/// Notices handed to the printer per interval: a handful of causes at once is much, and each
/// of them is said only once a minute.
const NOTICES_PER_PUBLISH: usize = 4;

/// Open files of a node besides its segments, with room to spare.
const OTHER_FILES: u64 = 128;

/// Part of a socket's buffer that the log's window may fill: the kernel counts each datagram at
/// up to twice its length, and members' messages need room beside the log.
const WINDOW_SHARE: usize = 4;

/// The disk of a real node.
pub(crate) type NodeDisk = SlowDisk<storage::NodeDisk>;

/// The sockets of a real node.
pub(crate) type NodePort = FaultyPort<NetworkPort>;

/// A service that may move to the node's thread.
pub type NodeService = Box<dyn ClusteredService + Send>;

/// A launched member. Drive it with [`Agent::do_work`].
pub struct Node {
    /// Ends first: the lock of the directory goes with the disk, and the socket that is in the
    /// directory then is that of the next process.
    control: Option<ControlSocket>,
    /// Who has asked it to hand over, and waits for what comes of that.
    transfer: Option<Transfer>,
    agent: ClusterNode<NodeDisk, NodePort, NodeService>,
    start_line: String,
    role_name: String,
    allocations: fn() -> u64,
    next_publish: Nanos,
    work_time: WorkTime,
    /// What its agents and threads have written.
    published: Counters,
    place: Place,
    sink: Option<NoticeSink>,
    unsaid: Option<Notice<NodeNotice>>,
    /// Those that it has besides the one that drives it. They end with this value, after what
    /// gives them work.
    threads: AgentThreads<NodeService>,
    plan: ThreadPlan,
    log_file: Option<LogFile>,
    _shared: Vec<SharedFile>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Node")
            .field("start_line", &self.start_line)
            .finish()
    }
}

/// A hand-over that somebody waits for.
#[derive(Debug)]
struct Transfer {
    asked: Asked,
    /// The term that is handed over.
    term: LeadershipTermId,
    /// Whoever leads then is heard by then, if anybody does.
    until: Nanos,
}

fn no_allocations() -> u64 {
    0
}

/// Opens everything `node` needs and recovers its log.
///
/// A node whose [`fault`](Node::fault) [`is_to_start_again`](NodeFault::is_to_start_again) has
/// fetched a snapshot in place of log that its leader has no more: close it, drop it, and launch it
/// again with the same configuration and a service that has seen nothing.
///
/// # Errors
/// See [`LaunchError`]; what was there before is unchanged then, or as after a kill where only a
/// thread was missing.
pub fn launch(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    service: NodeService,
) -> Result<Node, LaunchError> {
    node.validate(cluster)?;
    let (node, log_words) = &within_log_room(cluster, node);
    let choice = media::probe(node.io);
    let mut beside = GroupMembers::default();
    let (member_port, ingress_port) = open_ports(cluster, node, choice.backend, &mut beside)?;
    let (mut disk, disk_way) = storage::open(&node.directory, node.io, &FILES_BESIDE_ARCHIVE)?;
    let refused = |source| start_error(&node.directory, source);
    check_directory(cluster, node, disk.files()).map_err(refused)?;
    let has_disk_apart = node.threading.is_apart(AgentName::Archive);
    let mut disk = SlowDisk::new(disk_of(disk, node, &mut beside), node.disk_delay_ns);
    let mut shared = Vec::new();
    let (counters, thread_counters, published) = counters(node, &mut shared)?;
    let tracers = tracers(node, &mut shared)?;
    let (mut placed, log_memory) = place_log(cluster, node, disk.files())?;
    let ports = [member_port.inner(), ingress_port.inner()];
    let mut granted = Granted {
        network: &choice,
        socket_asked: node.socket_buffer_bytes,
        socket_receive: least(ports.map(NetworkPort::receive_buffer)),
        socket_send: least(ports.map(NetworkPort::send_buffer)),
        disk: &format!("{}{log_words}", disk_way.sentence(has_disk_apart)),
        has_boot_id: disk.files().boot_id().is_some(),
        log_memory: placed.refusal.take(),
        log_kept: placed.kept.take(),
        started: Started::default(),
    };
    let parts = StartParts {
        disk,
        log_memory,
        receive_window: member_port.inner().receive_buffer() / WINDOW_SHARE,
        member_port,
        ingress_port,
        service: slowed(service, node),
        tracers,
        counters,
        wall_offset: realtime_now() - monotonic_now(),
        randomness: media::randomness().map_err(LaunchError::Randomness)?,
    };
    let mut agent = start(cluster, node, parts).map_err(refused)?;
    agent.measure_cycles_with(monotonic_now);
    beside.service = agent.take_runner();
    let (threads, plan) = start_threads(beside, node, thread_counters)?;
    let (control, control_words) = open_control(node)?;
    // Now that it is all there.
    granted.started = started(&agent);
    Ok(Node {
        control,
        transfer: None,
        agent,
        start_line: start_line(cluster, node, &granted) + "; " + &plan.words() + &control_words,
        role_name: format!("node-{}", node.member),
        allocations: no_allocations,
        next_publish: 0,
        work_time: WorkTime::default(),
        published,
        place: Place::new(cluster, node),
        sink: None,
        unsaid: None,
        threads,
        plan,
        log_file: keep_or_remove(placed.file, node.sync),
        _shared: shared,
    })
}

/// Where the node can be asked for something, or words for why it cannot.
fn open_control(node: &NodeConfig) -> Result<(Option<ControlSocket>, String), LaunchError> {
    let opened = ControlSocket::open(&node.directory).map_err(LaunchError::Thread)?;
    Ok(match opened {
        Ok(socket) => (Some(socket), String::new()),
        Err(error) => {
            let words = format!("; no {CONTROL_SOCKET} ({error}): costs asking it for snapshots");
            (None, words)
        }
    })
}

/// The threads that the node has besides its own, with whatever is on them, as they are planned.
fn start_threads(
    mut members: GroupMembers<NodeService>,
    node: &NodeConfig,
    mut counters: ThreadBlocks,
) -> Result<(AgentThreads<NodeService>, ThreadPlan), LaunchError> {
    let mut plan = ThreadPlan::new(node.threading, &node.threads, &cores_allowed());
    let mut groups = Vec::new();
    for (thread, planned) in plan.threads.iter().enumerate().skip(1) {
        let on_it = members.take(node.threading.agents_of(thread));
        let group = AgentGroup::new(format!("{}-{}", planned.name, node.member), on_it);
        let first = node.threading.agents_of(thread).next();
        let block = first.and_then(|first| Some((first, counters.take(first)?)));
        let (first, block) = block.expect("each thread has agents, none of which is on another");
        groups.push((MeasuredAgent::new(group, first, block), planned));
    }
    let threads = AgentThreads::start(groups).map_err(LaunchError::Thread)?;
    for (thread, refused) in threads.refused() {
        plan.on_refused(thread, refused);
    }
    Ok((threads, plan))
}

fn started(agent: &ClusterNode<NodeDisk, NodePort, NodeService>) -> Started {
    Started {
        memory_locked: media::lock_memory(),
        forfeit: agent.agents().consensus.membership.forfeit(),
        taken: agent.agents().archive.taken(),
        begun: agent.begun_words(),
    }
}

/// After the files that a node cannot do without have their room: the log buffer that a killed
/// process of this directory has left, or one for a node that runs without syncs. Without room for
/// it, such a node does as well as it can.
fn place_log(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    files: &mut impl ColdFiles,
) -> Result<(PlacedLog, Option<LogMemory>), LaunchError> {
    let claim = Claim::read(files, cluster.term_length)
        .map_err(|error| start_error(&node.directory, error.into()))?;
    let is_wanted = node.sync == SyncMode::None && files.boot_id().is_some();
    let (directory, memory) = (&node.directory, &node.shared_memory);
    let placed = PlacedLog::place(directory, cluster.term_length, memory, is_wanted, &claim)?;
    let open = |file: &LogFile| file.open().map_err(mapping_error(file.path()));
    let opened = placed.file.as_ref().map(open).transpose()?;
    Ok((placed, opened))
}

/// The file of a node that goes on with it. A node that syncs needs what it has found no more: what
/// was in it is on disk once it has started.
fn keep_or_remove(file: Option<LogFile>, sync: SyncMode) -> Option<LogFile> {
    let file = file?;
    if sync == SyncMode::None {
        return Some(file);
    }
    file.remove();
    None
}

/// The node as far as there is room for its log, and words for what there is not.
fn within_log_room(cluster: &ClusterConfig, node: &NodeConfig) -> (NodeConfig, String) {
    let (log_bytes, words) = log_room(cluster, node);
    let node = NodeConfig {
        disk_budget_bytes: log_bytes,
        ..node.clone()
    };
    (node, words)
}

/// How much log this process may have, in bytes: its budget, or what it can keep open of it; and
/// the words for the latter.
fn log_room(cluster: &ClusterConfig, node: &NodeConfig) -> (u64, String) {
    let segment = cluster.segment_length as u64;
    let wanted = (node.disk_budget_bytes / segment).min(SEGMENTS_MAX as u64);
    let files = raise_open_files(wanted * SEGMENT_DESCRIPTORS + OTHER_FILES);
    let open = files.saturating_sub(OTHER_FILES) / SEGMENT_DESCRIPTORS;
    let segments = wanted.min(open).max(SEGMENTS_MIN);
    if segments == node.disk_budget_bytes / segment {
        return (node.disk_budget_bytes, String::new());
    }
    let (bytes, budget) = (segments * segment, node.disk_budget_bytes);
    let words = format!(
        "; log at most {} MiB, not the {} MiB of disk_budget: {files} open files permit {segments} \
         segments, raise segment_length or `ulimit -n`",
        bytes >> 20,
        budget >> 20
    );
    (bytes, words)
}

fn least(lengths: [usize; 2]) -> usize {
    lengths[0].min(lengths[1])
}

/// Both ports of the node. A port is bound before the directory is touched, so that a mistake
/// there changes nothing; yet where the directory is in use too, that is what was meant.
fn open_ports(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    backend: Backend,
    beside: &mut GroupMembers<NodeService>,
) -> Result<(NodePort, NodePort), LaunchError> {
    let own = cluster.members[usize::from(node.member)];
    let ports = bind(own.member, backend, node)
        .and_then(|member| Ok((member, bind(own.ingress, backend, node)?)));
    let (member, mut ingress) = ports.map_err(|error| match storage::in_use(&node.directory) {
        Some(in_use) => LaunchError::Storage(in_use),
        None => LaunchError::Port(error),
    })?;
    if node.threading.is_apart(AgentName::Clients) {
        let (near, far) = ingress.on_a_thread();
        ingress = near;
        beside.clients = Some(far);
    }
    let mut member = faulty(member, node, 0);
    if !node.faults.is_none() {
        member.set_faults(None, Direction::Send, node.faults);
    }
    Ok((member, faulty(ingress, node, 1)))
}

/// The disk, its far end on a thread of its own if the archive is to have one.
fn disk_of(
    disk: storage::NodeDisk,
    node: &NodeConfig,
    beside: &mut GroupMembers<NodeService>,
) -> storage::NodeDisk {
    if !node.threading.is_apart(AgentName::Archive) {
        return disk;
    }
    let (near, far) = disk.on_a_thread();
    beside.archive = Some(far);
    near
}

impl Node {
    /// What this node runs on and what that costs, in one line for people.
    #[must_use]
    pub fn start_line(&self) -> &str {
        &self.start_line
    }

    /// How the thread that drives it is to run.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn thread(&self) -> &PlannedThread {
        &self.plan.threads[0]
    }

    /// One of its counters.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> i64 {
        self.published.get(counter)
    }

    /// Asks for the hashes of the applied state to be written into the counters.
    pub fn request_hashes(&mut self) {
        let service = &mut self.agent.agents_mut().service;
        service.counters.set(Counter::HashRequest, 1);
    }

    /// Its trace so far, each agent's oldest first.
    #[must_use]
    pub fn trace_records(&self) -> Vec<TraceRecord> {
        self.agent.trace_records()
    }

    /// Whether the log has no room to grow: requests wait until there is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let agents = self.agent.agents();
        let owed = agents.service.outputs().outbox().log_bytes_owed(0);
        !agents.archive.has_room(agents.consensus.log.append(), owed)
    }

    /// Why it has stopped, if it has.
    #[must_use]
    pub const fn fault(&self) -> Option<&NodeFault> {
        self.agent.fault()
    }

    /// Where to ask for the number of heap allocations of this process.
    pub fn count_allocations_with(&mut self, allocations: fn() -> u64) {
        self.allocations = allocations;
    }

    /// Changes the faults on this node's links to other members.
    pub fn set_link_faults(&mut self, faults: Faults) {
        let port = &mut self.agent.agents_mut().consensus.port;
        port.set_faults(None, Direction::Send, faults);
    }

    /// Has `printer` print what this node has to say about itself, from now on.
    pub fn print_notices(&mut self, printer: &NoticePrinter) {
        self.sink = Some(printer.sink(self.place.clone()));
    }

    /// The next thing that this node has to say about itself, as a line; for shells that do not
    /// have a printer.
    pub fn take_notice(&mut self) -> Option<String> {
        let notice = self.unsaid.take().or_else(|| self.agent.take_notice())?;
        let place = &self.place;
        Some(NoticeLine { notice, place }.to_string())
    }

    /// Hands the printer what it has room for; the rest stays here until the next time.
    pub fn say_notices(&mut self) {
        let Some(sink) = &self.sink else { return };
        for _ in 0..NOTICES_PER_PUBLISH {
            let notice = self.unsaid.take().or_else(|| self.agent.take_notice());
            let Some(notice) = notice else { break };
            if !sink.offer(notice) {
                self.unsaid = Some(notice);
                break;
            }
        }
    }

    fn publish(&mut self, now: Nanos) {
        self.next_publish = now + PUBLISH_INTERVAL_NS;
        let allocations = (self.allocations)() as i64;
        self.agent.set_wall_offset(realtime_now() - monotonic_now());
        let counters = &mut self.agent.counters;
        counters.set(Counter::Allocations, allocations);
        self.work_time.write(AgentName::Consensus, counters);
        let agents = self.agent.agents_mut();
        publish_system_calls(&agents.consensus.port, &mut agents.consensus.counters);
        publish_system_calls(&agents.clients.port, &mut agents.clients.counters);
        if let Some(name) = self.threads.ended() {
            let name = name.to_owned();
            self.agent.on_thread_ended(name);
        }
        self.say_notices();
        self.answer_control(now);
    }
}

fn publish_system_calls(port: &NodePort, counters: &mut CounterBlock) {
    let calls = port.inner().counters().system_calls();
    counters.set(Counter::SystemCalls, calls as i64);
}

impl Node {
    /// Ends the node cleanly, after its last duty cycle. A run without syncs makes durable what
    /// it acknowledged, and says so on disk: only then may its host go down without a loss.
    ///
    /// # Errors
    /// See [`CloseError`]; the node is unclean then, as after a kill, unless it is the service's.
    pub fn close(&mut self) -> Result<(), CloseError> {
        self.close_log()?;
        let position = self.service_is_at().unwrap_or(0);
        self.threads
            .end_service()
            .then_some(())
            .ok_or(CloseError::Service { position })
    }

    /// The entry that the service was at, as far as is known, if it has not executed all.
    fn service_is_at(&self) -> Option<Position> {
        let oldest = self.agent.agents().service.oldest_handed();
        oldest.map(|oldest| oldest.task.position)
    }

    fn out_of_patience(&self) -> CloseError {
        let is_company = self.threads.has_disk_with_service();
        match self.service_is_at().filter(|_| is_company) {
            Some(position) => CloseError::ServiceHoldsDisk { position },
            None => CloseError::Patience,
        }
    }

    fn close_log(&mut self) -> Result<(), CloseError> {
        let until = monotonic_now() + CLOSE_PATIENCE_NS;
        loop {
            let now = monotonic_now();
            if self.agent.close(now)? == Closing::Closed {
                // After a fault it is as after a kill.
                let is_clean = self.fault().is_none_or(NodeFault::is_to_start_again);
                if let Some(file) = self.log_file.take_if(|_| is_clean) {
                    file.remove();
                }
                return Ok(());
            }
            if now >= until {
                return Err(self.out_of_patience());
            }
            std::thread::yield_now();
        }
    }
}

impl Agent for Node {
    fn role_name(&self) -> &str {
        &self.role_name
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        self.work_time.begin(now);
        let work = self.agent.do_work(now);
        self.work_time.end(now, work);
        if now >= self.next_publish {
            self.publish(now);
        }
        work
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        earliest(self.agent.next_deadline(now), Some(self.next_publish))
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        let agents = self.agent.agents_mut();
        agents.service.name_wake_sources(sources);
        agents.consensus.port.inner().name_wake_sources(sources);
        agents.clients.port.inner().name_wake_sources(sources);
        let disk = agents.archive.disk_mut().inner_mut();
        disk.name_wake_sources(sources);
    }

    fn has_ended(&self) -> bool {
        self.fault().is_some() || self.agent.has_left()
    }
}

fn bind(
    address: core::net::SocketAddr,
    backend: Backend,
    node: &NodeConfig,
) -> Result<NetworkPort, PortError> {
    let options = SocketOptions {
        receive_buffer: node.socket_buffer_bytes,
        send_buffer: node.socket_buffer_bytes,
    };
    NetworkPort::bind(address, options, backend)
}

/// A port whose link may fail; `salt` tells it from the node's others.
fn faulty(port: NetworkPort, node: &NodeConfig, salt: u64) -> NodePort {
    FaultyPort::new(port, node.seed ^ (salt << 32) ^ u64::from(node.member))
}

/// What its agents write, what its threads do, and what reads all of it.
type CountersOfNode = (CounterBlocks, ThreadBlocks, Counters);

fn counters(
    node: &NodeConfig,
    shared: &mut Vec<SharedFile>,
) -> Result<CountersOfNode, LaunchError> {
    let (directory, memory) = (&node.directory, &node.shared_memory);
    let file = SharedFile::place(directory, COUNTERS_FILE, COUNTERS_LENGTH, memory)?;
    let blocks = CounterBlocks::create(file.path());
    let counters =
        blocks.and_then(|(agents, threads)| Ok((agents, threads, Counters::map(file.path())?)));
    let counters = counters.map_err(mapping_error(file.path()));
    shared.push(file);
    counters
}

fn tracers(node: &NodeConfig, shared: &mut Vec<SharedFile>) -> Result<Tracers, LaunchError> {
    if node.trace_every == 0 {
        return Ok(Tracers::disabled());
    }
    let (directory, memory) = (&node.directory, &node.shared_memory);
    let file = SharedFile::place(directory, TRACE_FILE, TRACE_LENGTH, memory)?;
    let tracers = Tracers::create(file.path(), node.member, monotonic_now, node.trace_every)
        .map_err(mapping_error(file.path()));
    shared.push(file);
    tracers
}
