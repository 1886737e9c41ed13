//! Faults built in on purpose: a tank that does not find one is blind.
//!
//! Each names the rules that it is meant to break; a violation of any other rule does not count.

use super::rule::{Broken, Rule};

/// A fault built in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// The log is reported durable before it is (model E).
    AckBeforeFsync,
    /// A joining member's log counts towards commit although it may be of an older term
    /// (model B, R01).
    CountOlderTermAcks,
    /// Term and vote are not durable (model D, R33).
    ForgetVoteOnRestart,
    /// A new leader appends before it has applied its own first entry.
    AppendBeforeOwnFirstEntryApplied,
    /// A client's new process passes for the one before it instead of asking for a greater
    /// connect epoch.
    ResumeWithoutEpoch,
    /// Neither a running node nor a start erases what was cut off the log.
    NoEraseAfterTruncation,
    /// A running node's ack mark never reaches its disk.
    AckMarkNeverWritten,
    /// An archive's thread says that a write of the log is complete before it is carried out.
    CompletedBeforeWritten,
    /// A vote is told when it is in the page cache.
    VoteInPageCache,
    /// A start takes what it finds for durable.
    NoSecondSync,
    /// Damage above the ack mark is taken for a torn tail, whoever has acknowledged it.
    DamageAboveMarkIgnored,
    /// A start reads an ack mark that does not say what was known to be committed.
    CommitFloorIgnored,
    /// A directory that was emptied, copied or put back votes and counts.
    BlankMemberCounted,
    /// No silent session is ever closed.
    SessionsNeverTimedOut,
    /// Requests of the process before are taken while another one continues the session.
    ResumeWithoutWaiting,
    /// Neither the leader nor the table of sessions knows a request again.
    DuplicatesApplied,
    /// Neither responses nor outputs are compared.
    ResponsesNotCompared,
    /// What a service's thread was handed passes for executed.
    ExecutedTooEarly,
    /// A member applies all of its log, committed or not.
    AppliedBeyondCommit,
    /// A snapshot has nothing of what the service has said and the log lacks.
    SnapshotWithoutOutbox,
    /// The index names a snapshot before it is durable.
    IndexBeforeData,
    /// Clients are owed answers that no log has.
    TrimmedAboveFloor,
    /// A snapshot of another member is named whatever its bytes are.
    FetchedUnchecked,
    /// A voter takes everybody for told to stand by the leader that it hears.
    AnyTokenTaken,
}

/// What there is to say about a planted fault.
struct Planting {
    name: &'static str,
    what: &'static str,
    /// Whether it is planted in the core tank, and in the node tank.
    tanks: (bool, bool),
    rules: &'static [Rule],
}

const CORE: (bool, bool) = (true, false);
const NODE: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

