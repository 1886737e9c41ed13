//! Exhaustive model of forming a cluster (`log.md` 9.2): three members drive the crate's own
//! [`Formation`] through every schedule of hellos lost or late, crashes and wiped directories.
//!
//! In no state have two clusters had a majority, and from every state a leader can still be
//! elected without another fault, unless two of the directories that one cluster was formed of
//! were lost after one of them had taken part in a term.
#![allow(
    clippy::disallowed_types,
    reason = "a set of visited states, never iterated"
)]

mod state_key;

use std::collections::HashMap;
use std::sync::Mutex;

use lockstep_consensus::module::formation::{
    DurableFormation, Formation, FormationHello, FormationRecord, FormationStage,
};
use lockstep_consensus::module::member::MemberId;
#[cfg(feature = "sim")]
use lockstep_transport::marks::{self, Mark};

use self::state_key::key;

const MEMBERS: usize = 3;

/// More states than this take more memory than a test should.
const STATES_MAX: usize = 3_000_000;

/// How much may go wrong.
#[derive(Clone, Copy, Default)]
struct Bounds {
    wipes: u8,
    crashes: u8,
    /// Hellos that may be delivered at any later time, and more than once.
    late: u8,
    /// The mistake of acting as soon as the own record is final.
    acts_early: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Member {
    /// Its life: memory and everything durable.
    formation: Formation,
    /// Durable: it took part in a term.
    has_term: bool,
    /// How often it was wiped, and how often it knows each other one was.
    wipes: u8,
    known_wipes: [u8; MEMBERS],
}

impl Member {
    fn blank(id: usize, wipes: u8) -> Self {
        let directory = directory(id, wipes);
        let durable = DurableFormation::default();
        Self {
            formation: Formation::new(id as u8, MEMBERS, directory, durable, false),
            has_term: false,
            wipes,
            known_wipes: [0; MEMBERS],
        }
    }

    fn record(&self) -> &FormationRecord {
        self.formation.record()
    }
}

fn directory(id: usize, wipes: u8) -> u128 {
    (id as u128 + 1) * 10 + u128::from(wipes)
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    members: [Member; MEMBERS],
    late: Option<(u8, FormationHello)>,
    wipes: u8,
    crashes: u8,
    lates: u8,
    draws: u8,
    /// By uuid: the members that ever took part in a term of that cluster.
    took_part: [u8; 8],
    /// By uuid: the directories the cluster was formed of.
    formed_of: [[u128; MEMBERS]; 8],
}

impl World {
    fn new() -> Self {
        Self {
            members: [0, 1, 2].map(|id| Member::blank(id, 0)),
            late: None,
            wipes: 0,
            crashes: 0,
            lates: 0,
            draws: 0,
            took_part: [0; 8],
            formed_of: [[0; MEMBERS]; 8],
        }
    }

    /// `None` when it changes nothing.
    fn hear(&self, to: usize, from: u8, hello: &FormationHello) -> Option<Self> {
        let uuid = u128::from(self.draws) + 1;
        // What a directory said before it was wiped is not believed of the one after it.
        let wipes = (hello.directory % 10) as u8;
        let known = self.members[to].known_wipes[usize::from(from)];
        let before = &self.members[to].formation;
        let mut after = before.clone();
        after.on_hello(from, hello, uuid);
        if wipes < known || (wipes == known && after == *before) {
            return None;
        }
        let mut next = self.clone();
        next.members[to].known_wipes[usize::from(from)] = wipes;
        let formation = &mut next.members[to].formation;
        formation.on_hello(from, hello, uuid);
        if let Some(wanted) = formation
            .wanted()
            .filter(|wanted| wanted.record.cluster == uuid)
        {
            next.draws += 1;
            next.formed_of[uuid as usize].copy_from_slice(&wanted.record.directories[..MEMBERS]);
        }
        // Nothing is said of a record before it is durable, and nothing else is taken meanwhile:
        // a crash in between is the same as a hello that was lost.
        let formation = &mut next.members[to].formation;
        while let Some(wanted) = formation.wanted() {
            formation.on_persisted(&wanted);
        }
        Some(next)
    }

