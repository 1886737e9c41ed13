//! Of a file that is kept twice one slot rots: the member goes on from the other, and says so.
#![cfg(feature = "sim")]

use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_consensus::directory::spoiled_slots::FILES;
use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::Scenario;
use lockstep_transport::time::{MILLISECOND, SECOND};

#[test]
fn a_start_that_finds_one_slot_of_a_file_spoiled_names_the_file() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    for (file, slot) in FILES.into_iter().flat_map(|file| [(file, 0), (file, 1)]) {
        cluster.member(1).kill().rot_slot(file, slot).start();
        cluster.run(2 * SECOND);
        cluster.member(1).expect_standing(Standing::Voter);
        let words = format!("one of the two slots of {file} in data could not be read");
        cluster
            .member(1)
            .expect_line(NodeNotice::SlotSpoiled, &words);
        // It is good again by then, and there is nothing to say at the next start.
        cluster.member(1).restart();
        cluster.run(2 * SECOND);
        cluster.member(1).expect_not_told(NodeNotice::SlotSpoiled);
    }
    cluster
        .members(&[0, 2])
        .expect_not_told(NodeNotice::SlotSpoiled);
}

/// The log is cut, and the slot rots that says that this is done: were the other one believed, the
/// next start would cut off again what was acknowledged since (seed 25000096 of the node tank).
#[test]
fn whichever_slot_of_the_mark_rots_after_a_truncation_the_other_does_not_say_that_it_goes_on() {
    let mut cluster = Scenario::echo().members(1).led_by(0);
    cluster.answer(5);
    cluster.run(SECOND);
    let (disk, mut now) = (cluster.disk(0), cluster.now);
    let until = now + SECOND;
    let agents = cluster.node_mut(0).agents_mut();
    let (archive, log) = (&mut agents.archive, &mut agents.consensus.log);
    let target = log.append();
    archive.begin_truncation(target, log);
    while archive.poll_truncated(now, log).is_none() {
        now += MILLISECOND;
        assert!(now < until, "it comes to its end");
        while archive.poll_completion(now, |_| {}).is_some() {}
        archive.persist(now, log, 0);
    }
    for slot in 0..2 {
        cluster.member(0).rot_slot(ACK_MARK_FILE.name, slot);
        let mark = disk.durable_mark().expect("the other slot is good");
        assert_eq!((mark.position, mark.truncated_end), (target, 0));
        cluster.member(0).rot_slot(ACK_MARK_FILE.name, slot);
    }
}

/// Seed 1795805041: a log that rests is marked in both slots. Were the mark in one of them only,
/// its rot would bring back one from before, however old, and a loss of power would make a torn
/// tail of whatever the log has lost since.
#[test]
fn a_log_that_rests_is_known_to_be_lost_whichever_slot_of_its_mark_rots_and_its_host_loses_power() {
    for slot in 0..2 {
        let mut cluster = Scenario::echo().led_by(0);
        cluster.answer(2);
        cluster.run(100 * MILLISECOND);
        let committed = cluster.committed();
        // Nothing above the last entry tells that it was ever there.
        cluster
            .member(1)
            .lose_power()
            .rot_slot(ACK_MARK_FILE.name, slot)
            .rot(committed - 8)
            .start()
            .expect_damaged(true);
        cluster.run(2 * SECOND);
        cluster.member(1).expect_told(NodeNotice::LogRepaired);
        cluster.member(1).expect_kept(committed);
        cluster.expect_equal_logs();
    }
}
