//! A random model of the outbox rules (`log.md` 5) that drives the real [`Outbox`].
//!
//! Three nodes with abstract logs, one leader at a time: elections by the election restriction,
//! replication with truncation, commit by majority within the term, services that apply in
//! pieces and restart by replaying from scratch. Checked: no name is ever twice in an applied
//! log, no output diverges or is ignored, the outbox never overflows, equal applied positions
//! have equal outboxes, and after calm every effect of every request is in the log, in order.

use lockstep_service::outbox::{EffectName, Outbox, OutboxLimits, ResponseVerdict};
use lockstep_transport::ids::SessionId;
use lockstep_transport::prng::{SplitMix64, mix};

const NODES: usize = 3;
const ENTRY_LENGTH: i64 = 32;
const REQUESTS_MAX: u64 = 60;
const SESSION: i64 = 1;
const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 4,
    effect_bytes_per_cause: 512,
    capacity_bytes: 2_600,
    enabled: true,
    service: 0,
};

/// Steps with elections and restarts, then steps in which everything must drain.
const STORMY_STEPS: u32 = 1_500;
const CALM_STEPS: u32 = 6_500;

/// A rule of the leader that is left out, to see that the model would notice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planted {
    Nothing,
    /// 5.7: a new leader appends effects before it has applied the first entry of its term.
    AppendsBeforeItsTermIsApplied,
    /// 5.6: requests are admitted without reserving their worst case.
    AdmitsWithoutReserving,
}

/// Numbers of a seed.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    NewLeadershipTerm,
    Request(u64),
    Response(EffectName, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    leadership_term: u64,
    body: Body,
}

/// What the deterministic service of a run emits for request `id`: 0 to 4 messages of any length.
fn effects_of(run: u64, id: u64) -> Vec<Vec<u8>> {
    let seed = mix(mix(run) ^ id);
    let length = |ordinal: u64| (mix(seed ^ ordinal) % 129) as usize;
    (0..seed % 5)
        .map(|ordinal| vec![(id + ordinal) as u8; length(ordinal)])
        .collect()
}

/// One node's service side: a function of the applied log.
struct Service {
    /// The seed of the run, which decides what it answers.
    run: u64,
    outbox: Outbox,
    applied: usize,
    names: Vec<EffectName>,
}

impl Service {
    fn new(run: u64) -> Self {
        Self {
            run,
            outbox: Outbox::new(LIMITS),
            applied: 0,
            names: Vec::new(),
        }
    }

    fn apply(&mut self, log: &[Entry], to: usize) {
        while self.applied < to {
            let cause = self.applied as i64 * ENTRY_LENGTH;
            match &log[self.applied].body {
                Body::NewLeadershipTerm => {}
                Body::Request(id) => {
                    self.outbox.begin(cause);
                    for message in effects_of(self.run, *id) {
                        self.outbox
                            .emit(cause, SessionId::new(SESSION), &message)
                            .expect("within the limits");
                    }
                }
                Body::Response(name, message) => {
                    let verdict =
                        self.outbox
                            .apply_response(*name, SessionId::new(SESSION), message);
                    assert_eq!(verdict, ResponseVerdict::Matched, "{name:?}");
                    assert!(
                        self.names.last() < Some(name),
                        "{name:?} out of order or twice"
                    );
                    self.names.push(*name);
                }
            }
            self.applied += 1;
        }
    }

    /// Everything that must be equal where `applied` is equal.
    fn content(&self) -> (usize, u64, usize, Vec<EffectName>) {
        let outbox = &self.outbox;
        let names = (0..outbox.len())
            .filter_map(|at| outbox.get(at))
            .map(|e| e.name);
        (
            outbox.len(),
            outbox.output_hash(),
            outbox.bytes(),
            names.collect(),
        )
    }
}

struct Model {
    seed: u64,
    random: Random,
    planted: Planted,
    logs: [Vec<Entry>; NODES],
    acked: [usize; NODES],
    commit: [usize; NODES],
    services: [Service; NODES],
    committed: usize,
    leadership_term: u64,
    leader: usize,
    /// End of the first entry of the leader's term.
    term_start: usize,
    requests: u64,
    bytes_max: usize,
}

