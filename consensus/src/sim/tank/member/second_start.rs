//! Oracle 7: recovery is idempotent. A directory that is started on again, after a start that came
//! to its end or one that ended in the middle, is found as the first start found it.

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::prng::{Prng, mix};
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::Nanos;

use super::{StartError, TankHost, TankMember, TankNode, start};
use crate::module::member::{MemberId, TermBase};
use crate::module::membership::Forfeit;
use crate::sim::shared_memory::SharedMemory;
use crate::sim::{Broken, Rule};

/// Of so many starts one is looked at.
const SAMPLE: u64 = 8;

/// A start is ended in one of so many changing operations: half of them have fewer.
const OPERATIONS: u64 = 24;

/// A host before a start.
#[derive(Debug)]
pub struct Sample {
    disk: SimDisk,
    memory: SharedMemory,
}

/// What a start makes of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Findings {
    durable: Position,
    append: Position,
    terms: Vec<TermBase>,
    term: LeadershipTermId,
    vote: Option<MemberId>,
    floor: Position,
    lost: Option<LostAcks>,
    is_damaged: bool,
    sessions: usize,
    forfeit: Option<Forfeit>,
}

impl Findings {
    fn of(node: &TankNode, disk: &SimDisk) -> Self {
        let agents = node.agents();
        let module = &agents.consensus.module;
        Self {
            durable: agents.archive.durable(&agents.consensus.log),
            append: agents.consensus.log.append(),
            terms: module.terms().to_vec(),
            term: module.term(),
            vote: module.vote(),
            floor: module.commit_floor(),
            lost: disk.durable_mark().and_then(|mark| mark.lost),
            is_damaged: module.is_damaged(),
            sessions: agents.consensus.applier.sessions().sessions().len(),
            forfeit: agents.consensus.membership.forfeit(),
        }
    }
}

impl TankMember {
    /// The host as it is, in one of so many starts, for [`check_second_start`].
    ///
    /// [`check_second_start`]: Self::check_second_start
    #[must_use]
    pub fn sample(&self, now: Nanos) -> Option<Sample> {
        let is_due = self.draw_of(now).is_multiple_of(SAMPLE);
        is_due.then(|| Sample {
            disk: self.disk.fork(),
            memory: self.memory.copy(),
        })
    }

    /// It has just been started on what `fork` is a copy of: two starts on the copy, of which the
    /// first may end in the middle, find the same.
    ///
    /// # Errors
    /// They do not.
    pub fn check_second_start(&self, now: Nanos, sample: Sample) -> Result<(), Broken> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        let (fork, mut memory) = (&sample.disk, sample.memory);
        let mut random = Prng::new(self.draw_of(now));
        fork.restart();
        let last = random.range(0..OPERATIONS);
        fork.kill_at_cold_operation(fork.cold_operations() + last);
        drop(self.start_on((fork, &mut memory), random.fork()));
        fork.kill(random.next_u64());
        fork.restart();
        let again = self.start_on((fork, &mut memory), random.fork());
        let found = again.map(|node| Findings::of(&node, fork));
        let expected = Findings::of(node, &self.disk);
        if found.as_ref().is_ok_and(|found| *found == expected) {
            return Ok(());
        }
        Err(Rule::Idempotence.broken(format!(
            "a start of member {} found {expected:?}, and one after a start that ended in its \
             operation {last}, if it has so many: {found:?}",
            self.config.member
        )))
    }

    /// A number of this start. It does not depend on how many there were before, which other
    /// faults decide.
    fn draw_of(&self, now: Nanos) -> u64 {
        mix(self.config.seed ^ now as u64)
    }

    /// Starts a node on them, alone in the world.
    fn start_on(
        &self,
        (disk, memory): (&SimDisk, &mut SharedMemory),
        randomness: Prng,
    ) -> Result<TankNode, StartError> {
        let network = SimNetwork::new(0, LinkProfile::default());
        let memory = self.open_memory(memory);
        let host = TankHost::default();
        let (parts, _far_ends) = self.start_parts((disk, memory), &host, &network, randomness);
        start(&self.cluster, &self.config, parts)
    }
}
