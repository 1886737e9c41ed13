//! Direct answers leave before anybody can compare them; from the first doubt on none does.
#![cfg(feature = "sim")]

use lockstep_consensus::settings::config::ResponsesMode;
use lockstep_consensus::sim::scenario::Scenario;
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, SECOND};

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
    let mut cluster = Scenario::of(|id| Slow { is_wrong: id == 0 })
        .faulty_service()
        .responses(ResponsesMode::Direct)
        .client(|client| client.in_flight_max = 256)
        .led_by(0);
    // One follower contradicts the leader, the other is not heard for a moment.
    cluster.cut(0, 2);
    let now = cluster.now;
    cluster.clients[0].client.offer(now, b"odd");
    for _ in 1..REQUESTS {
        cluster.clients[0].client.offer(now, b"more");
    }
    // The follower reports at its next heartbeat at the latest.
    cluster.run(100 * MILLISECOND);
    let left = cluster.answers(0).len();
    assert!(
        (1..REQUESTS / 2).contains(&left),
        "{left} answers have left"
    );
    cluster.run(200 * MILLISECOND);
    assert_eq!(cluster.answers(0).len(), left);
    assert!(
        cluster.fault(0).is_none(),
        "it cannot know that it is wrong"
    );
    cluster.heal();
    cluster.run(SECOND);
    assert!(cluster.fault(0).is_some());
}
