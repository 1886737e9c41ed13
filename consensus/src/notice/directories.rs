//! What a node says about directories: whose they are, and how a cluster forms.

use core::fmt::{Display, Formatter, Result};

use super::kind::NodeNotice;
use super::row::{Place, Row};
use crate::module::membership::Forfeit;

/// Members by bits, with their addresses.
struct Members<'a>(i64, &'a Place);

impl Display for Members<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut separator = "";
        for member in (0..8).filter(|member| self.0 >> member & 1 == 1) {
            write!(formatter, "{separator}member {member}")?;
            if let Some(address) = self.1.member_address(member) {
                write!(formatter, " at {address}")?;
            }
            separator = ", ";
        }
        if separator.is_empty() {
            formatter.write_str("no member: its own disk is slow")?;
        }
        Ok(())
    }
}

/// An id whose halves are two numbers of a notice.
struct Id(i64, i64);

impl Display for Id {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{:016x}{:016x}", self.0, self.1)
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::FormationWaits,
        text: |detail, place, f| {
            let members = Members(detail.values[0], place);
            let cluster = &place.cluster;
            write!(
                f,
                "cluster \"{cluster}\" has not formed: all members must be heard once, and this \
                 one waits for {members}"
            )
        },
        remedy: "start them, and check that they reach each other at the addresses in `members`",
    },
    Row {
        kind: NodeNotice::ReturnWaits,
        text: |detail, place, f| {
            let members = Members(detail.values[0], place);
            write!(
                f,
                "does not vote yet: a majority must know of its start, and it waits for {members}"
            )
        },
        remedy: "start them, and check that they reach each other at the addresses in `members`",
    },
    Row {
        kind: NodeNotice::IsLearner,
        text: |detail, place, f| {
            let [high, low, named_high, named_low] = detail.values;
            let (own, named) = (Id(high, low), Id(named_high, named_low));
            let (directory, member) = (&place.directory, place.member);
            write!(
                f,
                "is a learner: it follows the log and neither votes nor counts, because \
                 {directory} is directory {own} and the cluster was formed with {named} as member \
                 {member}'s"
            )
        },
        remedy: "if the original directory still exists, stop this node and start it there; else \
                 keep the other members running and their directories as they are, as \
                 docs/operating.md describes",
    },
    Row {
        kind: NodeNotice::DirectoryIsCopy,
        text: |_, place, f| {
            let directory = &place.directory;
            write!(
                f,
                "{directory} is a copy of another directory, or one that was put back from a \
                 backup: it got an id of its own and does not speak for the original"
            )
        },
        remedy: "if the original still exists, stop this node and start it there (a directory may \
                 be moved by rename within one file system)",
    },
    Row {
        kind: NodeNotice::DirectoryOutlived,
        text: |detail, place, f| {
            let (directory, member) = (&place.directory, detail.subject);
            write!(
                f,
                "{directory} is an old state of this directory: member {member} knows that it has \
                 lived on since, so what was answered since may be missing here; it got an id of \
                 its own and does not count"
            )
        },
        remedy: "if the newest state of the directory still exists, stop this node and start it \
                 there; else keep the other members running and their directories as they are",
    },
    Row {
        kind: NodeNotice::MemberIsLearner,
        text: |detail, _, f| {
            let [high, low, named_high, named_low] = detail.values;
            let (own, named) = (Id(high, low), Id(named_high, named_low));
            let member = detail.subject;
            write!(
                f,
                "member {member} is a learner: it runs on directory {own}, and the cluster was \
                 formed with {named}; it gets the log and neither votes nor counts"
            )
        },
        remedy: "that member says why; if its original directory still exists, start it there; \
                 until then the loss of one more member may stop the cluster",
    },
    Row {
        kind: NodeNotice::OtherUuid,
        text: |detail, place, f| {
            let [high, low, own_high, own_low] = detail.values;
            let (other, own) = (Id(high, low), Id(own_high, own_low));
            let (member, cluster) = (detail.subject, &place.cluster);
            write!(
                f,
                "member {member} belongs to another cluster of the name \"{cluster}\": {other}, \
                 not {own}"
            )
        },
        remedy: "start it on the directory that it had in this cluster, or correct the address of \
                 that member",
    },
    Row {
        kind: NodeNotice::DirectoryLivesTwice,
        text: |detail, _, f| {
            let member = detail.subject;
            write!(
                f,
                "member {member}'s directory lives twice: two starts of it have the same number"
            )
        },
        remedy: "run one process per member, on the directory with the newest state",
    },
    Row {
        kind: NodeNotice::MessageOutlived,
        text: |detail, _, f| {
            write!(
                f,
                "member {} sent a message in a life of its directory that is over",
                detail.subject
            )
        },
        remedy: "nothing is to be done if it was restarted just now",
    },
    Row {
        kind: NodeNotice::MessageBeforeFormation,
        text: |detail, _, f| {
            let member = detail.subject;
            write!(
                f,
                "member {member} sent a message before this one knew of a cluster that has formed"
            )
        },
        remedy: "nothing is to be done while the cluster forms",
    },
    Row {
        kind: NodeNotice::UnsyncedLogLost,
        text: |_, place, f| gave_up(Forfeit::UnsyncedLog, place, f),
        remedy: "keep the directories of all members as they are and the other members running; \
                 where no majority of voters is left nobody is elected, and \"A majority is lost \
                 for good\" in docs/operating.md says what remains",
    },
    Row {
        kind: NodeNotice::PromisesLost,
        text: |detail, place, f| match detail.values[0] {
            0 => gave_up(Forfeit::NodeState, place, f),
            _ => gave_up(Forfeit::AckMark, place, f),
        },
        remedy: "keep the directories of all members as they are and the other members running, \
                 and check the disk; see \"A directory is damaged\" in docs/operating.md",
    },
    Row {
        kind: NodeNotice::MajorityGone,
        text: |detail, place, f| {
            let members = Members(detail.values[0], place);
            write!(
                f,
                "no majority is left of the directories that the cluster was formed with, and \
                 nobody is elected: {members} run on directories that do not count"
            )
        },
        remedy: "keep every directory untouched, each may hold what no other does; if an original \
                 one still exists, start its member there; else see \"A majority is lost for \
                 good\" in docs/operating.md",
    },
    Row {
        kind: NodeNotice::MessageUnannounced,
        text: |detail, _, f| {
            let member = detail.subject;
            write!(
                f,
                "member {member} sent a message before this one had heard of its start, and was \
                 asked to tell it"
            )
        },
        remedy: "nothing is to be done: it is heard once it has told it",
    },
    Row {
        kind: NodeNotice::LogMemoryLost,
        text: |_, place, f| gave_up(Forfeit::LogMemory, place, f),
        remedy: "keep the directories of all members as they are and the other members running; \
                 see \"Running without syncs\" in docs/operating.md for what takes files from \
                 shared memory, and \"A majority is lost for good\" for what remains where nobody \
                 is elected",
    },
];

/// Why the directory at `place` speaks for nobody.
fn gave_up(forfeit: Forfeit, place: &Place, f: &mut Formatter<'_>) -> Result {
    let (directory, reason) = (&place.directory, forfeit.reason());
    write!(
        f,
        "is a learner: it follows the log and neither votes nor counts, and {directory} got an id \
         of its own, because {reason}"
    )
}
