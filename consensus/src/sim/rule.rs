//! The rules that a tank watches over, by their names in `rules.md`.
//!
//! A violation carries its rule, so that a planted fault counts as found only by a rule that it is
//! meant to break.

use core::fmt;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A term has one leader, by the durable votes of a majority.
    E1,
    /// What is committed lies durably on a majority.
    C1,
    /// Nobody's commit position goes back.
    C2,
    /// Nothing is applied before it is committed.
    C4,
    /// A leader has all that was committed before its term.
    L3,
    /// What was reported recorded is stored.
    A1,
    /// A start finds what was durable, or knows that it is lost.
    A2,
    /// The mark covers what was acknowledged a while ago.
    W2,
    /// What was cut off the log stays cut off.
    CutOff,
    /// A start knows what was known to be committed.
    CommitFloor,
    /// The committed log is one, byte for byte.
    OneLog,
    /// What was answered is committed.
    AnsweredIsCommitted,
    /// A client is handed every answer once and in order.
    Answers,
    /// The log, and what clients are handed, is what a replay says.
    Replay,
    /// What began after another operation had returned stands behind it in the log.
    RealTime,
    /// No request and no answer fails without a cause.
    Refusals,
    /// A session ends only for a cause.
    Sessions,
    /// A session that was silent for longer than its timeout is closed, and none is before.
    Timeouts,
    /// A client's process that was replaced is told so, and nothing else.
    Fencing,
    /// Equal logs give equal states.
    EqualStates,
    /// A disk holds what its member says is durable.
    DiskImage,
    /// After all faults there is one leader, it stays, and every request is answered.
    LV1,
    /// All damage is repaired while there is a good copy.
    LV5,
    /// A directory that was emptied, copied or put back never counts.
    Learners,
    /// Another member's directory is refused and stays as it was.
    ForeignDirectory,
    /// A member keeps its voice, stays up and starts, unless it has cause.
    NoHalt,
    /// Who waits says for whom.
    NoSilence,
    /// Time moves on.
    NoLivelock,
    /// An assertion of product code.
    Assertion,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::E1,
        Self::C1,
        Self::C2,
        Self::C4,
        Self::L3,
        Self::A1,
        Self::A2,
        Self::W2,
        Self::CutOff,
        Self::CommitFloor,
        Self::OneLog,
        Self::AnsweredIsCommitted,
        Self::Answers,
        Self::Replay,
        Self::RealTime,
        Self::Refusals,
        Self::Sessions,
        Self::Timeouts,
        Self::Fencing,
        Self::EqualStates,
        Self::DiskImage,
        Self::LV1,
        Self::LV5,
        Self::Learners,
        Self::ForeignDirectory,
        Self::NoHalt,
        Self::NoSilence,
        Self::NoLivelock,
        Self::Assertion,
    ];

    /// What reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::E1 => "E1 one leader per term",
            Self::C1 => "C1 durable quorum",
            Self::C2 => "C2 commit never back",
            Self::C4 => "C4 applied within commit",
            Self::L3 => "L3 leader complete",
            Self::A1 => "A1 recorded is stored",
            Self::A2 => "A2 lost is known to be lost",
            Self::W2 => "W2 mark in time",
            Self::CutOff => "3.4 cut off stays cut off",
            Self::CommitFloor => "9.3 commit floor",
            Self::OneLog => "oracle 1 one log",
            Self::AnsweredIsCommitted => "oracle 3 answered is committed",
            Self::Answers => "oracle 4 answers once in order",
            Self::Replay => "oracle 4 replay",
            Self::RealTime => "oracle 5 real-time order",
            Self::Refusals => "no refusal without cause",
            Self::Sessions => "no session closed without cause",
            Self::Timeouts => "6.6 session timeouts",
            Self::Fencing => "fencing",
            Self::EqualStates => "oracle 6 equal states",
            Self::DiskImage => "oracle 8 disk image",
            Self::LV1 => "LV1 leader and answers",
            Self::LV5 => "LV5 repair",
            Self::Learners => "9.1 learners",
            Self::ForeignDirectory => "9.1 another's directory",
            Self::NoHalt => "no halt without cause",
            Self::NoSilence => "no silence",
            Self::NoLivelock => "no livelock",
            Self::Assertion => "assertion",
        }
    }

    /// It did not hold, as `what` says.
    #[must_use]
    pub const fn broken(self, what: String) -> Broken {
        Broken { rule: self, what }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule that did not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// Who did what, where.
    pub what: String,
}

impl Broken {
    /// An assertion failed with this panic's words.
    #[must_use]
    pub fn of_panic(panic: &(dyn core::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("an assertion without a message");
        Rule::Assertion.broken(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Rule::ALL.map(Rule::name).into();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let panic = std::panic::catch_unwind(|| panic!("the {} is wrong", "log")).unwrap_err();
        let broken = Broken::of_panic(panic.as_ref());
        assert_eq!(broken.to_string(), "assertion: the log is wrong");
    }
}
