//! What a member counts for its operator.
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::sim::scenario::Scenario;
use lockstep_transport::time::SECOND;

#[test]
fn a_member_counts_the_elections_it_stood_in() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.run(SECOND);
    assert_eq!(cluster.counter(0, Counter::Elections), 1);
    cluster.member(0).kill();
    cluster.run(4 * SECOND);
    let second = cluster.expect_some_leader();
    assert!(cluster.counter(second, Counter::Elections) > 0);
}