    /// Steps without a fault.
    fn go_on(&self, bounds: &Bounds, into: &mut Vec<Self>) {
        for to in 0..MEMBERS {
            for from in (0..MEMBERS).filter(|from| *from != to) {
                let hello = self.members[from].formation.hello();
                into.extend(self.hear(to, from as u8, &hello));
            }
            let late = self.late.filter(|(from, _)| usize::from(*from) != to);
            if let Some(mut next) = late.and_then(|(from, hello)| self.hear(to, from, &hello)) {
                next.late = None;
                into.push(next);
            }
            let member = &self.members[to];
            let own = member.formation.directory();
            let is_final = bounds.acts_early
                && member.formation.is_formed()
                && member.record().names(to as u8, own);
            let is_voter = is_final || member.formation.stage() == FormationStage::Voter;
            if !member.has_term && is_voter {
                let mut next = self.clone();
                let member = &mut next.members[to];
                member.has_term = true;
                let cluster = member.record().cluster as usize;
                next.took_part[cluster] |= 1 << to;
                into.push(next);
            }
        }
    }

    /// Steps that are faults.
    fn go_wrong(&self, bounds: &Bounds, into: &mut Vec<Self>) {
        for id in 0..MEMBERS {
            let member = &self.members[id];
            if self.crashes < bounds.crashes {
                let mut next = self.clone();
                next.crashes += 1;
                let (hello, has_term) = (member.formation.hello(), member.has_term);
                next.members[id].formation =
                    Formation::new(id as u8, MEMBERS, hello.directory, hello.durable, has_term);
                into.push(next);
            }
            if self.wipes < bounds.wipes {
                let mut next = self.clone();
                next.wipes += 1;
                next.members[id] = Member::blank(id, member.wipes + 1);
                into.push(next);
            }
            if self.lates < bounds.late {
                let mut next = self.clone();
                next.lates += 1;
                next.late = Some((id as u8, member.formation.hello()));
                into.push(next);
            }
        }
    }

    /// Clusters that ever had a majority.
    fn elected(&self) -> usize {
        self.took_part
            .iter()
            .filter(|members| members.count_ones() as usize > MEMBERS / 2)
            .count()
    }

    /// A majority of one cluster's directories is there and takes part in its terms.
    fn is_led(&self) -> bool {
        (1..8).any(|cluster| {
            let takes_part = |member: &&Member| {
                member.has_term
                    && member.formation.stage() == FormationStage::Voter
                    && member.record().cluster == cluster
            };
            self.members.iter().filter(takes_part).count() > MEMBERS / 2
        })
    }

