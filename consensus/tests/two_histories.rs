//! Two real members whose logs are two histories: of equal terms at equal positions and other
//! bytes. Both sides say so with both chain hashes; the one that differs neither joins,
//! acknowledges nor cuts its log; a leader that no majority agrees with halts (`log.md` 3.3).
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_archive::checksum::FrameSeal;
use lockstep_archive::identity_file::IDENTITY_FILE;
use lockstep_archive::sim::SimBackup;
use lockstep_consensus::action::HaltReason;
use lockstep_consensus::agent::fault::NodeFault;
use lockstep_consensus::member::TermBase;
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::log_buffer::Seal;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

/// What a line may take.
const LINE_WITHIN: i64 = 5 * SECOND;

fn terms(cluster: &Cluster, id: usize) -> Vec<TermBase> {
    cluster.node(id).parts().module.terms().to_vec()
}

fn noted(cluster: &Cluster, id: usize, kind: NodeNotice) -> u64 {
    cluster.node(id).parts().notices.count(kind)
}

fn end(cluster: &Cluster, id: usize) -> i64 {
    cluster.node(id).parts().store.durable()
}

/// The first segment of a member's log, byte for byte: all that these tests write.
fn log(cluster: &Cluster, id: usize) -> Vec<u8> {
    cluster.disk(id).contents("0-0.rec").expect("a log")
}

/// Both hashes that a line names: the other side's, and the speaker's.
fn hashes(line: &str) -> (String, String) {
    let (_, rest) = line.split_once("(chain hash ").expect("a hash");
    let (other, rest) = rest.split_once(" there, ").expect("the other's");
    let (own, _) = rest.split_once(" here)").expect("its own");
    (other.to_owned(), own.to_owned())
}

fn all(cluster: &Cluster) -> Vec<SimBackup> {
    (0..3).map(|id| cluster.disk(id).backup()).collect()
}

fn kill_all(cluster: &mut Cluster) {
    for id in 0..3 {
        cluster.kill(id);
    }
}

/// The cluster goes on from where its disks are: `requests` answered in the next term, one after
/// the other, so that entries of two futures have equal lengths.
fn go_on(cluster: &mut Cluster, requests: usize) {
    for id in 0..3 {
        cluster.start(id);
    }
    let client = cluster.connect(|_| {});
    for number in 0..requests {
        cluster.offer(client, &[number as u8; 100]);
        cluster.run(5 * MILLISECOND);
    }
    cluster.run(100 * MILLISECOND);
    assert_eq!(cluster.clients[client].responses().len(), requests);
    // All that was answered is on every disk, and everybody knows.
    assert!((1..3).all(|id| end(cluster, id) == end(cluster, 0)));
}

/// What members know of each other's lives tells two futures apart before any log is compared. Here
/// it is lost: in both they hold what they knew in the past.
fn forget_lives(
    cluster: &mut Cluster,
    past: &[SimBackup],
    first: Vec<SimBackup>,
) -> Vec<SimBackup> {
    let forget = |(id, first): (usize, SimBackup)| {
        let (disk, other) = (cluster.disk(id), cluster.disk(id).fork());
        other.restore_in_place(&past[id]);
        let identity = other.contents(IDENTITY_FILE).expect("an identity");
        other.restore_in_place(&first);
        for disk in [&disk, &other] {
            assert!(disk.overwrite(IDENTITY_FILE, 0, &identity));
        }
        other.backup()
    };
    first.into_iter().enumerate().map(forget).collect()
}

/// One past, and two futures of it that are equal in their terms: of the first the directories
/// are returned, the second one has more requests and is what the disks hold. All are down.
fn parted() -> (Cluster, Vec<SimBackup>) {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    go_on(&mut cluster, 5);
    kill_all(&mut cluster);
    let past = all(&cluster);
    go_on(&mut cluster, 10);
    let first_terms = terms(&cluster, 0);
    kill_all(&mut cluster);
    let first = all(&cluster);
    // Elections are random: the same term is reached sooner or later.
    for _ in 0..20 {
        for (id, past) in past.iter().enumerate() {
            cluster.disk(id).restore_in_place(past);
        }
        go_on(&mut cluster, 20);
        let second_terms = terms(&cluster, 0);
        kill_all(&mut cluster);
        if second_terms == first_terms {
            let first = forget_lives(&mut cluster, &past, first);
            return (cluster, first);
        }
    }
    panic!("no second future has the terms of the first: {first_terms:?}");
}

