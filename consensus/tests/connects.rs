//! Clients that come while nobody can serve them are answered, told and counted.
#![cfg(feature = "sim")]

use lockstep_client::notice::{ClientNotice, NoticeLine};
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

fn formed() -> Cluster {
    Scenario::echo().clients(0).led_by(0)
}

#[test]
fn members_that_know_no_leader_say_so_and_the_client_asks_on_without_a_storm() {
    let mut cluster = formed();
    cluster.everybody().isolate();
    cluster.run(3 * SECOND);
    cluster.expect_no_leader();
    let client = cluster.join(|_| {});
    cluster.run(10 * SECOND);
    cluster
        .everybody()
        .expect_told(NodeNotice::ConnectWithoutLeader);
    let counters = *cluster.clients[client].client.counters();
    assert_eq!(counters.without_leader, counters.connect_requests);
    assert_eq!(counters.attempts_unanswered, 0, "nobody is waited for");
    assert!(
        (5..=40).contains(&counters.connect_requests),
        "{counters:?}"
    );
    assert!(counters.datagrams_received < 400, "{counters:?}");
    let client = &mut cluster.clients[client].client;
    let notices = std::iter::from_fn(|| client.take_notice());
    let notice = notices
        .into_iter()
        .find(|n| n.kind == ClientNotice::NoLeader);
    let line = NoticeLine(notice.expect("the client says so")).to_string();
    assert!(line.contains("knows no leader (member "), "{line}");
    cluster.heal();
    cluster.run(3 * SECOND);
    cluster.expect_some_leader();
    assert!(cluster.clients[0].client.is_connected());
}

#[test]
fn a_client_whose_members_are_all_down_names_those_that_do_not_answer() {
    let mut cluster = formed();
    cluster.everybody().kill();
    let client = cluster.join(|_| {});
    cluster.run(10 * SECOND);
    let client = &mut cluster.clients[client].client;
    assert!(client.counters().attempts_unanswered > 3);
    let notices: Vec<_> = std::iter::from_fn(|| client.take_notice()).collect();
    let lines: Vec<String> = notices
        .into_iter()
        .map(|n| NoticeLine(n).to_string())
        .collect();
    for id in 0..3 {
        let words = format!("did not answer (member {id} at 10.0.0.{}:1)", id + 1);
        let is_it = |line: &&String| line.contains(&words);
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{lines:?}");
    }
}

/// A cluster whose disks are full, and so is the log of its leader.
fn full() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.everybody().fill_disk();
    for _ in 0..2_000 {
        let now = cluster.now;
        cluster.clients[0].client.offer(now, &[7; 2_000]);
        cluster.run(MILLISECOND);
        if cluster.noted(0, NodeNotice::LogFull) > 0 {
            break;
        }
    }
    cluster.member(0).expect_told(NodeNotice::LogFull);
    cluster
}

#[test]
fn a_connect_that_waits_for_room_in_the_log_is_counted_once_per_attempt() {
    let mut cluster = full();
    let late = cluster.join(|_| {});
    cluster.run(3 * SECOND);
    let client = &cluster.clients[late].client;
    assert!(!client.is_connected());
    let waited = cluster.noted(0, NodeNotice::ConnectAwaitsLog);
    let asked = client.counters().connect_requests;
    assert!((1..=asked).contains(&waited), "{waited} of {asked}");
}

#[test]
fn a_connect_that_waits_for_room_in_the_log_opens_one_channel_when_there_is_room() {
    let mut cluster = full();
    let channels = |cluster: &Cluster| cluster.node(0).agents().clients.egress.channels.count();
    let before = channels(&cluster);
    let late = cluster.join(|_| {});
    // It is looked at in every cycle.
    cluster.run(3 * SECOND);
    cluster.member(0).expect_told(NodeNotice::ConnectAwaitsLog);
    assert_eq!(channels(&cluster), before, "channels of who only waits");
    cluster.everybody().free_disk(32 << 20);
    cluster.run(3 * SECOND);
    assert!(cluster.clients[late].client.is_connected());
    cluster.expect_leader(0);
    assert_eq!(channels(&cluster), before + 1);
}

#[test]
fn a_client_says_that_an_answer_was_longer_than_it_takes() {
    let mut cluster = formed();
    let client = cluster.connect(|config| config.response_length_max = 1_000);
    cluster.offer(client, &[7; 2_000]);
    cluster.run(SECOND);
    let client = &mut cluster.clients[client].client;
    assert_eq!(client.counters().messages_too_long, 1);
    let mut notices = std::iter::from_fn(|| client.take_notice());
    let notice = notices.find(|notice| notice.kind == ClientNotice::MessageTooLong);
    let line = NoticeLine(notice.expect("it says so")).to_string();
    assert!(
        line.contains("is lost (member 0 at 10.0.0.1:1); raise the client's"),
        "{line}"
    );
}
