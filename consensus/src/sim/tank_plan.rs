//! Which faults a run has, and when.
//!
//! Swarm: most classes are on in half of the seeds, so that some runs have few and those few alone.
//! A class that is on happens again and again, at a rate of its own that is drawn log-uniformly.

use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos};

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultClass {
    /// A process dies, its host lives.
    Kill,
    /// A host loses power.
    PowerLoss,
    /// All hosts lose power at once.
    PowerLossOfAll,
    /// A process does not run for a while.
    Pause,
    /// A host loses power, or its process dies, while the member starts.
    CrashInStart,
    /// Nothing passes between two members.
    Cut,
    /// Nothing passes from one member to another.
    CutOneWay,
    /// Nothing passes between a member and all others.
    Isolate,
    /// What a member sends, or what it is sent, is lost.
    IsolateOneWay,
    /// Nothing passes between a client and a member, in one direction or both.
    CutClient,
    /// The leader is cut off for about as long as an election takes.
    DeposeLeader,
    /// What a member sends another one is held back for a while.
    Clog,
    /// A disk completes nothing for a while.
    Stall,
    /// A disk is slow from now on, or quick again.
    SlowDisk,
    /// The next writes fail, and later ones do not.
    FailWrites,
    /// The next reads of a running member fail.
    FailReads,
    /// The next segment cannot be made, though not for want of space.
    FailPreparation,
    /// No space is left for a while.
    FullDisk,
    /// Rot in the log while the member is down.
    RotDown,
    /// Rot in the log while the member runs.
    RotUp,
    /// Rot of one of the two places of node state, ack mark, catalog or identity.
    RotSlot,
    /// A segment of the log is gone.
    LoseSegment,
    /// A directory is emptied.
    Wipe,
    /// A directory is replaced by a copy of itself.
    SelfCopy,
    /// A member is started on a copy of another one's directory, or two on each other's.
    Foreign,
    /// An old state of a directory is put back in place.
    StaleBackup,
    /// A wall clock jumps.
    ClockJump,
    /// A client does not run for a while.
    PauseClient,
    /// A monotonic clock runs at another rate from now on.
    ClockDrift,
    /// A process ends, or its host does, between two operations of one duty cycle.
    CrashInCycle,
    /// The next reads of a running member come back with other bytes than the disk has.
    SpoilReads,
    /// A write of the log was reported done and is not there.
    LostWrite,
    /// A write of the log went to another place.
    Misdirected,
    /// A client takes nothing that it is sent for a while.
    SlowReader,
    /// Somebody who is not of the cluster says something.
    Stranger,
}

/// How many classes there are.
pub const FAULT_CLASSES: usize = 35;

/// How often each class happened, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCounts([u32; FAULT_CLASSES]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; FAULT_CLASSES])
    }
}

impl core::ops::Deref for FaultCounts {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}

impl core::ops::DerefMut for FaultCounts {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
}

