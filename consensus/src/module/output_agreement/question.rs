//! A question about outputs: what was answered so far, and how it stands.

use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::report::{OutputAt, OutputMessage};
use crate::module::member::{MEMBERS_MAX, MemberId};

/// A question is repeated so often until it is decided.
pub(super) const ASK_INTERVAL_NS: Nanos = 20 * MILLISECOND;

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too few have answered.
    Undecided,
    /// A majority has this member's output.
    Majority,
    /// A majority has another output.
    Minority,
    /// No output can have a majority as things stand.
    NoMajority,
}

/// What one member is known to think.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opinion {
    pub(super) hash: Option<u64>,
    pub(super) matches: Option<bool>,
}

impl Opinion {
    const fn is_known(&self) -> bool {
        self.hash.is_some() || self.matches.is_some()
    }
}

/// A question not decided yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// This member's output at the entry in question.
    pub(super) output: OutputAt,
    /// Position of the Response it holds at, 0 for none.
    pub(super) response: Position,
    pub(super) opinions: [Opinion; MEMBERS_MAX],
    pub(super) opened: Option<Nanos>,
    pub(super) ask_at: Nanos,
}

impl Question {
    /// A question that nobody has been asked yet; `voter` is the asking member, if it counts.
    pub(super) fn new(output: OutputAt, response: Position, voter: Option<MemberId>) -> Self {
        let mut opinions = [Opinion::default(); MEMBERS_MAX];
        if let Some(own) = voter {
            opinions[usize::from(own)] = Opinion {
                hash: Some(output.hash),
                matches: (response > 0).then_some(false),
            };
        }
        Self {
            output,
            response,
            opinions,
            opened: None,
            ask_at: 0,
        }
    }

    /// The question, when it is to be asked now.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<OutputMessage> {
        self.opened.get_or_insert(now);
        if now < self.ask_at {
            return None;
        }
        self.ask_at = now + ASK_INTERVAL_NS;
        Some(OutputMessage::Question {
            output: self.output,
            response: self.response,
        })
    }

    /// How it stands among `members`, of whom `quorum` decide.
    pub(super) fn verdict(&self, members: usize, quorum: usize) -> Verdict {
        let opinions = &self.opinions[..members];
        let same = |hash: u64| opinions.iter().filter(|o| o.hash == Some(hash)).count();
        let own = same(self.output.hash);
        if own >= quorum {
            return Verdict::Majority;
        }
        let matching = opinions.iter().filter(|o| o.matches == Some(true)).count();
        let others = opinions.iter().filter_map(|o| o.hash);
        let others = others.filter(|hash| *hash != self.output.hash);
        let most = others.map(same).max().unwrap_or(0).max(matching);
        if most >= quorum {
            return Verdict::Minority;
        }
        let unknown = opinions.iter().filter(|o| !o.is_known()).count();
        if own.max(most) + unknown < quorum {
            return Verdict::NoMajority;
        }
        Verdict::Undecided
    }
}
