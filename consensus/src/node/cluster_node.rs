//! One member of the cluster as an agent: all of its parts, and its duty cycle.
//!
//! A cycle receives, lets the consensus module decide, applies what is committed, appends
//! effects and then ingress, sends, submits to disk and serves egress, and repeats from the
//! middle while something moved. Everything it touches comes through ports,
//! so the simulator runs this very struct. One thread owns it.

use lockstep_archive::disk::Disk;
use lockstep_archive::files::spoiled_slots::SpoiledSlots;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::{Detail, Notice};
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos, earliest};
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::apply::applier::Applier;
use crate::log::archive_agent::ArchiveAgent;
use crate::log::chain_query::ChainQuery;
use crate::log::follower_log::FollowerLog;
use crate::log::log_clock::LogClock;
use crate::log::log_walk::{Expected, Walked};
use crate::log::member_log::MemberLog;
use crate::log::replication::Replication;
use crate::module::action::Actions;
use crate::module::consensus_module::ConsensusModule;
use crate::module::event::Event;
use crate::module::membership::Membership;
use crate::module::output_agreement::OutputAgreement;
use crate::node::counters::{Counter, Counters};
use crate::node::cycle_budget::CycleBudget;
use crate::node::fault::NodeFault;
use crate::node::identity::Identity;
use crate::node::leadership::{AppendContext, Leadership};
use crate::node::sightings::Watch;
use crate::node::standing_watch::StandingWatch;
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::client_agent::ClientAgent;

/// Rounds of apply, append and send in one duty cycle: enough for a request, its response and
/// what they set off at this node; more would keep the network waiting.
const ROUNDS_MAX: usize = 4;

/// Interval of session timeouts, acknowledgement entries and progress messages.
const HOUSEKEEPING_INTERVAL_NS: Nanos = 100 * MILLISECOND;

/// The parts of a node, assembled by the shell or the simulator.
#[derive(Debug)]
pub struct NodeParts<D, P, S> {
    /// Fixed facts.
    pub identity: Identity,
    /// The log in memory.
    pub log: MemberLog,
    /// The disk.
    pub archive: ArchiveAgent<D>,
    /// Elections and commit.
    pub module: ConsensusModule,
    /// Where other members are heard.
    pub member_port: P,
    /// The applied state.
    pub applier: Applier<S>,
    /// Senders of the log.
    pub replication: Replication,
    /// Chain hashes for joins.
    pub chain_query: ChainQuery,
    /// What faces clients.
    pub clients: ClientAgent<P>,
    /// Volatile state of a leader.
    pub leadership: Leadership,
    /// Trace points.
    pub tracer: Tracer,
    /// Counters.
    pub counters: Counters,
    /// What is refused or amiss, counted and to be told.
    pub notices: NodeNotices,
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

/// A member of the cluster. See the module.
#[derive(Debug)]
pub struct ClusterNode<D, P, S> {
    pub(super) parts: NodeParts<D, P, S>,
    pub(super) follower: FollowerLog,
    pub(super) actions: Actions,
    pub(super) walked: Walked,
    pub(super) buffer: Vec<u8>,
    pub(super) log_clock: LogClock,
    pub(super) agreement: OutputAgreement,
    pub(super) budget: CycleBudget,
    /// End of the leader's log when this member joined it: what follows is heard live.
    pub(super) joined_end: Position,
    pub(super) reported_durable: Position,
    pub(super) reported_applied: Position,
    pub(super) reported_commit: Position,
    pub(super) watch: Watch,
    pub(super) standing_watch: StandingWatch,
    pub(super) published_notices: u64,
    pub(super) unverified_told: u64,
    pub(super) next_housekeeping: Nanos,
    pub(super) next_acknowledgement: Nanos,
    /// Sessions whose acknowledgements are still to be logged in this interval.
    pub(super) acknowledgements_due: usize,
    pub(super) cycles: i64,
    pub(super) fault: Option<NodeFault>,
}

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Puts a node together from its parts, as they are after recovery.
    #[must_use]
    pub fn new(parts: NodeParts<D, P, S>) -> Self {
        let durable = parts.archive.durable();
        let identity = &parts.identity;
        let patience = parts.module.election_timeout_ns();
        let agreement = OutputAgreement::new(identity.member, identity.members.len(), patience);
        let budget = CycleBudget::new(parts.module.heartbeat_interval_ns());
        let log_clock = LogClock::recovered(parts.log.log_time());
        Self {
            parts,
            follower: FollowerLog::default(),
            actions: Actions::default(),
            walked: Walked::new(),
            buffer: vec![0; lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX],
            log_clock,
            agreement,
            budget,
            joined_end: Position::MAX,
            reported_durable: durable,
            reported_applied: 0,
            reported_commit: 0,
            watch: Watch::default(),
            standing_watch: StandingWatch::default(),
            published_notices: 0,
            unverified_told: 0,
            next_housekeeping: 0,
            next_acknowledgement: 0,
            acknowledgements_due: 0,
            cycles: 0,
            fault: None,
        }
    }

