//! A service that panics over an entry (`log.md` 5.1): each member that executes it ends there, by
//! name and after each restart, until a service runs that answers it; nothing is lost meanwhile.
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::rc::Rc;

use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::ServiceFault;
use lockstep_transport::time::SECOND;

const POISON: &[u8] = b"divide by zero";

/// Repeats each message; the first build of it does not survive one of them.
struct Fragile {
    is_mended: bool,
}

impl ClusteredService for Fragile {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        assert!(self.is_mended || bytes != POISON, "no number");
        cluster.respond(from, bytes).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Where the member's service panicked, if it ended for that.
fn panicked_at(cluster: &SimCluster<Fragile>, id: usize) -> Option<i64> {
    match cluster.fault(id)? {
        NodeFault::Service(ServiceFault::Panicked { position, message }) => {
            assert_eq!(message, "no number", "the fault says why");
            Some(*position)
        }
        other => panic!("member {id} stopped for another reason: {other}"),
    }
}

#[test]
fn a_service_that_panics_ends_its_members_at_that_entry_until_one_runs_that_does_not() {
    let is_mended = Rc::new(Cell::new(false));
    let build = is_mended.clone();
    let service = move |_| Fragile {
        is_mended: build.get(),
    };
    let mut cluster = Scenario::of(service).faulty_service().led_by(0);
    cluster.answer(3);
    cluster.offer(0, POISON);
    cluster.offer(0, b"after");
    cluster.run(10 * SECOND);
    let ended = |cluster: &SimCluster<Fragile>| -> Vec<i64> {
        (0..3).filter_map(|id| panicked_at(cluster, id)).collect()
    };
    let places = ended(&cluster);
    assert!(places.len() >= 2, "no majority is left: {places:?}");
    assert!(places.iter().all(|place| *place == places[0]), "one entry");
    assert_eq!(cluster.answers(0).len(), 3);

    cluster.everybody().restart();
    cluster.run(10 * SECOND);
    let again = ended(&cluster);
    assert!(again.len() >= 2 && again.iter().all(|place| *place == places[0]));
    assert_eq!(cluster.answers(0).len(), 3);

    is_mended.set(true);
    cluster.everybody().restart();
    cluster.run(10 * SECOND);
    assert_eq!(ended(&cluster), []);
    assert_eq!(cluster.answers(0)[3..], [POISON, b"after"]);
}
