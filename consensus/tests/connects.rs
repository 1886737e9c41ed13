//! Clients that come while nobody can serve them are answered, told and counted.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_client::notice::{ClientNotice, Line};
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

fn formed() -> Cluster {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    cluster
}

fn noted(cluster: &Cluster, id: usize, kind: NodeNotice) -> u64 {
    cluster.node(id).parts().notices.count(kind)
}

#[test]
fn members_that_know_no_leader_say_so_and_the_client_asks_on_without_a_storm() {
    let mut cluster = formed();
    for id in 0..3 {
        cluster.isolate(id);
    }
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), None);
    let client = cluster.join(|_| {});
    cluster.run(10 * SECOND);
    for id in 0..3 {
        let answered = noted(&cluster, id, NodeNotice::ConnectWithoutLeader);
        assert!(answered > 0, "member {id} says nothing");
    }
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
    let line = Line(notice.expect("the client says so")).to_string();
    assert!(line.contains("knows no leader (member "), "{line}");
    cluster.network.heal();
    cluster.run(3 * SECOND);
    assert!(cluster.leader().is_some());
    assert!(cluster.clients[0].client.is_connected());
}

#[test]
fn a_client_whose_members_are_all_down_names_those_that_do_not_answer() {
    let mut cluster = formed();
    for id in 0..3 {
        cluster.kill(id);
    }
    let client = cluster.join(|_| {});
    cluster.run(10 * SECOND);
    let client = &mut cluster.clients[client].client;
    assert!(client.counters().attempts_unanswered > 3);
    let notices: Vec<_> = std::iter::from_fn(|| client.take_notice()).collect();
    let lines: Vec<String> = notices.into_iter().map(|n| Line(n).to_string()).collect();
    for id in 0..3 {
        let words = format!("did not answer (member {id} at 10.0.0.{}:1)", id + 1);
        let is_it = |line: &&String| line.contains(&words);
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{lines:?}");
    }
}

/// A cluster whose disks are full, and so is the log of its leader, who is named.
fn full() -> (Cluster, usize) {
    let mut cluster = formed();
    cluster.connect(|_| {});
    let leader = cluster.leader().expect("somebody leads");
    for id in 0..3 {
        cluster.disk(id).set_capacity(0);
    }
    for _ in 0..2_000 {
        let now = cluster.now;
        cluster.clients[0].client.offer(now, &[7; 2_000]);
        cluster.run(MILLISECOND);
        if noted(&cluster, leader, NodeNotice::LogFull) > 0 {
            break;
        }
    }
    assert!(noted(&cluster, leader, NodeNotice::LogFull) > 0);
    (cluster, leader)
}

#[test]
fn a_connect_that_waits_for_room_in_the_log_is_counted_once_per_attempt() {
    let (mut cluster, leader) = full();
    let late = cluster.join(|_| {});
    cluster.run(3 * SECOND);
    let client = &cluster.clients[late].client;
    assert!(!client.is_connected());
    let waited = noted(&cluster, leader, NodeNotice::ConnectAwaitsLog);
    let asked = client.counters().connect_requests;
    assert!((1..=asked).contains(&waited), "{waited} of {asked}");
}

#[test]
fn a_connect_that_waits_for_room_in_the_log_opens_one_channel_when_there_is_room() {
    let (mut cluster, leader) = full();
    let channels = |cluster: &Cluster| cluster.node(leader).parts().channels.count();
    let before = channels(&cluster);
    let late = cluster.join(|_| {});
    // It is looked at in every cycle.
    cluster.run(3 * SECOND);
    assert!(noted(&cluster, leader, NodeNotice::ConnectAwaitsLog) > 0);
    assert_eq!(channels(&cluster), before, "channels of who only waits");
    for id in 0..3 {
        cluster.disk(id).set_capacity(32 << 20);
    }
    cluster.run(3 * SECOND);
    assert!(cluster.clients[late].client.is_connected());
    assert_eq!(cluster.leader(), Some(leader));
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
    let line = Line(notice.expect("it says so")).to_string();
    assert!(
        line.contains("is lost (member 0 at 10.0.0.1:1); raise the client's"),
        "{line}"
    );
}
