//! All that a run of the node tank is: drawn from its seed, or read from a scenario file.
//!
//! Runs of equal setups are equal, event for event. What happens by itself (the network, the
//! disks, what clients send) has generators of its own, so that a fault that is taken away does not
//! change the draws of the others.

use core::ops::{Range, RangeInclusive};

use lockstep_transport::prng::Prng;
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use crate::settings::config::ResponsesMode;
use crate::sim::PlantedFault;
use crate::sim::tank::client_twin::RESTARTS_MAX;
use crate::sim::tank::options::TankOptions;
use crate::sim::tank::plan::{Decision, FaultDraw, Target};
use crate::sim::tank::service::response_count;
use crate::sim::tank::threads::{MemberBits, Threads, all_of};

/// One run of so many has responses that leave at once, and one a member without syncs.
const ODD_MODE_SEEDS: u64 = 16;

/// In one run out of so many the service takes a millisecond over each request.
const SLOW_SERVICE_SEEDS: u64 = 10;

/// In one run out of so many a member starts late for the first time.
const LATE_MEMBER_SEEDS: u64 = 24;

/// In one run out of so many reads see a write only once it has completed.
const LATE_SEEN_SEEDS: u64 = 3;

/// One run out of so many, and every long one, is watched for long at its end.
const WATCHED_LONG_SEEDS: u64 = 20;

/// Requests that a client keeps under way, mostly, and at times.
const WINDOW: i64 = 8;
const WIDE_WINDOW: i64 = 64;

/// Most of the datagrams between members that are damaged by one bit, as a probability: UDP's
/// checksum lets far fewer pass.
const CORRUPT_MAX: f64 = 0.05;

/// Members of a cluster.
const MEMBERS: RangeInclusive<usize> = 1..=7;

/// Times and durations in virtual time.
const TIMES: Range<Nanos> = 0..3_600 * SECOND;

/// Probabilities.
const SHARES: RangeInclusive<f64> = 0.0..=1.0;

/// Requests of one client: a long run's many times over.
const REQUESTS: RangeInclusive<i64> = 1..=10_000;

/// A majority outvotes one that diverges from so many members on.
const DIVERGING_MEMBERS_MIN: usize = 3;

/// One run of the node tank.
#[derive(Clone, Debug, PartialEq)]
pub struct TankSetup {
    /// Seed of all that happens by itself.
    pub seed: u64,
    /// A fault planted on purpose, that the oracles must find.
    pub planted: Option<PlantedFault>,
    /// Members of the cluster.
    pub members: usize,
    /// How responses reach clients.
    pub responses: ResponsesMode,
    /// This member's service answers this request otherwise than the others'.
    pub diverging: Option<(usize, i64)>,
    /// Members that run with `sync = none`: from its first loss of power on each is a learner.
    pub unsynced: MemberBits,
    /// Agents that have threads of their own.
    pub threads: Threads,
    /// Bytes of log after which a leader asks for a snapshot; 0 for never.
    pub snapshot_interval: u64,
    /// Whether the service takes a millisecond over each request.
    pub is_slow: bool,
    /// Whether reads see a write only once it has completed.
    pub is_seen_late: bool,
    /// When the first member starts for the first time, in virtual time; the others start at once.
    pub first_start_ns: Nanos,
    /// Whether more directories may be lost than the cluster can survive.
    pub may_lose_all: bool,
    /// Whether the quiet at the end is a long one.
    pub is_watched_long: bool,
    /// All links while there are faults, and how many of the datagrams between members are
    /// damaged.
    pub network: LinkProfile,
    /// What clients do.
    pub load: Load,
    /// Length of the phase with faults in virtual time, 0 for none.
    pub fault_phase_ns: Nanos,
    /// What is done in it, in order.
    pub faults: Vec<Decision>,
}