/// In the order of the enum.
const PLANTINGS: [Planting; PlantedFault::ALL.len()] = [
    Planting {
        name: "ack-before-fsync",
        what: "the log is reported durable before it is",
        tanks: BOTH,
        rules: &[Rule::C1],
    },
    Planting {
        name: "count-older-term-acks",
        what: "a joining member's log counts towards commit although it may be of an \
                       older term",
        tanks: CORE,
        rules: &[Rule::C1],
    },
    Planting {
        name: "forget-vote-on-restart",
        what: "term and vote are not durable",
        tanks: CORE,
        rules: &[Rule::E1],
    },
    Planting {
        name: "append-before-own-first-entry-applied",
        what: "a new leader appends before it has applied its own first entry",
        tanks: NODE,
        rules: &[Rule::Sessions, Rule::Answers],
    },
    Planting {
        name: "resume-without-epoch",
        what: "a client's new process passes for the one before it",
        tanks: NODE,
        rules: &[Rule::Answers, Rule::Fencing, Rule::Sessions],
    },
    Planting {
        name: "no-erase-after-truncation",
        what: "what was cut off the log stays on the disk",
        tanks: NODE,
        rules: &[Rule::CutOff, Rule::Idempotence],
    },
    Planting {
        name: "ack-mark-never-written",
        what: "the ack mark of a running node never reaches its disk",
        tanks: NODE,
        rules: &[Rule::W2],
    },
    Planting {
        name: "completed-before-written",
        what: "an archive's thread says that a write is complete before it is carried out",
        tanks: NODE,
        rules: &[Rule::C1],
    },
    Planting {
        name: "vote-in-page-cache",
        what: "a vote is told when it is in the page cache only",
        tanks: NODE,
        rules: &[Rule::E1],
    },
    Planting {
        name: "no-second-sync",
        what: "a start takes what it finds for durable without syncing it",
        tanks: NODE,
        rules: &[Rule::A1, Rule::C1],
    },
    Planting {
        name: "damage-above-mark-ignored",
        what: "damage above the ack mark is taken for a torn tail although only the process died",
        tanks: NODE,
        rules: &[Rule::A2],
    },
    Planting {
        name: "commit-floor-ignored",
        what: "a start reads an ack mark that does not say what was known to be committed",
        tanks: NODE,
        rules: &[Rule::CommitFloor],
    },
    Planting {
        name: "blank-member-counted",
        what: "a directory that was emptied, copied or put back votes and counts",
        tanks: NODE,
        rules: &[Rule::Learners],
    },
    Planting {
        name: "sessions-never-timed-out",
        what: "no silent session is ever closed",
        tanks: NODE,
        rules: &[Rule::Timeouts],
    },
    Planting {
        name: "resume-without-waiting",
        what: "requests of the process before are taken while another one continues its session",
        tanks: NODE,
        rules: &[Rule::Answers, Rule::Fencing],
    },
    Planting {
        name: "duplicates-applied",
        what: "a request that comes again is appended and applied again",
        tanks: NODE,
        rules: &[Rule::Answers, Rule::Replay, Rule::EqualStates],
    },
    Planting {
        name: "responses-not-compared",
        what: "neither responses nor members' outputs are compared",
        tanks: NODE,
        rules: &[Rule::EqualStates, Rule::Answers],
    },
    Planting {
        name: "executed-too-early",
        what: "what a service's thread was handed passes for executed before it is",
        tanks: NODE,
        rules: &[Rule::Replay, Rule::Answers, Rule::EqualStates],
    },
    Planting {
        name: "applied-beyond-commit",
        what: "a member's service reads its log beyond what is committed",
        tanks: NODE,
        rules: &[Rule::C4],
    },
    Planting {
        name: "snapshot-without-outbox",
        what: "a snapshot has nothing of what the service has said and the log lacks",
        tanks: NODE,
        rules: &[Rule::EqualStates, Rule::NoHalt, Rule::EqualSnapshots],
    },
    Planting {
        name: "index-before-data",
        what: "the index names a snapshot before it is durable",
        tanks: NODE,
        rules: &[Rule::WholeSnapshots],
    },
    Planting {
        name: "trimmed-above-floor",
        what: "the log is let go of up to a snapshot, whatever clients are owed",
        tanks: NODE,
        rules: &[Rule::TrimFloor, Rule::Sessions],
    },
    Planting {
        name: "fetched-unchecked",
        what: "another member's snapshot is named although its bytes are not what its name says",
        tanks: NODE,
        rules: &[Rule::EqualSnapshots, Rule::WholeSnapshots],
    },
    Planting {
        name: "any-token-taken",
        what: "a voter takes everybody for told to stand by the leader that it hears",
        tanks: NODE,
        rules: &[Rule::E4],
    },
];

