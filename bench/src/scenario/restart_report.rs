//! What starts with a long log have shown.

use std::fmt::{self, Display, Formatter};

use lockstep_consensus::settings::config::SyncMode;
use lockstep_transport::time::{Nanos, SECOND};
use serde_json::{Value, json};

use crate::report_words::{mebibytes, seconds, write_end};

/// Members vote within this after their start, with as much log as `LOG_OF_LIMIT` or less; with
/// more in proportion.
const VOTING_WITHIN_NS: Nanos = 5 * SECOND;
const LOG_OF_LIMIT: u64 = 10 << 30;

/// How long after its process was started a member was how far; `None` until it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StartTimes {
    /// Its log was recovered, and it has begun to work.
    pub(super) recovered_ns: Option<Nanos>,
    /// A majority knows this start of it: from then on it votes, and counts.
    pub(super) voting_ns: Option<Nanos>,
    /// It had executed all that was committed when it was killed.
    pub(super) replayed_ns: Option<Nanos>,
}

/// One restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    /// The members that were started.
    pub(super) members: Vec<StartTimes>,
    /// When there was a leader that takes requests: at once where it was not killed.
    pub(super) leads_ns: Option<Nanos>,
}

impl Restart {
    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        let is_back = |times: &StartTimes| {
            let StartTimes {
                recovered_ns,
                voting_ns,
                replayed_ns,
            } = times;
            [recovered_ns, voting_ns, replayed_ns]
                .iter()
                .all(|moment| moment.is_some())
        };
        self.leads_ns.is_some() && self.members.iter().all(is_back)
    }

    /// Of the member that was last.
    fn last(&self, moment: impl Fn(&StartTimes) -> Option<Nanos>) -> Nanos {
        let times = self.members.iter().filter_map(moment);
        times.max().unwrap_or(0)
    }

    fn recovered(&self) -> Nanos {
        self.last(|times| times.recovered_ns)
    }

    fn voting(&self) -> Nanos {
        self.last(|times| times.voting_ns)
    }

    fn replayed(&self) -> Nanos {
        self.last(|times| times.replayed_ns)
    }

    fn to_json(&self) -> Value {
        json!({
            "recovered_ns": self.recovered(), "voting_ns": self.voting(),
            "replayed_ns": self.replayed(), "leads_ns": self.leads_ns,
        })
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct RestartReport {
    /// Committed bytes of log, and of these above the snapshot.
    pub(super) log_bytes: u64,
    pub(super) above_bytes: u64,
    pub(super) sync: SyncMode,
    pub(super) message_length: usize,
    /// Restarts of a member that follows.
    pub(super) of_follower: Vec<Restart>,
    /// Restarts of all members at once.
    pub(super) of_all: Vec<Restart>,
    pub(super) faults: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl RestartReport {
    /// How long it may take until all that were started vote.
    fn limit_ns(&self) -> Nanos {
        let share = self.log_bytes as f64 / LOG_OF_LIMIT as f64;
        (VOTING_WITHIN_NS as f64 * share.max(1.0)) as Nanos
    }

    /// Until the last of any restart voted.
    fn slowest_ns(&self) -> Nanos {
        let all = self.of_follower.iter().chain(&self.of_all);
        all.map(Restart::voting).max().unwrap_or(Nanos::MAX)
    }

    fn is_in_time(&self) -> bool {
        self.slowest_ns() <= self.limit_ns()
    }

    /// Whether each start went on from the snapshot, and voted in time.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.is_in_time()
    }

    fn gibibytes(&self) -> f64 {
        gibibytes(self.log_bytes)
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let list = |restarts: &[Restart]| -> Vec<Value> {
            restarts.iter().map(Restart::to_json).collect()
        };
        json!({
            "log_bytes": self.log_bytes, "above_snapshot_bytes": self.above_bytes,
            "sync": self.sync.name(), "message_length": self.message_length,
            "follower": list(&self.of_follower), "all": list(&self.of_all),
            "slowest_voting_ns": self.slowest_ns(), "limit_ns": self.limit_ns(),
            "voting_s_per_gib": seconds(self.slowest_ns()) / self.gibibytes(),
            "is_good": self.is_good(), "errors": self.faults, "notes": self.notes,
        })
    }

    fn write_restarts(
        &self,
        f: &mut Formatter<'_>,
        (whom, restarts): (&str, &[Restart]),
    ) -> fmt::Result {
        for restart in restarts {
            let (voting, replayed) = (seconds(restart.voting()), seconds(restart.replayed()));
            write!(
                f,
                "{whom} started -> recovered {:.2} s, voting {voting:.2} s, replayed \
                 {replayed:.2} s",
                seconds(restart.recovered())
            )?;
            if restart.members.len() > 1 {
                let leads = seconds(restart.leads_ns.unwrap_or(0));
                write!(f, ", leader {leads:.2} s")?;
            }
            let gibibytes = self.gibibytes();
            writeln!(
                f,
                "; per GiB {:.3} s and {:.3} s",
                voting / gibibytes,
                replayed / gibibytes
            )?;
        }
        Ok(())
    }
}

fn gibibytes(bytes: u64) -> f64 {
    mebibytes(bytes) / 1_024.0
}

impl Display for RestartReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "three members, each with {:.2} GiB of log of requests of {} bytes, {:.3} GiB of it \
             above the snapshot; sync {}",
            self.gibibytes(),
            self.message_length,
            gibibytes(self.above_bytes),
            self.sync.name()
        )?;
        self.write_restarts(f, ("follower", &self.of_follower))?;
        self.write_restarts(f, ("all members", &self.of_all))?;
        let verdict = if self.is_in_time() {
            "within"
        } else {
            "NOT within"
        };
        writeln!(
            f,
            "voting {verdict} {:.1} s: {:.2} s at most",
            seconds(self.limit_ns()),
            seconds(self.slowest_ns())
        )?;
        write_end(f, &self.notes, &self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(log_bytes: u64, voting_ns: Nanos) -> RestartReport {
        let times = |voting_ns| StartTimes {
            recovered_ns: Some(1),
            voting_ns: Some(voting_ns),
            replayed_ns: Some(voting_ns + 1),
        };
        let restart = |members| Restart {
            members,
            leads_ns: Some(0),
        };
        RestartReport {
            log_bytes,
            above_bytes: 0,
            sync: SyncMode::Data,
            message_length: 288,
            of_follower: vec![restart(vec![times(SECOND)])],
            of_all: vec![restart(vec![times(SECOND), times(voting_ns)])],
            faults: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_last_member_of_the_slowest_restart_decides() {
        let good = report(1 << 30, 5 * SECOND);
        assert!(good.is_good() && good.to_string().contains("voting within 5.0 s: 5.00 s"));
        let slow = report(1 << 30, 5 * SECOND + 1);
        assert!(!slow.is_good() && slow.to_string().contains("NOT within"));
        // Ten gigabytes have five seconds, and what is longer more.
        assert!(!report(10 << 30, 6 * SECOND).is_good());
        assert!(report(20 << 30, 10 * SECOND).is_good());
    }

    #[test]
    fn a_run_that_shows_something_else_is_not_good() {
        let mut report = report(1 << 30, SECOND);
        report
            .faults
            .push("member 1 has let go of its log".to_owned());
        assert!(!report.is_good() && report.to_string().contains("ERROR: member 1"));
        assert_eq!(report.to_json()["is_good"], false);
    }

    #[test]
    fn a_restart_is_over_when_all_are_back() {
        let mut restart = report(0, 7).of_all.remove(0);
        assert!(restart.is_complete());
        restart.members[1].replayed_ns = None;
        assert!(!restart.is_complete());
        restart.members[1].replayed_ns = Some(9);
        restart.leads_ns = None;
        assert!(!restart.is_complete());
    }
}
