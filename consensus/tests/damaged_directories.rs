//! What rots in a directory besides the log, and files of two directories that were mixed: a member
//! that cannot know what it promised follows and never votes; a log that is not its directory's
//! is left as it is; rot that is met while a log is cut ends the node by name (`log.md` 9.1).
#![cfg(feature = "sim")]

mod interrupted_start;

use interrupted_start::expect_learner_after_any;
use lockstep_archive::files::identity_file::{IdentityContent, IdentityFile};
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::module::membership::{MembershipNotes, Standing};
use lockstep_consensus::node::birth::BirthError;
use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::node::start_error::StartError;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, StartEnd};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::SECOND;

type Cluster = SimCluster<Echo>;

/// What a member promised is in these.
const FILES: [&str; 2] = ["node-state.dat", "ack-mark.dat"];

/// Three members of which the first leads, and some answers.
fn formed() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(20);
    cluster
}

/// Every file and its bytes.
fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = lockstep_archive::disk::ColdFiles::list(&mut disk.clone()).expect("a list");
    let with_bytes = |name: String| {
        let bytes = disk.contents(&name).expect("a file");
        (name, bytes)
    };
    names.into_iter().map(with_bytes).collect()
}

#[test]
fn a_member_that_cannot_know_what_it_promised_follows_and_never_votes() {
    let both = |name| [(name, true), (name, false)];
    for (name, rots) in FILES.into_iter().flat_map(both) {
        let mut cluster = formed();
        cluster.member(1).kill();
        if rots {
            cluster.member(1).rot_file(name);
        } else {
            cluster.member(1).lose(name);
        }
        cluster.member(1).start();
        for _ in 0..2 {
            cluster.run(2 * SECOND);
            cluster.member(1).expect_standing(Standing::Learner);
            cluster.member(1).expect_told(NodeNotice::PromisesLost);
            // By then its file is good again: it stays what it is.
            cluster.member(1).restart();
        }
        expect_a_learner_that_follows(&mut cluster);
    }
}

/// Member 1 gets the whole log, neither keeps a leader nor helps to elect one, and the cluster
/// goes on without it.
fn expect_a_learner_that_follows(cluster: &mut Cluster) {
    cluster.answer(20);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
    cluster.member(0).expect_told(NodeNotice::MemberIsLearner);
    cluster.member(2).kill();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(2).start();
    cluster.run(5 * SECOND);
    cluster.answer(5);
}

#[test]
fn an_end_anywhere_in_the_start_makes_no_voter_of_who_forgot_its_vote() {
    for (name, end) in FILES.into_iter().zip([StartEnd::PowerLoss, StartEnd::Kill]) {
        let mut cluster = formed();
        cluster.member(1).kill().rot_file(name);
        let rotten = cluster.old_state(1);
        expect_learner_after_any(&mut cluster, &rotten, end);
    }
}

#[test]
fn a_directory_that_lost_its_identity_too_is_left_as_it_is() {
    for name in FILES {
        let mut cluster = formed();
        cluster.member(1).kill().lose("identity.dat").rot_file(name);
        let before = content(&cluster.disk(1));
        cluster
            .member(1)
            .expect_refused("keep the directory as it is");
        assert!(content(&cluster.disk(1)) == before, "{name}");
    }
}

#[test]
fn members_that_all_forgot_their_votes_elect_nobody_and_say_so() {
    let mut cluster = formed();
    cluster
        .everybody()
        .kill()
        .rot_file("node-state.dat")
        .start();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    let mut everybody = cluster.everybody();
    everybody.expect_told(NodeNotice::MajorityGone);
    let words = "is a learner: it follows the log and neither votes nor counts, and data got an id \
                 of its own, because node-state.dat was missing or damaged";
    everybody.expect_line(NodeNotice::PromisesLost, words);
}

