//! Do the members' services agree? Reports, questions and answers (`log.md` 5.8).
//!
//! A service's output is summed up by one hash over everything it ever emitted: two members
//! that executed the same log up to the same entry have the same hash there, or one of them has
//! *diverged*. No acknowledgement waits for any of this; delivery of answers does.
//!
//! - **Report** (follower → leader, with its acknowledgements): the newest entry executed and the
//!   hash there. The leader remembers its own last [`HISTORY_MAX`] hashes and compares.
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
//! up with executing; one that replays a long log, or is not heard, is not waited for. With direct
//! responses an answer leaves at once: only answers after the first contradicting report are held.
//! Owned by the node's agent. Pure.

use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::member::{MEMBERS_MAX, MemberId};

/// Entries whose hash is remembered: more than may be on their way through the log.
pub const HISTORY_MAX: usize = 8_192;

/// A question is repeated so often until it is decided.
const ASK_INTERVAL_NS: Nanos = 20 * MILLISECOND;

/// How long a member in the minority looks for the entry at which it diverged.
const SEARCH_TIME_NS: Nanos = 200 * MILLISECOND;

/// What was executed and is not reported by an acknowledgement is reported after so long.
const REPORT_DELAY_NS: Nanos = MILLISECOND;

/// What is reported is reported again after so long: reports may get lost.
const REPORT_INTERVAL_NS: Nanos = 50 * MILLISECOND;

/// The output of a service up to and including one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputAt {
    /// Position of the entry executed last; 0 and hash 0 before the first.
    pub position: Position,
    /// Hash of everything emitted so far.
    pub hash: u64,
}

/// What members tell each other about their output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMessage {
    /// The newest entry executed.
    Report(OutputAt),
    /// Whose output is the same?
    Question {
        /// The asking member's output at the entry in question.
        output: OutputAt,
        /// Position of the Response it holds at, 0 for none.
        response: Position,
    },
    /// To a question about the same positions.
    Answer {
        /// The entry in question.
        cause: Position,
        /// Position of the Response in question, 0 for none.
        response: Position,
        /// The answering member's hash there, if it remembers.
        hash: Option<u64>,
        /// Whether the Response is what its own service said, if it knows.
        matches: Option<bool>,
    },
}

/// What one member is known to think.
#[derive(Clone, Copy, Debug, Default)]
struct Opinion {
    hash: Option<u64>,
    matches: Option<bool>,
}

impl Opinion {
    const fn is_known(&self) -> bool {
        self.hash.is_some() || self.matches.is_some()
    }
}

/// A question not decided yet.
#[derive(Clone, Copy, Debug)]
struct Question {
    output: OutputAt,
    response: Position,
    opinions: [Opinion; MEMBERS_MAX],
    opened: Option<Nanos>,
    ask_at: Nanos,
}

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too few have answered.
    Undecided,
    /// A majority has this member's output.
    Majority,
    /// A majority has another output.
    Minority,
    /// No output can have a majority as things stand.
    NoMajority,
}

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
}

/// See the module.
#[derive(Debug)]
pub struct OutputAgreement {
    own: MemberId,
    members: usize,
    /// How long a follower that was heard counts as one that will report.
    patience_ns: Nanos,
    history: Box<[OutputAt]>,
    recorded: usize,
    newest_at: Nanos,
    reported: Option<(OutputAt, Nanos)>,
    peers: [Peer; MEMBERS_MAX],
    question: Option<Question>,
    search: Option<Search>,
    unverified: u64,
}

impl OutputAgreement {
    /// Of a member that has executed nothing; `patience_ns` is the election timeout.
    #[must_use]
    pub fn new(own: MemberId, members: usize, patience_ns: Nanos) -> Self {
        Self {
            own,
            members,
            patience_ns,
            history: vec![OutputAt::default(); HISTORY_MAX].into_boxed_slice(),
            recorded: 0,
            newest_at: 0,
            reported: None,
            peers: [Peer::default(); MEMBERS_MAX],
            question: None,
            search: None,
            unverified: 0,
        }
    }

    const fn quorum(&self) -> usize {
        self.members / 2 + 1
    }

    /// The newest entry executed.
    #[must_use]
    pub fn newest(&self) -> OutputAt {
        match self.recorded.checked_sub(1) {
            Some(last) => self.history[last % HISTORY_MAX],
            None => OutputAt::default(),
        }
    }