impl PlantedFault {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::AckBeforeFsync,
        Self::CountOlderTermAcks,
        Self::ForgetVoteOnRestart,
        Self::AppendBeforeOwnFirstEntryApplied,
        Self::ResumeWithoutEpoch,
        Self::NoEraseAfterTruncation,
        Self::AckMarkNeverWritten,
        Self::CompletedBeforeWritten,
        Self::VoteInPageCache,
        Self::NoSecondSync,
        Self::DamageAboveMarkIgnored,
        Self::CommitFloorIgnored,
        Self::BlankMemberCounted,
        Self::SessionsNeverTimedOut,
        Self::ResumeWithoutWaiting,
        Self::DuplicatesApplied,
        Self::ResponsesNotCompared,
        Self::ExecutedTooEarly,
        Self::AppliedBeyondCommit,
        Self::SnapshotWithoutOutbox,
        Self::IndexBeforeData,
        Self::TrimmedAboveFloor,
        Self::FetchedUnchecked,
        Self::AnyTokenTaken,
    ];

    const fn planting(self) -> &'static Planting {
        &PLANTINGS[self as usize]
    }

    /// The name people select it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.planting().name
    }

    /// What is wrong, for people.
    #[must_use]
    pub const fn what(self) -> &'static str {
        self.planting().what
    }

    /// Whether the core tank has what it is planted in.
    #[must_use]
    pub const fn is_of_core(self) -> bool {
        self.planting().tanks.0
    }

    /// Whether the node tank has what it is planted in.
    #[must_use]
    pub const fn is_of_node(self) -> bool {
        self.planting().tanks.1
    }

    /// The rules that it is meant to break.
    #[must_use]
    pub(crate) const fn rules(self) -> &'static [Rule] {
        self.planting().rules
    }

    /// Looks for it in one seed: `run` runs that with the fault if told so, else without.
    pub fn look_for<R>(self, mut run: impl FnMut(bool) -> Result<R, Broken>) -> Sighting {
        let Err(broken) = run(true) else {
            return Sighting::Nothing;
        };
        if self.rules().contains(&broken.rule) && run(false).is_ok() {
            Sighting::Found(broken)
        } else {
            Sighting::Other(broken)
        }
    }
}

/// What a seed showed of a planted fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It broke a rule that it is meant to break, and nothing is broken without it.
    Found(Broken),
    /// Another rule is broken, or the same one without the fault.
    Other(Broken),
    /// Every rule holds.
    Nothing,
}

impl Sighting {
    /// Whether the fault was found.
    #[must_use]
    pub const fn is_found(&self) -> bool {
        matches!(self, Self::Found(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_own_rules_only_and_where_nothing_is_broken_without_it() {
        let broken = |rule: Rule| rule.broken("member 0".to_owned());
        let look = |with: Option<Rule>, without: Option<Rule>| {
            PlantedFault::AckBeforeFsync.look_for(|is_planted| {
                let rule = if is_planted { with } else { without };
                rule.map_or(Ok(()), |rule| Err(broken(rule)))
            })
        };
        assert_eq!(
            look(Some(Rule::C1), None),
            Sighting::Found(broken(Rule::C1))
        );
        for other in [Rule::E1, Rule::Assertion] {
            assert_eq!(look(Some(other), None), Sighting::Other(broken(other)));
        }
        let unclean = look(Some(Rule::C1), Some(Rule::C1));
        assert_eq!(unclean, Sighting::Other(broken(Rule::C1)));
        assert_eq!(look(None, None), Sighting::Nothing);
    }

    #[test]
    fn every_fault_is_planted_somewhere_and_breaks_something() {
        for fault in PlantedFault::ALL {
            assert_eq!(
                fault.name().replace('-', ""),
                format!("{fault:?}").to_lowercase()
            );
            assert!(fault.is_of_core() || fault.is_of_node(), "{fault:?}");
            assert!(!fault.rules().is_empty(), "{fault:?}");
            assert!(!fault.rules().contains(&Rule::Assertion), "{fault:?}");
        }
    }

    #[test]
    fn the_documentation_has_a_row_for_each() {
        let rows: Vec<String> = PlantedFault::ALL.into_iter().map(row).collect();
        let page = include_str!("../../../docs/simulator.md");
        let mut sections = page.split("\n## ");
        let section = sections.find(|section| section.starts_with("Planted faults\n"));
        let lines = section.expect("the page has that section").lines();
        let documented: Vec<&str> = lines.filter(|line| line.starts_with("| `")).collect();
        assert!(
            documented == rows,
            "the table in docs/simulator.md must be:\n{}\n",
            rows.join("\n")
        );
    }

    fn row(fault: PlantedFault) -> String {
        let tanks = match (fault.is_of_core(), fault.is_of_node()) {
            (true, true) => "both",
            (true, false) => "core",
            _ => "node",
        };
        let rules: Vec<&str> = fault.rules().iter().map(|rule| rule.name()).collect();
        let (name, what, rules) = (fault.name(), fault.what(), rules.join("; "));
        format!("| `{name}` | {tanks} | {what} | {rules} |")
    }
}
