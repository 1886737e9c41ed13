//! What members say about themselves, heard in the simulator.
#![cfg(feature = "sim")]

use std::collections::BTreeSet;

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::tank::{TankOptions, run_and_hear};
use lockstep_transport::notices::NOTICE_INTERVAL_NS;

#[test]
fn members_that_receive_damaged_datagrams_say_so_at_most_once_a_minute() {
    let options = TankOptions::default();
    let mut kinds = BTreeSet::new();
    for seed in 0..40 {
        let (report, members) = run_and_hear(seed, &options).unwrap();
        for notices in &members {
            for (index, notice) in notices.iter().enumerate() {
                let is_same = |other: &&_| {
                    let other: &lockstep_transport::notices::Notice<NodeNotice> = other;
                    other.kind == notice.kind && other.detail.subject == notice.detail.subject
                };
                let before = notices[..index].iter().rfind(is_same);
                let since = before.map_or(NOTICE_INTERVAL_NS, |before| notice.at - before.at);
                // A restarted member has told nothing yet.
                assert!(since >= NOTICE_INTERVAL_NS || report.starts > members.len() as u64);
                kinds.insert(format!("{:?}", notice.kind));
            }
        }
    }
    for expected in [
        "DamagedMemberMessage",
        "DamagedLogDatagram",
        "LogFrameDamaged",
    ] {
        assert!(kinds.contains(expected), "{kinds:?}");
    }
}
