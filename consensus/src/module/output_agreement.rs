//! Do the members' services agree? Reports, questions and answers (`log.md` 5.8).
//!
//! A service's output is summed up by one hash over everything it ever emitted: two members
//! that executed the same log up to the same entry have the same hash there, or one of them has
//! *diverged*. No acknowledgement waits for any of this; delivery of answers does.
//!
//! - **Report** (follower → leader, in each AppendPosition): the newest entry executed and the hash
//!   there. The leader remembers its own last `HISTORY_MAX` hashes and compares.
//! - **Question** (anybody → all, repeated until decided): my hash at this entry; with a
//!   response's position when a Response in the log is not what my own service said. It is asked
//!   by a leader whose follower reports another hash, by a member whose own hash is not that of a
//!   question, and by a member that *holds*: it applies nothing from such a Response on.
//! - **Answer**: the hash there, and whether that Response was what the answering member's own
//!   service said. A member that has not come so far yet does not answer.
//!
//! Each member decides for itself, over the whole number of members:
//!
//! | those that answered alike | then |
//! |---|---|
//! | a majority, this member among them | it goes on; the Response it holds at is *void* |
//! | a majority without it | it stops, a leader abdicates first; the fault names the entry |
//! | no majority possible | all stay as they are; the leader's ingress is closed |
//! | nothing yet | they wait: a leader hands no answer over meanwhile |
//!
//! A void Response is passed over: the effect it names stays in the outbox and is appended again
//! by the next leader, so the client gets the majority's answer, once. All later Responses of
//! that leadership term are void with it. Nothing of this is stored beside the log: a restarted
//! member meets the same Response again, or a second one for a name it had taken for answered,
//! holds there and asks, and whoever has applied that position knows for ever whether it was
//! void.
//!
//! What is promised with replicated responses: an answer leaves the leader only when a majority,
//! itself included, has the same output up to its cause, as long as enough followers for one keep
//! up with executing; one that replays a long log, or is not heard, is not waited for, and what
//! leaves without is counted. It costs no round trip: a follower learns the commit of a request
//! from its Response, executes it, and reports in the very acknowledgement that commits the
//! Response. With direct responses an answer leaves at once: only answers after the first
//! contradicting report are held.
//! Owned by the node's agent. Pure.

mod history;
mod question;
mod report;

use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use self::history::OutputHistory;
use self::question::{ASK_INTERVAL_NS, Opinion, Question};
use crate::module::member::{MEMBERS_MAX, MemberId};

pub(crate) use self::history::HISTORY_MAX;
pub(crate) use self::question::Verdict;
pub use self::report::{OutputAt, OutputMessage};

/// How long a member in the minority looks for the entry at which it diverged.
const SEARCH_TIME_NS: Nanos = 200 * MILLISECOND;

/// What was executed after the last acknowledgement is told by repeating that after so long, unless
/// the next one tells it before.
const REPORT_DELAY_NS: Nanos = MILLISECOND;

/// A member in the minority looks for the first entry it answered otherwise.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// Equal up to here.
    agreed: Position,
    /// Known to differ here.
    differs: Position,
    until: Nanos,
}

/// What a leader knows of a follower's output.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Greatest position up to which it was the same as here.
    agreed: Position,
    /// A report from beyond what was executed here.
    ahead: Option<OutputAt>,
    /// When it last reported something that could be compared.
    current: Option<Nanos>,
    /// It differs, and a majority does not.
    is_outvoted: bool,
    /// Where it was last asked about its output because of a report, and when.
    asked: Option<(Position, Nanos)>,
}

impl Peer {
    /// Whether to ask it about the entry at `position`, once per interval: reports come with
    /// every acknowledgement.
    fn is_to_be_asked(&mut self, now: Nanos, position: Position) -> bool {
        let is_asked = self
            .asked
            .is_some_and(|(at, when)| at == position && now - when < ASK_INTERVAL_NS);
        if !is_asked {
            self.asked = Some((position, now));
        }
        !is_asked
    }
}

/// An answer that waits for followers to have executed its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AwaitedOutput {
    /// The entry it answers.
    pub cause: Position,
    /// Since when it waits.
    pub since: Nanos,
    /// Members that are not known to have the same output there, one bit each.
    pub missing: u8,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct OutputAgreement {
    own: MemberId,
    /// Whether this member's own opinion counts.
    is_voter: bool,
    members: usize,
    /// How long a follower that was heard counts as one that will report.
    patience_ns: Nanos,
    history: OutputHistory,
    newest_at: Nanos,
    /// The newest entry that an acknowledgement told.
    reported: Option<Position>,
    peers: [Peer; MEMBERS_MAX],
    question: Option<Question>,
    search: Option<Search>,
    /// The entry whose answer waits for followers, and since when.
    awaited: Option<(Position, Nanos)>,
    waited: u64,
    unverified: u64,
    #[cfg(feature = "sim")]
    compares_nothing: bool,
}

