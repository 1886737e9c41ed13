//! Hellos: what members tell each other of themselves, and what is made of it.

use lockstep_transport::time::Nanos;

use super::found::Found;
use crate::module::formation::{DirectoryId, DurableFormation, Incarnation};
use crate::module::member::MemberId;

/// The greatest incarnation known of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownLife {
    /// The directory, 0 for none.
    pub directory: DirectoryId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Uuid of its cluster, 0 while it belongs to none.
    pub cluster: u128,
    /// Its directory.
    pub directory: DirectoryId,
    /// Its present life.
    pub incarnation: Incarnation,
}

/// What members say to each other about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// What the sender durably holds of its cluster.
    pub formation: DurableFormation,
    /// Whether it knows that all members hold its record as final.
    pub is_ready: bool,
    /// Whether it wants an answer.
    pub is_asking: bool,
    /// The greatest life that the sender durably knows of the receiver's directory, as far as it
    /// knows which one that is; or the life that is outlived.
    pub known: KnownLife,
    /// Whether that life is settled, see [`Lineage`](super::Lineage).
    pub is_settled: bool,
    /// Whether `known` is a life of an old state: its directory has lived on.
    pub is_outlived: bool,
    /// The life of the sender's directory that, as it durably knows, the receiver's directory
    /// knows; all zeros in it for none.
    pub named: KnownLife,
    /// What the sender found on its disk when it started.
    pub found: Found,
}

/// What this member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its cluster has not formed, as far as it knows: it does nothing.
    Forming,
    /// It follows, but neither votes nor stands nor acknowledges until a majority knows its
    /// incarnation.
    Returning,
    /// It counts.
    Voter,
    /// It follows and never counts.
    Learner,
}

/// A message that may be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Counts the lives heard of the sender: grows with each new one.
    pub life: u64,
    /// Whether the sender's directory counts.
    pub is_voter: bool,
    /// Whether this is the first message of that life.
    pub is_new: bool,
}

/// Why a message is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sender belongs to another cluster of the same name.
    OtherUuid,
    /// The sender's directory is known to have lived on since: late, or an old copy.
    Outlived,
    /// The sender's directory lives twice.
    Twin,
    /// Nothing but hellos is heard before the cluster has formed.
    NotFormed,
    /// Nothing but a hello that names what it continues makes a new life known.
    Unannounced,
}

/// What changed with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloOutcome {
    /// Nothing to be told.
    Heard(Admitted),
    /// The sender knows that this directory has lived on: it has taken a new id.
    Renamed,
}

/// A member's fixed facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipConfig {
    /// This member.
    pub member: MemberId,
    /// How many there are.
    pub members: usize,
    /// Interval of hellos while something is waited for.
    pub heartbeat_interval_ns: Nanos,
    /// A directory silent for so long may have been replaced by one that was known before, and one
    /// that this member counts without is asked no longer. Promises are written down within twice
    /// as long.
    pub silence_ns: Nanos,
    /// Random: the uuid of a cluster drawn here.
    pub uuid: u128,
    /// Random: what this directory is called if it turns out to be an old copy.
    pub next_directory: DirectoryId,
    /// What this start found on its disk.
    pub found: Found,
}
