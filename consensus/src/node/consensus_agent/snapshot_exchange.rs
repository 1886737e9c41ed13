//! Snapshots go from member to member (`log.md` 8.7): messages about them are taken and sent, and
//! what is received gets its place on the disk and in the index.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::{DatagramPort, SendOutcome};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::apply::service_agent::ServiceAgent;
use crate::log::archive_agent::ArchiveAgent;
use crate::module::leadership_term::term_at;
use crate::module::member::MemberId;
use crate::module::membership::Admitted;
use crate::node::consensus_agent::ConsensusAgent;
use crate::node::fault::NodeFault;
use crate::notice::NodeNotice;
use crate::notice::disk::{
    SNAPSHOT_DISK, SNAPSHOT_FOREIGN, SNAPSHOT_LOST, SNAPSHOT_NO_ROOM, SNAPSHOT_OTHER_BYTES,
    SNAPSHOT_REFUSED, SNAPSHOT_SILENT, SNAPSHOT_UNREADABLE_LOG, SNAPSHOT_UNREADABLE_THERE,
};
use crate::protocol::message::MemberMessage;
use crate::protocol::snapshot_message::{
    SnapshotId, SnapshotMessage, SnapshotOffer, SnapshotRefusal,
};
use crate::protocol::{Envelope, chunk_bytes, encode, encode_chunk};
use crate::snapshot::exchange::Finding;
use crate::snapshot::transfer::fetch::ChunkOutcome;
use crate::snapshot::transfer::offers::{Comparison, Wanted};
use crate::snapshot::transfer::receiver::{ReceiverState, ReceiverTrouble};
use crate::snapshot::transfer::serve::{RequestOutcome, Served};

/// Log that a member needs and its leader has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoneLog {
    leader: MemberId,
    /// From here on it is needed.
    needed: Position,
    /// Here the leader's starts.
    start: Position,
}

impl GoneLog {
    /// What stands for it: from there on the leader has everything.
    fn wanted(&self) -> Wanted {
        Wanted::above(self.needed.max(self.start - 1))
    }
}

impl<P: DatagramPort> ConsensusAgent<P> {
    /// A member says something about snapshots, in this datagram.
    pub(super) fn on_snapshot_message(
        &mut self,
        now: Nanos,
        (from, admitted): (MemberId, Admitted),
        message: &SnapshotMessage,
        datagram: &[u8],
    ) {
        let is_expected = match message {
            // What one has that does not count, or is outvoted, is neither fetched nor compared.
            SnapshotMessage::Status(status) => {
                let is_outvoted = self.agreement.outvoted() >> from & 1 == 1;
                if admitted.is_voter && !is_outvoted {
                    self.exchange.offers.hear(now, from, *status);
                }
                true
            }
            SnapshotMessage::Request(request) => {
                match self.exchange.serve.on_request(now, from, request) {
                    RequestOutcome::Taken => true,
                    RequestOutcome::Refused(refusal) => {
                        sometimes(Mark::SnapshotRefused);
                        let id = request.id;
                        let message = SnapshotMessage::Refused { id, refusal };
                        self.send(now, from, MemberMessage::Snapshot(message));
                        true
                    }
                    RequestOutcome::Dropped => false,
                }
            }
            SnapshotMessage::Chunk(chunk) => {
                let bytes = chunk_bytes(datagram);
                let exchange = &mut self.exchange;
                exchange.search.on_chunk(from, chunk, bytes)
                    || exchange.receiver.on_chunk(now, from, chunk, bytes) != ChunkOutcome::Unasked
            }
            SnapshotMessage::Refused { id, refusal } => {
                self.exchange.receiver.on_refused(from, *id, *refusal)
            }
            SnapshotMessage::Wanted(position) => self.on_snapshot_wanted(admitted, *position),
        };
        if !is_expected {
            self.notices.tally(NodeNotice::SnapshotMessageUnexpected);
        }
    }

    /// A member waits for a snapshot before it ends: whoever leads asks all for one soon, once for
    /// the same. Whether that is for this member.
    fn on_snapshot_wanted(&mut self, admitted: Admitted, position: Position) -> bool {
        let is_known = position <= self.log.append();
        let is_for_this = admitted.is_voter && self.leadership.is_leading() && is_known;
        if is_for_this {
            self.snapshot_wanted = self.snapshot_wanted.max(position);
        }
        is_for_this
    }