impl OutputAgreement {
    /// Of a member that has executed nothing; `patience_ns` is the election timeout.
    #[must_use]
    pub fn new(own: MemberId, members: usize, patience_ns: Nanos) -> Self {
        Self {
            own,
            is_voter: true,
            members,
            patience_ns,
            history: OutputHistory::new(),
            newest_at: 0,
            reported: None,
            peers: [Peer::default(); MEMBERS_MAX],
            question: None,
            search: None,
            awaited: None,
            waited: 0,
            unverified: 0,
            #[cfg(feature = "sim")]
            compares_nothing: false,
        }
    }

    /// This member begins at a snapshot that remembers these `outputs`, oldest first: told and
    /// compared as if they had come of what was executed here. Others are not remembered.
    ///
    /// # Panics
    /// When something was executed here.
    pub fn begin_at(&mut self, outputs: &[OutputAt]) {
        assert!(self.newest() == OutputAt::default(), "begun twice");
        for output in outputs {
            self.history.record(*output);
        }
    }

    /// What a snapshot is to remember where the effects of the entry at `waiting` are the oldest
    /// that wait, or none do: a Response to one of these may still be held.
    pub fn remembered(&self, waiting: Option<Position>) -> impl ExactSizeIterator<Item = OutputAt> {
        self.history.since(waiting.unwrap_or(Position::MAX))
    }

