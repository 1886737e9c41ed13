//! What the agent notices about the node's condition and the other members', rather than about one
//! datagram: called ten times a second, it says what goes on being amiss.
//!
//! While a condition lasts it is noted twice a second, so that it is told at once and then every
//! minute. Nothing here decides anything.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::apply::service_agent::ServiceAgent;
use crate::log::archive_agent::ArchiveAgent;
use crate::module::consensus_module::Oddity;
use crate::module::member::MemberId;
use crate::node::consensus_agent::ConsensusAgent;
use crate::node::consensus_agent::sightings::PATIENCE_NS;
use crate::notice::NodeNotice;
use crate::notice::port::port_notice;

/// Interval at which what lasts is noted again.
const REMINDER_NS: Nanos = SECOND / 2;

/// Being without a leader for so many election timeouts is told, if that is longer.
const ELECTION_TIMEOUTS: Nanos = 6;

/// A write that has been under way for longer is told (`log.md` 10.2).
const DISK_STALL_NS: Nanos = SECOND;

/// A service that has been at one entry for longer is told.
const SERVICE_STALL_NS: Nanos = SECOND;

/// Log time that is further than this from the own clock is told: clocks that are kept in step
/// are apart by milliseconds.
const CLOCK_OFFSET_TOLD_NS: i64 = SECOND;

