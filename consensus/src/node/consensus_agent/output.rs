//! This member's part in the agreement about its service's output; the rules are in
//! [`output_agreement`](crate::module::output_agreement).

use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND, earliest};

use crate::module::event::Event;
use crate::module::member::MemberId;
use crate::module::output_agreement::{OutputAt, OutputMessage, Verdict};
use crate::node::consensus_agent::ConsensusAgent;
use crate::notice::NodeNotice;
use crate::protocol::message::MemberMessage;

/// Answers that wait for so long for other members' outputs are told: an election is over by
/// then, and a service that keeps up is far faster.
const ANSWERS_PATIENCE_NS: Nanos = SECOND;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// What a follower's service has put out, as its acknowledgement tells. Heard before the
    /// acknowledgement counts, so that no answer is committed by it before it can be judged.
    pub(super) fn hear_output(&mut self, now: Nanos, from: MemberId, message: &MemberMessage) {
        let MemberMessage::AppendPosition { term, output, .. } = *message else {
            return;
        };
        if term == self.leadership.term()
            && let Some(question) = self.agreement.on_report(now, from, output)
        {
            self.send(now, from, MemberMessage::Output(question));
        }
    }

    /// Another member asks about outputs, or answers. A learner is told what it asks, for it may
    /// hold at a Response as any follower does, but its own opinion counts for nothing.
    pub(super) fn on_output_message(
        &mut self,
        now: Nanos,
        from: MemberId,
        is_voter: bool,
        message: &OutputMessage,
    ) {
        match *message {
            OutputMessage::Question { output, response } => {
                if is_voter {
                    self.agreement.on_question(output);
                }
                if let Some(answer) = self.answer_about(output, response) {
                    self.send(now, from, MemberMessage::Output(answer));
                }
            }
            OutputMessage::Answer { .. } if is_voter => {
                self.agreement.on_answer(now, from, message);
            }
            // It was asked with all others, and need not know that it does not count.
            OutputMessage::Answer { .. } => self.notices.tally(NodeNotice::LearnersAnswer),
        }
    }

    /// What this member knows of the entry and the Response in question; nothing as long as it
    /// has not come so far.
    fn answer_about(&self, output: OutputAt, response: i64) -> Option<OutputMessage> {
        let applier = &self.applier;
        let cause = output.position;
        let known = self.agreement.hash_at(cause);
        let hash = known.or_else(|| applier.answers.void().hash_at(cause));
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

    /// Asks and decides what is due.
    pub(in crate::node) fn agree_on_output(&mut self, now: Nanos) -> usize {
        if let Some(held) = self.applier.answers.held() {
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
                    self.on_event(now, event);
                    work += 1;
                }
            }
            Some(Verdict::Majority) => {
                let (hash, is_held) = self.agreement.asked();
                let agreed = self.agreement.in_question().map(|(_, agreed)| agreed);
                self.agreement.close_question();
                if let Some(agreed) = agreed {
                    let outvoted = self.agreement.outvoted();
                    self.exchange.doubt_copies_above(agreed, outvoted);
                }
                self.tell_outvoted(now);
                if is_held && let Err(fault) = self.applier.answers.pass_held(hash) {
                    self.fault = Some(fault);
                }
                work += 1;
            }
            Some(_) => self.tell_contested(now),
            None => {}
        }
        work
    }

    /// Tells the leader what was executed since the last acknowledgement, when that is due: at once
    /// where an answer may wait for it, and all of the log is acknowledged already, so that no
    /// acknowledgement comes that would tell it along.
    pub(in crate::node) fn report_output(&mut self, now: Nanos) {
        let is_all_acknowledged = self.reported_durable >= self.log.append();
        let is_awaited = is_all_acknowledged && !self.facts.is_direct;
        let is_due = |at: Nanos| now >= at || is_awaited;
        if self.report_deadline().is_some_and(is_due) {
            let module = &mut self.module;
            module.repeat_acknowledgement(now, &mut self.actions);
        }
    }

    /// When the leader is to be told what was executed since the last acknowledgement.
    fn report_deadline(&self) -> Option<Nanos> {
        let may_tell = self.module.may_acknowledge();
        self.agreement.report_deadline().filter(|_| may_tell)
    }

    /// Names the members whose output a majority does not have.
    fn tell_outvoted(&mut self, now: Nanos) {
        let outvoted = self.agreement.outvoted();
        let cause = self.agreement.newest().position;
        for member in 0..self.facts.members.len() as MemberId {
            if outvoted >> member & 1 == 1 {
                let detail = Detail::of(member).with_values([cause, 0, 0, 0]);
                self.notices.note(now, NodeNotice::MemberDiverged, detail);
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
        self.notices.note(now, NodeNotice::OutputContested, detail);
    }

    /// Says that answers wait for what other members' services put out, once that is more than a
    /// moment, and that answers left without.
    pub(super) fn watch_answers(&mut self, now: Nanos, is_due: bool) {
        if let Some(awaited) = self.agreement.awaited().filter(|_| is_due) {
            let waited = now - awaited.since;
            if waited > ANSWERS_PATIENCE_NS {
                let missing = i64::from(awaited.missing);
                let values = [awaited.cause, waited / MILLISECOND, missing, 0];
                let detail = Detail::default().with_values(values);
                let kind = NodeNotice::AnswersAwaitOutput;
                self.notices.note(now, kind, detail);
            }
        }
        let unverified = self.agreement.unverified();
        let before = std::mem::replace(&mut self.unverified_told, unverified);
        if unverified > before {
            let cause = self.agreement.newest().position;
            let missing = i64::from(self.agreement.missing(cause));
            let detail = Detail::default().with_values([cause, missing, 0, 0]);
            let kind = NodeNotice::AnswersUnverified;
            let count = unverified - before;
            self.notices.note_many(now, kind, detail, count);
        }
    }

    fn send_output_to_others(&mut self, now: Nanos, message: OutputMessage) {
        let own = self.facts.member;
        let members = self.facts.members.len();
        for member in 0..members as MemberId {
            if member != own {
                self.send(now, member, MemberMessage::Output(message));
            }
        }
    }

    /// When the agreement has something to do by itself.
    pub(super) fn agreement_deadline(&self) -> Option<Nanos> {
        earliest(self.report_deadline(), self.agreement.ask_deadline())
    }
}
