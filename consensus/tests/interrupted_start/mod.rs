//! Starts that end at each of their operations on the disk in turn.

use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::sim::scenario::{OldState, SimCluster, StartEnd};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::SECOND;

/// Member 1, which is down, is a learner after a start from `state`, whichever operation a start
/// before that ended in.
#[track_caller]
pub fn expect_learner_after_any(cluster: &mut SimCluster<Echo>, state: &OldState, end: StartEnd) {
    let mut operation = 0;
    while !cluster
        .member(1)
        .put_back(state)
        .start_in_vain(end, operation)
    {
        cluster.member(1).start();
        cluster.run(SECOND);
        cluster.member(1).expect_standing(Standing::Learner).kill();
        operation += 1;
    }
    cluster.run(SECOND);
    cluster.member(1).expect_standing(Standing::Learner);
    assert!(operation > 4, "{operation} operations");
}
