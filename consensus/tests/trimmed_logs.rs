//! A member lets go of its log below a position, and goes on.
#![cfg(feature = "sim")]

use lockstep_archive::disk::{ColdFiles, SegmentName};
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::SECOND;

const SEGMENT: Position = 128 * 1024;

fn segments(cluster: &SimCluster<Echo>, id: usize) -> Vec<Position> {
    let names = cluster.disk(id).list().expect("it is up");
    let parsed = names.iter().filter_map(|name| SegmentName::parse(name));
    let mut bases: Vec<Position> = parsed.map(|name| name.position).collect();
    bases.sort_unstable();
    bases
}

/// Fills some segments with requests and their answers.
fn fill(cluster: &mut SimCluster<Echo>) {
    for _ in 0..200 {
        cluster.ask(0, &[7; 1000]);
    }
}

#[test]
fn members_that_let_go_of_their_logs_go_on_and_make_new_segments_of_the_old() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.connect(|_| {});
    fill(&mut cluster);
    let below = cluster.committed();
    assert!(below > 3 * SEGMENT);
    for id in 0..2 {
        assert_eq!(segments(&cluster, id)[0], 0);
        let agents = cluster.node_mut(id).agents_mut();
        let log = &agents.consensus.log;
        assert!(agents.archive.trim_below(below, log));
        // Nothing is left to let go of.
        assert!(!agents.archive.trim_below(below, log));
    }
    cluster.run(SECOND);
    let oldest = below / SEGMENT * SEGMENT;
    for id in 0..2 {
        // One is kept for the next.
        assert_eq!(segments(&cluster, id)[0], oldest - SEGMENT, "member {id}");
        assert_eq!(cluster.counter(id, Counter::Trims), 1, "member {id}");
    }
    assert_eq!(segments(&cluster, 2)[0], 0);
    assert_eq!(cluster.counter(2, Counter::Trims), 0);
    fill(&mut cluster);
    for id in 0..2 {
        assert_eq!(segments(&cluster, id)[0], oldest, "member {id}");
    }
}
