//! Of a file that is kept twice one slot rots: the member goes on from the other, and says so.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_archive::ack_mark::ACK_MARK_FILE;
use lockstep_archive::disk::BLOCK_LENGTH;
use lockstep_archive::spoiled_slots::FILES;
use lockstep_consensus::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

#[test]
fn a_start_that_finds_one_slot_of_a_file_spoiled_names_the_file() {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster.answer(5);
    for file in FILES {
        for slot in 0..2 {
            cluster.kill(1);
            assert!(cluster.disk(1).flip_bit(file, slot * BLOCK_LENGTH + 20, 3));
            cluster.start(1);
            cluster.run(2 * SECOND);
            assert_eq!(cluster.standing(1), Standing::Voter);
            let told = cluster.take_lines(1, NodeNotice::SlotSpoiled);
            assert_eq!(told.len(), 1, "{told:?}");
            let words = format!("one of the two slots of {file} in data could not be read");
            assert!(told[0].starts_with(&words), "{told:?}");
            // It is good again by then, and there is nothing to say at the next start.
            cluster.kill(1);
            cluster.start(1);
            cluster.run(2 * SECOND);
            assert_eq!(
                cluster.take_lines(1, NodeNotice::SlotSpoiled),
                [""; 0],
                "{file} {slot}"
            );
        }
    }
    for id in [0, 2] {
        assert!(!cluster.has_told(id, NodeNotice::SlotSpoiled));
    }
}

/// The log is cut, and the slot rots that says that this is done: were the other one believed, the
/// next start would cut off again what was acknowledged since (seed 25000096 of the node tank).
#[test]
fn whichever_slot_of_the_mark_rots_after_a_truncation_the_other_does_not_say_that_it_goes_on() {
    let mut setup = Setup::new();
    setup.cluster.members.truncate(1);
    let mut cluster = SmallCluster::new(setup, |_| Echo::new());
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster.answer(5);
    cluster.run(SECOND);
    let (disk, mut now) = (cluster.disk(0), cluster.now);
    let until = now + SECOND;
    let store = &mut cluster.node_mut(0).parts_mut().store;
    let target = store.append();
    store.begin_truncation(target);
    while store.poll_truncated(now).is_none() {
        now += MILLISECOND;
        assert!(now < until, "it comes to its end");
        while store.poll_completion(now, |_| {}).is_some() {}
        store.persist(now, 0);
    }
    for slot in 0..2 {
        let flip = || disk.flip_bit(ACK_MARK_FILE.name, slot * BLOCK_LENGTH + 20, 3);
        assert!(flip());
        let mark = disk.durable_mark().expect("the other slot is good");
        assert_eq!((mark.position, mark.truncated_end), (target, 0));
        assert!(flip());
    }
}
