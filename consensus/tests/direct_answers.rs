//! Direct answers leave before anybody can compare them; from the first doubt on none does.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::config::ResponsesMode;
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

/// Requests made at once; each takes the service two milliseconds.
const REQUESTS: usize = 100;

/// Repeats each message, after a while; member 0 gives a wrong answer to the first.
struct Slow {
    is_wrong: bool,
}

impl ClusteredService for Slow {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(2 * MILLISECOND);
        let answer = if self.is_wrong && bytes == b"odd" {
            b"bad"
        } else {
            bytes
        };
        cluster.respond(from, answer).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

#[test]
fn from_the_first_contradiction_on_no_answer_leaves_until_it_is_known_who_is_right() {
    let mut setup = Setup::new();
    setup.cluster.responses = ResponsesMode::Direct;
    let mut cluster = SmallCluster::new(setup, |member| Slow {
        is_wrong: member == 0,
    });
    cluster.start_all(0);
    cluster.connect(|config| config.in_flight_max = 256);
    // One follower contradicts the leader, the other is not heard for a moment.
    let members = &cluster.setup.cluster.members;
    let (leader, other) = (members[0].member, members[2].member);
    cluster.network.partition_both(leader, other);
    let now = cluster.now;
    cluster.clients[0].client.offer(now, b"odd");
    for _ in 1..REQUESTS {
        cluster.clients[0].client.offer(now, b"more");
    }
    // The follower reports at its next heartbeat at the latest.
    cluster.run(100 * MILLISECOND);
    let left = cluster.clients[0].responses().len();
    assert!(
        (1..REQUESTS / 2).contains(&left),
        "{left} answers have left"
    );
    cluster.run(200 * MILLISECOND);
    assert_eq!(cluster.clients[0].responses().len(), left);
    assert!(
        cluster.fault(0).is_none(),
        "it cannot know that it is wrong"
    );
    cluster.network.heal();
    cluster.run(SECOND);
    assert!(cluster.fault(0).is_some());
}