impl Model {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut model = Self {
            seed,
            random: Random(SplitMix64(mix(seed))),
            planted,
            logs: Default::default(),
            acked: [0; NODES],
            commit: [0; NODES],
            services: std::array::from_fn(|_| Service::new(seed)),
            committed: 0,
            leadership_term: 0,
            leader: 0,
            term_start: 0,
            requests: 0,
            bytes_max: 0,
        };
        model.elect();
        model
    }

    /// A candidate that a majority would vote for wins and appends NewLeadershipTerm.
    fn elect(&mut self) {
        self.services[self.leader].outbox.clear_append_cursor();
        let key = |node: usize| {
            let log: &Vec<Entry> = &self.logs[node];
            (
                log.last().map_or(0, |entry| entry.leadership_term),
                log.len(),
            )
        };
        let voters = |node| (0..NODES).filter(|&other| key(node) >= key(other)).count();
        let candidates: Vec<_> = (0..NODES).filter(|&n| voters(n) > NODES / 2).collect();
        self.leader = candidates[self.random.below(candidates.len() as u64) as usize];
        self.leadership_term += 1;
        let log = &mut self.logs[self.leader];
        assert!(
            log.len() >= self.committed,
            "a leader without committed entries"
        );
        log.push(Entry {
            leadership_term: self.leadership_term,
            body: Body::NewLeadershipTerm,
        });
        self.term_start = log.len();
        self.acked = [0; NODES];
    }

    /// A follower cuts what the leader does not have and takes a chunk of what it lacks.
    fn replicate(&mut self, node: usize) {
        let leaders = self.logs[self.leader].clone();
        let log = &mut self.logs[node];
        let same = log.iter().zip(&leaders).take_while(|(a, b)| a == b).count();
        if same < log.len() {
            let applied = self.services[node].applied;
            assert!(
                same >= self.commit[node] && same >= applied,
                "cut below applied"
            );
            log.truncate(same);
        }
        let chunk = self.random.below(6) as usize;
        log.extend(leaders.into_iter().skip(same).take(chunk));
        if log.len() >= self.term_start {
            self.acked[node] = log.len();
        }
    }

    /// The leader appends up to four entries: effects first, then requests.
    fn lead(&mut self) {
        let service = &mut self.services[self.leader];
        let log = &mut self.logs[self.leader];
        let waits = self.planted != Planted::AppendsBeforeItsTermIsApplied;
        if waits && service.applied < self.term_start {
            return;
        }
        if service.outbox.appended().is_none() {
            service.outbox.start_append_cursor();
        }
        for _ in 0..self.random.below(5) {
            let unapplied = &log[service.applied..];
            let is_cause = |entry: &&Entry| matches!(entry.body, Body::Request(_));
            let causes = unapplied.iter().filter(is_cause).count() as u64;
            let responses = |entry: &&Entry| matches!(entry.body, Body::Response(..));
            if waits {
                let appended = unapplied.iter().filter(responses).count();
                assert_eq!(service.outbox.appended(), Some(appended));
            }
            let admits =
                service.outbox.admits(causes) || self.planted == Planted::AdmitsWithoutReserving;
            let body = if let Some(effect) = service.outbox.next_to_append() {
                Body::Response(effect.name, effect.message.to_vec())
            } else if admits && self.requests < REQUESTS_MAX {
                self.requests += 1;
                Body::Request(self.requests)
            } else {
                return;
            };
            if matches!(body, Body::Response(..)) {
                service.outbox.mark_appended();
            }
            log.push(Entry {
                leadership_term: self.leadership_term,
                body,
            });
        }
    }

    fn restart(&mut self, node: usize) {
        self.services[node] = Service::new(self.seed);
        self.services[node].apply(&self.logs[node], self.commit[node]);
        if node == self.leader {
            self.elect();
        }
    }

    fn advance_commit(&mut self) {
        self.acked[self.leader] = self.logs[self.leader].len();
        let mut acked = self.acked;
        acked.sort_unstable();
        if acked[1] >= self.term_start {
            let commit = &mut self.commit[self.leader];
            *commit = acked[1].max(*commit);
            self.committed = self.committed.max(*commit);
        }
        for node in 0..NODES {
            let in_term = self.acked[node] >= self.term_start;
            if node != self.leader && in_term && self.random.percent(50) {
                let known = self.commit[self.leader].min(self.logs[node].len());
                self.commit[node] = self.commit[node].max(known);
            }
        }
    }

    fn apply_some(&mut self) {
        for node in 0..NODES {
            if self.random.percent(60) {
                let service = &mut self.services[node];
                let to = service.applied + self.random.below(7) as usize;
                service.apply(&self.logs[node], to.min(self.commit[node]));
                self.bytes_max = self.bytes_max.max(service.outbox.bytes());
            }
        }
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            if self.services[a].applied == self.services[b].applied {
                assert_eq!(self.services[a].content(), self.services[b].content());
            }
        }
    }

    fn step(&mut self, calm: bool) {
        match self.random.below(100) {
            0..2 if !calm => self.elect(),
            2..40 => self.lead(),
            40..80 => {
                let node = self.random.below(NODES as u64) as usize;
                if node != self.leader {
                    self.replicate(node);
                }
            }
            99 if !calm => {
                let node = self.random.below(NODES as u64) as usize;
                self.restart(node);
            }
            _ => {}
        }
        self.advance_commit();
        self.apply_some();
    }

    /// After calm: every effect of every request in the log is in the log, once and in order.
    fn check_complete(&mut self) {
        let (log, commit) = (&self.logs[self.leader], self.commit[self.leader]);
        let service = &mut self.services[self.leader];
        service.apply(log, commit);
        assert_eq!(commit, log.len(), "everything commits");
        assert!(
            service.outbox.is_empty(),
            "{} effects never left",
            service.outbox.len()
        );
        assert_eq!(service.outbox.ignored_responses(), 0);
        let mut expected = Vec::new();
        for (at, entry) in log.iter().enumerate() {
            if let Body::Request(id) = entry.body {
                expected.extend(
                    (0..effects_of(self.seed, id).len()).map(|ordinal| EffectName {
                        cause: at as i64 * ENTRY_LENGTH,
                        service: 0,
                        ordinal: ordinal as u32,
                    }),
                );
            }
        }
        assert_eq!(service.names, expected);
        assert_eq!(
            self.requests, REQUESTS_MAX,
            "admission never stops for good"
        );
    }
}

