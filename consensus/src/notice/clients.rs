//! What a node says about clients' datagrams, streams and connects.

use super::kind::NodeNotice;
use super::row::{Row, Source, system_error};

/// What to do about datagrams that no client sends.
const STRANGER: &str = "no client is affected; if it goes on, find out what runs at that address, \
                        or keep it out by a firewall";

/// What to do about packets of streams that have ended.
const LATE_PACKETS: &str = "some are late after a client left or reconnected; if it goes on, find \
                            out what runs at that address";

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
        remedy: LATE_PACKETS,
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
        remedy: LATE_PACKETS,
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
        remedy: LATE_PACKETS,
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
    Row {
        kind: NodeNotice::ConnectWithoutLeader,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "a connect of {source} was answered without a leader, for this member knows of \
                 none; its client was told"
            )
        },
        remedy: "the client asks the members in turn; if it goes on, see why there is no leader",
    },
    Row {
        kind: NodeNotice::ConnectAwaitsOpening,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "a connect of {source} waits: this member leads, and no majority has the first \
                 entry of its term yet, or its service has not executed so far"
            )
        },
        remedy: "see which members this one names as silent or as different",
    },
    Row {
        kind: NodeNotice::ConnectAwaitsChannel,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "a connect of {source} waits for a place to be answered from"
            )
        },
        remedy: FLOOD,
    },
    Row {
        kind: NodeNotice::ConnectAwaitsLog,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "a connect of {source} waits for room for its entry in the log, or for other \
                 connects before it"
            )
        },
        remedy: "if it goes on, see whether the log is full or a majority of disks is slow",
    },
    Row {
        kind: NodeNotice::HalfOpenExhausted,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "an ingress stream of {source} has not begun although it was answered as often as \
                 may be: it is not answered again"
            )
        },
        remedy: "a client begins another stream by itself; if it goes on, see that datagrams of \
                 this node reach that address, or keep it out by a firewall",
    },
    Row {
        kind: NodeNotice::ClientUnheard,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "the client at {source} was offered a stream to be answered on and is not heard"
            )
        },
        remedy: "a client that has gone leaves such a trace; if it goes on, see that datagrams of \
                 this node reach that address and that its firewall lets them in",
    },
    Row {
        kind: NodeNotice::AnswerDisplaced,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "the answer to a connect of {source} gave way to newer ones before it was taken"
            )
        },
        remedy: FLOOD,
    },
    Row {
        kind: NodeNotice::EgressMemory,
        text: |detail, _, f| {
            let (client, error) = (Source(detail.source), system_error(detail.values[0]));
            write!(
                f,
                "no memory for a stream to the client at {client}: {error}"
            )
        },
        remedy: "give the node more memory, or form the cluster with a lower `sessions_max`",
    },
    Row {
        kind: NodeNotice::EgressPacketRefused,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} reports on its egress stream what cannot be, or refuses the stream"
            )
        },
        remedy: LATE_PACKETS,
    },
    Row {
        kind: NodeNotice::IngressFrameMisplaced,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} sends frames that have no place in its ingress stream"
            )
        },
        remedy: LATE_PACKETS,
    },
    Row {
        kind: NodeNotice::IngressMessageTooLong,
        text: |detail, _, f| {
            let source = Source(detail.source);
            write!(
                f,
                "{source} sent a message that is longer than any that is taken: it is dropped, and \
                 its client is not told"
            )
        },
        remedy: "run a client of the same version of lockstep, which refuses such requests itself",
    },
];
