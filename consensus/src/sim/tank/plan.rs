//! Which faults a run has, and when.
//!
//! Swarm: most classes are on in half of the seeds, so that some runs have few and those few alone.
//! A class that is on happens again and again, at a rate of its own that is drawn log-uniformly.
//! All of it is drawn before the run, as a list of decisions.

use std::collections::VecDeque;

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
    /// A snapshot of a running member rots.
    RotSnapshot,
    /// A member is asked to hand its leadership over, or to stop, which it does first then.
    HandOver,
}

/// How many classes there are.
pub const FAULT_CLASS_COUNT: usize = 37;

/// How often each class happened, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCounts([u32; FAULT_CLASS_COUNT]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; FAULT_CLASS_COUNT])
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
    pub const ALL: [Self; FAULT_CLASS_COUNT] = [
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
        Self::RotSnapshot,
        Self::HandOver,
    ];

    /// The class of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

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
            Self::RotSnapshot => "rot of a snapshot",
            Self::HandOver => "hand-over",
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
            Self::Stranger | Self::HandOver => (60, 3),
            Self::RotDown | Self::RotUp | Self::RotSlot | Self::RotSnapshot => (300, 4),
            // Few logs have a whole segment below their mark when it is due.
            Self::LoseSegment => (100, 3),
            Self::Wipe | Self::SelfCopy => (1_000, 3),
            Self::StaleBackup => (250, 3),
            Self::DeposeLeader => (30, 2),
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

/// Nothing happens before.
const FIRST_FAULT_NS: Nanos = 20 * MILLISECOND;

/// One in so many runs may lose a majority of its directories.
const LOST_SEEDS: u64 = 25;

/// A fault that is to happen: all that is drawn for it, so that it stays what it is whatever else
/// happens in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Virtual time.
    pub at: Nanos,
    /// Its class.
    pub class: FaultClass,
    /// Whom it is meant for, where it is meant for a member.
    pub target: Target,
    /// Decides everything else about it: how long, where, which client.
    pub draw: u32,
}

/// The member that a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whoever leads then; any member while there is no leader.
    Leader,
    /// This one.
    Member(usize),
}

/// Draws what happens in a run.
#[derive(Debug)]
pub struct FaultDraw {
    random: Prng,
    leader_bias: f64,
    may_lose_all: bool,
    is_quiet: bool,
}

impl FaultDraw {
    /// Draws the temper of a run.
    #[must_use]
    pub fn new(mut random: Prng) -> Self {
        Self {
            leader_bias: [0.2, 0.6, 0.9][random.range(0..3) as usize],
            may_lose_all: random.range(0..LOST_SEEDS) == 0,
            is_quiet: random.range(0..QUIET_SEEDS) == 0,
            random,
        }
    }

    /// Whether more directories may be lost than the cluster can survive.
    #[must_use]
    pub const fn may_lose_all(&self) -> bool {
        self.may_lose_all
    }

    /// What happens to `members` members until `end`, in order.
    #[must_use]
    pub fn decisions(&mut self, members: usize, end: Nanos) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for class in FaultClass::ALL {
            let mut random = self.random.fork();
            let is_on = random.chance(class.probability());
            let interval = draw_interval(class, &mut random);
            let pause = |random: &mut Prng| random.exponential(interval as u64) as Nanos;
            let mut at = interval.min(pause(&mut random)).max(FIRST_FAULT_NS);
            while is_on && !self.is_quiet && at < end {
                decisions.push(Decision {
                    at,
                    class,
                    target: draw_target(members, self.leader_bias, &mut random),
                    draw: random.next_u64() as u32,
                });
                at += pause(&mut random).max(MILLISECOND);
            }
        }
        decisions.sort_by_key(|decision| decision.at);
        decisions
    }
}

fn draw_target(members: usize, leader_bias: f64, random: &mut Prng) -> Target {
    let member = random.range(0..members as u64) as usize;
    if random.chance(leader_bias) {
        Target::Leader
    } else {
        Target::Member(member)
    }
}

/// The faults of a run that are still to happen.
#[derive(Debug)]
pub struct FaultPlan {
    decisions: VecDeque<Decision>,
}

impl FaultPlan {
    /// These, whose times do not decrease.
    #[must_use]
    pub fn new(decisions: &[Decision]) -> Self {
        Self {
            decisions: decisions.iter().copied().collect(),
        }
    }

    /// When the next fault is due.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        self.decisions.front().map(|decision| decision.at)
    }

    /// A fault that is due.
    pub fn take(&mut self, now: Nanos) -> Option<Decision> {
        self.next().filter(|at| *at <= now)?;
        self.decisions.pop_front()
    }
}

/// Log-uniform as far as doublings go, and uniform between them: no function of a library that
/// might be rounded otherwise elsewhere.
fn draw_interval(class: FaultClass, random: &mut Prng) -> Nanos {
    let (shortest, doublings) = class.interval();
    let base = shortest << random.range(0..doublings);
    base.saturating_add(random.range(0..base)) as Nanos * MILLISECOND
}
