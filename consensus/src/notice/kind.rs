//! The kinds of notices and their numbers.

use lockstep_transport::notices::{NoticeKind, Notices};
use lockstep_transport::time::{Nanos, SECOND};

/// Kinds of one group at most; each group's numbers begin at a multiple of it.
pub const GROUP_MAX: usize = 32;

/// Groups that there are.
pub(super) const GROUPS: usize = 8;

/// What is late after a change of leader or of a client's stream has come after so long.
const LATE_NS: Nanos = 3 * SECOND;

/// What a node counts and tells. The head of [`notice`](super) says how to
/// add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeNotice {
    // Members: messages, addresses, the network between them.
    /// A datagram came to the member address from an address that is no member's.
    UnknownMemberAddress = 0,
    /// A member's message is no whole message, or is damaged.
    DamagedMemberMessage = 1,
    /// A member's message is of another version.
    UnknownMemberMessage = 2,
    /// Whoever has a member's address belongs to another cluster.
    OtherCluster = 3,
    /// A member has other cluster-wide settings.
    OtherConfiguration = 4,
    /// A message says that it is one member's and came from the address of another.
    MisplacedMember = 5,
    /// The operating system refused to send a datagram to a member.
    SendToMemberRefused = 6,
    /// The operating system reported an error instead of a datagram.
    PortReceiveFailed = 7,
    /// A datagram was longer than any that a member or client sends.
    PortDatagramTooLong = 8,
    /// A datagram came from no IP address.
    PortUnknownSource = 9,
    /// The ring that receives datagrams failed; system calls do it now.
    PortRingFailed = 10,
    /// The leader does not hear a member.
    MemberSilent = 11,
    /// There is no leader: which members are missing, and why.
    NoLeader = 12,
    /// The leader does not count a member whose log differs from its own.
    MemberExcluded = 13,
    /// The leader counts this member no more: their logs parted after this one had joined.
    ExcludedByLeader = 14,
    /// A member says that it leads a term that another one leads.
    SecondLeader = 15,
    /// Leading: a member acknowledges more log than there is.
    AckBeyondLog = 16,
    /// This node took datagrams too late: the queue from its socket's thread was full, and the
    /// socket was not read before there was room.
    PortNotTaken = 17,
    /// A piece of a snapshot that was not asked for, a refusal of none, or a request for pieces
    /// that is more than is taken.
    SnapshotMessageUnexpected = 18,
    /// This leader hands its leadership over.
    HandingOver = 19,
    /// Nobody took the leadership that this leader handed over.
    HandOverFailed = 20,
    /// A member says that this leader told it to stand, and it did not.
    UntoldStanding = 21,
    /// This member was told to stop and waited for a snapshot, and ends without.
    StopWithoutSnapshot = 22,

    // Log stream: frames from the leader, status messages and NAKs to it.
    /// A datagram of a member is no frame of the protocol.
    DamagedLogDatagram = 32,
    /// A frame of another log stream.
    OtherLogStream = 33,
    /// A frame of the log from a member that this one does not follow.
    LogNotFollowed = 34,
    /// A frame of the log at a position outside the log's terms.
    LogFrameMisplaced = 35,
    /// A frame of the log whose checksum does not hold.
    LogFrameDamaged = 36,
    /// A frame of the log of another leadership term than the leader's list gives its position.
    LogFrameOfOtherTerm = 37,
    /// A packet that has no place in the log's stream.
    LogPacketUnexpected = 38,
    /// The leader cannot read its own log back for a follower.
    LogUnreadable = 39,
    /// A follower receives nothing although its leader's log goes on.
    LogStuck = 40,
    /// A status message or NAK for a log that this member does not send, or not there.
    LogStatusUnexpected = 41,
    /// A follower's status messages were out of its sender's reach, which begins anew.
    LogReceiverLost = 42,
    /// A frame of the leader's log that contradicts its place, its term or the leader's list.
    LogFrameContradicts = 43,

    // Directories: identity and formation.
    /// The cluster has not formed, for want of members.
    FormationWaits = 64,
    /// This member waits until a majority knows its present start.
    ReturnWaits = 65,
    /// This member's directory is not the one that the cluster was formed with.
    IsLearner = 66,
    /// This member's directory found itself to be a copy.
    DirectoryIsCopy = 67,
    /// Another member knows that this directory has lived on since.
    DirectoryOutlived = 68,
    /// Another member's directory is not the one that the cluster was formed with.
    MemberIsLearner = 69,
    /// A member belongs to another cluster of the same name.
    OtherUuid = 70,
    /// Two processes say that they are the same start of one directory.
    DirectoryLivesTwice = 71,
    /// A message of an earlier life of a directory.
    MessageOutlived = 72,
    /// A message that has no meaning before the cluster has formed.
    MessageBeforeFormation = 73,
    /// This member's host went down while it ran without syncs: it is a learner now.
    UnsyncedLogLost = 74,
    /// This member's directory lost what it promised: it is a learner now.
    PromisesLost = 75,
    /// So many members run on directories that do not count that nobody can be elected.
    MajorityGone = 76,
    /// A message of a start of another member that has not been announced to this one.
    MessageUnannounced = 77,
    /// What this member acknowledged was in a log buffer that is gone: it is a learner now.
    LogMemoryLost = 78,

    // Recovery: the log's truth, damage, joining.
    /// Part of what this member acknowledged is missing from its log.
    LogDamaged = 96,
    /// The log has all that this member acknowledged again.
    LogRepaired = 97,
    /// Leading: a follower's log is another one below a place that both have.
    FollowerLogDiffers = 98,
    /// Following: the leader's log is another one below a place that both have.
    LeaderLogDiffers = 99,
    /// Following: the leader has let go of the log that this member lacks.
    LogGoneAtLeader = 100,
    /// Clients are owed answers that are not in this member's log: it does not stand.
    AnswersMissing = 101,

    // Disk: room, failures, probes, stalls.
    /// The log has no room to grow.
    LogFull = 128,
    /// The log has room to grow again.
    LogHasRoom = 129,
    /// A write of the log or of its mark has been under way for more than a second.
    DiskStalled = 130,
    /// At start one of the two slots of a file was spoiled: the other one is good.
    SlotSpoiled = 131,
    /// A snapshot could not be stored.
    SnapshotNotStored = 132,
    /// Another member's snapshot did not come, not from that member, or is none of this log.
    SnapshotNotFetched = 133,
    /// A snapshot here cannot be read for another member.
    SnapshotUnreadable = 134,

    // Divergence: outputs, cluster-wide limits, log time.
    /// Log time is far from this member's wall clock.
    LogTimeOffset = 160,
    /// A member's service differs from the majority's.
    MemberDiverged = 161,
    /// It is not known whose answers are right: answers wait.
    OutputContested = 162,
    /// A Response in the log that a majority's services did not say was passed over.
    VoidResponse = 163,
    /// The service took longer over one entry than a heartbeat interval.
    SlowService = 164,
    /// Leading: answers wait until members have told what their services put out.
    AnswersAwaitOutput = 165,
    /// Leading: answers left although no majority was known to have the same output.
    AnswersUnverified = 166,
    /// A learner answered a question about outputs, which counts for nothing.
    LearnersAnswer = 167,
    /// The service, on its own thread, has been at one entry for more than a second.
    ServiceStalled = 168,
    /// The service wrote its part of a snapshot wrongly: there is none.
    SnapshotUseless = 169,
    /// Members have different snapshots of one place, and no majority says which one is right.
    SnapshotsDiffer = 170,

    // Clients: datagrams, images, connects.
    /// A datagram of a client is no frame of the protocol.
    DamagedClientDatagram = 192,
    /// A status message or NAK for an egress stream that this node does not have.
    UnknownEgressStream = 193,
    /// A data frame or heartbeat of an ingress stream that this node does not have.
    UnknownIngressStream = 194,
    /// An ingress stream was refused for want of room.
    IngressImagesFull = 195,
    /// An ingress stream was refused for its parameters.
    IngressParameters = 196,
    /// A client's message does not decode.
    DamagedClientMessage = 197,
    /// A client of another cluster asked to connect.
    ClientOfOtherCluster = 198,
    /// The operating system refused to send a datagram to a client.
    SendToClientRefused = 199,
    /// The first message of an ingress stream is none that a client begins with.
    IngressBeginning = 200,
    /// A stream that was set up and said nothing gave way to newer ones of its host.
    HalfOpenDisplaced = 201,
    /// The image of a stranger's stream gave way to another one's.
    StrangerDisplaced = 202,
    /// A connect was refused: as many sessions are open as may be. The client is told.
    SessionLimit = 203,
    /// A connect was refused: the client speaks another version. The client is told.
    ClientOfOtherVersion = 204,
    /// A connect was refused: the session to resume is closed. The client is told.
    ResumeOfClosedSession = 205,
    /// A connect was answered without a leader: none is known here. The client is told.
    ConnectWithoutLeader = 206,
    /// A connect waits: this member leads, and may not serve clients yet.
    ConnectAwaitsOpening = 207,
    /// A connect waits: there is no place to answer it from.
    ConnectAwaitsChannel = 208,
    /// A connect waits: the log has no room for its entry, or as many wait as may.
    ConnectAwaitsLog = 209,
    /// A stream that has not begun was not answered again: that was done as often as it may be.
    HalfOpenExhausted = 210,
    /// A client that asked is not heard at the address it asked from.
    ClientUnheard = 211,
    /// An answer to a connect gave way to newer ones before its client took it.
    AnswerDisplaced = 212,
    /// There is no memory for a stream to a client.
    EgressMemory = 213,
    /// A client's status message or NAK has no place in its stream, or it refuses the stream.
    EgressPacketRefused = 214,
    /// A frame of an ingress stream that has no place in it.
    IngressFrameMisplaced = 215,
    /// A message of a client is longer than any that is taken. The client is not told.
    IngressMessageTooLong = 216,

    // Sessions: requests, acknowledgements, egress.
    /// A message of a session came from an address that is not its client's.
    ForeignSession = 224,
    /// A request was refused: this member does not lead. The client is told.
    RequestNotLeader = 225,
    /// A request was refused: its session is not open here. The client is told.
    RequestOfUnknownSession = 226,
    /// A request was refused: numbers were skipped. The client is told.
    RequestOutOfOrder = 227,
    /// A request was refused: it is longer than `message_max`. The client is told.
    RequestTooLong = 228,
    /// A request that was appended before.
    RequestDuplicate = 229,
    /// A request was refused: no room at the moment. The client is told, and tries again.
    RequestBackPressured = 230,
    /// A request was refused: applied before, in direct mode. The client is told.
    RequestAlreadyApplied = 231,
    /// A request was refused: it is of another leadership term. The client is told.
    RequestOfOtherTerm = 232,
    /// A request was refused: the leader is handing over. The client is told.
    RequestWhileDraining = 233,
    /// In direct mode, a response found no room in its client's stream and is lost.
    DirectResponseLost = 234,
    /// A request was refused: another process has continued its session. The client is told.
    RequestFenced = 235,
    /// A process spoke for a session that another one has continued.
    SessionFenced = 236,
    /// A session is closed: the log could not be trimmed for the answers it left. Its client is
    /// told.
    SessionHeldLog = 237,
    /// A request was refused: it is not known whose answers are right. The client is told.
    RequestWhileContested = 244,
}

/// A node's counts and what it has to tell.
pub(crate) type NodeNotices = Notices<NodeNotice>;

impl NoticeKind for NodeNotice {
    const COUNT: usize = GROUP_MAX * GROUPS;

    fn index(self) -> usize {
        self as usize
    }

    fn patience_ns(self) -> Nanos {
        match self {
            Self::LogNotFollowed
            | Self::LogFrameOfOtherTerm
            | Self::LogStatusUnexpected
            | Self::UnknownEgressStream
            | Self::UnknownIngressStream
            | Self::ForeignSession
            | Self::EgressPacketRefused
            | Self::IngressFrameMisplaced
            | Self::ConnectAwaitsOpening
            | Self::AnswersMissing => LATE_NS,
            Self::ConnectWithoutLeader => SECOND,
            _ => 0,
        }
    }
}
