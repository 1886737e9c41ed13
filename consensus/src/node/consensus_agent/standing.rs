//! A member's own place in the cluster: hellos, what it writes down of others, and keeping the
//! consensus module in step with who counts.

use lockstep_archive::disk::Disk;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, SECOND};

use crate::log::archive_agent::ArchiveAgent;
use crate::module::formation::DirectoryId;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::module::membership::{
    Admitted, Forfeit, Hello, HelloOutcome, Refusal, Sender, Standing,
};
use crate::node::consensus_agent::ConsensusAgent;
use crate::node::consensus_agent::sightings::PATIENCE_NS;
use crate::node::consensus_agent::standing_watch::StandingWatch;
use crate::notice::NodeNotice;
use crate::protocol::message::MemberMessage;

/// Interval at which it is noted again that this member does not count.
const STANDING_REMINDER_NS: Nanos = SECOND;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// A member says who it is.
    pub(super) fn on_hello(&mut self, now: Nanos, from: MemberId, sender: &Sender, hello: &Hello) {
        match self.membership.on_hello(now, from, sender, hello) {
            Ok(HelloOutcome::Heard(admitted)) => self.note_admitted(now, from, sender, admitted),
            Ok(HelloOutcome::Renamed) => {
                let detail = Detail::of(from);
                let notices = &mut self.notices;
                notices.note(now, NodeNotice::DirectoryOutlived, detail);
            }
            Err(refusal) => self.note_refusal(now, from, sender, refusal),
        }
    }

    pub(super) fn note_admitted(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        admitted: Admitted,
    ) {
        let is_formed = self.membership.standing() != Standing::Forming;
        if admitted.is_new && is_formed && !admitted.is_voter {
            let record = self.membership.record();
            let named = record.directories[usize::from(from)];
            let detail = Detail::of(from).with_values(halves(sender.directory, named));
            self.notices.note(now, NodeNotice::MemberIsLearner, detail);
        }
    }

    pub(super) fn note_refusal(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        refusal: Refusal,
    ) {
        let own = self.membership.record().cluster;
        let detail = Detail::of(from).with_values(halves(sender.cluster, own));
        match refusal {
            Refusal::OtherUuid => self.notices.note(now, NodeNotice::OtherUuid, detail),
            Refusal::Twin => self
                .notices
                .note(now, NodeNotice::DirectoryLivesTwice, detail),
            // The member itself is told by the answer, and says so.
            Refusal::Outlived => self.notices.tally(NodeNotice::MessageOutlived),
            Refusal::Unannounced => self.notices.tally(NodeNotice::MessageUnannounced),
            Refusal::NotFormed => self.notices.tally(NodeNotice::MessageBeforeFormation),
        }
    }

    /// Writes down what is to be remembered, says the hellos that are due, and tells the module
    /// what this member may do.
    pub(in crate::node) fn tend_membership<D: Disk>(
        &mut self,
        now: Nanos,
        archive: &mut ArchiveAgent<D>,
    ) -> usize {
        let mut work = 0;
        if let Some((directory, notes)) = self.membership.wanted(now)
            && archive.persist_identity(now, directory, &notes.encode())
        {
            self.membership.begin_write(directory, &notes);
            work += 1;
        }
        let due = self.membership.take_due(now);
        for to in (0..MEMBERS_MAX as MemberId).filter(|to| due >> to & 1 == 1) {
            let hello = self.membership.hello_for(to);
            self.send(now, to, MemberMessage::Hello(hello));
            work += 1;
        }
        let standing = self.membership.standing();
        if self.standing_watch.standing != Some(standing) {
            self.standing_watch = StandingWatch {
                standing: Some(standing),
                since: now,
                next_reminder: now,
            };
            self.agreement.set_voter(standing != Standing::Learner);
            if standing != Standing::Forming {
                self.module.set_standing(now, standing, &mut self.actions);
            }
            work += 1;
        }
        if now >= self.standing_watch.next_reminder {
            self.standing_watch.next_reminder = now + STANDING_REMINDER_NS;
            self.watch_standing(now, standing);
        }
        work
    }

    /// Notes what keeps this member from counting, as long as it lasts.
    fn watch_standing(&mut self, now: Nanos, standing: Standing) {
        let has_waited = now - self.standing_watch.since >= PATIENCE_NS;
        let own = self.facts.member;
        let membership = &self.membership;
        let awaited = Detail::of(own).with_values([i64::from(membership.awaited()), 0, 0, 0]);
        if std::mem::take(&mut self.is_copy) {
            let kind = NodeNotice::DirectoryIsCopy;
            self.notices.note(now, kind, Detail::of(own));
        }
        match standing {
            Standing::Forming if has_waited => {
                self.notices.note(now, NodeNotice::FormationWaits, awaited);
            }
            Standing::Returning if has_waited => {
                self.notices.note(now, NodeNotice::ReturnWaits, awaited);
            }
            Standing::Learner => self.note_learner(now),
            Standing::Forming | Standing::Returning | Standing::Voter => {}
        }
        self.watch_majority(now);
    }

    /// Why this member is a learner.
    fn note_learner(&mut self, now: Nanos) {
        let own = self.facts.member;
        let membership = &self.membership;
        let named = membership.record().directories[usize::from(own)];
        let (kind, values) = match membership.forfeit() {
            None => {
                let values = halves(membership.sender().directory, named);
                (NodeNotice::IsLearner, values)
            }
            Some(Forfeit::UnsyncedLog) => (NodeNotice::UnsyncedLogLost, [0; 4]),
            Some(Forfeit::LogMemory) => (NodeNotice::LogMemoryLost, [0; 4]),
            Some(Forfeit::NodeState) => (NodeNotice::PromisesLost, [0; 4]),
            Some(Forfeit::AckMark) => (NodeNotice::PromisesLost, [1, 0, 0, 0]),
        };
        let detail = Detail::of(own).with_values(values);
        self.notices.note(now, kind, detail);
    }

    /// Nobody can be elected any more, however many members are started.
    fn watch_majority(&mut self, now: Nanos) {
        if self.membership.is_majority_gone() && self.module.heard_leader(now).is_none() {
            let values = [i64::from(self.membership.voiceless()), 0, 0, 0];
            let detail = Detail::of(self.facts.member).with_values(values);
            self.notices.note(now, NodeNotice::MajorityGone, detail);
        }
    }

    /// When the membership has something to do next.
    pub(super) fn membership_deadline(&self) -> Nanos {
        let membership = &self.membership;
        let reminder = match self.standing_watch.standing {
            Some(Standing::Voter) => Nanos::MAX,
            _ => self.standing_watch.next_reminder,
        };
        membership.next_deadline().min(reminder)
    }
}

/// Two ids as the numbers of a notice, upper half first.
fn halves(first: DirectoryId, second: DirectoryId) -> [i64; 4] {
    [
        (first >> 64) as i64,
        first as i64,
        (second >> 64) as i64,
        second as i64,
    ]
}