    /// Why the node has stopped, if it has.
    #[must_use]
    pub const fn fault(&self) -> Option<&NodeFault> {
        self.fault.as_ref()
    }

    /// The oldest notice that waits to be told, for the shell to print.
    pub fn take_notice(&mut self) -> Option<Notice<NodeNotice>> {
        self.parts.notices.take()
    }

    /// End of the contiguous log received from the leader, while following one.
    #[must_use]
    pub fn followed_position(&self) -> Option<Position> {
        self.follower.append_position()
    }

    /// Wall clock minus monotonic clock as they are now, ns: the shell tells it again and again,
    /// because wall clocks are set while nodes run.
    pub(crate) const fn set_wall_offset(&mut self, wall_offset: i64) {
        self.parts.wall_offset = wall_offset;
    }

    /// Bounds duty cycles in time, measured by this monotonic clock in ns.
    pub(crate) const fn measure_cycles_with(&mut self, clock: fn() -> Nanos) {
        self.budget.measure_with(clock);
    }

    /// The parts, for tools and the simulator's oracles.
    #[must_use]
    pub const fn parts(&self) -> &NodeParts<D, P, S> {
        &self.parts
    }

    /// The parts, to change faults on ports at run time.
    pub const fn parts_mut(&mut self) -> &mut NodeParts<D, P, S> {
        &mut self.parts
    }