#[test]
fn a_member_of_another_history_neither_joins_acknowledges_nor_cuts_and_both_sides_say_so() {
    let (mut cluster, first) = parted();
    cluster.start(0);
    cluster.start(1);
    cluster.run(3 * SECOND);
    let leader = cluster.leader().expect("two of three elect a leader");
    cluster.disk(2).restore_in_place(&first[2]);
    let before = log(&cluster, 2);
    cluster.start(2);
    cluster.run(LINE_WITHIN);
    let follower_says = cluster.take_lines(2, NodeNotice::LeaderLogDiffers).pop();
    let leader_says = cluster
        .take_lines(leader, NodeNotice::FollowerLogDiffers)
        .pop();
    let follower_says = follower_says.expect("the follower says so within five seconds");
    let leader_says = leader_says.expect("the leader says so within five seconds");
    let (other, own) = hashes(&follower_says);
    assert_ne!(other, own, "{follower_says}");
    assert!(!follower_says.contains("none"), "{follower_says}");
    assert_eq!(hashes(&leader_says), (own, other), "{leader_says}");
    assert!(leader_says.contains("member 2 at 10.0.0.3:2 has another log below "));
    let words = format!("the leader, member {leader} at ");
    assert!(follower_says.contains(&words), "{follower_says}");
    assert!(noted(&cluster, leader, NodeNotice::MemberExcluded) > 0);
    // The others go on without it, and nothing of its log is touched.
    let client = cluster.connect(|_| {});
    cluster.offer(client, b"more");
    cluster.run(SECOND);
    assert_eq!(cluster.clients[client].responses(), [b"more"]);
    let module = &cluster.node(2).parts().module;
    assert!(!module.is_placing() && module.commit() == 0);
    let module = &cluster.node(leader).parts().module;
    assert_eq!(module.match_position(2), 0);
    assert_eq!(cluster.fault(2), None);
    assert!(log(&cluster, 2) == before, "its log was changed");
}

#[test]
fn a_leader_that_no_majority_agrees_with_halts_and_clients_wait_for_it_with_a_word() {
    let (mut cluster, first) = parted();
    cluster.disk(1).restore_in_place(&first[1]);
    cluster.disk(2).restore_in_place(&first[2]);
    // With the longest log it is elected by one of the others, which differs.
    cluster.start(0);
    cluster.start(1);
    let client = cluster.join(|_| {});
    cluster.run(LINE_WITHIN);
    assert!(cluster.node(0).parts().leadership.is_leading());
    assert_eq!(cluster.leader(), None, "no majority has joined");
    assert!(
        cluster
            .take_lines(1, NodeNotice::LeaderLogDiffers)
            .pop()
            .is_some()
    );
    assert!(!cluster.clients[client].client.is_connected());
    assert!(noted(&cluster, 0, NodeNotice::ConnectAwaitsOpening) > 0);
    let before = [1, 2].map(|id| log(&cluster, id));
    cluster.start(2);
    cluster.run(2 * SECOND);
    let Some(NodeFault::Halted(reason)) = cluster.fault(0) else {
        panic!("{:?}", cluster.fault(0));
    };
    assert!(
        matches!(reason, HaltReason::ChainMismatch { .. }),
        "{reason}"
    );
    let words = reason.to_string();
    assert!(
        words.contains("keep the directories of all members as they are"),
        "{words}"
    );
    // Those that agree with each other elect a leader and keep what they had.
    cluster.run(3 * SECOND);
    assert!(cluster.leader().is_some_and(|leader| leader != 0));
    for (id, before) in [1, 2].into_iter().zip(before) {
        let kept = first_log_length(&first, &cluster, id);
        assert!(log(&cluster, id)[..kept] == before[..kept], "member {id}");
    }
}

