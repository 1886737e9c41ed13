//! Who counts: hellos between memberships, driven by hand, with what each has durably written.

use lockstep_consensus::module::formation::Incarnation;
use lockstep_consensus::module::membership::{
    Found, HelloOutcome, Membership, MembershipConfig, MembershipNotes, Refusal, Standing,
};
use lockstep_transport::time::{MILLISECOND, Nanos};

const HEARTBEAT: Nanos = 50 * MILLISECOND;

/// A directory: what survives its process.
#[derive(Clone, Copy)]
struct Directory {
    id: u128,
    notes: MembershipNotes,
    starts: u64,
    found: Found,
}

struct Member {
    membership: Membership,
    directory: Directory,
    has_term: bool,
}

fn start(member: u8, mut directory: Directory, nonce: u64, has_term: bool) -> Member {
    directory.starts += 1;
    let config = MembershipConfig {
        member,
        members: 3,
        heartbeat_interval_ns: HEARTBEAT,
        silence_ns: 10 * HEARTBEAT,
        uuid: 1000 + u128::from(nonce),
        next_directory: 500 + u128::from(nonce),
        found: directory.found,
    };
    let incarnation = Incarnation {
        counter: directory.starts,
        nonce,
    };
    let (id, notes) = (directory.id, directory.notes);
    Member {
        membership: Membership::new(config, id, notes, incarnation, has_term),
        directory,
        has_term,
    }
}

fn blank(id: u128) -> Directory {
    Directory {
        id,
        notes: MembershipNotes::default(),
        starts: 0,
        found: Found::default(),
    }
}

/// Three members between which every hello arrives, unless a member is down.
struct Cluster {
    members: Vec<Option<Member>>,
    now: Nanos,
    nonces: u64,
    refused: Vec<(usize, Refusal)>,
    renamed: Vec<usize>,
}

impl Cluster {
    fn new() -> Self {
        let members = [10, 20, 30].map(|id| {
            let member = (id / 10 - 1) as u8;
            Some(start(member, blank(id), id as u64, false))
        });
        Self {
            members: members.into(),
            now: 0,
            nonces: 100,
            refused: Vec::new(),
            renamed: Vec::new(),
        }
    }

    /// A formed cluster whose members have taken part in a term.
    fn formed() -> Self {
        let mut cluster = Self::new();
        cluster.run(4);
        for member in cluster.members.iter_mut().flatten() {
            assert_eq!(member.membership.standing(), Standing::Voter);
            member.has_term = true;
        }
        cluster
    }

    fn run(&mut self, heartbeats: usize) {
        for _ in 0..heartbeats * 10 {
            self.now += HEARTBEAT / 10;
            for from in 0..self.members.len() {
                self.write(from);
                self.say(from);
            }
        }
    }

    fn write(&mut self, id: usize) {
        let Some(member) = self.members[id].as_mut() else {
            return;
        };
        if let Some((directory, notes)) = member.membership.wanted(self.now) {
            member.membership.begin_write(directory, &notes);
            member.membership.on_written();
            (member.directory.id, member.directory.notes) = (directory, notes);
        }
    }

    fn say(&mut self, from: usize) {
        let Some(member) = self.members[from].as_mut() else {
            return;
        };
        let due = member.membership.take_due(self.now);
        let sender = member.membership.sender();
        for to in (0..3).filter(|to| due >> to & 1 == 1) {
            let hello = self.members[from]
                .as_mut()
                .map(|member| member.membership.hello_for(to as u8));
            let (Some(hello), Some(receiver)) = (hello, self.members[to].as_mut()) else {
                continue;
            };
            let now = self.now;
            match receiver
                .membership
                .on_hello(now, from as u8, &sender, &hello)
            {
                Ok(HelloOutcome::Heard(_)) => {}
                Ok(HelloOutcome::Renamed) => self.renamed.push(to),
                Err(refusal) => self.refused.push((to, refusal)),
            }
        }
    }

    fn stop(&mut self, id: usize) -> (Directory, bool) {
        let member = self.members[id].take().expect("it runs");
        (member.directory, member.has_term)
    }

    fn start(&mut self, id: usize, directory: Directory, has_term: bool) {
        self.nonces += 1;
        self.members[id] = Some(start(id as u8, directory, self.nonces, has_term));
    }

    fn standing(&self, id: usize) -> Standing {
        let member = self.members[id].as_ref().expect("it runs");
        member.membership.standing()
    }
}

