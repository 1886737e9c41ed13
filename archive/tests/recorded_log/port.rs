//! The simulated disk as a recorded log reaches it: as it is, or in two ends of which the far one
//! has its turn when the dice say so.

use lockstep_archive::disk::{Busy, Completion, Disk, DiskOp};
use lockstep_archive::queued_disk::{DiskRunner, QueuedDisk, queued_disk};
use lockstep_archive::sim::{SimDisk, WholeDisk};
use lockstep_transport::prng::SplitMix64;
use lockstep_transport::time::{Nanos, earliest};

pub enum Port {
    Whole(SimDisk),
    InTwo(Box<Ends>),
}

pub struct Ends {
    near: QueuedDisk<WholeDisk<SimDisk>>,
    far: DiskRunner<WholeDisk<SimDisk>>,
    dice: SplitMix64,
    /// Polls that the far end sits out.
    stalled: u64,
}

impl Port {
    pub fn in_two(disk: &SimDisk, seed: u64) -> Self {
        let (near, far) = queued_disk(WholeDisk(disk.clone()), WholeDisk(disk.clone()));
        let dice = SplitMix64(seed);
        Self::InTwo(Box::new(Ends {
            near,
            far,
            dice,
            stalled: 0,
        }))
    }
}

impl Ends {
    fn step_far(&mut self, now: Nanos) {
        if self.stalled > 0 {
            self.stalled -= 1;
            return;
        }
        self.far.do_work(now);
        let drawn = self.dice.next_u64();
        // Mostly a cycle or two; now and then for long.
        self.stalled = match drawn % 16 {
            0 => drawn >> 58,
            sixteenth => sixteenth % 3,
        };
    }
}

impl Disk for Port {
    type Files = SimDisk;

    fn files(&mut self) -> &mut SimDisk {
        match self {
            Self::Whole(disk) => disk,
            Self::InTwo(ends) => ends.near.files(),
        }
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        match self {
            Self::Whole(disk) => disk.submit(now, operation),
            Self::InTwo(ends) => ends.near.submit(now, operation),
        }
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        match self {
            Self::Whole(disk) => disk.poll_completion(now),
            Self::InTwo(ends) => {
                ends.step_far(now);
                ends.near.poll_completion(now)
            }
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match self {
            Self::Whole(disk) => disk.next_deadline(),
            Self::InTwo(ends) => earliest(ends.near.next_deadline(), ends.far.next_deadline()),
        }
    }
}
