//! What rots in a directory besides the log, and files of two directories that were mixed: a member
//! that cannot know what it promised follows and never votes; a log that is not its directory's
//! is left as it is; rot that is met while a log is cut ends the node by name (`log.md` 9.1).
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_archive::disk::DiskError;
use lockstep_archive::identity_file::{IdentityContent, IdentityFile};
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::agent::birth::BirthError;
use lockstep_consensus::agent::fault::NodeFault;
use lockstep_consensus::agent::start::StartError;
use lockstep_consensus::membership::{MembershipNotes, Standing};
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::SECOND;
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

const FILES: [&str; 2] = ["node-state.dat", "ack-mark.dat"];

/// Three members of which the first leads, and a client.
fn formed() -> Cluster {
    formed_after(0)
}

/// One that forms later, and so draws another uuid.
fn formed_after(wait: i64) -> Cluster {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.run(wait);
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster
}

/// Spoils both slots of a file.
fn rot(disk: &SimDisk, name: &str) {
    for offset in [20, 4096 + 20] {
        assert!(disk.overwrite(name, offset, &[0xA5; 16]));
    }
}

/// Every file and its bytes.
fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = lockstep_archive::disk::Disk::list(&mut disk.clone()).expect("a list");
    let bytes = |name: &String| disk.contents(name).expect("a file");
    names
        .into_iter()
        .map(|name| {
            let bytes = bytes(&name);
            (name, bytes)
        })
        .collect()
}

#[test]
fn a_member_that_cannot_know_what_it_promised_follows_and_never_votes() {
    let damages: [fn(&SimDisk, &str); 2] = [rot, |disk, name| disk.lose(name)];
    for name in FILES {
        for damage in damages {
            let mut cluster = formed();
            cluster.answer(20);
            cluster.kill(1);
            damage(&cluster.disk(1), name);
            cluster.start(1);
            for _ in 0..2 {
                cluster.run(2 * SECOND);
                assert_eq!(cluster.standing(1), Standing::Learner, "{name}");
                assert!(cluster.has_told(1, NodeNotice::PromisesLost), "{name}");
                // By then its file is good again: it stays what it is.
                cluster.kill(1);
                cluster.start(1);
            }
            cluster.answer(20);
            cluster.run(SECOND);
            assert_eq!(cluster.durable(1), cluster.durable(0));
            assert!(cluster.has_told(0, NodeNotice::MemberIsLearner), "{name}");
            // It neither keeps a leader nor helps to elect one.
            cluster.kill(2);
            cluster.run(5 * SECOND);
            assert_eq!(cluster.leader(), None, "{name}");
            cluster.start(2);
            cluster.run(5 * SECOND);
            cluster.answer(5);
        }
    }
}

#[test]
fn an_end_anywhere_in_the_start_makes_no_voter_of_who_forgot_its_vote() {
    let power_fails: fn(&SimDisk, u64) = SimDisk::crash_at_cold_operation;
    let process_dies: fn(&SimDisk, u64) = SimDisk::kill_at_cold_operation;
    for (name, end_at) in FILES.into_iter().zip([power_fails, process_dies]) {
        let mut cluster = formed();
        cluster.answer(20);
        cluster.kill(1);
        let disk = cluster.disk(1);
        rot(&disk, name);
        let rotten = disk.backup();
        for operation in 0.. {
            disk.restart();
            disk.restore_in_place(&rotten);
            end_at(&disk, disk.cold_operations() + operation);
            let outcome = cluster.try_start_as_it_is(1);
            if let Err(error) = &outcome {
                assert_eq!(error.to_string(), DiskError::Crashed.to_string());
                cluster.start(1);
            }
            cluster.run(SECOND);
            assert_eq!(cluster.standing(1), Standing::Learner, "{name} {operation}");
            cluster.kill(1);
            if outcome.is_ok() {
                assert!(operation > 4, "{name} {operation}");
                break;
            }
        }
    }
}

#[test]
fn a_directory_that_lost_its_identity_too_is_left_as_it_is() {
    let mut cluster = formed();
    cluster.kill(1);
    let disk = cluster.disk(1);
    for name in FILES {
        let whole = disk.backup();
        disk.lose("identity.dat");
        rot(&disk, name);
        let before = content(&disk);
        let refused = cluster.try_start(1).expect_err("it is damaged");
        let words = refused.to_string();
        assert!(words.contains("keep the directory as it is"), "{words}");
        assert!(content(&disk) == before, "{name}");
        disk.restore_in_place(&whole);
    }
}

#[test]
fn members_that_all_forgot_their_votes_elect_nobody_and_say_so() {
    let mut cluster = formed();
    cluster.answer(20);
    for id in [0, 1, 2] {
        cluster.kill(id);
        rot(&cluster.disk(id), "node-state.dat");
    }
    for id in [0, 1, 2] {
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None);
    for id in [0, 1, 2] {
        assert!(cluster.has_told(id, NodeNotice::PromisesLost));
        assert!(cluster.has_told(id, NodeNotice::MajorityGone));
        let words = line_of_lost_promises(&mut cluster, id);
        assert!(
            words.contains("node-state.dat was missing or damaged"),
            "{words}"
        );
    }
}