    /// Looks at rows of clients (images, channels, sessions) since the start: what they cost,
    /// without a clock.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        let parts = &self.parts;
        parts.clients.images.visits()
            + parts.clients.channels.visits()
            + parts.clients.egress.visits()
            + parts.leadership.sessions.visits()
    }

    /// One duty cycle at `now`. Returns 0 when there was nothing to do.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        if self.fault.is_some() {
            return 0;
        }
        self.budget.begin();
        let mut work = self.poll_completions(now);
        work += self.receive_members(now);
        work += self.receive_clients(now);
        work += self.tend_membership(now);
        if self.is_in_cluster() {
            self.parts.module.tick(now, &mut self.actions);
            work += self.carry_out(now);
        }
        // Before the rounds, which take what it appends to disk and to the followers.
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING_INTERVAL_NS;
            self.slow_tick_work(now);
        }
        for _ in 0..ROUNDS_MAX {
            let moved = self.round(now);
            work += moved;
            if moved == 0 || self.fault.is_some() || self.budget.is_spent() {
                break;
            }
        }
        if self.fault.is_none() {
            work += self.agree_on_output(now);
        }
        if self.fault.is_none() {
            work += self.serve_clients(now);
        }
        self.cycles += 1;
        if self.fault.is_some() {
            self.parts.counters.set(Counter::Halted, 1);
        }
        if work > 0 {
            self.publish_counters();
        }
        work
    }

    /// When this node has something to do even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        if self.fault.is_some() {
            return None;
        }
        let parts = &self.parts;
        [
            self.is_in_cluster().then(|| parts.module.next_deadline()),
            Some(self.membership_deadline()),
            Some(self.next_housekeeping),
            parts.archive.next_deadline(),
            parts.member_port.next_deadline(),
            parts.clients.port.next_deadline(),
            self.follower.next_deadline(),
            self.agreement_deadline(),
            parts.replication.next_deadline(),
            parts.clients.images.next_deadline(),
            parts.clients.channels.next_deadline(),
        ]
        .into_iter()
        .fold(None, earliest)
        .map(|deadline| deadline.max(now))
    }

    /// Commit, apply, append, send, persist: the part of a cycle that feeds itself.
    fn round(&mut self, now: Nanos) -> usize {
        let mut work = self.note_log(now);
        work += self.apply(now);
        if self
            .parts
            .leadership
            .may_open(self.parts.applier.position())
        {
            self.open_leadership(now);
            work += 1;
        }
        if self.parts.leadership.is_leading() {
            work += self.append_effects(now);
        }
        work += self.poll_ingress(now);
        work += self.note_log(now);
        work += self.send_log(now);
        work + self.persist(now)
    }

    /// Tells the module how far the log reaches, in memory and on disk.
    pub(super) fn note_log(&mut self, now: Nanos) -> usize {
        let mut work = self.note_appended(now);
        let parts = &mut self.parts;
        if self.follower.take_heard() {
            parts
                .module
                .on_event(now, Event::LogHeard, &mut self.actions);
        }
        let durable = parts.archive.durable();
        if durable > self.reported_durable {
            let point = TracePoint::RequestPersist;
            parts.tracer.cursor(point, self.reported_durable, durable);
            self.reported_durable = durable;
            let checkpoint = parts.log.checkpoint(durable);
            let event = Event::Durable {
                position: durable,
                checkpoint,
            };
            parts.module.on_event(now, event, &mut self.actions);
            work += 1;
        }
        work + self.carry_out(now)
    }

    /// Takes what this leader has appended, or what was placed for this follower, into the log.
    fn note_appended(&mut self, now: Nanos) -> usize {
        let parts = &mut self.parts;
        let before = parts.log.append();
        let leading = parts.leadership.append_position();
        let append = leading.or_else(|| self.follower.append_position());
        let Some(append) = append.filter(|append| *append > before) else {
            return 0;
        };
        let expected = match leading {
            Some(_) => Expected::Own,
            None => Expected::Leader {
                terms: parts.module.followed_terms(),
                formation: parts.membership.record(),
            },
        };
        if leading.is_none() {
            let point = TracePoint::RequestFollowerAppend;
            parts.tracer.cursor(point, before, append);
        }
        assert!(
            !parts.archive.is_truncating(),
            "the log grew while it was being truncated"
        );
        parts.log.advance(append, expected, &mut self.walked);
        if let Some(log_time) = self.walked.log_time.filter(|_| leading.is_none()) {
            let is_live = before >= self.joined_end;
            self.log_clock.observe(now, log_time, is_live);
        }
        for event in &self.walked.events {
            parts.module.on_event(now, *event, &mut self.actions);
        }
        let position = parts.log.append();
        let appended = Event::Appended { position };
        parts.module.on_event(now, appended, &mut self.actions);
        let refused = self.walked.refused;
        if leading.is_some() {
            invariant!(
                OwnFramesFit,
                refused.is_none(),
                "W1: an own frame at {refused:?}"
            );
        }
        if let Some(position) = refused {
            let detail = Detail::default().with_values([position, 0, 0, 0]);
            let kind = NodeNotice::LogFrameContradicts;
            parts.notices.note(now, kind, detail);
            let event = Event::LogRefused;
            parts.module.on_event(now, event, &mut self.actions);
        }
        usize::from(position > before)
    }

    fn send_log(&mut self, now: Nanos) -> usize {
        let parts = &mut self.parts;
        let mut work = 0;
        if parts.leadership.is_leading() {
            let mut sent = 0;
            for member in 0..parts.replication.members() {
                let view = parts.archive.view(&parts.log);
                let (port, tracer) = (&mut parts.member_port, &mut parts.tracer);
                sent += parts.replication.do_work(now, member, view, port, tracer);
                let reader = parts.replication.reader_for(member);
                parts.archive.submit_order(now, reader);
            }
            if sent > 0 {
                parts.module.on_log_sent(now);
            }
            work += sent;
            if let Some(unreadable) = parts.replication.take_unreadable() {
                let member = usize::from(unreadable.member);
                let address = parts.identity.members[member].member;
                let error = i64::from(unreadable.error);
                let detail = Detail::of(unreadable.member)
                    .with_source(address)
                    .with_values([unreadable.position, error, 0, 0]);
                parts.notices.note(now, NodeNotice::LogUnreadable, detail);
            }
            self.restart_unreachable(now);
        } else {
            let limit = parts.archive.append_limit(&parts.log);
            work += self
                .follower
                .do_work(now, parts.log.buffer(), limit, &mut parts.member_port);
        }
        self.parts.member_port.flush(now);
        work
    }

    /// Goes back to what a follower is known to have, where a cursor has lost it.
    fn restart_unreachable(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        while let Some((member, joined)) = parts.replication.take_unreachable(now) {
            let position = parts.module.match_position(member).max(joined);
            let address = parts.identity.members[usize::from(member)].member;
            let detail = Detail::of(member)
                .with_source(address)
                .with_values([position, 0, 0, 0]);
            parts.notices.note(now, NodeNotice::LogReceiverLost, detail);
            let geometry = parts.log.buffer().geometry();
            parts
                .replication
                .start(member, position, &parts.identity, geometry);
        }
    }

    fn persist(&mut self, now: Nanos) -> usize {
        if !self.parts.module.is_damaged() {
            self.parts.archive.forget_loss(now, &self.parts.log);
        }
        let commit = self.parts.module.commit();
        let work = self.parts.archive.persist(now, &self.parts.log, commit);
        if self.parts.archive.failed() && self.fault.is_none() {
            sometimes(if self.parts.leadership.is_leading() {
                Mark::LeaderStorageFailed
            } else {
                Mark::FollowerStorageFailed
            });
            self.parts
                .module
                .on_event(now, Event::StorageFailed, &mut self.actions);
            self.carry_out(now);
        }
        work
    }

    /// What an append would be bounded by and stamped with now.
    pub(super) fn append_context(&mut self, now: Nanos) -> AppendContext {
        AppendContext {
            limit: self.parts.archive.append_limit(&self.parts.log),
            log_time: self.log_clock.read(now, now + self.parts.wall_offset),
            commit: self.parts.module.commit(),
        }
    }
}
