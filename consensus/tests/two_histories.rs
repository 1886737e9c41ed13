//! Two real members whose logs are two histories: of equal terms at equal positions and other
//! bytes. Both sides say so with both chain hashes; the one that differs neither joins,
//! acknowledges nor cuts its log; a leader that no majority agrees with halts (`log.md` 3.3).
#![cfg(feature = "sim")]

use lockstep_archive::files::identity_file::IDENTITY_FILE;
use lockstep_consensus::module::action::HaltReason;
use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{OldState, Scenario, SimCluster};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::log_buffer::Seal;
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// What a line may take.
const LINE_WITHIN: i64 = 5 * SECOND;

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

/// Everybody dies; the directories as they are then.
fn end_all(cluster: &mut Cluster) -> Vec<OldState> {
    cluster.everybody().kill();
    (0..3).map(|id| cluster.old_state(id)).collect()
}

/// The cluster goes on from where its disks are: `requests` answered in the next term, one after
/// the other, so that entries of two futures have equal lengths.
fn go_on(cluster: &mut Cluster, requests: usize) {
    cluster.everybody().start();
    let client = cluster.connect(|_| {});
    for number in 0..requests {
        cluster.offer(client, &[number as u8; 100]);
        cluster.run(5 * MILLISECOND);
    }
    cluster.run(100 * MILLISECOND);
    assert_eq!(cluster.answers(client).len(), requests);
    // All that was answered is on every disk, and everybody knows.
    cluster.expect_equal_logs();
}

/// What members know of each other's lives tells two futures apart before any log is compared. Here
/// it is lost: in both they hold what they knew in the past.
fn forget_lives(cluster: &mut Cluster, past: &[OldState], first: &[OldState]) -> Vec<OldState> {
    let second: Vec<OldState> = (0..3).map(|id| cluster.old_state(id)).collect();
    let mut forget = |future: &[OldState]| {
        (0..3)
            .map(|id| {
                let disk = cluster.disk(id);
                cluster.member(id).put_back(&past[id]);
                let identity = disk.contents(IDENTITY_FILE).expect("an identity");
                cluster.member(id).put_back(&future[id]);
                assert!(disk.overwrite(IDENTITY_FILE, 0, &identity));
                cluster.old_state(id)
            })
            .collect()
    };
    let first = forget(first);
    forget(&second);
    first
}

/// One past, and two futures of it that are equal in their terms: of the first the directories
/// are returned, the second one has more requests and is what the disks hold. All are down.
fn parted() -> (Cluster, Vec<OldState>) {
    let mut cluster = Scenario::echo().all_down();
    go_on(&mut cluster, 5);
    let past = end_all(&mut cluster);
    go_on(&mut cluster, 10);
    let first_terms = cluster.terms(0);
    let first = end_all(&mut cluster);
    // Elections are random: the same term is reached sooner or later.
    for _ in 0..20 {
        cluster.lose_history();
        for (id, past) in past.iter().enumerate() {
            cluster.member(id).put_back(past);
        }
        go_on(&mut cluster, 20);
        let second_terms = cluster.terms(0);
        end_all(&mut cluster);
        if second_terms == first_terms {
            let first = forget_lives(&mut cluster, &past, &first);
            cluster.lose_history();
            return (cluster, first);
        }
    }
    panic!("no second future has the terms of the first: {first_terms:?}");
}

#[test]
fn a_member_of_another_history_neither_joins_acknowledges_nor_cuts_and_both_sides_say_so() {
    let (mut cluster, first) = parted();
    cluster.members(&[0, 1]).start();
    cluster.run(3 * SECOND);
    let leader = cluster.expect_some_leader();
    // It applies again what it knew to be committed, of the history that is lost.
    cluster.member(2).put_back(&first[2]).overlook();
    let before = log(&cluster, 2);
    cluster.member(2).start();
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
    cluster
        .member(leader)
        .expect_told(NodeNotice::MemberExcluded);
    // The others go on without it, and nothing of its log is touched.
    let known = cluster.commit(2);
    let client = cluster.connect(|_| {});
    cluster.offer(client, b"more");
    cluster.run(SECOND);
    cluster.expect_answers(client, &[(1, b"more")]);
    let module = &cluster.node(2).agents().consensus.module;
    assert!(!module.is_placing() && module.commit() == known);
    let module = &cluster.node(leader).agents().consensus.module;
    assert_eq!(module.match_position(2), 0);
    cluster.member(2).expect_up();
    assert!(log(&cluster, 2) == before, "its log was changed");
}