/// Subject of a trouble with an address that is no member's.
const NO_MEMBER: u8 = 7;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Notes what has changed, and what lasts.
    pub(in crate::node) fn watch<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &ArchiveAgent<D>,
        service: &ServiceAgent<S>,
    ) {
        let started = *self.watch.started.get_or_insert(now);
        if started == now {
            self.watch.leader_known = now;
            self.tell_spoiled_slots(now);
        }
        let is_due = now >= self.watch.next_reminder;
        if is_due {
            self.watch.next_reminder = now + REMINDER_NS;
        }
        self.watch_port(now);
        // As ingress is refused: with room for what its effects may take, besides the reserve.
        let owed = service.outputs().outbox().log_bytes_owed(0);
        let is_full = !archive.has_room(self.log.append(), owed);
        self.watch_room(now, is_due, is_full);
        self.watch_own_log(now, is_due, archive.durable(&self.log));
        self.watch_leader(now, is_due);
        self.watch_answers(now, is_due);
        self.watch_oddities(now);
        if is_due {
            self.watch_disk(now, archive);
            self.watch_service(now, service);
            self.watch_followers(now, started);
        }
    }

    /// How far the log's time is from this member's clock, ns; 0 until the log is heard live.
    pub(in crate::node) fn watch_clock(&mut self, now: Nanos) -> i64 {
        let wall = now + self.wall_offset;
        let offset = self.log_clock.offset(now, wall).unwrap_or(0);
        if offset.abs() > CLOCK_OFFSET_TOLD_NS {
            let detail = Detail::default().with_values([offset / MILLISECOND, 0, 0, 0]);
            self.notices.note(now, NodeNotice::LogTimeOffset, detail);
        }
        offset
    }

    fn watch_port(&mut self, now: Nanos) {
        while let Some(trouble) = self.port.take_trouble() {
            let member = trouble
                .peer
                .and_then(|peer| self.facts.member_at(peer))
                .unwrap_or(NO_MEMBER);
            let (kind, detail) = port_notice(&trouble, NodeNotice::SendToMemberRefused);
            let detail = Detail {
                subject: member,
                ..detail
            };
            self.notices.note_many(now, kind, detail, trouble.count);
        }
    }

    /// Notes what members said that cannot be.
    fn watch_oddities(&mut self, now: Nanos) {
        while let Some((oddity, member, count)) = self.module.take_oddity() {
            let kind = match oddity {
                Oddity::SecondLeader => NodeNotice::SecondLeader,
                Oddity::AckBeyondLog => NodeNotice::AckBeyondLog,
                Oddity::UntoldStanding => NodeNotice::UntoldStanding,
            };
            let address = self.address_of(member);
            let values = [self.module.term().get(), self.log.append(), 0, 0];
            let detail = Detail::of(member).with_source(address).with_values(values);
            self.notices.note_many(now, kind, detail, count);
        }
    }

    fn watch_room(&mut self, now: Nanos, is_due: bool, is_full: bool) {
        let was_full = std::mem::replace(&mut self.watch.is_full, is_full);
        let kind = if is_full {
            NodeNotice::LogFull
        } else {
            NodeNotice::LogHasRoom
        };
        if is_full != was_full || (is_full && is_due) {
            self.notices.note(now, kind, Detail::default());
        }
    }

    /// Once: what the start found. Subject: which file.
    fn tell_spoiled_slots(&mut self, now: Nanos) {
        let spoiled = std::mem::take(&mut self.spoiled);
        for (file, _) in spoiled.iter().enumerate().filter(|(_, spoiled)| **spoiled) {
            let detail = Detail::of(file as u8);
            self.notices.note(now, NodeNotice::SlotSpoiled, detail);
        }
    }

    /// Values: milliseconds, whether it is the mark's, base position of the segment if not.
    fn watch_disk<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) {
        let write = archive.oldest_write(now);
        if let Some(write) = write.filter(|write| write.age > DISK_STALL_NS) {
            let (is_mark, segment) = (write.segment.is_none(), write.segment.unwrap_or(0));
            let values = [write.age / MILLISECOND, i64::from(is_mark), segment, 0];
            let detail = Detail::default().with_values(values);
            self.notices.note(now, NodeNotice::DiskStalled, detail);
        }
    }

    /// Values: position of the entry, seconds, bytes of committed log that wait.
    fn watch_service<S: ClusteredService>(&mut self, now: Nanos, service: &ServiceAgent<S>) {
        // What it has done may not be taken while it is not known whose answers are right.
        let oldest = service.oldest_handed();
        let Some(oldest) = oldest.filter(|_| !self.agreement.is_asking()) else {
            return;
        };
        let took = now - oldest.since;
        if took > SERVICE_STALL_NS {
            let position = oldest.task.position;
            let behind = self.module.commit() - position;
            let values = [position, took / SECOND, behind, 0];
            let detail = Detail::default().with_values(values);
            self.notices.note(now, NodeNotice::ServiceStalled, detail);
        }
    }

    fn watch_own_log(&mut self, now: Nanos, is_due: bool, end: Position) {
        let is_damaged = self.module.is_damaged();
        let was_damaged = std::mem::replace(&mut self.watch.was_damaged, is_damaged);
        let kind = if is_damaged {
            NodeNotice::LogDamaged
        } else {
            NodeNotice::LogRepaired
        };
        if is_damaged != was_damaged || (is_damaged && is_due) {
            let lost = self.module.lost().map_or(0, |lost| lost.position);
            let detail = Detail::default().with_values([end, lost, 0, 0]);
            self.notices.note(now, kind, detail);
        }
    }

    /// Is there a leader, and does its log arrive?
    fn watch_leader(&mut self, now: Nanos, is_due: bool) {
        let is_gone = self.gone_at_leader(now).is_some();
        let watch = &mut self.watch;
        let append = self.log.append();
        let Some(leader) = self.module.heard_leader(now) else {
            watch.leading_since = None;
            watch.append = (append, now);
            let timeouts = ELECTION_TIMEOUTS * self.module.election_timeout();
            let since = now - watch.leader_known;
            if is_due && since >= PATIENCE_NS.max(timeouts) {
                self.note_no_leader(now, since);
            }
            return;
        };
        watch.leader_known = now;
        if leader == self.facts.member {
            watch.leading_since.get_or_insert(now);
            watch.append = (append, now);
            return;
        }
        watch.leading_since = None;
        let is_behind = self.module.leader_commit() > append;
        // Where this member has no room it takes nothing, and nothing comes that the leader has let
        // go of: that is told as a trouble of its own.
        if !is_behind || watch.is_full || is_gone || append != watch.append.0 {
            watch.append = (append, now);
        }
        let stuck = now - watch.append.1;
        if is_due && stuck >= PATIENCE_NS {
            let values = [append, self.module.leader_commit(), stuck / SECOND, 0];
            let address = self.address_of(leader);
            let detail = Detail::of(leader).with_source(address).with_values(values);
            self.notices.note(now, NodeNotice::LogStuck, detail);
        }
    }

    /// Values: seconds, each member's absence and the kind it is refused for (a byte each), and
    /// whether this member may stand.
    fn note_no_leader(&mut self, now: Nanos, since: Nanos) {
        let voiceless = self.membership.voiceless();
        let (mut absences, mut kinds) = (0_u64, 0_u64);
        for member in 0..self.facts.members.len() {
            if member != usize::from(self.facts.member) {
                let (absence, kind) = self
                    .watch
                    .absence(now, member, voiceless >> member & 1 == 1);
                absences |= (absence as u64) << (8 * member);
                kinds |= u64::from(kind) << (8 * member);
            }
        }
        let is_damaged = i64::from(self.module.is_damaged());
        let values = [since / SECOND, absences as i64, kinds as i64, is_damaged];
        let detail = Detail::default().with_values(values);
        self.notices.note(now, NodeNotice::NoLeader, detail);
    }

    /// A leader names the members that it does not hear, and those whose log differs.
    fn watch_followers(&mut self, now: Nanos, started: Nanos) {
        let Some(leading_since) = self.watch.leading_since else {
            return;
        };
        for (index, endpoints) in self.facts.members.iter().enumerate() {
            if index == usize::from(self.facts.member) {
                continue;
            }
            let heard = self.watch.members[index].heard;
            let silent = now - heard.unwrap_or(started);
            if silent.min(now - leading_since) >= PATIENCE_NS {
                let values = [silent / SECOND, i64::from(heard.is_some()), 0, 0];
                let detail = Detail::of(index as u8)
                    .with_source(endpoints.member)
                    .with_values(values);
                self.notices.note(now, NodeNotice::MemberSilent, detail);
            }
            if let Some(position) = self.module.differs_at(index as MemberId) {
                let detail = Detail::of(index as u8)
                    .with_source(endpoints.member)
                    .with_values([position, 0, 0, 0]);
                self.notices.note(now, NodeNotice::MemberExcluded, detail);
            }
        }
    }
}