    /// Goes on with all of it. Returns how much was done.
    pub(in crate::node) fn exchange_snapshots<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &ServiceAgent<S>,
    ) -> usize {
        if let Some(named) = archive.snapshots.take_change() {
            self.exchange.set_snapshots(named);
        }
        if self.facts.members.len() == 1 || !self.is_in_cluster() {
            return 0;
        }
        let mut work = self.tell_snapshots(now, archive);
        work += self.serve_snapshots(now, archive);
        work += self.receive_snapshot(now, archive);
        if let Some(position) = self.exchange.replaced() {
            sometimes(Mark::SnapshotReplacesLog);
            self.fault = Some(NodeFault::StartAgain { position });
        } else if let Some(found) = self.exchange.search.difference(now) {
            self.fault = Some(NodeFault::SnapshotDiverged {
                position: found.position,
                member: found.member,
                section: found.section,
            });
        } else if self.exchange.take_look(now) {
            self.watch_owed(now, archive);
            self.compare_snapshots(now, archive);
            if service.takes_snapshots() {
                work += self.begin_fetching(now, archive);
            }
        }
        work
    }

    /// When it has something to do although nothing comes.
    pub(super) fn exchange_deadline(&self) -> Option<Nanos> {
        let has_others = self.facts.members.len() > 1 && self.is_in_cluster();
        has_others.then(|| self.exchange.next_deadline())
    }

    fn tell_snapshots<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) -> usize {
        let log_start = archive.snapshot_index().log_start().position;
        let Some(status) = self.exchange.take_status(now, log_start) else {
            return 0;
        };
        let own = usize::from(self.facts.member);
        for to in (0..self.facts.members.len()).filter(|to| *to != own) {
            let message = SnapshotMessage::Status(status);
            self.send(now, to as MemberId, MemberMessage::Snapshot(message));
        }
        1
    }

    fn serve_snapshots<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) -> usize {
        let (serve, search) = (&mut self.exchange.serve, &mut self.exchange.search);
        if !serve.is_serving() {
            return 0;
        }
        let (port, buffer, facts) = (&mut self.port, &mut self.buffer, &self.facts);
        let sender = self.membership.sender();
        let mut unreadable = None;
        let work = serve.do_work(now, archive.disk_mut(), |to, served| {
            if let Served::Refused(id, SnapshotRefusal::Unreadable) = served {
                unreadable = Some(id.position);
            }
            // It asks itself only for what it compares.
            if to == facts.member {
                if let Served::Chunk(chunk, bytes) = served {
                    search.on_chunk(to, &chunk, bytes);
                }
                return true;
            }
            let message = match served {
                Served::Chunk(chunk, _) => SnapshotMessage::Chunk(chunk),
                Served::Refused(id, refusal) => SnapshotMessage::Refused { id, refusal },
            };
            let envelope = Envelope {
                cluster_id: facts.cluster_id,
                config_digest: facts.config_digest,
                from: facts.member,
                sender,
                message: MemberMessage::Snapshot(message),
            };
            let length = match served {
                Served::Chunk(_, bytes) => encode_chunk(&envelope, bytes, buffer),
                Served::Refused(..) => encode(&envelope, buffer),
            };
            let address = facts.members[usize::from(to)].member;
            port.send(now, address, &buffer[..length]) != SendOutcome::BackPressured
        });
        if let Some(position) = unreadable {
            let detail = Detail::default().with_values([position, 0, 0, 0]);
            self.notices
                .note(now, NodeNotice::SnapshotUnreadable, detail);
        }
        work
    }

    /// Takes what is fetched a step further, and looks at what has come.
    fn receive_snapshot<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) -> usize {
        let exchange = &mut self.exchange;
        if exchange.take_doubt(archive.snapshots.fetched_under_way()) {
            archive.snapshots.give_up_fetched();
        }
        let is_awaited = self.awaited_snapshot.is_some();
        exchange.receiver.hurry(archive.is_short() || is_awaited);
        let Some(file) = archive.snapshots.fetched_file() else {
            // It was given up, or made way for one that is taken here.
            exchange.forget();
            return 0;
        };
        let mut work = exchange.receiver.do_work(now, &exchange.offers, file);
        if exchange.receiver.state() == ReceiverState::Idle {
            archive.snapshots.give_up_fetched();
        }
        if let Some(trouble) = exchange.receiver.take_trouble() {
            work += 1;
            self.note_trouble(now, &trouble);
        }
        while let Some((from, request)) = self.exchange.receiver.poll_request(now) {
            let message = SnapshotMessage::Request(request);
            self.send(now, from, MemberMessage::Snapshot(message));
            work += 1;
        }
        if let ReceiverState::Received(offer) = self.exchange.receiver.state() {
            work += self.look_at_received(now, &offer, archive);
        }
        work
    }

    /// Has one named that is of this log, and gives up any other.
    fn look_at_received<D: Disk>(
        &mut self,
        now: Nanos,
        offer: &SnapshotOffer,
        archive: &mut ArchiveAgent<D>,
    ) -> usize {
        let (work, finding) = self.finding(now, offer, archive);
        archive.submit_order(now, self.exchange.log_reader_mut());
        match finding {
            Finding::Open => return work,
            Finding::Good(entry) => archive.snapshots.name_fetched(entry),
            Finding::Replacement(entry) => archive.snapshots.name_replacement(entry),
            Finding::Unneeded => archive.snapshots.give_up_fetched(),
            Finding::Foreign => {
                self.exchange.receiver.reject();
                self.note_not_fetched(now, offer.id, SNAPSHOT_FOREIGN, [0; 2]);
                archive.snapshots.give_up_fetched();
            }
            Finding::Unknown => {
                self.exchange.pause(now);
                self.note_not_fetched(now, offer.id, SNAPSHOT_UNREADABLE_LOG, [0; 2]);
                archive.snapshots.give_up_fetched();
            }
        }
        self.exchange.forget();
        1
    }

    /// What the one that has come is: a copy of what this member's log leads to, or what is to
    /// stand for log that it lacks.
    fn finding<D: Disk>(
        &mut self,
        now: Nanos,
        offer: &SnapshotOffer,
        archive: &ArchiveAgent<D>,
    ) -> (usize, Finding) {
        let position = offer.id.position;
        if position <= self.compared_up_to(archive) {
            let term = term_at(self.module.terms(), position - 1);
            let cluster = self.membership.record().cluster;
            let (log, view) = (&self.log, archive.view(&self.log));
            return self.exchange.look_at_received((cluster, term), log, view);
        }
        let finding = match self.gone_at_leader(now) {
            Some(gone) if gone.wanted().is_one(position) => {
                let (record, limits) = (self.membership.record(), &self.facts.limits);
                self.exchange.look_at_replacement(record, limits)
            }
            // Nobody leads, or it is not known what the log here has in common with who does.
            None if self.module.needed_from().is_none() => Finding::Open,
            _ => Finding::Unneeded,
        };
        (0, finding)
    }

    /// Says what went wrong, and begins nothing for a while where that ended it.
    fn note_trouble(&mut self, now: Nanos, trouble: &ReceiverTrouble) {
        let (why, value) = match trouble {
            ReceiverTrouble::Refused(from, SnapshotRefusal::Unreadable) => {
                (SNAPSHOT_UNREADABLE_THERE, i64::from(*from))
            }
            ReceiverTrouble::Refused(from, _) => (SNAPSHOT_REFUSED, i64::from(*from)),
            ReceiverTrouble::Silent(from) => (SNAPSHOT_SILENT, i64::from(*from)),
            ReceiverTrouble::OtherBytes(from) => {
                sometimes(Mark::SnapshotOtherBytes);
                (SNAPSHOT_OTHER_BYTES, i64::from(*from))
            }
            ReceiverTrouble::Lost => (SNAPSHOT_LOST, 0),
            ReceiverTrouble::Disk(error) => (SNAPSHOT_DISK, error.os_error().unwrap_or(0).into()),
        };
        let is_over = self.exchange.receiver.state() == ReceiverState::Idle;
        if is_over {
            self.exchange.pause(now);
        } else {
            sometimes(Mark::SnapshotSourceLeft);
        }
        let id = self.exchange.receiver.id();
        self.note_not_fetched(now, id, why, [value, 0]);
    }

    /// Values: where it was taken, why it does not come, and of whom or what it is.
    fn note_not_fetched(&mut self, now: Nanos, id: SnapshotId, why: i64, values: [i64; 2]) {
        let [first, second] = values;
        let detail = Detail::default().with_values([id.position, why, first, second]);
        self.notices
            .note(now, NodeNotice::SnapshotNotFetched, detail);
    }

    /// Begins to fetch one that stands for log which the leader has let go of, or else the newest
    /// that this member might have taken itself and has not: who leads others takes none.
    fn begin_fetching<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) -> usize {
        // While it is not known whose answers are right, nor is it of snapshots.
        if !self.snapshot.is_idle() || self.agreement.is_asking() {
            return 0;
        }
        let gone = self.gone_at_leader(now);
        let wanted = gone.map_or_else(|| self.wanted_copy(archive), |gone| gone.wanted());
        let exchange = &mut self.exchange;
        let begin = |file: &mut _| exchange.begin(now, &wanted, file);
        let has_begun = archive.snapshots.begin_fetched(begin);
        if has_begun {
            self.make_room_for_fetched(now, archive);
        }
        if let Some(gone) = gone {
            self.note_gone(now, &gone);
        }
        usize::from(has_begun)
    }

    /// What has been begun is given up where the disk budget does not hold it.
    fn make_room_for_fetched<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) {
        let id = self.exchange.receiver.id();
        if let Err((needed, budget)) = archive.make_room_for(id.length) {
            let values = [needed.cast_signed(), budget.cast_signed()];
            self.note_not_fetched(now, id, SNAPSHOT_NO_ROOM, values);
            self.exchange.forget();
            self.exchange.pause(now);
            archive.snapshots.give_up_fetched();
        }
    }

    /// What this member lacks of the log of the leader that it follows and that one has let go of.
    pub(super) fn gone_at_leader(&self, now: Nanos) -> Option<GoneLog> {
        let leader = self.module.leader()?;
        let needed = self.module.needed_from()?;
        let start = self.exchange.offers.log_start(now, leader)?;
        let is_gone = leader != self.facts.member && needed < start;
        is_gone.then_some(GoneLog {
            leader,
            needed,
            start,
        })
    }

    fn note_gone(&mut self, now: Nanos, gone: &GoneLog) {
        let position = match self.exchange.receiver.state() {
            ReceiverState::Idle => 0,
            ReceiverState::Receiving { offer, .. } | ReceiverState::Received(offer) => {
                offer.id.position
            }
        };
        let detail = Detail::of(gone.leader)
            .with_source(self.address_of(gone.leader))
            .with_values([gone.needed, gone.start, position, 0]);
        self.notices.note(now, NodeNotice::LogGoneAtLeader, detail);
    }

    /// Whether clients are owed what may lie in log that is not here: as long as they are, this
    /// member does not stand. Once they are not, nothing that comes is owed of there.
    fn watch_owed<D: Disk>(&mut self, now: Nanos, archive: &ArchiveAgent<D>) {
        if !self.module.lacks_answers() {
            return;
        }
        let below = archive.snapshot_index().lacking_below();
        let is_owed = self.egress_floor.position() < below;
        self.module.set_lacks_answers(is_owed);
        if is_owed {
            let detail = Detail::default().with_values([below, 0, 0, 0]);
            self.notices.note(now, NodeNotice::AnswersMissing, detail);
        }
    }

    fn wanted_copy<D: Disk>(&self, archive: &ArchiveAgent<D>) -> Wanted {
        let index = archive.snapshot_index();
        let newest = index.snapshots().next().map_or(0, |newest| newest.position);
        let is_leading = self.leadership.is_leading();
        let awaited = self.awaited_snapshot.filter(|_| is_leading);
        // It frees room, or lets a leader end: who needs that does not wait for who might take its
        // own.
        let told_for = if archive.is_short() || awaited.is_some() {
            0
        } else {
            self.exchange.copy_after()
        };
        // What is at the very start of the log is of use, too.
        let above = newest.max(index.log_start().position - 1);
        let above = above.max(awaited.unwrap_or(0) - 1);
        Wanted {
            above,
            up_to: self.compared_up_to(archive),
            told_for,
            or_witnessed: is_leading,
        }
    }

    /// Up to here a snapshot can be compared with the log: what is of no other history.
    fn compared_up_to<D: Disk>(&self, archive: &ArchiveAgent<D>) -> Position {
        let applied = self.applier.position().min(self.module.commit());
        applied.min(archive.durable(&self.log))
    }

    /// Compares what others have with what this member has: whoever differs from a majority stops,
    /// and where none is, all that see it say so.
    fn compare_snapshots<D: Disk>(&mut self, now: Nanos, archive: &mut ArchiveAgent<D>) {
        if let Some(position) = self.exchange.doubted() {
            archive.strike_snapshot(position);
        }
        let own = self.facts.member;
        let mut differing = self.exchange.offers.differing(now);
        for offer in self.exchange.own() {
            let position = offer.id.position;
            match self.exchange.offers.compare(now, &offer) {
                Comparison::Alike => {}
                // A wrong copy says nothing of the service here.
                Comparison::Outvoted(member, _) if offer.is_copy => {
                    archive.strike_snapshot(position);
                    differing = Some((position, [own, member]));
                }
                Comparison::Contested(member) => differing = Some((position, [own, member])),
                Comparison::Outvoted(member, other) => {
                    let sides = [(own, offer.id), (member, other)];
                    self.exchange.search.begin(now, sides);
                }
            }
        }
        self.search_section(now);
        if let Some((position, members)) = differing {
            self.note_snapshots_differ(now, position, members);
        }
    }

    /// Asks for what tells in which section its own snapshot is wrong.
    fn search_section(&mut self, now: Nanos) {
        let mut requests = [None; 2];
        for (place, request) in requests.iter_mut().zip(self.exchange.search.requests()) {
            *place = Some(request);
        }
        for (member, request) in requests.into_iter().flatten() {
            if member == self.facts.member {
                self.exchange.serve.on_request(now, member, &request);
            } else {
                let message = SnapshotMessage::Request(request);
                self.send(now, member, MemberMessage::Snapshot(message));
            }
        }
    }

    fn note_snapshots_differ(&mut self, now: Nanos, position: Position, members: [MemberId; 2]) {
        let [one, other] = members.map(i64::from);
        let detail = Detail::default().with_values([position, one, other, 0]);
        self.notices.note(now, NodeNotice::SnapshotsDiffer, detail);
    }
}