    /// Breaks `log.md` 5.8 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub const fn compare_nothing(&mut self) {
        self.compares_nothing = true;
    }

    /// Whether this member's directory counts; until told otherwise it does.
    pub const fn set_voter(&mut self, is_voter: bool) {
        self.is_voter = is_voter;
    }

    const fn quorum(&self) -> usize {
        self.members / 2 + 1
    }

    /// The newest entry executed.
    #[must_use]
    pub fn newest(&self) -> OutputAt {
        self.history.newest()
    }

    /// This member's hash at an entry that it executed not too long ago.
    #[must_use]
    pub fn hash_at(&self, position: Position) -> Option<u64> {
        self.history.hash_at(position)
    }

    /// The entry at `output.position` was executed here.
    pub fn record(&mut self, now: Nanos, output: OutputAt) {
        self.history.record(output);
        self.newest_at = now;
        for index in 0..self.members {
            let ahead = self.peers[index].ahead;
            if let Some(report) = ahead.filter(|report| report.position <= output.position) {
                self.peers[index].ahead = None;
                self.compare(now, index, report);
            }
        }
    }

    /// A new leadership: what followers reported to another leader counts no more.
    pub fn begin_term(&mut self) {
        self.peers = [Peer::default(); MEMBERS_MAX];
        self.reported = None;
        self.awaited = None;
    }

    /// `from` reports its newest output. Returns what to ask it: for an older output, when it
    /// has come further than this member, which may be waiting for just that; and when it is
    /// known to be outvoted, so that it finds out by itself.
    pub fn on_report(
        &mut self,
        now: Nanos,
        from: MemberId,
        report: OutputAt,
    ) -> Option<OutputMessage> {
        let index = usize::from(from);
        if index >= self.members {
            return None;
        }
        let newest = self.newest();
        if report.position > newest.position {
            let peer = &mut self.peers[index];
            peer.ahead = Some(report);
            peer.current = Some(now);
            let is_lacking = peer.agreed < newest.position;
            let is_asked = is_lacking && peer.is_to_be_asked(now, newest.position);
            return is_asked.then_some(OutputMessage::Question {
                output: newest,
                response: 0,
            });
        }
        self.compare(now, index, report);
        let hash = self.hash_at(report.position)?;
        let peer = &mut self.peers[index];
        let is_wrong = peer.is_outvoted && hash != report.hash;
        let is_asked = is_wrong && peer.is_to_be_asked(now, report.position);
        is_asked.then_some(OutputMessage::Question {
            output: OutputAt { hash, ..report },
            response: 0,
        })
    }

    fn compare(&mut self, now: Nanos, index: usize, report: OutputAt) {
        let Some(own) = self.hash_at(report.position) else {
            self.peers[index].current = None;
            return;
        };
        #[cfg(feature = "sim")]
        let own = if self.compares_nothing {
            report.hash
        } else {
            own
        };
        let peer = &mut self.peers[index];
        if own == report.hash {
            peer.agreed = peer.agreed.max(report.position);
            peer.current = Some(now);
            peer.is_outvoted = false;
        } else {
            peer.current = None;
            if report.position <= peer.agreed {
                // It was restarted, and does not do what it did.
                peer.agreed = 0;
            }
            if !peer.is_outvoted {
                self.ask_about_newest();
            }
        }
    }

    /// Somebody's output differs: everything up to here is put to the question.
    fn ask_about_newest(&mut self) {
        let output = self.newest();
        self.ask(output, 0);
    }

    /// This member holds at the Response at `response`, an answer to the entry `cause` that is
    /// not what its own service said. Nothing changes if it already asks about it.
    pub fn hold(&mut self, cause: Position, response: Position) {
        let is_asked = |question: &Question| question.response == response;
        if self.is_searching() || self.question.as_ref().is_some_and(is_asked) {
            return;
        }
        // Of an entry it does not remember a member's own hash is unlike everybody's. Those whose
        // effects wait are remembered, over a start from a snapshot too.
        let hash = self.hash_at(cause).unwrap_or(0);
        let output = OutputAt {
            position: cause,
            hash,
        };
        self.question = None;
        self.ask(output, response);
    }

    fn ask(&mut self, output: OutputAt, response: Position) {
        if self.question.is_some() {
            return;
        }
        let voter = self.is_voter.then_some(self.own);
        self.question = Some(Question::new(output, response, voter));
    }

    /// Another member asks about its output; one that differs from this member's is a question
    /// of this member's too.
    pub fn on_question(&mut self, output: OutputAt) {
        let own = self.hash_at(output.position);
        #[cfg(feature = "sim")]
        let own = own.filter(|_| !self.compares_nothing);
        if own.is_some_and(|own| own != output.hash) {
            self.ask_about_newest();
        }
    }

    /// `from` answers: what it says of its hash is as good as a report.
    pub fn on_answer(&mut self, now: Nanos, from: MemberId, answer: &OutputMessage) {
        let OutputMessage::Answer {
            cause,
            response,
            hash,
            matches,
        } = *answer
        else {
            return;
        };
        let index = usize::from(from);
        let is_other = index < self.members && from != self.own;
        if let Some(question) = self.question.as_mut().filter(|_| is_other)
            && question.output.position == cause
            && question.response == response
        {
            question.opinions[index] = Opinion { hash, matches };
        } else if let Some(hash) = hash.filter(|_| is_other && cause <= self.newest().position) {
            let position = cause;
            self.compare(now, index, OutputAt { position, hash });
        }
    }

    /// The question to be sent to everybody now.
    pub fn poll_question(&mut self, now: Nanos) -> Option<OutputMessage> {
        self.question.as_mut()?.poll(now)
    }

    /// How the question stands; `None` when there is none.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let question = self.question.as_ref()?;
        Some(question.verdict(self.members, self.quorum()))
    }

    /// The entry in question, and up to where the outputs were last known to be equal.
    #[must_use]
    pub fn in_question(&self) -> Option<(Position, Position)> {
        let cause = self.question.as_ref()?.output.position;
        let peers = self.peers[..self.members].iter();
        let agreed = peers.map(|peer| peer.agreed).filter(|p| *p < cause).max();
        Some((cause, agreed.unwrap_or(0)))
    }

    /// This member's hash in the question, and whether it is about a Response it holds at.
    #[must_use]
    pub fn asked(&self) -> (u64, bool) {
        let asked = |question: &Question| (question.output.hash, question.response > 0);
        self.question.as_ref().map_or((0, false), asked)
    }

    /// A majority has another output than this member, or the entry in between that was asked
    /// about says no more. Asks about earlier entries until the first that was answered
    /// otherwise is known, or no answer comes: then it is returned, with the last entry up to
    /// which the outputs were equal.
    pub fn narrow(&mut self, now: Nanos) -> Option<(Position, Position)> {
        let verdict = self.verdict()?;
        let (asked, agreed) = self.in_question()?;
        let search = self.search.get_or_insert(Search {
            agreed,
            differs: asked,
            until: now + SEARCH_TIME_NS,
        });
        match verdict {
            Verdict::Minority => search.differs = search.differs.min(asked),
            Verdict::Majority => search.agreed = search.agreed.max(asked),
            Verdict::Undecided | Verdict::NoMajority => {
                return (now >= search.until).then_some((search.differs, search.agreed));
            }
        }
        let Search {
            agreed, differs, ..
        } = *search;
        // What was executed between the two may have been the first.
        let (low, high) = (self.history.place(agreed), self.history.place(differs - 1));
        if high <= low {
            return Some((differs, agreed));
        }
        let middle = low + (high - low) / 2;
        self.question = None;
        self.ask(self.history.at(middle), 0);
        None
    }

    /// Whether this member is in the minority and looks for where that began.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The question is decided in this member's favour: those that differ are outvoted.
    pub fn close_question(&mut self) {
        let Some(question) = self.question.take() else {
            return;
        };
        for index in 0..self.members {
            let opinion = question.opinions[index].hash;
            if opinion.is_some_and(|hash| hash != question.output.hash) {
                self.peers[index].is_outvoted = true;
            }
        }
    }

    /// Members that differ from a majority, as far as known: bit m for member m.
    #[must_use]
    pub fn outvoted(&self) -> u8 {
        let peers = self.peers[..self.members].iter().enumerate();
        peers.fold(0, |mask, (m, peer)| mask | u8::from(peer.is_outvoted) << m)
    }

    /// Whether clients must be refused: it is not known whose answers are right, and not only
    /// for a moment.
    #[must_use]
    pub fn is_contested(&self, now: Nanos) -> bool {
        let opened = self.question.and_then(|question| question.opened);
        match self.verdict() {
            Some(Verdict::NoMajority) => true,
            Some(Verdict::Undecided) => {
                opened.is_some_and(|opened| now - opened > self.patience_ns)
            }
            _ => false,
        }
    }

    /// Whether a question waits for its answers.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.question.is_some()
    }

    /// Leader: whether answers to the entry at `cause` may be handed to clients.
    pub fn may_deliver(&mut self, now: Nanos, cause: Position) -> bool {
        let agreed = self.others().filter(|(_, peer)| peer.agreed >= cause);
        if agreed.count() + 1 >= self.quorum() {
            self.awaited = None;
            return true;
        }
        if self.question.is_some() {
            self.awaited = None;
            return false;
        }
        let is_current = |peer: &Peer| {
            let heard = peer.current;
            heard.is_some_and(|heard| now - heard < self.patience_ns)
        };
        let current = self.others().filter(|(_, peer)| is_current(peer));
        let is_waiting = current.count() + 1 >= self.quorum();
        if !is_waiting {
            self.awaited = None;
            self.unverified += 1;
        } else if self.awaited.is_none_or(|(awaited, _)| awaited != cause) {
            self.awaited = Some((cause, now));
            self.waited += 1;
        }
        !is_waiting
    }

    /// What is known of the other members.
    fn others(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let own = usize::from(self.own);
        let peers = self.peers[..self.members].iter().enumerate();
        peers.filter(move |(index, _)| *index != own)
    }

    /// Leader: the answer that waits for followers, if one does.
    #[must_use]
    pub fn awaited(&self) -> Option<AwaitedOutput> {
        let (cause, since) = self.awaited?;
        let missing = self.missing(cause);
        Some(AwaitedOutput {
            cause,
            since,
            missing,
        })
    }

    /// Members that are not known to have the same output at `cause`, one bit each.
    #[must_use]
    pub fn missing(&self, cause: Position) -> u8 {
        let missing = self.others().filter(|(_, peer)| peer.agreed < cause);
        missing.fold(0, |mask, (member, _)| mask | 1 << member)
    }

    /// Answers that had to wait for a follower's output.
    #[must_use]
    pub const fn waited(&self) -> u64 {
        self.waited
    }

    /// Answers handed over without a majority known to agree: too few followers kept up.
    #[must_use]
    pub const fn unverified(&self) -> u64 {
        self.unverified
    }

    /// The report that an acknowledgement leaves with.
    pub fn report(&mut self) -> OutputAt {
        let newest = self.newest();
        self.reported = Some(newest.position);
        newest
    }

    /// The last reports left without what was executed: it is yet to be told.
    pub(crate) const fn tell_again(&mut self) {
        self.reported = None;
    }

    /// When an acknowledgement is to be repeated because the last one did not tell what was
    /// executed since.
    #[must_use]
    pub fn report_deadline(&self) -> Option<Nanos> {
        let newest = self.newest().position;
        let is_told = self.reported == Some(newest);
        (!is_told && newest > 0).then_some(self.newest_at + REPORT_DELAY_NS)
    }

    /// When there is something to ask.
    #[must_use]
    pub fn ask_deadline(&self) -> Option<Nanos> {
        self.question.map(|question| question.ask_at)
    }
}

#[cfg(test)]
mod tests;