    /// This member's hash at an entry that it executed not too long ago.
    #[must_use]
    pub fn hash_at(&self, position: Position) -> Option<u64> {
        if position == 0 {
            return Some(0);
        }
        let (mut low, mut high) = (self.recorded.saturating_sub(HISTORY_MAX), self.recorded);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.history[middle % HISTORY_MAX];
            match entry.position.cmp(&position) {
                core::cmp::Ordering::Equal => return Some(entry.hash),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The entry at `output.position` was executed here.
    pub fn record(&mut self, now: Nanos, output: OutputAt) {
        self.history[self.recorded % HISTORY_MAX] = output;
        self.recorded += 1;
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
            return (peer.agreed < newest.position).then_some(OutputMessage::Question {
                output: newest,
                response: 0,
            });
        }
        self.compare(now, index, report);
        let hash = self.hash_at(report.position)?;
        (self.peers[index].is_outvoted && hash != report.hash).then_some(OutputMessage::Question {
            output: OutputAt { hash, ..report },
            response: 0,
        })
    }

    fn compare(&mut self, now: Nanos, index: usize, report: OutputAt) {
        let Some(own) = self.hash_at(report.position) else {
            self.peers[index].current = None;
            return;
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
        // Of an entry it does not remember a member's own hash is told apart from everybody's:
        // only what others say of the Response counts.
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
        let mut opinions = [Opinion::default(); MEMBERS_MAX];
        opinions[usize::from(self.own)] = Opinion {
            hash: Some(output.hash),
            matches: (response > 0).then_some(false),
        };
        self.question = Some(Question {
            output,
            response,
            opinions,
            opened: None,
            ask_at: 0,
        });
    }

    /// Another member asks about its output; one that differs from this member's is a question
    /// of this member's too.
    pub fn on_question(&mut self, output: OutputAt) {
        let own = self.hash_at(output.position);
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
        let question = self.question.as_mut()?;
        question.opened.get_or_insert(now);
        if now < question.ask_at {
            return None;
        }
        question.ask_at = now + ASK_INTERVAL_NS;
        Some(OutputMessage::Question {
            output: question.output,
            response: question.response,
        })
    }

    /// How the question stands; `None` when there is none.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let question = self.question.as_ref()?;
        let opinions = &question.opinions[..self.members];
        let same = |hash: u64| opinions.iter().filter(|o| o.hash == Some(hash)).count();
        let own = same(question.output.hash);
        if own >= self.quorum() {
            return Some(Verdict::Majority);
        }
        let matching = opinions.iter().filter(|o| o.matches == Some(true)).count();
        let others = opinions.iter().filter_map(|o| o.hash);
        let others = others.filter(|hash| *hash != question.output.hash);
        let most = others.map(same).max().unwrap_or(0).max(matching);
        if most >= self.quorum() {
            return Some(Verdict::Minority);
        }
        let unknown = opinions.iter().filter(|o| !o.is_known()).count();
        if own.max(most) + unknown < self.quorum() {
            return Some(Verdict::NoMajority);
        }
        Some(Verdict::Undecided)
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
        let (low, high) = (self.place(agreed), self.place(differs - 1));
        if high <= low {
            return Some((differs, agreed));
        }
        let middle = low + (high - low) / 2;
        self.question = None;
        self.ask(self.history[middle % HISTORY_MAX], 0);
        None
    }

    /// Whether this member is in the minority and looks for where that began.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// How many entries up to `position` were executed, remembered or not.
    fn place(&self, position: Position) -> usize {
        let (mut low, mut high) = (self.recorded.saturating_sub(HISTORY_MAX), self.recorded);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.history[middle % HISTORY_MAX].position <= position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
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
        let own = usize::from(self.own);
        let peers = self.peers[..self.members].iter().enumerate();
        let others = || peers.clone().filter(|(index, _)| *index != own);
        let agreed = others().filter(|(_, peer)| peer.agreed >= cause).count();
        if agreed + 1 >= self.quorum() {
            return true;
        }
        if self.question.is_some() {
            return false;
        }
        let is_current = |peer: &Peer| {
            let heard = peer.current;
            heard.is_some_and(|heard| now - heard < self.patience_ns)
        };
        let current = others().filter(|(_, peer)| is_current(peer)).count();
        let is_waiting = current + 1 >= self.quorum();
        self.unverified += u64::from(!is_waiting);
        !is_waiting
    }

    /// Answers handed over without a majority known to agree: too few followers kept up.
    #[must_use]
    pub const fn unverified(&self) -> u64 {
        self.unverified
    }

    /// The report that goes with an acknowledgement, if there is news or it is time again.
    pub fn poll_report(&mut self, now: Nanos) -> Option<OutputMessage> {
        let newest = self.newest();
        let is_known = self.reported.is_some_and(|(output, at)| {
            output.position == newest.position && now - at < REPORT_INTERVAL_NS
        });
        if is_known {
            return None;
        }
        self.reported = Some((newest, now));
        Some(OutputMessage::Report(newest))
    }

    /// When what was executed is reported without an acknowledgement.
    #[must_use]
    pub fn report_deadline(&self) -> Option<Nanos> {
        let newest = self.newest().position;
        let is_told = self.reported.is_some_and(|(o, _)| o.position == newest);
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
