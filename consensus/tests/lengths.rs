//! Lengths, all the way: the largest message takes every way, what is too long is refused with
//! that reason, and a response that cannot be said is an event at the client.
#![cfg(feature = "sim")]

use lockstep_client::event::OfferResult;
use lockstep_client::protocol::{RefusalReason, ResponseFailure};
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::ResponsesMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, Told};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::time::{MILLISECOND, SECOND};

/// Answers with as many bytes as the message's first eight say, or, told to, complains when
/// that fails.
struct Sized;

impl ClusteredService for Sized {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length"));
        let answer = vec![7; length as usize];
        let times = bytes.get(8).copied().unwrap_or(1);
        let failed = (0..times).any(|_| cluster.respond(from, &answer).is_err());
        if failed && bytes.get(9) == Some(&1) {
            cluster.respond(from, b"sorry").expect("a short answer");
        }
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

fn started(change: impl FnOnce(Scenario<Sized>) -> Scenario<Sized>) -> SimCluster<Sized> {
    let mut cluster = change(Scenario::of(|_| Sized)).clients(0).led_by(0);
    let longest = cluster.setup.cluster.message_max;
    cluster.connect(|config| {
        config.term_length = (8 * (longest + 64)).next_power_of_two().max(1 << 20);
        config.in_flight_bytes_max = 8 << 20;
    });
    cluster
}

/// A request for `times` answers of `length` bytes each, itself so long.
fn request(length: usize, times: u8, own_length: usize) -> Vec<u8> {
    let mut bytes = (length as u64).to_le_bytes().to_vec();
    bytes.push(times);
    bytes.resize(own_length.max(10), 0);
    bytes
}

fn outcomes(cluster: &mut SimCluster<Sized>, requests: &[Vec<u8>]) -> Vec<Told> {
    let from = cluster.clients[0].told.len();
    for bytes in requests {
        cluster.offer(0, bytes);
        cluster.run(100 * MILLISECOND);
    }
    cluster.run(SECOND);
    cluster.clients[0].told[from..].to_vec()
}

fn is_answer_of(told: &Told, length: usize) -> bool {
    matches!(told, Told::Response { payload, .. } if payload.len() == length)
}

#[test]
fn the_largest_message_takes_every_way() {
    for responses in [ResponsesMode::Replicated, ResponsesMode::Direct] {
        let largest = 64 * 1024 / 8 - 48;
        let mut cluster = started(|scenario| {
            let scenario = scenario.responses(responses);
            scenario.cluster(|cluster| cluster.message_max = largest)
        });
        let told = outcomes(&mut cluster, &[request(largest, 1, largest)]);
        assert!(
            told.len() == 1 && is_answer_of(&told[0], largest),
            "{responses:?}"
        );
    }
}

#[test]
fn responses_of_several_hundred_kilobytes_reach_their_client() {
    let mut cluster = started(|scenario| {
        let scenario = scenario.node(|node| node.disk_budget_bytes = 64 << 20);
        scenario.cluster(|cluster| {
            cluster.term_length = 4 << 20;
            cluster.segment_length = 4 << 20;
            cluster.message_max = 400 * 1024;
            cluster.effect_bytes_per_cause = 800 * 1024;
            cluster.outbox_bytes = 8 << 20;
        })
    });
    for length in [128 * 1024, 200 * 1024, 400 * 1024] {
        let told = outcomes(&mut cluster, &[request(length, 1, 400 * 1024)]);
        assert!(
            told.len() == 1 && is_answer_of(&told[0], length),
            "{length}"
        );
    }
}

#[test]
fn a_request_longer_than_the_cluster_takes_is_refused_with_that_reason_however_long() {
    for length in [4097, 4096 + 1000, 4096 + 1024, 4096 + 1025, 8192, 100_000] {
        let mut cluster = started(|scenario| scenario);
        let told = outcomes(&mut cluster, &[request(16, 1, length)]);
        let refused = Told::Refused(RequestNumber::FIRST, RefusalReason::TooLong);
        assert_eq!(told, [refused], "{length} bytes");
        assert_eq!(cluster.noted(0, NodeNotice::RequestTooLong), 1);
        // The number was not consumed: the next request takes it.
        let told = outcomes(&mut cluster, &[request(16, 1, 100)]);
        assert!(told.len() == 1 && is_answer_of(&told[0], 16));
    }
}

#[test]
fn a_request_longer_than_the_clients_stream_takes_is_refused_before_it_is_sent() {
    let mut cluster = started(|scenario| scenario);
    let now = cluster.now;
    let client = &mut cluster.clients[0].client;
    let longest = client.config().request_length_max();
    assert_eq!(
        client.offer(now, &vec![0; longest + 1]),
        OfferResult::TooLong
    );
}

#[test]
fn a_response_that_fails_is_an_event_at_the_client() {
    for responses in [ResponsesMode::Replicated, ResponsesMode::Direct] {
        let mut cluster = started(|scenario| scenario.responses(responses));
        let cases = [
            (request(4097, 1, 10), ResponseFailure::TooLong, 0),
            (request(4000, 8, 10), ResponseFailure::TooManyBytes, 4),
            (request(16, 9, 10), ResponseFailure::TooManyEffects, 8),
        ];
        for (bytes, reason, answers) in cases {
            let told = outcomes(&mut cluster, &[bytes]);
            let (last, before) = told.split_last().expect("an outcome");
            assert!(
                matches!(last, Told::Failed(_, found) if *found == reason),
                "{last:?} {responses:?}"
            );
            assert_eq!(before.len(), answers);
        }
        let told = outcomes(&mut cluster, &[request(16, 1, 10)]);
        assert!(told.len() == 1 && is_answer_of(&told[0], 16));
    }
}

#[test]
fn a_direct_response_for_which_its_stream_has_no_room_is_lost_and_counted() {
    let mut cluster = started(|scenario| scenario.responses(ResponsesMode::Direct));
    // The client is heard and hears nothing: what it is owed stays in its stream.
    cluster.deafen_client(0, 0);
    for _ in 0..200 {
        cluster.offer(0, &request(4000, 3, 10));
        cluster.run(MILLISECOND);
    }
    cluster.run(SECOND);
    cluster.expect_answers(0, &[]);
    let lost = cluster.node(0).agents().clients.egress.responses.dropped();
    assert!((1..600).contains(&lost), "{lost} of 600 are lost");
    assert_eq!(cluster.noted(0, NodeNotice::DirectResponseLost), lost);
}

#[test]
fn a_service_that_answers_otherwise_when_a_response_fails_has_answered() {
    let mut cluster = started(|scenario| scenario);
    let mut bytes = request(4097, 1, 10);
    bytes[9] = 1;
    let told = outcomes(&mut cluster, &[bytes]);
    assert!(told.len() == 1 && is_answer_of(&told[0], 5), "{told:?}");
}

#[test]
fn an_outbox_full_of_failures_never_overflows() {
    let mut cluster = started(|scenario| {
        scenario.cluster(|cluster| {
            cluster.effect_bytes_per_cause = 4096;
            // Room for what four of them may say, and not for the word that each of them failed.
            cluster.outbox_bytes = 4 * 4096 + 60;
        })
    });
    // Each fills its share of the outbox and fails beyond it.
    let now = cluster.now;
    for _ in 0..200 {
        cluster.clients[0].client.offer(now, &request(2048, 3, 10));
    }
    cluster.run(3 * SECOND);
    let failed = |told: &&Told| matches!(told, Told::Failed(..));
    assert_eq!(cluster.clients[0].told.iter().filter(failed).count(), 200);
    assert_eq!(cluster.answers(0).len(), 400);
    cluster.everybody().expect_up();
}
