//! What a node says about other members' messages and the network between them.

use super::{NodeNotice, Row, Source};

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
];