#[test]
fn who_runs_on_a_directory_that_does_not_count_is_not_called_silent() {
    let mut cluster = formed();
    cluster.answer(20);
    for id in [0, 1, 2] {
        cluster.kill(id);
    }
    for id in [1, 2] {
        rot(&cluster.disk(id), "node-state.dat");
    }
    for id in [0, 1, 2] {
        cluster.start(id);
    }
    // Everybody has been heard once, and has nothing to say any more.
    cluster.run(6 * SECOND);
    for id in [0, 1, 2] {
        assert!(cluster.has_told(id, NodeNotice::MajorityGone));
        let words = line_of(&mut cluster, id, NodeNotice::NoLeader);
        assert!(!words.contains("heard"), "{words}");
        assert!(
            words.contains("runs on a directory that does not count"),
            "{words}"
        );
    }
}

/// What the member has to say about its lost promises.
fn line_of_lost_promises(cluster: &mut Cluster, id: usize) -> String {
    line_of(cluster, id, NodeNotice::PromisesLost)
}

/// What the member has to say of this kind.
fn line_of(cluster: &mut Cluster, id: usize, kind: NodeNotice) -> String {
    let place = lockstep_consensus::notice::Place::default();
    let place = &place;
    let node = cluster.node_mut(id);
    let notices = std::iter::from_fn(|| node.take_notice());
    let mut lines = notices.filter(|notice| notice.kind == kind);
    let notice = lines.next().expect("it has a line");
    lockstep_consensus::notice::Line { notice, place }.to_string()
}

#[test]
fn an_identity_beside_another_clusters_log_is_refused_and_nothing_is_changed() {
    let (mut cluster, mut other) = (formed(), formed_after(SECOND));
    cluster.answer(20);
    other.answer(20);
    cluster.kill(1);
    other.kill(1);
    let (disk, theirs) = (cluster.disk(1), other.disk(1));
    // The end of its log is torn: a start that went on would erase that.
    let end = cluster.durable(0) as usize;
    assert!(disk.overwrite("0-0.rec", end + 4096, &[0xEE; 64]));
    let whole = disk.backup();
    let identity = theirs.contents("identity.dat").expect("an identity");
    assert!(disk.overwrite("identity.dat", 0, &identity));
    let before = content(&disk);
    let refused = cluster.try_start(1).expect_err("it is mixed up");
    let is_it = matches!(
        &refused,
        StartError::Birth(BirthError::OtherLog { position: 0, found, expected })
            if found != expected
    );
    assert!(is_it, "{refused}");
    assert!(refused.to_string().contains("nothing in it was changed"));
    assert!(content(&disk) == before);
    disk.restore_in_place(&whole);
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.standing(1), Standing::Voter);
}

#[test]
fn an_identity_that_names_other_directories_than_its_log_is_refused() {
    let mut cluster = formed();
    cluster.answer(5);
    cluster.kill(1);
    let mut disk = cluster.disk(1);
    let found = IdentityFile::inspect(&mut disk).expect("a good disk");
    let IdentityContent::Valid(identity, sequence) = found else {
        panic!("{found:?}");
    };
    let mut notes = MembershipNotes::decode(&identity.notes).expect("good notes");
    notes.formation.record.directories[2] ^= 1;
    let mut file = IdentityFile::open(&mut disk, *identity, sequence).expect("it opens");
    file.write_notes(&mut disk, &notes.encode())
        .expect("it is written");
    let before = content(&disk);
    let refused = cluster.try_start(1).expect_err("it is mixed up");
    let is_it = matches!(&refused, StartError::Birth(BirthError::OtherLog { .. }));
    assert!(is_it, "{refused}");
    // One that knows of no cluster at all.
    notes.formation.is_formed = false;
    file.write_notes(&mut disk, &notes.encode())
        .expect("it is written");
    let refused = cluster.try_start(1).expect_err("it is damaged");
    let is_it = matches!(&refused, StartError::Birth(BirthError::Damaged { .. }));
    assert!(is_it, "{refused}");
    let names = |content: &[(String, Vec<u8>)]| {
        let others = content.iter().filter(|file| file.0 != "identity.dat");
        others.cloned().collect::<Vec<_>>()
    };
    assert!(names(&content(&disk)) == names(&before));
}

#[test]
fn rot_that_is_met_while_the_log_is_cut_ends_the_node_with_file_and_position() {
    let mut cluster = formed();
    cluster.answer(20);
    cluster.isolate(0);
    for number in 0..20 {
        cluster.offer(0, &[number; 100]);
    }
    cluster.run(5 * SECOND);
    assert!(cluster.leader().is_some_and(|leader| leader != 0));
    // The length of a frame, below what both logs share.
    let length = cluster.disk(0).contents("0-0.rec").expect("a log");
    let first = i32::from_le_bytes(*length.first_chunk().expect("a frame"));
    let second = (first as usize).next_multiple_of(32);
    assert!(cluster.disk(0).flip_bit("0-0.rec", second, 6));
    cluster.network.heal();
    cluster.run(5 * SECOND);
    let fault = cluster.fault(0).expect("it has stopped").clone();
    let NodeFault::RottenLog { file, position } = &fault else {
        panic!("{fault}");
    };
    assert_eq!((file.as_str(), *position), ("0-0.rec", second as i64));
    assert!(fault.to_string().contains("keep the directory as it is"));
    // It is started again, as it says: its peers repair what it lost.
    cluster.kill(0);
    cluster.start(0);
    cluster.run(10 * SECOND);
    assert!(cluster.fault(0).is_none());
    let leader = cluster.leader().expect("a leader");
    assert_eq!(cluster.durable(0), cluster.durable(leader));
    assert!(cluster.has_told(0, NodeNotice::LogRepaired));
}
