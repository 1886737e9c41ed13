//! What a node says about other members' messages and the network between them.

use core::fmt::{Formatter, Result};

use lockstep_transport::notices::{Detail, NoticeKind};

use super::absence::Absence;
use super::kind::NodeNotice;
use super::row::{ChainHashes, Place, Row, Source, system_error};

/// Why a member stops without a snapshot, as the notice has it: it has not come in time,
pub(crate) const STOP_IN_TIME: i64 = 0;
/// or nobody leads who could ask for one,
pub(crate) const STOP_LEADERLESS: i64 = 1;
/// or the service has none,
pub(crate) const STOP_OF_SERVICE: i64 = 2;
/// or the member does not count, and nobody takes one for it.
pub(crate) const STOP_AS_LEARNER: i64 = 3;

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::UnknownMemberAddress,
        text: |detail, place, f| {
            let own = place.member_address(place.member);
            let (source, own) = (Source(detail.source), Source(own));
            write!(
                f,
                "{source} talks to the member address {own} but is no member's address"
            )
        },
        remedy: "stop it, or name it in `members` of every node's configuration file; a member \
                 must send from the address that is configured for it",
    },
    Row {
        kind: NodeNotice::DamagedMemberMessage,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "member {} at {source} sent a damaged message",
                detail.subject
            )
        },
        remedy: "if it goes on, look for another program at that address, or for a network that \
                 alters datagrams",
    },
    Row {
        kind: NodeNotice::UnknownMemberMessage,
        text: |detail, _, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            let [schema, version, template, _] = detail.values;
            write!(
                f,
                "member {member} at {source} sent message {template} of schema {schema}, version \
                 {version}, which this node does not know"
            )
        },
        remedy: "run the same version of lockstep on all members",
    },
    Row {
        kind: NodeNotice::OtherCluster,
        text: |detail, place, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            let (own, other) = (detail.values[0], detail.values[1]);
            write!(
                f,
                "{source}, configured here as member {member}, belongs to another cluster: \
                 {other:#018x}, not \"{}\" ({own:#018x})",
                place.cluster
            )
        },
        remedy: "make the cluster names in both configuration files equal, or correct the address \
                 of that member",
    },
    Row {
        kind: NodeNotice::OtherConfiguration,
        text: |detail, _, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            let (own, other) = (detail.values[0], detail.values[1]);
            write!(
                f,
                "member {member} at {source} has other cluster-wide settings: digest \
                 {other:#018x}, here {own:#018x}"
            )
        },
        remedy: "make `members` and the cluster-wide limits in both configuration files equal and \
                 restart the one that was wrong",
    },
    Row {
        kind: NodeNotice::MisplacedMember,
        text: |detail, _, f| {
            let (source, other) = (Source(detail.source), detail.values[0]);
            let member = detail.subject;
            write!(
                f,
                "{source}, configured here as member {member}, says it is member {other}"
            )
        },
        remedy: "give every member the same list of `members`, in the same order, and its own \
                 place in it",
    },
    Row {
        kind: NodeNotice::SendToMemberRefused,
        text: |detail, _, f| {
            let (to, error) = (Source(detail.source), system_error(detail.values[0]));
            match detail.subject {
                7.. => write!(f, "cannot send to {to}: {error}"),
                member => write!(f, "cannot send to member {member} at {to}: {error}"),
            }
        },
        remedy: "check that member's address in the configuration file, and this host's routes and \
                 firewall",
    },
    Row {
        kind: NodeNotice::PortReceiveFailed,
        text: |detail, _, f| {
            let error = system_error(detail.values[0]);
            write!(f, "receiving a datagram failed: {error}")
        },
        remedy: "the node goes on; if it goes on too, check this host's network",
    },
    Row {
        kind: NodeNotice::PortDatagramTooLong,
        text: |_, _, f| f.write_str("a datagram longer than any that members or clients send came"),
        remedy: "find out who else sends to this node's addresses",
    },
    Row {
        kind: NodeNotice::PortUnknownSource,
        text: |_, _, f| f.write_str("a datagram came from no IP address"),
        remedy: "find out who else sends to this node's addresses",
    },
    Row {
        kind: NodeNotice::PortRingFailed,
        text: |detail, _, f| {
            let error = system_error(detail.values[0]);
            write!(f, "the ring that receives datagrams failed: {error}")
        },
        remedy: "the node goes on by system calls; restart it to try the ring again, or set \
                 io = \"syscall\"",
    },
    Row {
        kind: NodeNotice::MemberSilent,
        text: |detail, _, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            match detail.values {
                [seconds, 0, ..] => write!(
                    f,
                    "member {member} at {source} has not been heard since start, for {seconds} s"
                ),
                [seconds, ..] => write!(
                    f,
                    "member {member} at {source} has not been heard for {seconds} s"
                ),
            }
        },
        remedy: "start it, or check the network and the firewalls between the members: until then \
                 fewer failures are survived",
    },
    Row {
        kind: NodeNotice::NoLeader,
        text: no_leader,
        remedy: "a majority of the members must run, reach each other and agree on the \
                 configuration: see what the others say",
    },
    Row {
        kind: NodeNotice::MemberExcluded,
        text: |detail, _, f| {
            let (member, source) = (detail.subject, Source(detail.source));
            let position = detail.values[0];
            write!(
                f,
                "the log of member {member} at {source} differs from the leader's at or below \
                 {position}: that member does not count"
            )
        },
        remedy: "keep all directories as they are, check both disks, and restart that member, so \
                 that it reads its log back",
    },
    Row {
        kind: NodeNotice::ExcludedByLeader,
        text: |detail, _, f| {
            let (leader, source) = (detail.subject, Source(detail.source));
            let (position, hashes) = (detail.values[0], ChainHashes(detail));
            write!(
                f,
                "the leader, member {leader} at {source}, does not count this member any more: \
                 its log has become another one at or below {position} ({hashes}) after this one \
                 had joined"
            )
        },
        remedy: "keep all directories as they are, check the disk and the memory of both hosts, \
                 and restart this member, so that it reads its log back",
    },
    Row {
        kind: NodeNotice::SecondLeader,
        text: |detail, _, f| {
            let (member, source, term) = (detail.subject, Source(detail.source), detail.values[0]);
            write!(
                f,
                "member {member} at {source} says that it leads term {term}, which another member \
                 leads: it is not believed"
            )
        },
        remedy: "keep all directories as they are; look for two processes with one member's \
                 address, and for a directory that was put back from an older state",
    },
    Row {
        kind: NodeNotice::AckBeyondLog,
        text: |detail, _, f| {
            let (member, source, end) = (detail.subject, Source(detail.source), detail.values[1]);
            write!(
                f,
                "member {member} at {source} acknowledges more log than this leader has, which \
                 ends at {end}: that counts for nothing"
            )
        },
        remedy: "keep all directories as they are; look for two processes with one member's \
                 address, and run the same version of lockstep on all members",
    },
    Row {
        kind: NodeNotice::PortNotTaken,
        text: |_, _, f| {
            f.write_str(
                "this node did not take datagrams in time: the queue from its socket's thread is \
                 full, and the socket is not read before there is room",
            )
        },
        remedy: "what is lost is sent again; if it goes on, give this node's threads cores of \
                 their own, or find out who sends so much",
    },
    Row {
        kind: NodeNotice::SnapshotMessageUnexpected,
        text: |_, _, f| {
            f.write_str(
                "a member said something about a snapshot that was not asked for, or asks for too \
                 much at once",
            )
        },
        remedy: "nothing is to be done: what was asked of one member comes late once another one \
                 is asked, and who lacks a piece asks again",
    },
    Row {
        kind: NodeNotice::HandingOver,
        text: |detail, _, f| {
            let term = detail.values[0];
            match detail.subject {
                7.. => write!(f, "this member hands its leadership of term {term} over"),
                to => write!(
                    f,
                    "this member hands its leadership of term {term} over to member {to}"
                ),
            }
        },
        remedy: "nothing is to be done: requests wait until the next leader takes them",
    },
    Row {
        kind: NodeNotice::HandOverFailed,
        text: |detail, _, f| {
            let term = detail.values[0];
            match detail.subject {
                7.. => write!(
                    f,
                    "nobody has taken over the leadership of term {term} within an election \
                     timeout: this member goes on to lead"
                ),
                to => write!(
                    f,
                    "member {to} has not taken over the leadership of term {term} within an \
                     election timeout: this member goes on to lead"
                ),
            }
        },
        remedy: "see that the other members run, follow this one and are not far behind, and ask \
                 again",
    },
    Row {
        kind: NodeNotice::UntoldStanding,
        text: |detail, _, f| {
            let (member, source, term) = (detail.subject, Source(detail.source), detail.values[0]);
            write!(
                f,
                "member {member} at {source} says that this leader of term {term} told it to \
                 stand, which it did not: it is not heard"
            )
        },
        remedy: "look for two processes with one member's address, and run the same version of \
                 lockstep on all members",
    },
    Row {
        kind: NodeNotice::StopWithoutSnapshot,
        text: |detail, _, f| {
            let [position, newest, why, _] = detail.values;
            write!(
                f,
                "this member stops without a snapshot at {position} or above, its newest is at \
                 {newest}: {}",
                match why {
                    STOP_IN_TIME => "it did not come within snapshot_on_stop",
                    STOP_LEADERLESS => "nobody leads who could ask for one",
                    STOP_OF_SERVICE => "its service has none",
                    _ => "it is no voter, for which none is asked for",
                }
            )
        },
        remedy: "nothing is lost: its next start executes the log from the newest one on; if \
                 snapshot_on_stop was too short, let it be longer than a snapshot takes",
    },
];