#[test]
fn who_runs_on_a_directory_that_does_not_count_is_not_called_silent() {
    let mut cluster = formed();
    cluster.everybody().kill();
    cluster.members(&[1, 2]).rot_file("node-state.dat");
    cluster.everybody().start();
    // Everybody has been heard once, and has nothing to say any more.
    cluster.run(6 * SECOND);
    cluster.everybody().expect_told(NodeNotice::MajorityGone);
    for id in 0..3 {
        let lines = cluster.take_lines(id, NodeNotice::NoLeader);
        let words = lines.first().expect("it has a line");
        assert!(!words.contains("heard"), "{words}");
        let part = "runs on a directory that does not count";
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn an_identity_beside_another_clusters_log_is_refused_and_nothing_is_changed() {
    let mut cluster = formed();
    // It forms later, and so draws another uuid.
    let mut other = Scenario::echo().all_down();
    other.run(SECOND);
    other.start_led_by(0);
    let identity = other.disk(1).contents("identity.dat").expect("an identity");
    // The end of its log is torn: a start that went on would erase that.
    cluster.member(1).kill().tear_tail();
    let (disk, whole) = (cluster.disk(1), cluster.old_state(1));
    assert!(disk.overwrite("identity.dat", 0, &identity));
    let before = content(&disk);
    let refused = cluster.member(1).try_start().expect_err("it is mixed up");
    let is_it = matches!(
        &refused,
        StartError::Birth(BirthError::OtherLog { position: 0, found, expected })
            if found != expected
    );
    assert!(is_it, "{refused}");
    assert!(refused.to_string().contains("nothing in it was changed"));
    assert!(content(&disk) == before);
    cluster.member(1).put_back(&whole).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Voter);
}

#[test]
fn an_identity_that_names_other_directories_than_its_log_is_refused() {
    let mut cluster = formed();
    cluster.member(1).kill();
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
    let refused = cluster.member(1).try_start().expect_err("it is mixed up");
    let is_it = matches!(&refused, StartError::Birth(BirthError::OtherLog { .. }));
    assert!(is_it, "{refused}");
    // One that knows of no cluster at all.
    notes.formation.is_formed = false;
    file.write_notes(&mut disk, &notes.encode())
        .expect("it is written");
    let refused = cluster.member(1).try_start().expect_err("it is damaged");
    let is_it = matches!(&refused, StartError::Birth(BirthError::Damaged { .. }));
    assert!(is_it, "{refused}");
    let others = |content: &[(String, Vec<u8>)]| {
        let others = content.iter().filter(|file| file.0 != "identity.dat");
        others.cloned().collect::<Vec<_>>()
    };
    assert!(others(&content(&disk)) == others(&before));
}

#[test]
fn rot_that_is_met_while_the_log_is_cut_ends_the_node_with_file_and_position() {
    let mut cluster = formed();
    cluster.member(0).isolate();
    for number in 0..20 {
        cluster.offer(0, &[number; 100]);
    }
    cluster.run(5 * SECOND);
    assert_ne!(cluster.expect_some_leader(), 0);
    // The length of a frame, below what both logs share.
    let log = cluster.log(0, 32);
    let first = i32::from_le_bytes(*log.first_chunk().expect("a frame"));
    let second = (first as usize).next_multiple_of(32) as i64;
    cluster.member(0).rot(second);
    cluster.heal();
    cluster.run(5 * SECOND);
    let fault = cluster.fault(0).expect("it has stopped").clone();
    let NodeFault::RottenLog { file, position } = &fault else {
        panic!("{fault}");
    };
    assert_eq!((file.as_str(), *position), ("0-0.rec", second));
    cluster
        .member(0)
        .expect_stopped("keep the directory as it is");
    // It is started again, as it says: its peers repair what it lost.
    cluster.member(0).restart();
    cluster.run(10 * SECOND);
    cluster.member(0).expect_up();
    cluster.expect_some_leader();
    cluster.expect_equal_logs();
    cluster.member(0).expect_told(NodeNotice::LogRepaired);
}
