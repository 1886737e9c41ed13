//! The rules that a tank watches over, by their names in `rules.md`.
//!
//! A violation carries its rule, so that a planted fault counts as found only by a rule that it is
//! meant to break.

use core::fmt;

/// Makes the list: a rule per row, with the name that reports call it by.
macro_rules! rules {
    ($($(#[doc = $what:literal])+ $rule:ident = $name:literal,)+) => {
        /// What must hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[doc = $what])+ $rule,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule,)+];

            /// What reports call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }
        }
    };
}

rules! {
    /// A term has one leader, by the durable votes of a majority.
    E1 = "E1 one leader per term",
    /// Only whom its leader told to stand deposes a leader that is heard.
    E4 = "E4 heard leader kept",
    /// What is committed lies durably on a majority.
    C1 = "C1 durable quorum",
    /// Nobody's commit position goes back.
    C2 = "C2 commit never back",
    /// Nothing is applied before it is committed.
    C4 = "C4 applied within commit",
    /// A leader has all that was committed before its term.
    L3 = "L3 leader complete",
    /// What was reported recorded is stored.
    A1 = "A1 recorded is stored",
    /// A start finds what was durable, or knows that it is lost.
    A2 = "A2 lost is known to be lost",
    /// The mark covers what was acknowledged a while ago.
    W2 = "W2 mark in time",
    /// What was cut off the log stays cut off.
    CutOff = "3.4 cut off stays cut off",
    /// A start knows what was known to be committed.
    CommitFloor = "9.3 commit floor",
    /// The committed log is one, byte for byte.
    OneLog = "oracle 1 one log",
    /// What was answered is committed.
    AnsweredIsCommitted = "oracle 3 answered is committed",
    /// A client is handed every answer once and in order.
    Answers = "oracle 4 answers once in order",
    /// The log, and what clients are handed, is what a replay says.
    Replay = "oracle 4 replay",
    /// What began after another operation had returned stands behind it in the log.
    RealTime = "oracle 5 real-time order",
    /// No request and no answer fails without a cause.
    Refusals = "no refusal without cause",
    /// A session ends only for a cause.
    Sessions = "no session closed without cause",
    /// A session that was silent for longer than its timeout is closed, and none is before.
    Timeouts = "6.6 session timeouts",
    /// A client's process that was replaced is told so, and nothing else.
    Fencing = "fencing",
    /// Equal logs give equal states.
    EqualStates = "oracle 6 equal states",
    /// Snapshots taken at one place are the same, byte for byte.
    EqualSnapshots = "SN1 equal snapshots",
    /// An index names only snapshots that are there, whole.
    WholeSnapshots = "SN2 whole snapshots",
    /// Of the log nothing goes that a client has not been handed, or no snapshot stands for.
    TrimFloor = "7.4 nothing owed is trimmed",
    /// A disk holds what its member says is durable.
    DiskImage = "oracle 8 disk image",
    /// A start after another one finds what that found.
    Idempotence = "oracle 7 recovery idempotent",
    /// No table and no queue holds more than it may.
    Bounds = "oracle 10 bounds",
    /// Nobody floods the network.
    NoStorm = "no message storm",
    /// After all faults there is one leader, it stays, and every request is answered.
    LV1 = "LV1 leader and answers",
    /// All damage is repaired while there is a good copy.
    LV5 = "LV5 repair",
    /// A directory that was emptied, copied or put back never counts.
    Learners = "9.1 learners",
    /// Another member's directory is refused and stays as it was.
    ForeignDirectory = "9.1 another's directory",
    /// A member keeps its voice, stays up and starts, unless it has cause.
    NoHalt = "no halt without cause",
    /// Who waits says for whom.
    NoSilence = "no silence",
    /// Time moves on.
    NoLivelock = "no livelock",
    /// An assertion of product code.
    Assertion = "assertion",
}

impl Rule {
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

    /// Whether both are the same fault: the same rule, and of assertions, of which each has words
    /// of its own, the same words but for numbers.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let words = |broken: &Self| broken.what.replace(|c: char| c.is_ascii_digit(), "");
        let is_told_apart = self.rule == Rule::Assertion && words(self) != words(other);
        self.rule == other.rule && !is_told_apart
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let panic = std::panic::catch_unwind(|| panic!("the {} is wrong", "log")).unwrap_err();
        let broken = Broken::of_panic(panic.as_ref());
        assert_eq!(broken.to_string(), "assertion: the log is wrong");
    }

    #[test]
    fn an_assertion_is_the_same_if_its_words_are() {
        let of = |rule: Rule, what: &str| Broken {
            rule,
            what: what.to_owned(),
        };
        let assertion = |what| of(Rule::Assertion, what);
        let one = assertion("960 acknowledged, 64 durable");
        assert!(one.is_same(&assertion("8 acknowledged, 1024 durable")));
        assert!(!one.is_same(&assertion("commit 960 beyond the log's end")));
        let (first, second) = (Rule::ALL[0], Rule::ALL[1]);
        let one = of(first, "member 1 lost");
        assert!(one.is_same(&of(first, "member 2 forgot")));
        assert!(!one.is_same(&of(second, "member 1 lost")));
    }
}
