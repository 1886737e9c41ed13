//! The duties a node has towards its own place in the cluster: hellos, what it writes down of
//! others, and keeping the consensus module in step with who counts.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, SECOND};

use crate::module::event::Event;
use crate::module::formation::DirectoryId;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::module::membership::{
    Admitted, Forfeit, Hello, HelloOutcome, Refusal, Sender, Standing,
};
use crate::node::cluster_node::ClusterNode;
use crate::node::standing_watch::StandingWatch;
use crate::notice::NodeNotice;
use crate::protocol::message::MemberMessage;

/// What is waited for so long is told: longer than a healthy cluster takes to form.
const PATIENCE_NS: Nanos = 2 * SECOND;

/// Interval at which what lasts is noted again.
const REMINDER_NS: Nanos = SECOND;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Whether the consensus module takes part: not before the cluster has formed.
    pub(super) fn is_in_cluster(&self) -> bool {
        self.parts.membership.standing() != Standing::Forming
    }

    /// A message of a member that is what its envelope says.
    pub(super) fn on_signed_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        message: MemberMessage,
    ) {
        if let MemberMessage::Hello(hello) = message {
            self.on_hello(now, from, sender, &hello);
            return;
        }
        match self.parts.membership.admit(now, from, sender) {
            Ok(admitted) => {
                self.note_admitted(now, from, sender, admitted);
                if let MemberMessage::Output(message) = &message {
                    self.on_output_message(now, from, admitted.is_voter, message);
                    return;
                }
                if admitted.is_voter {
                    self.hear_output(now, from, &message);
                }
                let parts = &mut self.parts;
                if admitted.is_voter {
                    parts.membership.note_promise(now, from, &message);
                }
                parts.module.set_voter(from, admitted.is_voter);
                let event = Event::Message {
                    from,
                    incarnation: admitted.life,
                    message,
                };
                parts.module.on_event(now, event, &mut self.actions);
                self.note_joined_end(from, &message);
                self.carry_out(now);
            }
            Err(refusal) => self.note_refusal(now, from, sender, refusal),
        }
    }

    /// Only the leader that is followed says where its log ended when it was joined.
    fn note_joined_end(&mut self, from: MemberId, message: &MemberMessage) {
        if let MemberMessage::JoinReply { end, .. } = *message
            && self.parts.module.leader() == Some(from)
        {
            self.joined_end = end;
        }
    }

    fn on_hello(&mut self, now: Nanos, from: MemberId, sender: &Sender, hello: &Hello) {
        match self.parts.membership.on_hello(now, from, sender, hello) {
            Ok(HelloOutcome::Heard(admitted)) => self.note_admitted(now, from, sender, admitted),
            Ok(HelloOutcome::Renamed) => {
                let detail = Detail::of(from);
                let notices = &mut self.parts.notices;
                notices.note(now, NodeNotice::DirectoryOutlived, detail);
            }
            Err(refusal) => self.note_refusal(now, from, sender, refusal),
        }
    }

    fn note_admitted(&mut self, now: Nanos, from: MemberId, sender: &Sender, admitted: Admitted) {
        let parts = &mut self.parts;
        let is_formed = parts.membership.standing() != Standing::Forming;
        if admitted.is_new && is_formed && !admitted.is_voter {
            let record = parts.membership.record();
            let named = record.directories[usize::from(from)];
            let detail = Detail::of(from).with_values(halves(sender.directory, named));
            parts.notices.note(now, NodeNotice::MemberIsLearner, detail);
        }
    }

    fn note_refusal(&mut self, now: Nanos, from: MemberId, sender: &Sender, refusal: Refusal) {
        let parts = &mut self.parts;
        let own = parts.membership.record().cluster;
        let detail = Detail::of(from).with_values(halves(sender.cluster, own));
        match refusal {
            Refusal::OtherUuid => parts.notices.note(now, NodeNotice::OtherUuid, detail),
            Refusal::Twin => parts
                .notices
                .note(now, NodeNotice::DirectoryLivesTwice, detail),
            // The member itself is told by the answer, and says so.
            Refusal::Outlived => parts.notices.tally(NodeNotice::MessageOutlived),
            Refusal::Unannounced => parts.notices.tally(NodeNotice::MessageUnannounced),
            Refusal::NotFormed => parts.notices.tally(NodeNotice::MessageBeforeFormation),
        }
    }

    /// Writes down what is to be remembered, says the hellos that are due, and tells the module
    /// what this member may do.
    pub(super) fn tend_membership(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        if let Some((directory, notes)) = self.parts.membership.wanted(now) {
            let parts = &mut self.parts;
            if parts
                .archive
                .persist_identity(now, directory, &notes.encode())
            {
                parts.membership.begin_write(directory, &notes);
                work += 1;
            }
        }
        let due = self.parts.membership.take_due(now);
        for to in (0..MEMBERS_MAX as MemberId).filter(|to| due >> to & 1 == 1) {
            let hello = self.parts.membership.hello_for(to);
            self.send(now, to, MemberMessage::Hello(hello));
            work += 1;
        }
        let standing = self.parts.membership.standing();
        if self.standing_watch.standing != Some(standing) {
            self.standing_watch = StandingWatch {
                standing: Some(standing),
                since: now,
                next_reminder: now,
            };
            self.agreement.set_voter(standing != Standing::Learner);
            if standing != Standing::Forming {
                let parts = &mut self.parts;
                parts.module.set_standing(now, standing, &mut self.actions);
                self.carry_out(now);
            }
            work += 1;
        }
        if now >= self.standing_watch.next_reminder {
            self.standing_watch.next_reminder = now + REMINDER_NS;
            self.watch_standing(now, standing);
        }
        work
    }

    /// Notes what keeps this member from counting, as long as it lasts.
    fn watch_standing(&mut self, now: Nanos, standing: Standing) {
        let has_waited = now - self.standing_watch.since >= PATIENCE_NS;
        let parts = &mut self.parts;
        let own = parts.identity.member;
        let membership = &parts.membership;
        let awaited = Detail::of(own).with_values([i64::from(membership.awaited()), 0, 0, 0]);
        if std::mem::take(&mut parts.is_copy) {
            let kind = NodeNotice::DirectoryIsCopy;
            parts.notices.note(now, kind, Detail::of(own));
        }
        match standing {
            Standing::Forming if has_waited => {
                parts.notices.note(now, NodeNotice::FormationWaits, awaited);
            }
            Standing::Returning if has_waited => {
                parts.notices.note(now, NodeNotice::ReturnWaits, awaited);
            }
            Standing::Learner => self.note_learner(now),
            Standing::Forming | Standing::Returning | Standing::Voter => {}
        }
        self.watch_majority(now);
    }

    /// Why this member is a learner.
    fn note_learner(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        let own = parts.identity.member;
        let membership = &parts.membership;
        let named = membership.record().directories[usize::from(own)];
        let (kind, values) = match membership.forfeit() {
            None => {
                let values = halves(membership.sender().directory, named);
                (NodeNotice::IsLearner, values)
            }
            Some(Forfeit::UnsyncedLog) => (NodeNotice::UnsyncedLogLost, [0; 4]),
            Some(Forfeit::NodeState) => (NodeNotice::PromisesLost, [0; 4]),
            Some(Forfeit::AckMark) => (NodeNotice::PromisesLost, [1, 0, 0, 0]),
        };
        let detail = Detail::of(own).with_values(values);
        parts.notices.note(now, kind, detail);
    }

    /// Nobody can be elected any more, however many members are started.
    fn watch_majority(&mut self, now: Nanos) {
        let parts = &mut self.parts;
        if parts.membership.is_majority_gone() && parts.module.heard_leader(now).is_none() {
            let values = [i64::from(parts.membership.voiceless()), 0, 0, 0];
            let detail = Detail::of(parts.identity.member).with_values(values);
            parts.notices.note(now, NodeNotice::MajorityGone, detail);
        }
    }

    /// When the membership has something to do next.
    pub(super) fn membership_deadline(&self) -> Nanos {
        let membership = &self.parts.membership;
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