/// What clients do while there are faults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How many there are.
    pub clients: u64,
    /// Requests of each.
    pub requests: i64,
    /// Requests that each keeps under way.
    pub window: i64,
    /// How many of the requests are long, as a share.
    pub padded: f64,
    /// Mean pause between two requests; 0 for as many as may be under way.
    pub pause_ns: Nanos,
    /// Requests come in waves of this length with as long a calm after each; 0 for always.
    pub wave_ns: Nanos,
    /// Times that another process continues a client's session, at most.
    pub restarts: u32,
    /// Whether sessions are short, and clients fall silent for longer than that.
    pub may_expire: bool,
}

/// Whose draws a generator is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draws {
    /// What a run is.
    Setup = 0,
    /// Odd modes of a run.
    Modes = 1,
    /// When faults happen to whom.
    Faults = 2,
    /// The network's.
    Network = 3,
    /// Members' and their disks'.
    Members = 4,
    /// Clients'.
    Clients = 5,
    /// Replacements of clients' processes.
    Restarts = 6,
    /// The order in which members work, and the operators who clean up.
    Run = 7,
}

impl Draws {
    /// The generator of the run of `seed`.
    pub(super) fn of(self, seed: u64) -> Prng {
        let mut seeds = Prng::new(seed);
        let own = (0..self as u64).fold(seeds.next_u64(), |_, _| seeds.next_u64());
        Prng::new(own)
    }
}

impl TankSetup {
    /// What the run of `seed` is, as far as `options` leave it open.
    #[must_use]
    pub fn draw(seed: u64, options: &TankOptions) -> Self {
        let random = &mut Draws::Setup.of(seed);
        let members = draw_members(random);
        let mut setup = Self {
            seed,
            planted: options.planted,
            members: options.members.unwrap_or(members),
            responses: options.responses,
            diverging: None,
            unsynced: 0,
            threads: Threads::default(),
            snapshot_interval: 0,
            is_slow: false,
            is_seen_late: false,
            first_start_ns: 0,
            may_lose_all: false,
            is_watched_long: false,
            network: LinkProfile::default(),
            load: Load::draw(options, random),
            fault_phase_ns: options.fault_phase_ns,
            faults: Vec::new(),
        };
        setup.draw_modes(options);
        if options.fault_phase_ns > 0 {
            setup.network = draw_network(random);
            let mut faults = FaultDraw::new(Draws::Faults.of(seed));
            setup.may_lose_all = faults.may_lose_all();
            setup.faults = faults.decisions(setup.members, options.fault_phase_ns);
        }
        setup
    }