/// Runs one seed; returns (terms, most bytes in an outbox, entries in the log).
fn run(seed: u64, planted: Planted) -> (u64, usize, usize) {
    let mut model = Model::new(seed, planted);
    for step in 0..STORMY_STEPS + CALM_STEPS {
        model.step(step >= STORMY_STEPS);
    }
    model.check_complete();
    let entries = model.logs[model.leader].len();
    (model.leadership_term, model.bytes_max, entries)
}

#[test]
fn outboxes_stay_a_function_of_the_log_over_leader_changes() {
    let (mut terms, mut bytes_max) = (0, 0);
    for seed in 0..400 {
        let outcome = std::panic::catch_unwind(|| run(seed, Planted::Nothing));
        let (seed_terms, bytes, _) = outcome.unwrap_or_else(|_| panic!("failed: seed {seed}"));
        terms += seed_terms;
        bytes_max = bytes_max.max(bytes);
    }
    assert!(
        terms > 400 * 10,
        "{terms} terms: too few leader changes to prove anything"
    );
    let nearly_full = LIMITS.capacity_bytes - LIMITS.effect_bytes_per_cause;
    assert!(
        bytes_max > nearly_full / 2,
        "{bytes_max} bytes: the outbox was never tried"
    );
}

#[test]
fn the_same_seed_runs_the_same_way() {
    assert_eq!(run(7, Planted::Nothing), run(7, Planted::Nothing));
}

#[test]
fn a_rule_left_out_is_noticed() {
    let planted = [
        Planted::AppendsBeforeItsTermIsApplied,
        Planted::AdmitsWithoutReserving,
    ];
    let noticed = planted
        .map(|rule| (0..60).any(|seed| std::panic::catch_unwind(|| run(seed, rule)).is_err()));
    assert_eq!(noticed, [true, true]);
}
