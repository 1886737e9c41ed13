//! One simulated member: a real [`ConsensusModule`] in a small shell with a log of positions, a
//! disk that takes time and may fail, and streams that carry entries.

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::module::action::{Action, Actions, HaltReason};
use crate::module::consensus_module::{ConsensusConfig, ConsensusModule, Recovered, Role};
use crate::module::event::Event;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::module::output_agreement::OutputAt;
use crate::protocol::message::MemberMessage;
use crate::sim::PlantedFault;
use crate::sim::core_tank::log::{CoreEntry, CoreLog};
use crate::sim::core_tank::network::{CoreDatagram, CoreNetwork, ENTRIES_PER_DATAGRAM, Happening};

/// Entries a leader has under way to one follower at most.
const WINDOW_ENTRIES: usize = 32;

/// After so long without progress a leader sends again, and says that its log stream lives.
const STREAM_REPEAT_NS: Nanos = 5 * MILLISECOND;

/// After a gap was filled, the same one is not filled again for so long.
const GAP_LINGER_NS: Nanos = 2 * MILLISECOND;

/// Length of a NewLeadershipTerm entry.
const TERM_ENTRY_LENGTH: Position = 96;

/// How the disks behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskBehaviour {
    /// Mean time of a sync of the log, ns.
    pub sync_mean_ns: u64,
    /// Mean time of a write of term and vote, ns.
    pub state_mean_ns: u64,
    /// Probability that a sync fails.
    pub failure: f64,
}

/// A leader's stream to one follower.
#[derive(Clone, Copy, Debug)]
struct Stream {
    sent: usize,
    acknowledged: usize,
    repeat_at: Nanos,
    /// Until when a gap asks for what is already under way.
    gap_until: Nanos,
}

/// One simulated member.
#[derive(Debug)]
pub struct CoreNode {
    id: MemberId,
    config: ConsensusConfig,
    planted: Option<PlantedFault>,
    /// The running module, `None` while the member is down.
    pub module: Option<ConsensusModule>,
    /// Its log.
    pub log: CoreLog,
    /// Counts starts; the incarnation.
    pub life: u64,
    /// Until when it is paused: everything that happens to it waits.
    pub paused_until: Nanos,
    /// Why it halted, until it is restarted.
    pub halted: Option<HaltReason>,
    /// What it acknowledged and its disk has lost.
    pub lost: Option<LostAcks>,
    /// How its disk behaves.
    pub disk: DiskBehaviour,
    actions: Actions,
    state: (LeadershipTermId, Option<MemberId>),
    pending_states: Vec<(LeadershipTermId, Option<MemberId>)>,
    ack_mark: Position,
    commit_mark: Position,
    is_syncing: bool,
    truncating: Option<Position>,
    placing: Option<MemberId>,
    is_heard: bool,
    streams: [Option<Stream>; MEMBERS_MAX],
    wake_at: Nanos,
}

impl CoreNode {
    /// A member that has never started.
    #[must_use]
    pub fn new(config: ConsensusConfig, planted: Option<PlantedFault>) -> Self {
        Self {
            id: config.member,
            config,
            planted,
            module: None,
            log: CoreLog::default(),
            life: 0,
            paused_until: 0,
            halted: None,
            lost: None,
            disk: DiskBehaviour::default(),
            actions: Actions::default(),
            state: (LeadershipTermId::NONE, None),
            pending_states: Vec::new(),
            ack_mark: 0,
            commit_mark: 0,
            is_syncing: false,
            truncating: None,
            placing: None,
            is_heard: false,
            streams: [None; MEMBERS_MAX],
            wake_at: Nanos::MAX,
        }
    }

    /// The disk loses some of what was acknowledged, and recovery finds out.
    pub fn rot(&mut self, prng: &mut Prng) {
        let mark = LostAcks {
            position: self.ack_mark,
            term: self.log.term_at(self.ack_mark),
            is_open: false,
        };
        if self.log.damage(self.ack_mark, prng) {
            self.lost = Some(self.lost.map_or(mark, |lost| lost.union(mark)));
        }
    }

    /// Starts, or restarts after a crash.
    pub fn start(&mut self, network: &mut CoreNetwork) {
        self.life += 1;
        self.halted = None;
        if self.planted == Some(PlantedFault::ForgetVoteOnRestart) {
            self.state = (LeadershipTermId::NONE, None);
        }
        self.ack_mark = self.ack_mark.min(self.log.end());
        let recovered = Recovered {
            term: self.state.0,
            vote: self.state.1,
            incarnation: self.life,
            terms: self.log.terms(),
            durable: self.log.end(),
            lost: self.lost,
            commit_floor: self.commit_mark.max(self.log.leader_commit()),
        };
        let seed = network.prng.next_u64();
        self.module = Some(ConsensusModule::new(self.config, recovered, seed));
        self.wake_at = Nanos::MAX;
        self.finish(network);
    }