    /// What of it no run can be made of, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_member = |id: usize| id < self.members;
        let targets = self.faults.iter().map(|fault| fault.target);
        let times = || self.faults.iter().map(|fault| fault.at);
        let is_aimed = |target| match target {
            Target::Leader => true,
            Target::Member(id) => is_member(id),
        };
        let checks = [
            (MEMBERS.contains(&self.members), "members: 1 to 7"),
            (
                self.unsynced & !all_of(self.members) == 0,
                "members without syncs: of the members",
            ),
            (
                self.threads.is_of(self.members),
                "members whose agents have threads: of the members",
            ),
            (
                self.is_divergence_possible(),
                "a member that answers otherwise: one of three or more, to a request that there \
                 is and that is answered (no multiple of 4)",
            ),
            (
                targets.into_iter().all(is_aimed),
                "the member of a fault: one of the members",
            ),
            (times().is_sorted(), "faults: in the order of their times"),
            (
                times().all(|at| (0..self.fault_phase_ns).contains(&at)),
                "the time of a fault: before the phase of faults ends",
            ),
            (
                TIMES.contains(&self.fault_phase_ns),
                "the phase of faults: less than an hour",
            ),
            (
                TIMES.contains(&self.first_start_ns),
                "the first start: within an hour",
            ),
            (
                self.load.is_possible(),
                "load: 1 to 8 clients, 1 to 10000 requests, shares from 0 to 1",
            ),
            (
                is_possible(&self.network),
                "network: shares from 0 to 1, times below an hour",
            ),
        ];
        let wrong = checks.into_iter().find(|(is_good, _)| !is_good);
        wrong.map(|(_, must)| must.to_owned())
    }

    /// Nothing is said of members that are not there.
    pub fn keep_members(&mut self) {
        self.threads.keep(self.members);
        self.unsynced &= all_of(self.members);
    }

    fn is_divergence_possible(&self) -> bool {
        self.diverging.is_none_or(|(member, request)| {
            let is_asked = (1..=self.load.requests).contains(&request);
            let is_outvoted = self.members >= DIVERGING_MEMBERS_MIN && member < self.members;
            is_asked && response_count(request) > 0 && is_outvoted
        })
    }

    /// Services that take their time, one that diverges, a member without syncs, a long quiet:
    /// where that is wanted, or in one run of so many.
    fn draw_modes(&mut self, options: &TankOptions) {
        let random = &mut Draws::Modes.of(self.seed);
        let mut one_of = |seeds: u64| random.range(0..seeds) == 0;
        let (is_slow, is_direct) = (one_of(SLOW_SERVICE_SEEDS), one_of(ODD_MODE_SEEDS));
        let (is_unsynced, is_seen_late) = (one_of(ODD_MODE_SEEDS), one_of(LATE_SEEN_SEEDS));
        let is_late = one_of(LATE_MEMBER_SEEDS);
        let mut member = || random.range(0..self.members as u64) as usize;
        let (odd, unsynced) = (member(), member());
        let request = random.range(1..options.requests as u64) as i64 | 1;
        let first_start = random.range(2_200..3_200) as Nanos * MILLISECOND;
        let is_long = options.fault_phase_ns > TankOptions::default().fault_phase_ns;
        self.is_watched_long = random.range(0..WATCHED_LONG_SEEDS) == 0 || is_long;
        self.is_slow = is_slow;
        let is_outvoted = self.members >= DIVERGING_MEMBERS_MIN;
        self.diverging = (options.diverging && is_outvoted).then_some((odd, request));
        self.unsynced = if options.unsynced { 1 << unsynced } else { 0 };
        if options.fault_phase_ns > 0 {
            if is_direct {
                self.responses = ResponsesMode::Direct;
            }
            self.unsynced |= if is_unsynced { 1 << unsynced } else { 0 };
            self.is_seen_late = is_seen_late;
            self.first_start_ns = if is_late { first_start } else { 0 };
            self.threads = Threads::draw(self.members, random);
            let more = draw_more_unsynced(self.members, random);
            self.unsynced |= if self.unsynced == 0 { 0 } else { more };
            self.snapshot_interval = draw_snapshot_interval(random);
        }
    }
}

fn is_possible(network: &LinkProfile) -> bool {
    let LinkProfile {
        delay_ns,
        jitter_ns,
        loss,
        duplicate,
        late_ns,
        reorder,
        corrupt,
    } = network;
    let shares = [loss, duplicate, reorder, corrupt];
    shares.into_iter().all(|share| SHARES.contains(share))
        && [delay_ns, jitter_ns, late_ns]
            .into_iter()
            .all(|time| TIMES.contains(time))
}

impl Load {
    fn is_possible(&self) -> bool {
        (1..=8).contains(&self.clients)
            && REQUESTS.contains(&self.requests)
            && (1..=1_000).contains(&self.window)
            && SHARES.contains(&self.padded)
            && TIMES.contains(&self.pause_ns)
            && TIMES.contains(&self.wave_ns)
    }

    /// Mostly such that the requests last as long as the faults; sometimes faster, and in waves.
    fn draw(options: &TankOptions, random: &mut Prng) -> Self {
        let is_faulty = options.fault_phase_ns > 0;
        let whole = options.fault_phase_ns / options.requests.max(1);
        let pause_ns = match random.range(0..8) {
            0 => 0,
            1 => whole / 8,
            _ => whole,
        };
        let wave_ns = random.range(50..1_000) as Nanos * MILLISECOND;
        let is_wavy = random.chance(0.3);
        let is_wide = random.chance(0.2);
        let has_restarts = random.chance(0.5);
        Self {
            clients: options.clients,
            requests: options.requests,
            window: if is_wide { WIDE_WINDOW } else { WINDOW },
            padded: if random.chance(0.5) { 0.1 } else { 0.6 },
            pause_ns: if is_wavy { pause_ns / 2 } else { pause_ns },
            wave_ns: if is_wavy { wave_ns } else { 0 },
            restarts: if has_restarts && is_faulty {
                RESTARTS_MAX
            } else {
                0
            },
            may_expire: random.chance(0.35) && is_faulty,
        }
    }
}