/// Bytes of log that the member had when its history was put away.
fn first_log_length(first: &[SimBackup], cluster: &Cluster, id: usize) -> usize {
    let disk = cluster.disk(id).fork();
    disk.restore_in_place(&first[id]);
    let bytes = disk.contents("0-0.rec").expect("a log");
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    bytes.len() - zeros
}

/// A follower is handed one frame with another log time than its leader wrote, as only a fault
/// of a memory makes it: the services see no difference.
fn with_a_frame_that_differs() -> Cluster {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    let client = cluster.connect(|_| {});
    cluster.offer(client, b"before");
    cluster.run(200 * MILLISECOND);
    let at = end(&cluster, 2);
    assert_eq!(at, end(&cluster, 0));
    let members = cluster.setup.cluster.members.clone();
    let (leader, follower) = (members[0].member, members[2].member);
    cluster.network.partition(leader, follower);
    cluster.offer(client, b"another");
    cluster.run(5 * MILLISECOND);
    let bytes = log(&cluster, 0)[at as usize..].to_vec();
    let length = u32::from_le_bytes(*bytes.first_chunk().expect("a frame")) as usize;
    let mut frame = bytes[..length.next_multiple_of(32)].to_vec();
    let entry = EntryHeader::decode(&frame[32..]).expect("an entry");
    assert_eq!(entry.kind, EntryKind::Request);
    let changed = EntryHeader {
        log_time: entry.log_time + 1,
        ..entry
    };
    frame[32..80].copy_from_slice(&changed.encode());
    let term = cluster.node(0).parts().module.term() as u32;
    let header: [u8; 32] = *frame.first_chunk().expect("a header");
    let reserved = FrameSeal::new(term).reserved_value(&header, &frame[32..]);
    frame[24..32].copy_from_slice(&reserved.to_le_bytes());
    cluster.network.forge(cluster.now, leader, follower, &frame);
    cluster.run(2 * MILLISECOND);
    assert!(end(&cluster, 2) > at, "it was placed");
    cluster.network.heal();
    // Chain hashes are compared every 64 KiB.
    for _ in 0..40 {
        cluster.offer(client, &[7; 1_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    assert_eq!(cluster.clients[client].responses().len(), 42);
    cluster
}

#[test]
fn a_member_whose_log_parts_after_it_joined_is_excluded_and_says_why_and_what_to_do() {
    let mut cluster = with_a_frame_that_differs();
    assert!(noted(&cluster, 0, NodeNotice::MemberExcluded) > 0);
    assert!(noted(&cluster, 2, NodeNotice::ExcludedByLeader) > 0);
    let excluded = cluster.take_lines(2, NodeNotice::ExcludedByLeader).pop();
    let excluded = excluded.expect("the excluded member says so");
    for part in [
        "the leader, member 0 at 10.0.0.1:2, does not count this member any more",
        "check the disk and the memory of both hosts, and restart this member",
    ] {
        assert!(excluded.contains(part), "{excluded}");
    }
    let (other, own) = hashes(&excluded);
    assert_ne!(other, own);
    let leader_says = cluster.take_lines(0, NodeNotice::MemberExcluded).pop();
    let leader_says = leader_says.expect("the leader says so");
    let part = "the log of member 2 at 10.0.0.3:2 differs from the leader's";
    assert!(leader_says.contains(part), "{leader_says}");
    // It follows no more: what it had stays, and what comes is not placed.
    let (before, stood) = (log(&cluster, 2), end(&cluster, 2));
    let client = cluster.connect(|_| {});
    cluster.offer(client, b"more");
    cluster.run(SECOND);
    assert_eq!(cluster.clients[client].responses(), [b"more"]);
    assert_eq!(end(&cluster, 2), stood);
    assert!(log(&cluster, 2) == before, "its log was changed");
    let module = &cluster.node(0).parts().module;
    assert_eq!(module.match_position(2), 0);
    // Its disk has the other frame: read back, the log differs from the start.
    cluster.kill(2);
    cluster.start(2);
    cluster.run(2 * SECOND);
    assert!(noted(&cluster, 2, NodeNotice::LeaderLogDiffers) > 0);
    assert!(log(&cluster, 2) == before, "its log was changed");
}
