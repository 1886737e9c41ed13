//! Deterministic simulators: one seed is one run, byte for byte (`reliability.md` §3).
//!
//! The *core tank* runs consensus modules over a positions-only log and exhausts schedules; the
//! *node tank* runs whole nodes and finds what falls between the parts. Product code depends on
//! neither.

mod client_twin;
mod core_log;
mod core_network;
mod core_node;
mod core_oracle;
pub mod core_tank;
pub mod service_time;
pub mod tank;
mod tank_accident;
mod tank_atlas;
mod tank_client;
mod tank_disk;
mod tank_inject;
mod tank_member;
mod tank_options;
mod tank_oracle;
mod tank_plan;
mod tank_quorum;
mod tank_service;
mod tank_settle;

/// A fault built in on purpose: a tank that does not find it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// The log is reported durable before it is (model E).
    AckBeforeFsync,
    /// A joining member's log counts towards commit although it may be of an older term
    /// (model B, R01).
    CountOlderTermAcks,
    /// Term and vote are not durable (model D, R33).
    ForgetVoteOnRestart,
    /// A new leader appends before it has applied its own first entry; of the node tank.
    AppendBeforeOwnFirstEntryApplied,
    /// A client's new process passes for the one before it instead of asking for a greater
    /// connect epoch; of the node tank.
    ResumeWithoutEpoch,
}

impl PlantedFault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AckBeforeFsync,
        Self::CountOlderTermAcks,
        Self::ForgetVoteOnRestart,
        Self::AppendBeforeOwnFirstEntryApplied,
        Self::ResumeWithoutEpoch,
    ];

    /// The name people select it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::CountOlderTermAcks => "count-older-term-acks",
            Self::ForgetVoteOnRestart => "forget-vote-on-restart",
            Self::AppendBeforeOwnFirstEntryApplied => "append-before-own-first-entry-applied",
            Self::ResumeWithoutEpoch => "resume-without-epoch",
        }
    }
}
