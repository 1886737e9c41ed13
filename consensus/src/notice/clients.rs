//! What a node says about clients' datagrams, streams and connects.

use super::{NodeNotice, Row, Source, system_error};

/// What to do about datagrams that no client sends.
const STRANGER: &str = "no client is affected; if it goes on, find out what runs at that address, \
                        or keep it out by a firewall";

/// What to do about packets of streams that have ended.
const LATE: &str = "some are late after a client left or reconnected; if it goes on, find out \
                    what runs at that address";

/// What to do about more connects than clients make.
const FLOOD: &str = "clients with sessions are not affected; if it goes on, stop the ones that \
                     connect over and over, or keep their host out by a firewall";

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: NodeNotice::DamagedClientDatagram,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} sent a datagram that is no frame of the protocol"
            )
        },
        remedy: STRANGER,
    },
    Row {
        kind: NodeNotice::UnknownEgressStream,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} reports on an egress stream that this member does not send"
            )
        },
        remedy: LATE,
    },
    Row {
        kind: NodeNotice::UnknownIngressStream,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} sends on an ingress stream that this member does not receive"
            )
        },
        remedy: LATE,
    },
    Row {
        kind: NodeNotice::IngressImagesFull,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "more strangers than {source} want to connect than are taken at a time: the \
                 client is asked again"
            )
        },
        remedy: FLOOD,
    },
    Row {
        kind: NodeNotice::IngressParameters,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} wants an ingress stream of parameters that are not accepted here"
            )
        },
        remedy: "run a client of the same version of lockstep, with terms no longer than 1 MiB",
    },
    Row {
        kind: NodeNotice::DamagedClientMessage,
        text: |detail, _, f| {
            write!(
                f,
                "{} sent a message that does not decode",
                Source(detail.source)
            )
        },
        remedy: "run a client of the same version of lockstep",
    },
    Row {
        kind: NodeNotice::ClientOfOtherCluster,
        text: |detail, place, f| {
            let (own, other) = (detail.values[0], detail.values[1]);
            let source = Source(detail.source);
            write!(
                f,
                "the client at {source} wants another cluster: {other:#018x}, not \"{}\" \
                 ({own:#018x})",
                place.cluster
            )
        },
        remedy: "correct the cluster name or the addresses that the client is given",
    },
    Row {
        kind: NodeNotice::SendToClientRefused,
        text: |detail, _, f| {
            let (client, error) = (Source(detail.source), system_error(detail.values[0]));
            write!(f, "cannot send to the client at {client}: {error}")
        },
        remedy: "check this host's routes and firewall, and that the node's addresses reach that \
                 client",
    },
    Row {
        kind: NodeNotice::IngressBeginning,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "an ingress stream of {source} begins with no message that a client begins with"
            )
        },
        remedy: LATE,
    },
    Row {
        kind: NodeNotice::HalfOpenDisplaced,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "hosts like that of {source} set up more ingress streams than are remembered: the \
                 oldest that has said nothing gave way"
            )
        },
        remedy: FLOOD,
    },
    Row {
        kind: NodeNotice::StrangerDisplaced,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "the ingress stream of {source}, which has no session, gave way to another one's"
            )
        },
        remedy: FLOOD,
    },
    Row {
        kind: NodeNotice::SessionLimit,
        text: |detail, _, f| {
            let (source, most) = (Source(detail.source), detail.values[0]);
            write!(
                f,
                "a connect of {source} was refused: {most} sessions are open, which is \
                 `sessions_max`; its client was told"
            )
        },
        remedy: "stop clients that are not needed, or form the cluster with a higher \
                 `sessions_max`",
    },
    Row {
        kind: NodeNotice::ClientOfOtherVersion,
        text: |detail, _, f| {
            let (source, version) = (Source(detail.source), detail.values[2]);
            write!(
                f,
                "a connect of {source} was refused: it speaks version {version:#x} of the client \
                 protocol; its client was told"
            )
        },
        remedy: "run a client of the same version of lockstep",
    },
    Row {
        kind: NodeNotice::ResumeOfClosedSession,
        text: |detail, _, f| {
            let (source, session) = (Source(detail.source), detail.values[1]);
            write!(
                f,
                "{source} came back for session {session}, which is closed; its client was told"
            )
        },
        remedy: "a client that may be away for longer needs a longer session timeout",
    },
];
