//! Many clients of one cluster. A node gets so many duty cycles per step and no more, so that work
//! that others cause it costs its clients time, as on a real host.
#![allow(dead_code, reason = "each test file uses a part of it")]

use core::ops::Range;

use lockstep_client::config::ResumePoint;
use lockstep_client::event::OfferResult;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::{ConnectRequest, EGRESS_STREAM_ID, PROTOCOL_VERSION};
use lockstep_client::session::SessionState;
use lockstep_consensus::settings::config::ClusterConfig;
use lockstep_consensus::sim::scenario::boot::{SimNode, address};
use lockstep_consensus::sim::scenario::{Client, Pace, Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::ids::SessionId;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

pub type Cluster = SimCluster<Echo>;

/// Host of all clients: as on loopback, they share one.
pub const CLIENT_HOST: u8 = 100;

/// Members that are down, for so many sessions.
pub fn down(members: u8, sessions_max: usize, session_timeout_ns: Nanos) -> Cluster {
    Scenario::echo()
        .members(members)
        .cluster(|cluster| {
            *cluster = ClusterConfig {
                name: "crowd".to_owned(),
                members: std::mem::take(&mut cluster.members),
                term_length: 1 << 20,
                segment_length: 4 << 20,
                log_mtu: 1408,
                message_max: 4096,
                sessions_max,
                session_timeout_ns,
                ..ClusterConfig::default()
            };
        })
        .node(|node| node.disk_budget_bytes = 256 << 20)
        .receive_window(128 * 1024)
        .pace(Pace {
            step_ns: 100 * MICROSECOND,
            cycles: 4,
        })
        .all_down()
}

/// The same, up and led by the first.
pub fn led(members: u8, sessions_max: usize, session_timeout_ns: Nanos) -> Cluster {
    let mut cluster = down(members, sessions_max, session_timeout_ns);
    cluster.start_led_by(0);
    cluster
}

/// One more client, which continues a session if one is given.
pub fn join(cluster: &mut Cluster, resume: Option<ResumePoint>) -> usize {
    join_with(cluster, resume, 200 * MILLISECOND)
}

/// The same, with this time between its keepalives.
pub fn join_with(
    cluster: &mut Cluster,
    resume: Option<ResumePoint>,
    keepalive_interval_ns: Nanos,
) -> usize {
    let port = cluster.clients.len() as u16 + 1;
    let identity = ClientIdentity::of_seed(u64::from(port) << 20);
    cluster.join_as(address(CLIENT_HOST, port), identity, |config| {
        config.resume = resume;
        config.term_length = 64 * 1024;
        config.keepalive_interval_ns = keepalive_interval_ns;
    })
}

/// So many clients with sessions: which.
#[track_caller]
pub fn connect(cluster: &mut Cluster, count: usize) -> Range<usize> {
    let first = cluster.clients.len();
    for _ in 0..count {
        join(cluster, None);
    }
    let all = first..first + count;
    for _ in 0..20 * SECOND / MILLISECOND {
        if are_connected(cluster, all.clone()) {
            return all;
        }
        cluster.run(MILLISECOND);
    }
    panic!("of {count}: {}", describe(cluster, all))
}

pub fn are_connected(cluster: &Cluster, clients: Range<usize>) -> bool {
    let mut clients = cluster.clients[clients].iter();
    clients.all(|client| client.client.is_connected())
}

/// What a client of this cluster says first, as if nobody had said anything before.
pub fn connect_message(cluster_id: u64, nonce: u64) -> Vec<u8> {
    let connect = ConnectRequest {
        correlation_id: nonce as i64,
        cluster_id,
        nonce,
        resume_session: SessionId::UNKNOWN,
        resume_token: 0,
        last_received: 0,
        last_received_ordinal: 0,
        response_stream_id: EGRESS_STREAM_ID,
        version: PROTOCOL_VERSION,
        session_timeout_ms: 0,
        connect_epoch: 1,
        incarnation: nonce,
        principal: b"",
    };
    let mut bytes = [0; 512];
    let length = connect.encode(&mut bytes).expect("it fits");
    bytes[..length].to_vec()
}

/// Processes die: what they had written down.
pub fn kill(cluster: &mut Cluster, clients: Range<usize>) -> Vec<Option<ResumePoint>> {
    clients.map(|client| cluster.kill_client(client)).collect()
}

/// Makes one request, if it is taken.
pub fn ask(cluster: &mut Cluster, client: usize) -> bool {
    let offered = cluster.clients[client].client.offer(cluster.now, &[7; 64]);
    matches!(offered, OfferResult::Accepted(_))
}

/// These make a request each, and each of them is answered once.
#[track_caller]
pub fn ask_all(cluster: &mut Cluster, clients: Range<usize>) {
    let answered = |cluster: &Cluster| -> Vec<usize> {
        let clients = cluster.clients[clients.clone()].iter();
        clients.map(Client::answered).collect()
    };
    let goal: Vec<usize> = answered(cluster).iter().map(|count| count + 1).collect();
    for client in clients.clone() {
        assert!(
            ask(cluster, client),
            "{}",
            describe(cluster, clients.clone())
        );
    }
    cluster.run_until(10 * SECOND, |cluster| answered(cluster) == goal);
}

/// The node that leads.
#[track_caller]
pub fn leader(cluster: &Cluster) -> &SimNode<Echo> {
    cluster.node(cluster.expect_some_leader())
}

#[track_caller]
pub fn sessions(cluster: &Cluster) -> usize {
    leader(cluster)
        .agents()
        .consensus
        .applier
        .sessions()
        .sessions()
        .len()
}

/// How many clients are in which state, for messages.
pub fn describe(cluster: &Cluster, clients: Range<usize>) -> String {
    let (mut connected, mut closed, mut waiting) = (0, 0, 0);
    for client in &cluster.clients[clients] {
        match client.client.state() {
            SessionState::Connected { .. } => connected += 1,
            SessionState::Closed(_) => closed += 1,
            _ => waiting += 1,
        }
    }
    format!("{connected} connected, {closed} closed, {waiting} waiting")
}
