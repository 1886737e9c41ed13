//! What a member's disk holds of its term and vote, looked at from outside: the oracles ask, no
//! node does.

use lockstep_archive::sim::SimDisk;

use crate::directory::node_state::{NODE_STATE_FILE, NodeState};

/// The node state that stable storage holds.
#[must_use]
pub fn durable_state(disk: &SimDisk) -> Option<NodeState> {
    NodeState::decode(&disk.durable_record(&NODE_STATE_FILE)?)
}

/// The node state that stable storage holds in both slots, and so whatever becomes of one of them.
#[must_use]
pub fn state_in_both(disk: &SimDisk) -> Option<NodeState> {
    NodeState::decode(&disk.durable_in_both(&NODE_STATE_FILE)?)
}

#[cfg(test)]
mod tests {
    use lockstep_archive::disk::Disk;
    use lockstep_archive::files::slot_file::SlotFile;
    use lockstep_archive::sim::SimDiskConfig;
    use lockstep_transport::ids::LeadershipTermId;

    use super::*;

    fn voted(term: i64) -> NodeState {
        NodeState {
            leadership_term: LeadershipTermId::new(term),
            vote: Some(0),
            ..NodeState::fresh(7)
        }
    }

    #[test]
    fn a_state_that_only_one_slot_has_yet_is_no_promise() {
        let mut disk = SimDisk::new(SimDiskConfig {
            seed: 1,
            latency_min_ns: 10,
            latency_max_ns: 10,
            capacity_bytes: 1 << 20,
        });
        let first = voted(5).encode();
        let mut file = SlotFile::create(&mut disk, &NODE_STATE_FILE, &first).expect("space");
        file.write(&mut disk, &first).expect("space");
        assert_eq!(state_in_both(&disk), Some(voted(5)));
        let next = voted(6).encode();
        file.submit_both(0, &mut disk, &next)
            .expect("nothing is under way");
        disk.flush(0);
        let written = disk.poll_completion(100).expect("the first slot");
        assert_eq!(file.on_completion(written.token), Some(false));
        assert_eq!(durable_state(&disk), Some(voted(6)));
        assert_eq!(state_in_both(&disk), None);
        file.do_work(100, &mut disk);
        disk.flush(100);
        let written = disk.poll_completion(200).expect("the second slot");
        assert_eq!(file.on_completion(written.token), Some(true));
        assert_eq!(state_in_both(&disk), Some(voted(6)));
    }
}