/// Mostly such that a run sees several.
fn draw_snapshot_interval(random: &mut Prng) -> u64 {
    match random.range(0..4) {
        0 => 0,
        _ => random.range(4..64) * 1024,
    }
}

/// Where one member runs without syncs, as often it alone does, some do, and all do.
fn draw_more_unsynced(members: usize, random: &mut Prng) -> MemberBits {
    let some = random.next_u64() as MemberBits;
    let more = [0, some, MemberBits::MAX][random.range(0..3) as usize];
    more & all_of(members)
}

/// Mostly the usual three.
fn draw_members(random: &mut Prng) -> usize {
    match random.range(0..10) {
        0 => 1,
        1 => 5,
        _ => 3,
    }
}

/// Swarm: each class of link fault is on in half of the seeds.
fn draw_network(random: &mut Prng) -> LinkProfile {
    let mut profile = LinkProfile {
        delay_ns: random.range(5..200) as Nanos * MICROSECOND,
        ..LinkProfile::default()
    };
    if random.chance(0.5) {
        profile.jitter_ns = random.range(1..2_000) as Nanos * MICROSECOND;
    }
    if random.chance(0.5) {
        profile.loss = random.unit() * 0.2;
    }
    if random.chance(0.5) {
        profile.duplicate = random.unit() * 0.2;
        if random.chance(0.5) {
            profile.late_ns = random.range(100..2_000) as Nanos * MILLISECOND;
        }
    }
    if random.chance(0.5) {
        profile.reorder = random.unit() * 0.2;
    }
    if random.chance(0.3) {
        profile.corrupt = random.unit() * CORRUPT_MAX;
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_a_function_of_its_seed_and_options() {
        let options = TankOptions::default();
        assert_eq!(TankSetup::draw(7, &options), TankSetup::draw(7, &options));
        assert_ne!(TankSetup::draw(7, &options), TankSetup::draw(8, &options));
    }

    #[test]
    fn every_drawn_setup_is_possible_and_one_that_is_not_says_what_must_be() {
        let diverging = TankOptions {
            diverging: true,
            ..TankOptions::default()
        };
        for options in [TankOptions::default(), TankOptions::full(), diverging] {
            for seed in 0..300 {
                let setup = TankSetup::draw(seed, &options);
                assert_eq!(setup.problem(), None, "seed {seed}");
            }
        }
        let mut setup = TankSetup::draw(7, &TankOptions::default());
        setup.network.loss = 1.5;
        assert!(setup.problem().unwrap().contains("network"));
        setup.network.loss = f64::NAN;
        assert!(setup.problem().unwrap().contains("network"));
        setup.members = 0;
        assert!(setup.problem().unwrap().contains("members"));
    }

    #[test]
    fn a_planted_fault_changes_nothing_else_of_a_setup() {
        let clean = TankSetup::draw(7, &TankOptions::default());
        let planted = Some(PlantedFault::AckBeforeFsync);
        let options = TankOptions {
            planted,
            ..TankOptions::default()
        };
        let expected = TankSetup { planted, ..clean };
        assert_eq!(TankSetup::draw(7, &options), expected);
    }

    #[test]
    fn modes_come_in_all_combinations() {
        let setup = |seed| TankSetup::draw(seed, &TankOptions::default());
        let modes: std::collections::BTreeSet<_> = (0..2_000)
            .map(setup)
            .map(|s| {
                (
                    s.is_slow,
                    s.is_seen_late,
                    s.responses == ResponsesMode::Direct,
                )
            })
            .collect();
        assert_eq!(modes.len(), 8);
    }
}