    /// The host stops at this moment.
    pub fn crash(&mut self, network: &mut CoreNetwork) {
        self.module = None;
        self.log.crash(&mut network.prng);
        self.pending_states.clear();
        self.is_syncing = false;
        self.truncating = None;
        self.placing = None;
        self.is_heard = false;
        self.streams = [None; MEMBERS_MAX];
        self.paused_until = 0;
    }

    /// Whether it leads with its first entry in the log.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        let module = self.module.as_ref();
        module.is_some_and(|module| module.term_entry_end().is_some())
    }

    /// Whether it appends what it is offered: not while it hands over.
    pub fn is_taking(&self) -> bool {
        let module = self.module.as_ref();
        self.is_leading() && !module.is_some_and(ConsensusModule::is_handing_over)
    }

    /// It is asked to hand its leadership over, and refuses unless it leads.
    pub fn hand_over(&mut self, net: &mut CoreNetwork) {
        if let Some(module) = self.module.as_mut() {
            // Whoever asks in vain asks again.
            let _ = module.begin_hand_over(net.now, None);
        }
        self.finish(net);
    }

    /// A datagram of `from` arrives.
    pub fn on_datagram(&mut self, from: MemberId, datagram: &CoreDatagram, net: &mut CoreNetwork) {
        match *datagram {
            CoreDatagram::Message {
                incarnation,
                message,
            } => {
                let event = Event::Message {
                    from,
                    incarnation,
                    message,
                };
                self.tell(net.now, event);
            }
            CoreDatagram::Log {
                position,
                count,
                entries,
            } => self.on_log(from, position, &entries[..count], net),
            CoreDatagram::Status {
                term,
                position,
                is_gap,
            } => self.on_status(from, term, position, is_gap, net.now),
        }
        self.finish(net);
    }

    /// Something other than a datagram happens.
    pub fn on_happening(&mut self, happening: Happening, net: &mut CoreNetwork) {
        match happening {
            // An earlier deadline has come in between, and with it a later wake.
            Happening::Wake if net.now < self.wake_at => return,
            Happening::Wake => {
                self.wake_at = Nanos::MAX;
                if let Some(module) = self.module.as_mut() {
                    module.tick(net.now, &mut self.actions);
                }
            }
            Happening::Synced { count } => self.on_synced(count, net),
            Happening::StateWritten => self.on_state_written(net),
            Happening::Truncated { position } => {
                self.truncating = None;
                self.log.truncate(position);
                self.ack_mark = self.ack_mark.min(position);
                self.tell(net.now, Event::Truncated { position });
            }
            _ => {}
        }
        self.finish(net);
    }

    /// The leader's clients offer an entry of `length` bytes.
    pub fn offer(&mut self, length: Position, net: &mut CoreNetwork) {
        self.append(length, false, net.now);
        self.finish(net);
    }

    fn tell(&mut self, now: Nanos, event: Event) {
        if let Some(module) = self.module.as_mut() {
            module.on_event(now, event, &mut self.actions);
        }
    }

    fn append(&mut self, length: Position, is_first: bool, now: Nanos) {
        let Some(module) = self.module.as_ref() else {
            return;
        };
        let position = self.log.end();
        let end = position + length;
        let term = module.term();
        self.log.push(CoreEntry {
            position,
            end,
            term,
            is_first,
            leader_commit: module.commit(),
            chain: 0,
        });
        if is_first {
            let base = position;
            self.tell(now, Event::TermEntry { term, base, end });
        }
        self.on_appended(now);
    }

    fn on_appended(&mut self, now: Nanos) {
        let position = self.log.end();
        self.tell(now, Event::Appended { position });
        if self.planted == Some(PlantedFault::AckBeforeFsync) {
            let checkpoint = (0, 0);
            let event = Event::Durable {
                position,
                checkpoint,
            };
            self.tell(now, event);
        }
    }

    fn on_log(
        &mut self,
        from: MemberId,
        position: Position,
        entries: &[CoreEntry],
        net: &mut CoreNetwork,
    ) {
        if self.placing != Some(from) || self.truncating.is_some() {
            return;
        }
        let before = self.log.end();
        for entry in entries {
            let Some(module) = self.module.as_ref() else {
                return;
            };
            let belongs = module.leader_term_at(entry.position) == Some(entry.term);
            if entry.position != self.log.end() || !belongs {
                continue;
            }
            self.log.push(*entry);
            let (term, base, end) = (entry.term, entry.position, entry.end);
            if entry.is_first {
                self.tell(net.now, Event::TermEntry { term, base, end });
            }
            let position = entry.leader_commit;
            self.tell(net.now, Event::LeaderCommit { term, position });
        }
        if !std::mem::replace(&mut self.is_heard, true) {
            self.tell(net.now, Event::LogHeard);
        }
        let end = self.log.end();
        if end > before {
            self.on_appended(net.now);
        }
        let term = self
            .module
            .as_ref()
            .map_or(LeadershipTermId::NONE, ConsensusModule::term);
        let is_gap = position > end;
        let status = CoreDatagram::Status {
            term,
            position: end,
            is_gap,
        };
        net.send(self.id, from, &status);
    }

    fn on_status(
        &mut self,
        from: MemberId,
        term: LeadershipTermId,
        position: Position,
        is_gap: bool,
        now: Nanos,
    ) {
        let leads =
            |module: &ConsensusModule| module.role() == Role::Leader && module.term() == term;
        if !self.module.as_ref().is_some_and(leads) || position > self.log.end() {
            return;
        }
        let reached = self.log.index_at(position);
        if let Some(stream) = self.streams[usize::from(from)].as_mut() {
            if reached > stream.acknowledged {
                stream.acknowledged = reached;
                stream.repeat_at = now + STREAM_REPEAT_NS;
            }
            if is_gap && now >= stream.gap_until {
                stream.gap_until = now + GAP_LINGER_NS;
                // The follower may have restarted without what it had said before.
                stream.acknowledged = reached;
                stream.sent = reached;
            }
        }
    }

    fn on_synced(&mut self, count: usize, net: &mut CoreNetwork) {
        self.is_syncing = false;
        if net.prng.chance(self.disk.failure) {
            self.tell(net.now, Event::StorageFailed);
            return;
        }
        self.log.on_synced(count);
        let commit = self.module.as_ref().map_or(0, ConsensusModule::commit);
        self.commit_mark = self.commit_mark.max(commit);
        let position = self.log.durable();
        let checkpoint = self.log.checkpoint();
        let event = Event::Durable {
            position,
            checkpoint,
        };
        self.tell(net.now, event);
        if self.is_leading() {
            self.ack_mark = self.ack_mark.max(position);
        }
        if let Some(position) = self.truncating {
            self.schedule_truncation(position, net);
        }
    }

    fn on_state_written(&mut self, net: &mut CoreNetwork) {
        if self.pending_states.is_empty() {
            return;
        }
        self.state = self.pending_states.remove(0);
        let (term, vote) = self.state;
        self.tell(net.now, Event::StatePersisted { term, vote });
        self.write_state(net);
    }

    fn write_state(&mut self, net: &mut CoreNetwork) {
        if !self.pending_states.is_empty() {
            let time = net.now + 1 + net.prng.exponential(self.disk.state_mean_ns) as Nanos;
            net.schedule(time, self.id, self.life, Happening::StateWritten);
        }
    }

    fn schedule_truncation(&mut self, position: Position, net: &mut CoreNetwork) {
        let time = net.now + 1 + net.prng.exponential(self.disk.sync_mean_ns) as Nanos;
        net.schedule(time, self.id, self.life, Happening::Truncated { position });
    }

    /// Carries out what the module asked for, then lets disk and streams go on.
    fn finish(&mut self, net: &mut CoreNetwork) {
        let mut index = 0;
        while let Some(action) = self.actions.get(index) {
            index += 1;
            self.perform(action, net);
        }
        self.actions.clear();
        let is_whole = |module: &ConsensusModule| !module.is_damaged();
        if self.module.as_ref().is_some_and(is_whole) && self.lost.take().is_some() {
            // As a node does: its mark covers again all that it has.
            self.ack_mark = self.ack_mark.max(self.log.durable());
        }
        if self.module.is_none() || self.halted.is_some() {
            return;
        }
        let unsynced = self.log.entries().len() - self.log.durable_entries().len();
        if !self.is_syncing && unsynced > 0 {
            self.is_syncing = true;
            let count = self.log.entries().len();
            let time = net.now + 1 + net.prng.exponential(self.disk.sync_mean_ns) as Nanos;
            net.schedule(time, self.id, self.life, Happening::Synced { count });
        }
        let stream_deadline = self.send_log(net);
        let module_deadline = self.module.as_ref().map(ConsensusModule::next_deadline);
        let deadline = module_deadline.unwrap_or(Nanos::MAX).min(stream_deadline);
        if deadline < self.wake_at {
            self.wake_at = deadline;
            net.schedule(deadline, self.id, self.life, Happening::Wake);
        }
    }

    fn perform(&mut self, action: Action, net: &mut CoreNetwork) {
        match action {
            Action::PersistState { term, vote } => {
                self.pending_states.push((term, vote));
                if self.pending_states.len() == 1 {
                    self.write_state(net);
                }
            }
            Action::Send { to, message } => self.send(to, message, net),
            Action::HashLog { member, position } => {
                let hash = self.log.hash_at(position);
                let event = Event::LogHashed {
                    member,
                    position,
                    hash,
                };
                self.tell(net.now, event);
            }
            Action::Differs { .. } | Action::HandOverFailed { .. } => {}
            Action::StopPlacing => self.placing = None,
            Action::Truncate { position } => {
                self.truncating = Some(position);
                if !self.is_syncing {
                    self.schedule_truncation(position, net);
                }
            }
            Action::Follow { leader, .. } => {
                self.placing = Some(leader);
                self.is_heard = false;
            }
            Action::Lead { .. } => self.append(TERM_ENTRY_LENGTH, true, net.now),
            Action::Replicate { member, position } => {
                let from = self.log.index_at(position);
                self.streams[usize::from(member)] = Some(Stream {
                    sent: from,
                    acknowledged: from,
                    repeat_at: net.now,
                    gap_until: 0,
                });
            }
            Action::Abdicate => self.streams = [None; MEMBERS_MAX],
            Action::Commit { position } => self.tell(net.now, Event::Applied { position }),
            Action::Halt { reason } => self.halted = Some(reason),
        }
    }

    fn send(&mut self, to: MemberId, message: MemberMessage, net: &mut CoreNetwork) {
        let incarnation = self.life;
        match message {
            MemberMessage::AppendPosition { durable, .. } => {
                // The mark covers durable positions only, whatever is claimed.
                self.ack_mark = self.ack_mark.max(durable.min(self.log.durable()));
            }
            MemberMessage::JoinRequest { term, end, .. }
                if self.planted == Some(PlantedFault::CountOlderTermAcks) =>
            {
                let message = MemberMessage::AppendPosition {
                    term,
                    durable: end,
                    checkpoint: 0,
                    checkpoint_hash: 0,
                    output: OutputAt::default(),
                };
                let report = CoreDatagram::Message {
                    incarnation,
                    message,
                };
                net.send(self.id, to, &report);
            }
            _ => {}
        }
        let datagram = CoreDatagram::Message {
            incarnation,
            message,
        };
        net.send(self.id, to, &datagram);
    }

    /// Sends what followers have not got yet; returns when it has to repeat something.
    fn send_log(&mut self, net: &mut CoreNetwork) -> Nanos {
        let mut deadline = Nanos::MAX;
        let mut has_sent = false;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            let is_silent = net.now >= stream.repeat_at;
            if is_silent {
                stream.sent = stream.acknowledged;
                stream.repeat_at = net.now + STREAM_REPEAT_NS;
            }
            let limit = (stream.acknowledged + WINDOW_ENTRIES).min(self.log.entries().len());
            let mut is_due = is_silent;
            while stream.sent < limit || is_due {
                is_due = false;
                let next = limit.min(stream.sent + ENTRIES_PER_DATAGRAM);
                let datagram = log_datagram(&self.log, stream.sent..next);
                net.send(self.id, index as MemberId, &datagram);
                stream.sent = next;
                has_sent = true;
            }
            deadline = deadline.min(stream.repeat_at);
        }
        if has_sent && let Some(module) = self.module.as_mut() {
            module.on_log_sent(net.now);
        }
        deadline
    }
}

fn log_datagram(log: &CoreLog, range: core::ops::Range<usize>) -> CoreDatagram {
    let nothing = CoreEntry {
        position: 0,
        end: 0,
        term: LeadershipTermId::NONE,
        is_first: false,
        leader_commit: 0,
        chain: 0,
    };
    let mut entries = [nothing; ENTRIES_PER_DATAGRAM];
    let sent = &log.entries()[range.clone()];
    entries[..sent.len()].copy_from_slice(sent);
    let at_end = log.end();
    CoreDatagram::Log {
        position: log
            .entries()
            .get(range.start)
            .map_or(at_end, |e| e.position),
        count: sent.len(),
        entries,
    }
}
