//! A node's part in the agreement about its service's output; the rules are in
//! [`output_agreement`](crate::output_agreement).

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, earliest};

use super::cluster_node::ClusterNode;
use crate::event::Event;
use crate::member::MemberId;
use crate::message::MemberMessage;
use crate::notice::NodeNotice;
use crate::output_agreement::{OutputAt, OutputMessage, Verdict};

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Another member says something about its output.
    pub(super) fn on_output_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        message: &OutputMessage,
    ) {
        match *message {
            OutputMessage::Report(report) => {
                if self.parts.leadership.is_leading()
                    && let Some(question) = self.agreement.on_report(now, from, report)
                {
                    self.send(now, from, MemberMessage::Output(question));
                }
            }
            OutputMessage::Question { output, response } => {
                self.agreement.on_question(output);
                if let Some(answer) = self.answer_about(output, response) {
                    self.send(now, from, MemberMessage::Output(answer));
                }
            }
            OutputMessage::Answer { .. } => self.agreement.on_answer(now, from, message),
        }
    }

    /// What this member knows of the entry and the Response in question; nothing as long as it
    /// has not come so far.
    fn answer_about(&self, output: OutputAt, response: i64) -> Option<OutputMessage> {
        let applier = &self.parts.applier;
        let cause = output.position;
        let known = self.agreement.hash_at(cause);
        let hash = known.or_else(|| applier.void_responses().hash_at(cause));
        let matches = (response > 0)
            .then(|| applier.has_matched(response))
            .flatten();
        if hash.is_none() && matches.is_none() {
            return None;
        }
        Some(OutputMessage::Answer {
            cause,
            response,
            hash,
            matches,
        })
    }

    /// Asks, decides and reports what is due.
    pub(super) fn agree_on_output(&mut self, now: Nanos) -> usize {
        if let Some(held) = self.parts.applier.held() {
            self.agreement.hold(held.cause, held.position);
        }
        let mut work = 0;
        if let Some(question) = self.agreement.poll_question(now) {
            self.send_output_to_others(now, question);
            work += 1;
        }
        let is_searching = self.agreement.is_searching();
        match self.agreement.verdict() {
            Some(verdict) if is_searching || verdict == Verdict::Minority => {
                if let Some((cause, agreed)) = self.agreement.narrow(now) {
                    let event = Event::Diverged { cause, agreed };
                    self.parts.module.on_event(now, event, &mut self.actions);
                    self.carry_out(now);
                    work += 1;
                }
            }
            Some(Verdict::Majority) => {
                let (hash, is_held) = self.agreement.asked();
                self.agreement.close_question();
                self.tell_outvoted(now);
                if is_held && let Err(fault) = self.parts.applier.pass_held(hash) {
                    self.fault = Some(fault);
                }
                work += 1;
            }
            Some(_) => self.tell_contested(now),
            None => {}
        }
        if self.agreement.report_deadline().is_some_and(|at| now >= at) {
            work += self.report_output(now);
        }
        work
    }

    /// Tells the leader this member follows what it has executed, if that is news.
    pub(super) fn report_output(&mut self, now: Nanos) -> usize {
        let parts = &self.parts;
        let leader = parts.module.leader().filter(|_| parts.module.is_placing());
        let Some(leader) = leader else { return 0 };
        let Some(report) = self.agreement.poll_report(now) else {
            return 0;
        };
        self.send(now, leader, MemberMessage::Output(report));
        1
    }

    /// Names the members whose output a majority does not have.
    fn tell_outvoted(&mut self, now: Nanos) {
        let outvoted = self.agreement.outvoted();
        let cause = self.agreement.newest().position;
        for member in 0..self.parts.identity.members.len() as MemberId {
            if outvoted >> member & 1 == 1 {
                let detail = Detail::of(member).with_values([cause, 0, 0, 0]);
                self.parts
                    .notices
                    .note(now, NodeNotice::MemberDiverged, detail);
            }
        }
    }

    /// Says that answers wait, once that is more than a moment.
    fn tell_contested(&mut self, now: Nanos) {
        if !self.agreement.is_contested(now) {
            return;
        }
        let (cause, agreed) = self.agreement.in_question().unwrap_or((0, 0));
        let detail = Detail::default().with_values([cause, agreed, 0, 0]);
        self.parts
            .notices
            .note(now, NodeNotice::OutputContested, detail);
    }

    fn send_output_to_others(&mut self, now: Nanos, message: OutputMessage) {
        let own = self.parts.identity.member;
        let members = self.parts.identity.members.len();
        for member in 0..members as MemberId {
            if member != own {
                self.send(now, member, MemberMessage::Output(message));
            }
        }
    }

    /// When the agreement has something to do by itself.
    pub(super) fn agreement_deadline(&self) -> Option<Nanos> {
        let is_following = self.parts.module.is_placing();
        let report = self.agreement.report_deadline().filter(|_| is_following);
        earliest(report, self.agreement.ask_deadline())
    }
}
