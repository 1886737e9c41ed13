//! The log in memory: what this member has appended as a leader or placed as a follower, and what
//! it sends of it.

use lockstep_archive::disk::Disk;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::TracePoint;

use crate::log::archive_agent::ArchiveAgent;
use crate::log::entry_body::NewLeadershipTerm;
use crate::log::log_walk::Expected;
use crate::log::log_writer::LogWriter;
use crate::module::event::Event;
use crate::module::member::MemberId;
use crate::node::consensus_agent::ConsensusAgent;
use crate::node::leadership::AppendContext;
use crate::notice::NodeNotice;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Tells the module what has happened.
    pub(in crate::node) fn on_event(&mut self, now: Nanos, event: Event) {
        self.module.on_event(now, event, &mut self.actions);
    }

    /// The log was cut back to `position`.
    pub(in crate::node) fn on_truncated(&mut self, now: Nanos, position: Position) {
        self.reported_durable = position;
        self.replication.reset_readers();
        self.applier.reader_mut().reset();
        self.chain_query.reset();
        self.exchange.on_truncated();
        self.on_event(now, Event::Truncated { position });
        let tail_term = self.module.terms().last().copied();
        self.log.set_tail_term(tail_term);
    }

    /// Hashes the log as far as somebody who joins has asked for it.
    pub(in crate::node) fn hash_log<D: Disk>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
    ) -> usize {
        let view = archive.view(&self.log);
        let (has_moved, answer) = self.chain_query.do_work(&self.log, view);
        archive.submit_order(now, self.chain_query.reader_mut());
        if let Some(event) = answer {
            self.on_event(now, event);
        }
        usize::from(has_moved)
    }

    /// Tells the module how far the log reaches, in memory and on disk. Where it is durable in
    /// memory at once, that is told only when what is committed `is_executed`: the
    /// acknowledgement of an answer then tells also what the service here put out for it, for
    /// which the answer would wait otherwise.
    pub(in crate::node) fn note_log<D: Disk>(
        &mut self,
        now: Nanos,
        archive: &ArchiveAgent<D>,
        is_executed: bool,
    ) -> usize {
        let mut work = self.note_appended(now, archive);
        if self.follower.take_heard() {
            self.on_event(now, Event::LogHeard);
        }
        let durable = archive.durable(&self.log);
        let is_told = is_executed || !self.log.outlives_process();
        if durable > self.reported_durable && is_told {
            let point = TracePoint::RequestPersist;
            self.tracer.cursor(point, self.reported_durable, durable);
            self.reported_durable = durable;
            let event = Event::Durable {
                position: durable,
                checkpoint: self.log.checkpoint(durable),
            };
            self.on_event(now, event);
            work += 1;
        }
        work
    }

    /// Takes what this leader has appended, or what was placed for this follower, into the log.
    fn note_appended<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) -> usize {
        let before = self.log.append();
        let leading = self.leadership.append_position();
        let append = leading.or_else(|| self.follower.append_position());
        let Some(append) = append.filter(|append| *append > before) else {
            return 0;
        };
        if leading.is_none() {
            let point = TracePoint::RequestFollowerAppend;
            self.tracer.cursor(point, before, append);
        }
        assert!(
            !archive.is_truncating(),
            "the log grew while it was being truncated"
        );
        self.take_into_log(append, leading.is_some());
        if let Some(log_time) = self.walked.log_time.filter(|_| leading.is_none()) {
            let is_live = before >= self.joined_end;
            self.log_clock.observe(now, log_time, is_live);
        }
        for event in &self.walked.events {
            self.module.on_event(now, *event, &mut self.actions);
        }
        let position = self.log.append();
        self.on_event(now, Event::Appended { position });
        if let Some(position) = self.walked.refused {
            self.on_refused_frame(now, position);
        }
        usize::from(position > before)
    }

    /// The log is contiguous up to `append`, of own frames or of the leader's that is followed.
    fn take_into_log(&mut self, append: Position, is_own: bool) {
        let expected = if is_own {
            Expected::Own
        } else {
            Expected::Leader {
                terms: self.module.followed_terms(),
                formation: self.membership.record(),
            }
        };
        self.log.advance(append, expected, &mut self.walked);
        let refused = self.walked.refused;
        if is_own {
            invariant!(
                OwnFramesFit,
                refused.is_none(),
                "W1: an own frame at {refused:?}"
            );
        }
    }

    fn on_refused_frame(&mut self, now: Nanos, position: Position) {
        let detail = Detail::default().with_values([position, 0, 0, 0]);
        let kind = NodeNotice::LogFrameContradicts;
        self.notices.note(now, kind, detail);
        self.on_event(now, Event::LogRefused);
    }

    /// Sends the log to followers, or asks the leader for what is missing.
    pub(in crate::node) fn send_log<D: Disk>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
    ) -> usize {
        let work = if self.leadership.is_leading() {
            self.replicate_to_all(now, archive)
        } else {
            let limit = archive.append_limit(&self.log);
            let log = self.log.buffer();
            self.follower.do_work(now, log, limit, &mut self.port)
        };
        self.port.flush(now);
        work
    }

    fn replicate_to_all<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) -> usize {
        let mut sent = 0;
        for member in 0..self.replication.members() {
            let view = archive.view(&self.log);
            let (port, tracer) = (&mut self.port, &mut self.tracer);
            sent += self.replication.do_work(now, member, view, port, tracer);
            archive.submit_order(now, self.replication.reader_for(member));
        }
        if sent > 0 {
            self.module.on_log_sent(now);
        }
        if let Some(unreadable) = self.replication.take_unreadable() {
            let address = self.address_of(unreadable.member);
            let error = i64::from(unreadable.error);
            let detail = Detail::of(unreadable.member)
                .with_source(address)
                .with_values([unreadable.position, error, 0, 0]);
            self.notices.note(now, NodeNotice::LogUnreadable, detail);
        }
        self.restart_unreachable(now);
        sent
    }

    /// Goes back to what a follower is known to have, where a cursor has lost it.
    fn restart_unreachable(&mut self, now: Nanos) {
        while let Some((member, joined)) = self.replication.take_unreachable(now) {
            let position = self.module.match_position(member).max(joined);
            let detail = Detail::of(member)
                .with_source(self.address_of(member))
                .with_values([position, 0, 0, 0]);
            self.notices.note(now, NodeNotice::LogReceiverLost, detail);
            self.replicate(member, position);
        }
    }

    /// Sends `member` the log from `position` on.
    pub(in crate::node) fn replicate(&mut self, member: MemberId, position: Position) {
        let geometry = self.log.buffer().geometry();
        let facts = &self.facts;
        self.replication.start(member, position, facts, geometry);
    }

    /// Takes the log of `leader` from `position` on.
    pub(in crate::node) fn follow(&mut self, leader: MemberId, position: Position) {
        self.stop_following();
        self.agreement.begin_term();
        invariant!(
            FollowerLeadsNothing,
            !self.leadership.is_leading(),
            "C5: what a leader knows goes with its term"
        );
        let address = self.address_of(leader);
        let log = self.log.buffer();
        self.follower.follow(log, address, position, &self.facts);
    }

    /// Takes nothing of a leader's log any more, and forgets what is no part of it yet.
    pub(in crate::node) fn stop_following(&mut self) {
        if let Some(end) = self.follower.stop() {
            self.log.erase_unreported(end);
        }
    }

    /// Leads `term`: its first entry is appended.
    pub(in crate::node) fn lead<D: Disk>(
        &mut self,
        now: Nanos,
        term: LeadershipTermId,
        archive: &ArchiveAgent<D>,
    ) {
        self.stop_following();
        self.agreement.begin_term();
        let context = AppendContext {
            limit: archive.first_entry_limit(&self.log),
            ..self.append_context(now, archive)
        };
        let log_time = self.log.log_time();
        let start = self.log.append();
        let facts = &self.facts;
        let session_id = facts.log_session_id;
        let log = self.log.buffer_mut();
        let writer = LogWriter::new(log, session_id, facts.log_mtu, start, term, log_time);
        self.leadership.begin(term, writer);
        let entry = NewLeadershipTerm {
            term,
            leader: facts.member,
            id: self.randomness.next_u128(),
            formation: *self.membership.record(),
            limits: facts.limits,
        };
        let appended = self.leadership.append_own_entry(log, &context, &entry);
        invariant!(
            FirstEntryFits,
            appended.is_some(),
            "E3: a leader's log is drained, so its first entry fits"
        );
    }

    /// Leads no more.
    pub(in crate::node) fn abdicate(&mut self) {
        if let Some(end) = self.leadership.append_position() {
            // What the module was not told of is not part of the log.
            self.log.erase_unreported(end);
        }
        self.leadership.abdicate();
        self.replication.stop();
    }

    /// The log is committed up to `position`.
    pub(in crate::node) fn on_committed(&mut self, position: Position) {
        if self.leadership.is_leading() {
            let point = TracePoint::RequestCommit;
            self.tracer.cursor(point, self.reported_commit, position);
        }
        self.reported_commit = position;
    }
}