#[test]
fn three_blank_directories_form_a_cluster_within_two_heartbeats() {
    let mut cluster = Cluster::new();
    cluster.run(2);
    let records: Vec<_> = cluster.members.iter().flatten().collect();
    let first = *records[0].membership.record();
    assert_eq!(&first.directories[..3], [10, 20, 30]);
    for (id, member) in records.iter().enumerate() {
        assert_eq!(*member.membership.record(), first);
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
}

#[test]
fn a_start_that_waits_says_for_whom() {
    let mut cluster = Cluster::new();
    cluster.stop(2);
    cluster.run(20);
    for id in 0..2 {
        assert_eq!(cluster.standing(id), Standing::Forming);
        let member = cluster.members[id].as_ref().unwrap();
        assert_eq!(member.membership.awaited(), 0b100);
    }
}

#[test]
fn a_cluster_of_one_forms_itself() {
    let config = MembershipConfig {
        member: 0,
        members: 1,
        heartbeat_interval_ns: HEARTBEAT,
        silence_ns: HEARTBEAT,
        uuid: 7,
        next_directory: 8,
        found: Found::default(),
    };
    let notes = MembershipNotes::default();
    let mut alone = Membership::new(config, 5, notes, Incarnation::default(), false);
    while let Some((directory, notes)) = alone.wanted(0) {
        alone.begin_write(directory, &notes);
        alone.on_written();
    }
    assert_eq!(alone.standing(), Standing::Voter);
    assert_eq!(alone.record().cluster, 7);
}

#[test]
fn a_blank_directory_in_a_formed_cluster_is_a_learner_and_its_member_is_heard() {
    let mut cluster = Cluster::formed();
    cluster.stop(1);
    cluster.start(1, blank(21), false);
    cluster.run(3);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert_eq!(cluster.refused, []);
    let sender = cluster.members[1].as_ref().unwrap().membership.sender();
    assert_eq!(sender.incarnation.counter, 1);
    let now = cluster.now;
    let leader = &mut cluster.members[0].as_mut().unwrap().membership;
    let admitted = leader.admit(now, 1, &sender).expect("it is heard");
    assert!(!admitted.is_voter);
}

#[test]
fn a_restarted_member_counts_again_once_a_majority_knows_its_incarnation() {
    let mut cluster = Cluster::formed();
    let others: Vec<_> = [0, 2].map(|id| (id, cluster.stop(id))).into();
    let (directory, has_term) = cluster.stop(1);
    cluster.start(1, directory, has_term);
    cluster.run(3);
    assert_eq!(cluster.standing(1), Standing::Returning);
    let (id, (directory, has_term)) = others[0];
    cluster.start(id, directory, has_term);
    cluster.run(3);
    assert_eq!(cluster.standing(1), Standing::Voter);
    assert_eq!(cluster.standing(0), Standing::Voter);
}

#[test]
fn a_stale_copy_of_the_own_directory_takes_a_new_id_and_is_a_learner_for_ever() {
    let mut cluster = Cluster::formed();
    let (stale, has_term) = cluster.stop(1);
    for _ in 0..3 {
        let directory = cluster.members[1].as_ref().map_or(stale, |m| m.directory);
        cluster.start(1, directory, has_term);
        cluster.run(3);
        assert_eq!(cluster.standing(1), Standing::Voter);
    }
    cluster.stop(1);
    cluster.start(1, stale, has_term);
    cluster.run(3);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert_eq!(cluster.renamed, [1]);
    // However often it starts from now on, its count never makes it a voter again.
    for _ in 0..5 {
        let (directory, has_term) = cluster.stop(1);
        cluster.start(1, directory, has_term);
        cluster.run(3);
        assert_eq!(cluster.standing(1), Standing::Learner);
    }
}

#[test]
fn two_lives_of_one_directory_with_one_count_are_told_apart() {
    let mut cluster = Cluster::formed();
    let (copied, has_term) = cluster.stop(2);
    cluster.start(2, copied, has_term);
    cluster.run(3);
    cluster.stop(2);
    cluster.start(2, copied, has_term);
    cluster.run(3);
    assert!(cluster.refused.contains(&(0, Refusal::Twin)));
    assert_eq!(cluster.standing(2), Standing::Learner);
}

#[test]
fn a_directory_of_another_cluster_of_the_same_name_is_not_heard() {
    let mut cluster = Cluster::formed();
    let mut other = Cluster::new();
    other.nonces = 900;
    for (id, directory) in [11, 22, 33].into_iter().enumerate() {
        other.stop(id);
        other.start(id, blank(directory), false);
    }
    other.run(4);
    let (directory, _) = other.stop(1);
    cluster.stop(1);
    cluster.start(1, directory, true);
    cluster.run(3);
    assert!(cluster.refused.contains(&(0, Refusal::OtherUuid)));
    assert!(cluster.refused.contains(&(1, Refusal::OtherUuid)));
    assert_eq!(cluster.standing(1), Standing::Returning);
}

#[test]
fn two_wiped_directories_of_three_never_form_a_cluster_of_their_own() {
    let mut cluster = Cluster::formed();
    let kept = cluster.stop(2);
    for id in [0, 1] {
        cluster.stop(id);
        cluster.start(id, blank(11 + id as u128 * 10), false);
    }
    cluster.run(20);
    assert_eq!(cluster.standing(0), Standing::Forming);
    cluster.start(2, kept.0, kept.1);
    cluster.run(20);
    assert_eq!(cluster.standing(0), Standing::Learner);
    assert_eq!(cluster.standing(1), Standing::Learner);
    // It knows that it has no majority, and does nothing.
    assert_eq!(cluster.standing(2), Standing::Returning);
}