fn no_leader(detail: &Detail, place: &Place, f: &mut Formatter<'_>) -> Result {
    let [seconds, absences, kinds, is_damaged] = detail.values;
    write!(f, "no leader for {seconds} s")?;
    let bytes = absences.to_le_bytes().into_iter().zip(kinds.to_le_bytes());
    let mut separator = ": ";
    for (member, (absence, kind)) in bytes.enumerate() {
        let why = match Absence::from_number(absence) {
            Absence::None => continue,
            Absence::NeverHeard => "has not been heard since start",
            Absence::Silent => "is not heard any more",
            Absence::Refused => refusal(kind),
            Absence::VoteDenied => "is heard but refuses its vote",
            Absence::Voiceless => "runs on a directory that does not count",
        };
        let address = Source(place.member_address(member as u8));
        write!(f, "{separator}member {member} at {address} {why}")?;
        separator = ", ";
    }
    if is_damaged != 0 {
        write!(
            f,
            "{separator}this member does not stand, its log is damaged"
        )?;
    }
    Ok(())
}

/// Why the messages of a member are refused, by the number of the notice's kind.
fn refusal(kind: u8) -> &'static str {
    let is = |other: NodeNotice| usize::from(kind) == other.index();
    if is(NodeNotice::OtherCluster) {
        "belongs to another cluster"
    } else if is(NodeNotice::OtherConfiguration) {
        "has other cluster-wide settings"
    } else if is(NodeNotice::MisplacedMember) {
        "says it is another member"
    } else if is(NodeNotice::UnknownMemberMessage) {
        "runs another version"
    } else {
        "sends messages that are refused"
    }
}
