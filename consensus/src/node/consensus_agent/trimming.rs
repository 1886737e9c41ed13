//! How much of the log is kept (`log.md` 8.6): what no snapshot stands for, what clients are owed,
//! and what other members still lack.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::SessionId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::apply::service_agent::ServiceAgent;
use crate::log::archive_agent::ArchiveAgent;
use crate::log::entry_body::CloseReason;
use crate::node::consensus_agent::{ConsensusAgent, Room};
use crate::notice::NodeNotice;

/// Sessions that one call closes at most: each takes an entry and what its service says of it.
const CLOSES_PER_CALL: usize = 16;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Lets go of log that is needed no more; called at the housekeeping interval.
    pub(in crate::node) fn tend_log_start<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
        service: &ServiceAgent<S>,
    ) {
        self.look_at_sessions(now, Room { archive, service });
        archive.share_room();
        let Some(covered) = archive.covered_below() else {
            return;
        };
        let kept_from = if archive.is_short() {
            Position::MAX
        } else {
            self.kept_for_others_from(now)
        };
        let below = covered.min(self.egress_floor.position()).min(kept_from);
        archive.trim_below(below, &self.log);
    }

    /// From here on the log is kept for other members: a leader has what those lack that it hears,
    /// and who follows one has all that it has, for those whom it may lead next.
    fn kept_for_others_from(&self, now: Nanos) -> Position {
        let own = self.facts.member;
        match self.module.leader() {
            _ if self.facts.members.len() == 1 => Position::MAX,
            Some(leader) if leader == own => self.module.followed_by_all(now),
            Some(leader) => self.exchange.offers.log_start(now, leader).unwrap_or(0),
            None => 0,
        }
    }

    /// Looks at what some of the sessions are owed, and closes those whose clients have left
    /// answers for so long that the log cannot be kept for them.
    fn look_at_sessions<D: Disk, S: ClusteredService>(&mut self, now: Nanos, room: Room<'_, D, S>) {
        let may_close = self.leadership.is_open() && room.service.takes_snapshots();
        let kept_from = if may_close {
            let retained = self.log.append() - self.facts.egress_retention;
            retained.max(self.log.start())
        } else {
            Position::MIN
        };
        let (mut holders, mut count) = ([(SessionId::NONE, 0); CLOSES_PER_CALL], 0);
        let known = (self.applier.sessions(), self.applier.position());
        self.egress_floor.look(known, kept_from, |id, from| {
            // Who finds no place here is met again when its turn comes.
            if let Some(place) = holders.get_mut(count) {
                *place = (id, from);
                count += 1;
            }
        });
        for holder in &holders[..count] {
            self.close_holder(now, room, *holder);
        }
    }

    fn close_holder<D: Disk, S: ClusteredService>(
        &mut self,
        now: Nanos,
        room: Room<'_, D, S>,
        (id, from): (SessionId, Position),
    ) {
        let Some(row) = self.leadership.sessions.find(id) else {
            return;
        };
        let known = self.leadership.sessions.at(row);
        if known.is_none_or(|known| known.is_closing) {
            return;
        }
        let context = self.append_context(now, room.archive);
        if !self.append_close(&context, room, row, CloseReason::Retention) {
            return;
        }
        sometimes(Mark::RetentionClose);
        let values = [id.get(), from, self.log.append() - from, 0];
        let detail = Detail::default().with_values(values);
        self.notices.note(now, NodeNotice::SessionHeldLog, detail);
    }
}
