//! What a node says about outputs that differ, cluster-wide limits, log time and slow services.

use core::fmt::{Formatter, Result};

use lockstep_service::snapshot::SnapshotError;

use super::kind::NodeNotice;
use super::row::{Place, Row, Source};
use crate::module::member::{MEMBERS_MAX, MemberId};

/// Names the members whose bits are set: `: member 1 at 10.0.0.1:9000, member 2 at …`.
fn name_members(members: i64, place: &Place, f: &mut Formatter<'_>) -> Result {
    let mut separator = ": ";
    for member in (0..MEMBERS_MAX as MemberId).filter(|member| members >> member & 1 == 1) {
        let address = Source(place.member_address(member));
        write!(f, "{separator}member {member} at {address}")?;
        separator = ", ";
    }
    Ok(())
}

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::LogTimeOffset,
        text: |detail, _, f| {
            let offset = detail.values[0];
            let side = if offset < 0 { "behind" } else { "ahead of" };
            let offset = offset.unsigned_abs();
            write!(
                f,
                "log time is {offset} ms {side} this member's clock and approaches its leader's \
             clock at half of real time"
            )
        },
        remedy: "synchronise the clocks of all members (NTP or PTP)",
    },
    Row {
        kind: NodeNotice::MemberDiverged,
        text: |detail, _, f| {
            let (member, cause) = (detail.subject, detail.values[0]);
            write!(
                f,
                "the service of member {member} diverged: up to the entry at {cause} it answered \
                 otherwise than a majority"
            )
        },
        remedy: "that member stops and names the entry; run the same build of the service on all \
                 members",
    },
    Row {
        kind: NodeNotice::OutputContested,
        text: |detail, _, f| {
            let [cause, agreed, ..] = detail.values;
            write!(
                f,
                "no majority of the members is known to answer alike at the entry at {cause} \
                 (equal up to {agreed}): answers wait and clients are refused"
            )
        },
        remedy: "start the members that are down; if all differ, the service is not \
                 deterministic: run one build that is on all members",
    },
    Row {
        kind: NodeNotice::VoidResponse,
        text: |detail, _, f| {
            let position = detail.values[0];
            write!(
                f,
                "the Response at {position} is not what a majority's services said: it is passed \
                 over, and the majority's is appended instead"
            )
        },
        remedy: "look at the member that led then: its service diverged",
    },
    Row {
        kind: NodeNotice::SlowService,
        text: |detail, _, f| {
            let [position, took, has_thread, _] = detail.values;
            let what = if has_thread == 1 {
                "answers wait meanwhile, and nothing else does"
            } else {
                "nothing else is done meanwhile, heartbeats included"
            };
            write!(
                f,
                "the service took {took} ms over the entry at {position}: {what}"
            )
        },
        remedy: "make the service faster; where it shares the node's thread, set threading = \
                 split, or raise `heartbeat_interval` and `election_timeout`",
    },
    Row {
        kind: NodeNotice::AnswersAwaitOutput,
        text: |detail, place, f| {
            let [cause, waited, missing, _] = detail.values;
            write!(
                f,
                "answers from the entry at {cause} on have waited {waited} ms for what the \
                 services of other members put out"
            )?;
            name_members(missing, place, f)
        },
        remedy: "see that the services of those members keep up: an answer leaves when a majority \
                 has the same",
    },
    Row {
        kind: NodeNotice::AnswersUnverified,
        text: |detail, place, f| {
            let [cause, missing, ..] = detail.values;
            write!(
                f,
                "answers up to that to the entry at {cause} left although no majority is known to \
                 have the same: too few members keep up with executing"
            )?;
            name_members(missing, place, f)
        },
        remedy: "a member that was restarted executes its log first, one that writes a snapshot \
                 stands still; if it goes on, see what those members say",
    },
    Row {
        kind: NodeNotice::LearnersAnswer,
        text: |_, _, f| f.write_str("a learner answered a question about outputs"),
        remedy: "nothing is to be done: a learner counts for nothing",
    },
    Row {
        kind: NodeNotice::ServiceStalled,
        text: |detail, _, f| {
            let [position, seconds, behind, _] = detail.values;
            write!(
                f,
                "the service has been at the entry at {position} for {seconds} s: {behind} bytes \
                 of committed log wait for it, and on a leader all answers"
            )
        },
        remedy: "look at what its thread does (`top -H`, `perf`, a debugger); a service must not \
                 wait for anything",
    },
    Row {
        kind: NodeNotice::SnapshotUseless,
        text: |detail, _, f| {
            let [position, misuse, ..] = detail.values;
            let what = SNAPSHOT_MISUSES.get(misuse as usize);
            write!(
                f,
                "the snapshot at {position} came to nothing: the service {}",
                what.unwrap_or(&"wrote its part wrongly")
            )
        },
        remedy: "mend the service's `snapshot_step`; until then its log is kept whole and executed \
                 anew at each start",
    },
    Row {
        kind: NodeNotice::SnapshotsDiffer,
        text: |detail, place, f| {
            let [position, one, other, _] = detail.values;
            write!(
                f,
                "members have different snapshots at {position}, and no majority says which one \
                 is right"
            )?;
            name_members(1 << one | 1 << other, place, f)
        },
        remedy: "the service is not deterministic, or members run different builds of it: run one \
                 build on all; the next snapshots are compared anew",
    },
];

/// What a service can do wrongly when it writes its part of a snapshot.
const SNAPSHOT_MISUSES: [&str; 8] = [
    "wrote its part wrongly",
    "gave a section a name that is none",
    "wrote two sections of one name",
    "did not end a section",
    "wrote outside of all sections",
    "wrote too many sections",
    "has none to write, although it says that it takes snapshots",
    "had not written all of it within a minute, for want of an end or of a faster disk",
];

/// The last of them.
pub(crate) const SNAPSHOT_ENDLESS: i64 = SNAPSHOT_MISUSES.len() as i64 - 1;

/// Which of them an error of writing stands for, for the notice.
pub(crate) const fn snapshot_misuse(error: &SnapshotError) -> i64 {
    match error {
        SnapshotError::BadName { .. } => 1,
        SnapshotError::SectionTwice { .. } => 2,
        SnapshotError::SectionOpen { .. } => 3,
        SnapshotError::NoSection => 4,
        SnapshotError::TooManySections { .. } => 5,
        SnapshotError::NotTaken => 6,
        _ => 0,
    }
}
