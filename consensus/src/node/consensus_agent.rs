//! The side of a node that decides: elections, the order of the log, its commit position, who has
//! which session and what is admitted.
//!
//! It owns the members' socket, the log in memory, and everything that a leader or a follower
//! knows of the others. What it wants of the other agents it says in [`Actions`], which the node
//! carries out, or asks of an agent that its methods are handed. It knows no file and no client's
//! address but those that the log or a message names.

mod applying;
mod clients;
mod hand_over;
mod members;
mod output;
mod placing;
mod publishing;
mod sessions;
mod sightings;
mod snapshot_exchange;
mod snapshot_writing;
pub mod snapshots;
mod standing;
mod standing_watch;
mod trimming;
mod watch;

use std::sync::Arc;

use lockstep_archive::disk::Disk;
use lockstep_transport::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort};
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{Nanos, earliest};
use lockstep_transport::trace::Tracer;

use crate::apply::applier::Applier;
use crate::apply::service_agent::ServiceAgent;
use crate::directory::spoiled_slots::SpoiledSlots;
use crate::log::archive_agent::ArchiveAgent;
use crate::log::chain_query::ChainQuery;
use crate::log::follower_log::FollowerLog;
use crate::log::log_clock::LogClock;
use crate::log::log_walk::Walked;
use crate::log::member_log::MemberLog;
use crate::log::replication::Replication;
use crate::module::action::Actions;
use crate::module::consensus_module::ConsensusModule;
use crate::module::membership::{Membership, Standing};
use crate::module::output_agreement::{OutputAgreement, OutputAt};
use crate::node::counters::CounterBlock;
use crate::node::cycle_budget::CycleBudget;
use crate::node::facts::NodeFacts;
use crate::node::fault::NodeFault;
use crate::node::leadership::{AppendContext, Leadership};
use crate::node::snapshot_start::Begun;
use crate::notice::NodeNotices;
use crate::session::client_news::NewsWriter;
use crate::session::egress_floor::EgressFloor;
use crate::snapshot::exchange::SnapshotExchange;
use crate::snapshot::stream::SnapshotStream;
use crate::snapshot::taker::SnapshotTaker;

use self::sightings::Watch;
use self::standing_watch::StandingWatch;

/// What the agent is built from, as recovery has found it.
#[derive(Debug)]
pub(crate) struct ConsensusParts<P> {
    /// Fixed facts.
    pub facts: NodeFacts,
    /// The log in memory.
    pub log: MemberLog,
    /// Its durable end.
    pub durable: Position,
    /// Elections and commit.
    pub module: ConsensusModule,
    /// Where other members are heard.
    pub port: P,
    /// The applied state, before the first entry or where a snapshot was taken.
    pub applier: Applier,
    /// Outputs that the snapshot remembers from which this start begins.
    pub outputs: Vec<OutputAt>,
    /// From what this start begins.
    pub begun: Begun,
    /// Senders of the log.
    pub replication: Replication,
    /// Chain hashes for joins.
    pub chain_query: ChainQuery,
    /// Snapshots of others.
    pub exchange: SnapshotExchange,
    /// Volatile state of a leader.
    pub leadership: Leadership,
    /// What became of sessions, for the side that faces clients.
    pub news: NewsWriter,
    /// Trace points.
    pub tracer: Tracer,
    /// What tools read.
    pub counters: CounterBlock,
    /// Wall clock minus monotonic clock, ns.
    pub wall_offset: i64,
    /// Who this member is in its cluster, and who counts.
    pub membership: Membership,
    /// Whether the directory found itself to be a copy at this start.
    pub is_copy: bool,
    /// What was found spoiled at this start and has not been told.
    pub spoiled: SpoiledSlots,
    /// Where random ids come from.
    pub randomness: Prng,
}

