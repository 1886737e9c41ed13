//! One member of the cluster: its four agents, called in turn by one thread.
//!
//! A cycle receives, lets the consensus module decide, applies what is committed, appends
//! effects and then ingress, sends, submits to disk and serves egress, and repeats from the
//! middle while something moved. Everything it touches comes through ports,
//! so the simulator runs this very struct. One thread owns it.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_transport::datagram_port::{DATAGRAMS_PER_CYCLE, DatagramPort};
use lockstep_transport::notices::Notice;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, earliest};

use crate::apply::service_agent::ServiceAgent;
use crate::apply::service_runner::ServiceRunner;
use crate::log::archive_agent::ArchiveAgent;
use crate::node::consensus_agent::snapshots::SnapshotRefusal;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::node::counters::{Counter, CounterBlock};
use crate::node::fault::NodeFault;
use crate::node::leaving_step::Leaving;
use crate::notice::NodeNotice;
use crate::session::client_agent::ClientAgent;

/// Rounds of apply, append and send in one duty cycle: enough for a request, its response and
/// what they set off at this node; more would keep the network waiting.
const ROUNDS_MAX: usize = 4;

/// Interval of session timeouts, acknowledgement entries and progress messages.
const HOUSEKEEPING_INTERVAL_NS: Nanos = 100 * MILLISECOND;

/// The agents of a node, each the only one that changes what it owns.
#[derive(Debug)]
pub struct Agents<D, P, S> {
    /// Decides: elections, the log's order, commit, sessions, admission.
    pub consensus: ConsensusAgent<P>,
    /// Makes the log durable and reads it back.
    pub archive: ArchiveAgent<D>,
    /// Executes the user's service.
    pub service: ServiceAgent<S>,
    /// Faces clients.
    pub clients: ClientAgent<P>,
}

impl<D, P, S> Agents<D, P, S> {
    /// These.
    pub(super) const fn new(
        consensus: ConsensusAgent<P>,
        archive: ArchiveAgent<D>,
        service: ServiceAgent<S>,
        clients: ClientAgent<P>,
    ) -> Self {
        Self {
            consensus,
            archive,
            service,
            clients,
        }
    }
}