impl FaultClass {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; FAULT_CLASSES] = [
        Self::Kill,
        Self::PowerLoss,
        Self::PowerLossOfAll,
        Self::Pause,
        Self::CrashInStart,
        Self::Cut,
        Self::CutOneWay,
        Self::Isolate,
        Self::IsolateOneWay,
        Self::CutClient,
        Self::DeposeLeader,
        Self::Clog,
        Self::Stall,
        Self::SlowDisk,
        Self::FailWrites,
        Self::FailReads,
        Self::FailPreparation,
        Self::FullDisk,
        Self::RotDown,
        Self::RotUp,
        Self::RotSlot,
        Self::LoseSegment,
        Self::Wipe,
        Self::SelfCopy,
        Self::Foreign,
        Self::StaleBackup,
        Self::ClockJump,
        Self::PauseClient,
        Self::ClockDrift,
        Self::CrashInCycle,
        Self::SpoilReads,
        Self::LostWrite,
        Self::Misdirected,
        Self::SlowReader,
        Self::Stranger,
    ];

    /// What reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power loss",
            Self::PowerLossOfAll => "power loss of all",
            Self::Pause => "pause",
            Self::CrashInStart => "crash in a start",
            Self::Cut => "cut",
            Self::CutOneWay => "one-way cut",
            Self::Isolate => "isolated member",
            Self::IsolateOneWay => "deaf or mute member",
            Self::CutClient => "client cut off",
            Self::DeposeLeader => "leader cut off",
            Self::Clog => "clogged link",
            Self::Stall => "disk stall",
            Self::SlowDisk => "slow disk",
            Self::FailWrites => "failing writes",
            Self::FailReads => "failing reads",
            Self::FailPreparation => "failing segment",
            Self::FullDisk => "full disk",
            Self::RotDown => "rot while down",
            Self::RotUp => "rot while up",
            Self::RotSlot => "rot of a slot",
            Self::LoseSegment => "lost segment",
            Self::Wipe => "wiped directory",
            Self::SelfCopy => "copied directory",
            Self::Foreign => "another's directory",
            Self::StaleBackup => "stale backup",
            Self::ClockJump => "clock jump",
            Self::PauseClient => "client pause",
            Self::ClockDrift => "clock drift",
            Self::CrashInCycle => "crash in a cycle",
            Self::SpoilReads => "spoiled reads",
            Self::LostWrite => "lost write",
            Self::Misdirected => "misdirected write",
            Self::SlowReader => "slow reader",
            Self::Stranger => "stranger",
        }
    }

    /// Shortest mean time between two of them in milliseconds, and how often it may be doubled.
    const fn interval(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::PowerLoss | Self::Isolate | Self::IsolateOneWay => (120, 4),
            Self::PowerLossOfAll | Self::Foreign => (800, 3),
            Self::Cut | Self::CutOneWay | Self::CutClient | Self::Clog => (120, 4),
            Self::FailWrites | Self::FailReads | Self::FailPreparation => (500, 4),
            Self::SpoilReads => (500, 4),
            Self::LostWrite | Self::Misdirected => (400, 4),
            Self::Stranger => (60, 3),
            Self::RotDown | Self::RotUp | Self::RotSlot => (300, 4),
            // Few logs have a whole segment below their mark when it is due.
            Self::LoseSegment => (100, 3),
            Self::Wipe | Self::SelfCopy => (1_000, 3),
            Self::StaleBackup => (250, 3),
            Self::DeposeLeader => (110, 2),
            _ => (200, 4),
        }
    }

    /// Probability that the class is on in a seed.
    const fn probability(self) -> f64 {
        match self {
            // Each takes a member away for good: together they would leave few runs with all.
            Self::Wipe | Self::SelfCopy | Self::StaleBackup => 0.2,
            // What is made for changes of leader is met while leaders change.
            Self::DeposeLeader => 0.9,
            _ => 0.5,
        }
    }
}

/// One in so many runs has no faults but those of the network.
const QUIET_SEEDS: u64 = 32;

/// One in so many runs may lose a majority of its directories.
const LOST_SEEDS: u64 = 25;

#[derive(Clone, Copy, Debug)]
struct Schedule {
    class: FaultClass,
    interval: Nanos,
    next: Nanos,
}

/// The faults of a run.
#[derive(Debug)]
pub struct FaultPlan {
    schedules: Vec<Schedule>,
    random: Prng,
    leader_bias: f64,
    may_lose_all: bool,
}

impl FaultPlan {
    /// Draws the plan of a run.
    #[must_use]
    pub fn draw(mut random: Prng) -> Self {
        let mut schedules = Vec::new();
        let is_quiet = random.range(0..QUIET_SEEDS) == 0;
        for class in FaultClass::ALL {
            let is_on = random.chance(class.probability());
            let interval = draw_interval(class, &mut random);
            if is_on && !is_quiet {
                let next = interval.min(random.exponential(interval as u64) as Nanos);
                schedules.push(Schedule {
                    class,
                    interval,
                    next: next.max(20 * MILLISECOND),
                });
            }
        }
        Self {
            schedules,
            leader_bias: [0.2, 0.6, 0.9][random.range(0..3) as usize],
            may_lose_all: random.range(0..LOST_SEEDS) == 0,
            random,
        }
    }

    /// Probability that a fault of a member is meant for the leader.
    #[must_use]
    pub const fn leader_bias(&self) -> f64 {
        self.leader_bias
    }

    /// Whether more directories may be lost than the cluster can survive.
    #[must_use]
    pub const fn may_lose_all(&self) -> bool {
        self.may_lose_all
    }

    /// When the next fault is due.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        self.schedules.iter().map(|schedule| schedule.next).min()
    }

    /// A fault that is due.
    pub fn take(&mut self, now: Nanos) -> Option<FaultClass> {
        let due = self.schedules.iter_mut().find(|s| s.next <= now)?;
        let pause = self.random.exponential(due.interval as u64) as Nanos;
        due.next = now + pause.max(MILLISECOND);
        Some(due.class)
    }
}

/// Log-uniform as far as doublings go, and uniform between them: no function of a library that
/// might be rounded otherwise elsewhere.
fn draw_interval(class: FaultClass, random: &mut Prng) -> Nanos {
    let (shortest, doublings) = class.interval();
    let base = shortest << random.range(0..doublings);
    base.saturating_add(random.range(0..base)) as Nanos * MILLISECOND
}