/// See the module.
#[derive(Debug)]
pub struct ConsensusAgent<P> {
    /// Fixed facts.
    pub(crate) facts: Arc<NodeFacts>,
    /// Elections and commit.
    pub module: ConsensusModule,
    /// What the module has asked for and was not carried out yet.
    pub(super) actions: Actions,
    /// Who this member is in its cluster, and who counts.
    pub membership: Membership,
    standing_watch: StandingWatch,
    is_copy: bool,
    /// Where other members are heard.
    pub port: P,
    buffer: Vec<u8>,
    /// The log in memory.
    pub log: MemberLog,
    walked: Walked,
    log_clock: LogClock,
    /// Wall clock minus monotonic clock, ns.
    wall_offset: i64,
    follower: FollowerLog,
    /// End of the leader's log when this member joined it: what follows is heard live.
    joined_end: Position,
    /// Senders of the log.
    pub replication: Replication,
    /// Chain hashes for joins.
    pub(super) chain_query: ChainQuery,
    /// The applied state.
    pub applier: Applier,
    pub(super) agreement: OutputAgreement,
    /// The snapshot that is being written.
    pub(super) snapshot: SnapshotTaker,
    snapshot_stream: SnapshotStream,
    /// Snapshots of others.
    pub(crate) exchange: SnapshotExchange,
    /// End of the last entry of this leader that asked for one.
    snapshot_asked: Position,
    /// A member that is about to end waits for one at this position or above.
    pub(super) snapshot_wanted: Position,
    /// The same of this member itself.
    pub(super) awaited_snapshot: Option<Position>,
    /// What clients are owed.
    pub(super) egress_floor: EgressFloor,
    /// Volatile state of a leader.
    pub leadership: Leadership,
    /// What became of sessions, for the side that faces clients.
    news: NewsWriter,
    next_acknowledgement: Nanos,
    /// Sessions whose acknowledgements are still to be logged in this interval.
    acknowledgements_due: usize,
    reported_durable: Position,
    reported_applied: Position,
    reported_commit: Position,
    pub(super) budget: CycleBudget,
    watch: Watch,
    spoiled: SpoiledSlots,
    /// From what this start begins.
    pub(crate) begun: Begun,
    unverified_told: u64,
    /// Trace points.
    pub(crate) tracer: Tracer,
    /// What tools read.
    pub(crate) counters: CounterBlock,
    /// What is refused or amiss, counted and to be told.
    pub(crate) notices: NodeNotices,
    randomness: Prng,
    pub(super) fault: Option<NodeFault>,
}

/// Where there is room, or none, for what a cause may bring about: on disk and in the outbox.
#[derive(Debug)]
pub(crate) struct Room<'a, D, S> {
    /// The disk.
    pub archive: &'a ArchiveAgent<D>,
    /// The outbox.
    pub service: &'a ServiceAgent<S>,
}

impl<D, S> Clone for Room<'_, D, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D, S> Copy for Room<'_, D, S> {}

impl<P: DatagramPort> ConsensusAgent<P> {
    /// As it is after recovery.
    #[must_use]
    pub(crate) fn new(parts: ConsensusParts<P>) -> Self {
        let (facts, module) = (Arc::new(parts.facts), parts.module);
        let applied = parts.applier.position();
        let patience = module.election_timeout_ns();
        let mut agreement = OutputAgreement::new(facts.member, facts.members.len(), patience);
        agreement.begin_at(&parts.outputs);
        let budget = CycleBudget::new(module.heartbeat_interval_ns());
        let log_clock = LogClock::recovered(parts.log.log_time());
        Self {
            facts,
            module,
            actions: Actions::default(),
            membership: parts.membership,
            standing_watch: StandingWatch::default(),
            is_copy: parts.is_copy,
            port: parts.port,
            buffer: vec![0; DATAGRAM_LENGTH_MAX],
            log: parts.log,
            walked: Walked::new(),
            log_clock,
            wall_offset: parts.wall_offset,
            follower: FollowerLog::default(),
            joined_end: Position::MAX,
            replication: parts.replication,
            chain_query: parts.chain_query,
            applier: parts.applier,
            agreement,
            snapshot: SnapshotTaker::new(applied),
            snapshot_stream: SnapshotStream::new(),
            exchange: parts.exchange,
            snapshot_asked: 0,
            snapshot_wanted: 0,
            awaited_snapshot: None,
            egress_floor: EgressFloor::default(),
            leadership: parts.leadership,
            news: parts.news,
            next_acknowledgement: 0,
            acknowledgements_due: 0,
            reported_durable: parts.durable,
            reported_applied: applied,
            reported_commit: applied,
            budget,
            watch: Watch::default(),
            spoiled: parts.spoiled,
            begun: parts.begun,
            unverified_told: 0,
            tracer: parts.tracer,
            counters: parts.counters,
            notices: NodeNotices::new(),
            randomness: parts.randomness,
            fault: None,
        }
    }

    /// Wall clock minus monotonic clock as they are now, ns.
    pub(super) const fn set_wall_offset(&mut self, wall_offset: i64) {
        self.wall_offset = wall_offset;
    }

    /// Whether the consensus module takes part: not before the cluster has formed.
    pub(super) fn is_in_cluster(&self) -> bool {
        self.membership.standing() != Standing::Forming
    }

    /// End of the contiguous log received from the leader, while following one.
    pub(super) fn followed_position(&self) -> Option<Position> {
        self.follower.append_position()
    }

    /// Lets the module do what time asks for.
    pub(super) fn tick(&mut self, now: Nanos) {
        self.module.tick(now, &mut self.actions);
    }

    /// When it has something to do even if nothing arrives.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        [
            self.is_in_cluster().then(|| self.module.next_deadline()),
            Some(self.membership_deadline()),
            self.port.next_deadline(),
            self.follower.next_deadline(),
            self.agreement_deadline(),
            self.replication.next_deadline(),
            self.exchange_deadline(),
        ]
        .into_iter()
        .fold(None, earliest)
    }

    /// What an append would be bounded by and stamped with now.
    fn append_context<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) -> AppendContext {
        AppendContext {
            limit: self.append_limit(archive),
            log_time: self.log_clock.read(now, now + self.wall_offset),
            commit: self.module.commit(),
        }
    }
}
