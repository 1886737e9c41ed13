//! What nodes and clients count and the node tank cannot make happen, with the reason.

const OF_SYSTEM: &str = "only an operating system refuses it: transport/tests/port_trouble.rs, \
                         cli/tests/poor_hosts.rs";

const OF_BIRTH: &str = "directories are left alone until something is committed: \
                        consensus/tests/formation_model.rs";

const OF_TWO_HISTORIES: &str = "no member breaks the rules of the log: \
                                consensus/tests/two_histories.rs, hostile_leader.rs";

const OF_DIVERGENCE: &str = "all services answer alike unless a run is asked for another: \
                             consensus/tests/divergence.rs, node_tank.rs";

const OF_CROWDS: &str = "a run has few clients and strangers: consensus/tests/crowds.rs";

const OF_LENGTHS: &str = "clients refuse longer requests themselves: consensus/tests/lengths.rs";

const NEVER_SENT: &str = "no member of this version refuses with it";

const OF_GARBLED: &str = "datagrams between clients and members carry no checksum of their own and \
                          are not damaged here: client/tests";

/// Name of the item, and why.
pub(super) const IMPOSSIBLE: &[(&str, &str)] = &[
    ("FormationRedraws", OF_BIRTH),
    ("FormationTakesLaterDraw", OF_BIRTH),
    ("node notice SendToMemberRefused", OF_SYSTEM),
    ("node notice PortReceiveFailed", OF_SYSTEM),
    ("node notice PortDatagramTooLong", OF_SYSTEM),
    ("node notice PortUnknownSource", OF_SYSTEM),
    ("node notice PortRingFailed", OF_SYSTEM),
    ("node notice MemberExcluded", OF_TWO_HISTORIES),
    ("node notice ExcludedByLeader", OF_TWO_HISTORIES),
    ("node notice SecondLeader", OF_TWO_HISTORIES),
    ("node notice AckBeyondLog", OF_TWO_HISTORIES),
    ("node notice LogFrameContradicts", OF_TWO_HISTORIES),
    ("node notice FollowerLogDiffers", OF_TWO_HISTORIES),
    ("node notice LeaderLogDiffers", OF_TWO_HISTORIES),
    ("node notice MemberDiverged", OF_DIVERGENCE),
    ("node notice OutputContested", OF_DIVERGENCE),
    ("node notice VoidResponse", OF_DIVERGENCE),
    ("node notice LearnersAnswer", OF_DIVERGENCE),
    ("node notice RequestWhileContested", OF_DIVERGENCE),
    ("node notice SendToClientRefused", OF_SYSTEM),
    ("node notice EgressMemory", OF_SYSTEM),
    ("node notice HalfOpenDisplaced", OF_CROWDS),
    ("node notice StrangerDisplaced", OF_CROWDS),
    ("node notice SessionLimit", OF_CROWDS),
    ("node notice ConnectAwaitsChannel", OF_CROWDS),
    ("node notice AnswerDisplaced", OF_CROWDS),
    ("node notice IngressMessageTooLong", OF_LENGTHS),
    ("node notice RequestTooLong", OF_LENGTHS),
    ("node notice RequestBackPressured", NEVER_SENT),
    ("node notice RequestAlreadyApplied", NEVER_SENT),
    ("node notice RequestOfOtherTerm", NEVER_SENT),
    ("node notice RequestWhileDraining", NEVER_SENT),
    ("client notice DamagedMessage", OF_GARBLED),
    ("client notice SendRefused", OF_SYSTEM),
    ("client notice PortTrouble", OF_SYSTEM),
    ("client notice DamagedEndpoints", OF_GARBLED),
    ("client notice IngressRefused", OF_SYSTEM),
    ("client notice MessageTooLong", OF_LENGTHS),
    ("client counter messages_too_long", OF_LENGTHS),
    ("client counter messages_invalid", OF_GARBLED),
    ("client counter endpoints_invalid", OF_GARBLED),
    ("client counter refusals_late", NEVER_SENT),
];

/// What thousands of short runs may miss, and the tests that make it.
pub(super) const RARE: &[(&str, &str)] = &[
    (
        "RecoveryOfLonePad",
        "a crash between a PAD and its first entry: archive/tests/crash_recovery.rs",
    ),
    (
        "StaleSegmentMissing",
        "a segment is lost above the end of a log: archive/tests/log_rot.rs",
    ),
    (
        "TermListPaged",
        "more than 32 terms in a log: consensus/tests/consensus_module/joining.rs",
    ),
    (
        "node notice AnswersAwaitOutput",
        "one leader for a second of silence: consensus/tests/output_reports.rs",
    ),
    (
        "node notice EgressPacketRefused",
        "a late datagram of the very stream: consensus/tests/odd_streams.rs",
    ),
    (
        "node notice IngressFrameMisplaced",
        "a late datagram of the very stream: consensus/tests/odd_streams.rs",
    ),
    (
        "node notice DirectResponseLost",
        "what a short run owes a client fits in its window: lockstep sim --full",
    ),
];