    /// Two of the directories that a formed cluster consists of are lost.
    fn has_lost_a_majority(&self) -> bool {
        (1..8).any(|cluster| {
            let lost = |id: &usize| {
                self.formed_of[cluster][*id] != directory(*id, self.members[*id].wipes)
            };
            let is_formed = self.members.iter().any(|member| {
                member.formation.is_formed() && member.record().cluster as usize == cluster
            });
            is_formed && (0..MEMBERS).filter(lost).count() > MEMBERS / 2
        })
    }
}

/// Visits every state, nearest first; how many there are, and how many of them are stuck, or which
/// promise is broken.
fn explore(bounds: &Bounds) -> Result<(usize, usize), &'static str> {
    let mut ids: HashMap<u128, u32> = HashMap::new();
    let mut may_be_led: Vec<bool> = Vec::new();
    let mut is_excused: Vec<bool> = Vec::new();
    let mut came_from: Vec<(u32, u32)> = Vec::new();
    let mut level = vec![World::new()];
    ids.insert(key(&level[0]), 0);
    may_be_led.push(false);
    is_excused.push(false);
    let mut steps = Vec::new();
    while !level.is_empty() {
        assert!(ids.len() < STATES_MAX, "the model has outgrown its memory");
        let mut next_level = Vec::new();
        for world in &level {
            let own = ids[&key(world)];
            for is_fault in [false, true] {
                steps.clear();
                if is_fault {
                    world.go_wrong(bounds, &mut steps);
                } else {
                    world.go_on(bounds, &mut steps);
                }
                for next in steps.drain(..) {
                    let fresh_id = ids.len() as u32;
                    let id = *ids.entry(key(&next)).or_insert(fresh_id);
                    if !is_fault && id != own {
                        came_from.push((id, own));
                    }
                    if id == fresh_id {
                        if next.elected() > 1 {
                            return Err("two clusters had a majority");
                        }
                        may_be_led.push(next.is_led());
                        is_excused.push(next.has_lost_a_majority());
                        next_level.push(next);
                    }
                }
            }
        }
        level = next_level;
    }
    came_from.sort_unstable();
    let mut open: Vec<u32> = (0..ids.len() as u32)
        .filter(|id| may_be_led[*id as usize])
        .collect();
    while let Some(id) = open.pop() {
        let first = came_from.partition_point(|(to, _)| *to < id);
        for (_, from) in came_from[first..].iter().take_while(|(to, _)| *to == id) {
            if !std::mem::replace(&mut may_be_led[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    let states = may_be_led.iter().zip(&is_excused);
    let stuck = states.filter(|(led, excused)| !**led && !**excused).count();
    Ok((ids.len(), stuck))
}

fn expect_sound(bounds: &Bounds) {
    let _alone = ONE_AT_A_TIME.lock();
    let (states, stuck) = explore(bounds).expect("no promise is broken");
    println!(
        "{states} states with up to {} wiped directories, {} crashes and {} late hellos",
        bounds.wipes, bounds.crashes, bounds.late
    );
    assert_eq!(stuck, 0, "of {states} states");
}

/// One search after the other: each takes up to a gigabyte.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn two_wiped_directories_make_no_second_cluster() {
    expect_sound(&Bounds {
        wipes: 2,
        ..Bounds::default()
    });
}

#[test]
fn a_wiped_directory_and_a_crash_at_any_step_stop_no_cluster_from_forming() {
    expect_sound(&Bounds {
        wipes: 1,
        crashes: 1,
        ..Bounds::default()
    });
}

#[test]
fn a_hello_that_comes_late_makes_no_second_cluster_and_stops_no_first_one() {
    expect_sound(&Bounds {
        wipes: 1,
        late: 1,
        ..Bounds::default()
    });
}

#[test]
fn acting_before_all_hold_the_record_as_final_lets_a_second_cluster_have_a_majority() {
    let _alone = ONE_AT_A_TIME.lock();
    let outcome = explore(&Bounds {
        wipes: 2,
        acts_early: true,
        ..Bounds::default()
    });
    assert_eq!(outcome, Err("two clusters had a majority"));
}

/// `member` hears `hello`, and whatever it wants to keep is durable.
fn hear(member: &mut Formation, from: MemberId, hello: &FormationHello, uuid: u128) {
    member.on_hello(from, hello, uuid);
    while let Some(wanted) = member.wanted() {
        member.on_persisted(&wanted);
    }
}

#[test]
fn a_directory_that_was_emptied_before_all_agreed_makes_the_first_member_draw_again() {
    let [mut first, mut second, lost] = [0, 1, 2].map(|id| Member::blank(id, 0).formation);
    for (from, other) in [(1, &second), (2, &lost)] {
        hear(&mut first, from, &other.hello(), 71);
    }
    hear(&mut second, 0, &first.hello(), 72);
    assert_eq!((first.record().cluster, second.record().cluster), (71, 71));
    #[cfg(feature = "sim")]
    let _before = marks::take();
    let emptied = Member::blank(2, 1).formation;
    hear(&mut first, 2, &emptied.hello(), 73);
    hear(&mut second, 0, &first.hello(), 74);
    for member in [&first, &second] {
        assert_eq!((member.record().cluster, member.record().draw), (73, 2));
        assert!(member.record().names(2, directory(2, 1)));
    }
    #[cfg(feature = "sim")]
    {
        let reached = marks::take();
        assert!(reached.contains(Mark::FormationRedraws));
        assert!(reached.contains(Mark::FormationTakesLaterDraw));
    }
}