/// A member of the cluster. See the module.
#[derive(Debug)]
pub struct ClusterNode<D, P, S> {
    pub(super) agents: Agents<D, P, S>,
    /// A service that is to have a thread of its own, until that thread takes it.
    runner: Option<Box<ServiceRunner<S>>>,
    /// What tools read of none of them.
    pub(super) counters: CounterBlock,
    pub(super) cycles: i64,
    next_housekeeping: Nanos,
    pub(super) leaving: Option<Leaving>,
}

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// A node of these agents, as they are after recovery, and of a service that is to have a
    /// thread of its own, if it is.
    #[must_use]
    pub const fn new(
        agents: Agents<D, P, S>,
        runner: Option<Box<ServiceRunner<S>>>,
        counters: CounterBlock,
    ) -> Self {
        Self {
            agents,
            runner,
            counters,
            cycles: 0,
            next_housekeeping: 0,
            leaving: None,
        }
    }

    /// Why the node has stopped, if it has.
    #[must_use]
    pub const fn fault(&self) -> Option<&NodeFault> {
        self.agents.consensus.fault.as_ref()
    }

    /// The oldest notice that waits to be told, for the shell to print.
    pub fn take_notice(&mut self) -> Option<Notice<NodeNotice>> {
        let agents = &mut self.agents;
        let (consensus, clients) = (&mut agents.consensus.notices, &mut agents.clients.notices);
        let at = |oldest: Option<Nanos>| oldest.unwrap_or(Nanos::MAX);
        if at(clients.oldest()) < at(consensus.oldest()) {
            clients.take()
        } else {
            consensus.take()
        }
    }

    /// End of the contiguous log received from the leader, while following one.
    #[must_use]
    pub fn followed_position(&self) -> Option<Position> {
        self.agents.consensus.followed_position()
    }

    /// Wall clock minus monotonic clock as they are now, ns: the shell tells it again and again,
    /// because wall clocks are set while nodes run.
    pub(crate) const fn set_wall_offset(&mut self, wall_offset: i64) {
        self.agents.consensus.set_wall_offset(wall_offset);
    }

    /// One of its threads has ended although nobody told it to: the node does not go on without.
    pub(crate) fn on_thread_ended(&mut self, name: String) {
        let fault = &mut self.agents.consensus.fault;
        fault.get_or_insert(NodeFault::ThreadEnded { name });
    }

    /// Bounds duty cycles in time, measured by this monotonic clock in ns.
    pub(crate) const fn measure_cycles_with(&mut self, clock: fn() -> Nanos) {
        self.agents.consensus.budget.measure_with(clock);
    }

    /// The agents, for tools and the simulator's oracles.
    #[must_use]
    pub const fn agents(&self) -> &Agents<D, P, S> {
        &self.agents
    }

    /// The agents, to change faults on ports at run time.
    pub const fn agents_mut(&mut self) -> &mut Agents<D, P, S> {
        &mut self.agents
    }

    /// Takes the service that is to have a thread of its own to that thread.
    pub(crate) const fn take_runner(&mut self) -> Option<Box<ServiceRunner<S>>> {
        self.runner.take()
    }

    /// Has the service that is to have a thread of its own go on, in a simulation that has no
    /// threads.
    #[cfg(feature = "sim")]
    pub fn step_service(&mut self, now: Nanos) -> usize {
        match &mut self.runner {
            Some(runner) => lockstep_transport::agent::Agent::do_work(runner.as_mut(), now),
            None => 0,
        }
    }

    /// The service, with everything executed that is applied: `None` while it is behind, or on
    /// another thread.
    #[must_use]
    pub fn container(&self) -> Option<&Container<S>> {
        let service = &self.agents.service;
        let elsewhere = self.runner.as_ref().filter(|_| !service.is_behind());
        let elsewhere = elsewhere.map(|runner| runner.container());
        service.container().or(elsewhere)
    }

    /// Looks at rows of clients (images, channels, sessions) since the start: what they cost,
    /// without a clock.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        let agents = &self.agents;
        agents.clients.visits() + agents.consensus.leadership.sessions.visits()
    }

    /// From what this start begins, in words for its first line.
    pub(crate) fn begun_words(&self) -> String {
        let takes_snapshots = self.agents.service.takes_snapshots();
        self.agents.consensus.begun.words(takes_snapshots)
    }

    /// Asks all members for a snapshot, because somebody has asked this one. Returns where in the
    /// log it is to be taken.
    ///
    /// # Errors
    /// Why nobody is asked.
    pub fn ask_for_snapshot(&mut self, now: Nanos) -> Result<Position, SnapshotRefusal> {
        let Agents {
            consensus,
            archive,
            service,
            ..
        } = &mut self.agents;
        consensus.ask_for_snapshot(now, Room { archive, service })
    }

    /// One duty cycle at `now`. Returns 0 when there was nothing to do.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        if self.fault().is_some() {
            return 0;
        }
        self.agents.consensus.budget.begin();
        let mut work = self.take_completions(now);
        work += self.receive_members(now);
        work += self.receive_clients(now);
        work += self.tend_membership(now);
        if self.agents.consensus.is_in_cluster() {
            self.agents.consensus.tick(now);
            work += self.carry_out(now);
        }
        // Before the rounds, which take what it appends to disk and to the followers.
        if now >= self.next_housekeeping {
            self.housekeeping(now);
        }
        work += self.exchange_snapshots(now);
        for _ in 0..ROUNDS_MAX {
            let moved = self.round(now);
            work += moved;
            if moved == 0 || self.fault().is_some() || self.agents.consensus.budget.is_spent() {
                break;
            }
        }
        if self.fault().is_none() {
            work += self.agree_on_output(now);
        }
        if self.fault().is_none() {
            work += self.serve_clients(now);
        }
        self.tend_leaving(now);
        self.cycles += 1;
        if self.fault().is_some() {
            self.counters.set(Counter::Halted, 1);
        }
        if work > 0 {
            self.publish_counters();
        }
        work
    }

    /// When this node has something to do even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        if self.fault().is_some() {
            return None;
        }
        let agents = &self.agents;
        [
            agents.consensus.next_deadline(),
            agents.archive.next_deadline(),
            agents.clients.next_deadline(),
            Some(self.next_housekeeping),
        ]
        .into_iter()
        .fold(None, earliest)
        .map(|deadline| deadline.max(now))
    }

    /// Commit, apply, append, send, persist: the part of a cycle that feeds itself.
    fn round(&mut self, now: Nanos) -> usize {
        let mut work = self.note_log(now, false);
        let Agents {
            consensus,
            archive,
            service,
            clients,
        } = &mut self.agents;
        work += consensus.take_executed(now, service, clients);
        work += consensus.apply(now, archive, service, clients);
        work += consensus.write_snapshot(now, archive, service);
        let applied = service.applied(consensus.applier.position());
        if consensus.leadership.may_open(applied) {
            consensus.open_leadership(now, service, &mut clients.egress);
            work += 1;
        }
        if consensus.leadership.is_leading() {
            work += consensus.append_effects(now, archive, service);
        }
        let room = Room { archive, service };
        work += consensus.poll_ingress(now, room, clients);
        work += self.note_log(now, true);
        let agents = &mut self.agents;
        work += agents.consensus.send_log(now, &mut agents.archive);
        work + self.persist(now)
    }

    /// Takes waiting datagrams of other members.
    fn receive_members(&mut self, now: Nanos) -> usize {
        let mut received = 0;
        while received < DATAGRAMS_PER_CYCLE && self.agents.consensus.receive(now) {
            received += 1;
            self.carry_out(now);
        }
        received
    }

    /// Takes waiting datagrams of clients.
    fn receive_clients(&mut self, now: Nanos) -> usize {
        let consensus = &self.agents.consensus;
        let known = (consensus.applier.sessions(), &consensus.leadership);
        self.agents.clients.receive(now, known)
    }

    fn tend_membership(&mut self, now: Nanos) -> usize {
        let agents = &mut self.agents;
        let work = agents.consensus.tend_membership(now, &mut agents.archive);
        self.carry_out(now);
        work
    }

    fn note_log(&mut self, now: Nanos, is_executed: bool) -> usize {
        let agents = &mut self.agents;
        let work = agents.consensus.note_log(now, &agents.archive, is_executed);
        work + self.carry_out(now)
    }

    fn exchange_snapshots(&mut self, now: Nanos) -> usize {
        let agents = &mut self.agents;
        let (archive, service) = (&mut agents.archive, &agents.service);
        agents.consensus.exchange_snapshots(now, archive, service)
    }

    fn agree_on_output(&mut self, now: Nanos) -> usize {
        let work = self.agents.consensus.agree_on_output(now);
        self.carry_out(now);
        self.agents.consensus.report_output(now);
        let work = work + self.carry_out(now);
        self.agents.consensus.port.flush(now);
        work
    }

    /// Sends what is due to clients.
    fn serve_clients(&mut self, now: Nanos) -> usize {
        let agents = &mut self.agents;
        let (archive, clients) = (&mut agents.archive, &mut agents.clients);
        match agents.consensus.deliver(now, archive, clients) {
            Ok(delivered) => delivered + clients.serve(now),
            Err(fault) => {
                agents.consensus.fault = Some(fault);
                0
            }
        }
    }

    /// What is done ten times a second.
    fn housekeeping(&mut self, now: Nanos) {
        let Agents {
            consensus,
            archive,
            service,
            clients,
        } = &mut self.agents;
        let room = Room { archive, service };
        consensus.ask_for_snapshots(now, room);
        consensus.tend_log_start(now, archive, service);
        let room = Room { archive, service };
        let has_more = consensus.tend_sessions(now, room, &mut clients.egress);
        self.next_housekeeping = now;
        if !has_more {
            self.next_housekeeping += HOUSEKEEPING_INTERVAL_NS;
        }
        consensus.watch(now, archive, service);
        clients.watch(now);
        let offset = consensus.watch_clock(now);
        consensus.counters.set(Counter::LogTimeOffset, offset);
        self.publish_counters();
        self.publish_seldom();
    }
}