#[test]
fn a_leader_that_no_majority_agrees_with_halts_and_clients_wait_for_it_with_a_word() {
    let (mut cluster, first) = parted();
    cluster.member(1).put_back(&first[1]).overlook();
    cluster.member(2).put_back(&first[2]).overlook();
    let ends = [1, 2].map(|id| end_of_log(&cluster, id));
    // With the longest log it is elected by one of the others, which differs.
    cluster.members(&[0, 1]).start();
    let client = cluster.join(|_| {});
    cluster.run(LINE_WITHIN);
    assert!(cluster.node(0).agents().consensus.leadership.is_leading());
    // No majority has joined.
    cluster.expect_no_leader();
    cluster
        .member(1)
        .expect_line(NodeNotice::LeaderLogDiffers, "");
    assert!(!cluster.clients[client].client.is_connected());
    cluster
        .member(0)
        .expect_told(NodeNotice::ConnectAwaitsOpening);
    let before = [1, 2].map(|id| log(&cluster, id));
    cluster.member(2).start();
    cluster.run(2 * SECOND);
    let Some(NodeFault::Halted(reason)) = cluster.fault(0) else {
        panic!("{:?}", cluster.fault(0));
    };
    assert!(
        matches!(reason, HaltReason::ChainMismatch { .. }),
        "{reason}"
    );
    let words = "keep the directories of all members as they are";
    cluster.member(0).expect_stopped(words);
    // Those that agree with each other elect a leader and keep what they had.
    cluster.run(3 * SECOND);
    assert_ne!(cluster.expect_some_leader(), 0);
    for ((id, before), end) in [1, 2].into_iter().zip(before).zip(ends) {
        assert!(log(&cluster, id)[..end] == before[..end], "member {id}");
    }
}

/// Bytes of log on the disk of a member.
fn end_of_log(cluster: &Cluster, id: usize) -> usize {
    let bytes = log(cluster, id);
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    bytes.len() - zeros
}

/// A follower is handed one frame with another log time than its leader wrote, as only a fault
/// of a memory makes it: the services see no difference.
fn with_a_frame_that_differs() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.offer(0, b"before");
    cluster.run(200 * MILLISECOND);
    cluster.expect_equal_logs();
    let at = cluster.durable(2);
    let members = cluster.setup.cluster.members.clone();
    let (leader, follower) = (members[0].member, members[2].member);
    cluster.cut_one_way(0, 2);
    // What it is going to commit is not what the others do.
    cluster.member(2).overlook();
    cluster.offer(0, b"another");
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
    let term = cluster.node(0).agents().consensus.module.term().get() as u32;
    let header: [u8; 32] = *frame.first_chunk().expect("a header");
    let reserved = FrameSeal::new(term).reserved_value(&header, &frame[32..]);
    frame[24..32].copy_from_slice(&reserved.to_le_bytes());
    cluster.network.forge(cluster.now, leader, follower, &frame);
    cluster.run(2 * MILLISECOND);
    assert!(cluster.durable(2) > at, "it was placed");
    cluster.heal();
    // Chain hashes are compared every 64 KiB.
    for _ in 0..40 {
        cluster.offer(0, &[7; 1_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    assert_eq!(cluster.answers(0).len(), 42);
    cluster
}

#[test]
fn a_member_whose_log_parts_after_it_joined_is_excluded_and_says_why_and_what_to_do() {
    let mut cluster = with_a_frame_that_differs();
    cluster.member(0).expect_told(NodeNotice::MemberExcluded);
    cluster.member(2).expect_told(NodeNotice::ExcludedByLeader);
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
    let part = "the log of member 2 at 10.0.0.3:2 differs from the leader's";
    cluster
        .member(0)
        .expect_line(NodeNotice::MemberExcluded, part);
    // It follows no more: what it had stays, and what comes is not placed.
    let (before, stood) = (log(&cluster, 2), cluster.durable(2));
    let client = cluster.connect(|_| {});
    cluster.offer(client, b"more");
    cluster.run(SECOND);
    cluster.expect_answers(client, &[(1, b"more")]);
    assert_eq!(cluster.durable(2), stood);
    assert!(log(&cluster, 2) == before, "its log was changed");
    let module = &cluster.node(0).agents().consensus.module;
    assert_eq!(module.match_position(2), 0);
    // Its disk has the other frame: read back, the log differs from the start.
    cluster.member(2).restart();
    cluster.run(2 * SECOND);
    cluster.member(2).expect_told(NodeNotice::LeaderLogDiffers);
    assert!(log(&cluster, 2) == before, "its log was changed");
}
