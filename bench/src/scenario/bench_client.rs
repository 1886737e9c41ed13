//! The client of a run: it asks as the workload says, over a real socket.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock")]

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::{ClientConfig, ResumePoint};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::settings::config::ClusterConfig;
use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now, randomness};
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{CLIENT_MEMBER, Tracer};

use super::bench_error::BenchError;
use super::load_client::LoadClient;
use super::workload::Workload;

/// Trace ring of the client: a quarter of a million records, two for each traced message, so that
/// it holds more messages than the nodes' rings do.
const CLIENT_TRACE_LENGTH: usize = 10 << 20;

/// The client of a run.
pub type BenchClient = LoadClient<NetworkPort>;

/// A process of a client of `cluster`: it asks the member after `leader` first, and goes on with
/// the session of another process where that has written down how.
fn process(
    cluster: &ClusterConfig,
    leader: usize,
    resume: Option<ResumePoint>,
) -> Result<ClusterClient<NetworkPort>, BenchError> {
    let unusable = |problem: String| BenchError::Cluster { problem };
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall)
        .map_err(|error| unusable(error.to_string()))?;
    let config = ClientConfig {
        members: cluster.members.iter().map(|m| m.ingress).collect(),
        first_member: (leader + 1) % cluster.members.len(),
        cluster_id: cluster_id(&cluster.name),
        resume,
        ..ClientConfig::default()
    };
    let what = "the operating system has no randomness for the client's identity";
    let identity = ClientIdentity::draw(&mut randomness().map_err(BenchError::io(what))?);
    ClusterClient::new(config, port, identity).map_err(|error| unusable(error.to_string()))
}

/// A client of `cluster` with its workload; it asks a follower first, where there is one.
///
/// # Errors
/// When its socket cannot be opened.
pub fn client(
    cluster: &ClusterConfig,
    workload: Workload,
    leader: usize,
    trace_every: u64,
) -> Result<BenchClient, BenchError> {
    let mut client = process(cluster, leader, None)?;
    let longest = client.config().request_length_max();
    if workload.length_max() > longest {
        let problem = format!("a request may have at most {longest} bytes");
        let option = "--message-length";
        return Err(BenchError::Option { option, problem });
    }
    if trace_every > 0 {
        let what = "failed to allocate the client's trace";
        let mut ring = AtomicBuffer::allocate(CLIENT_TRACE_LENGTH).map_err(BenchError::io(what))?;
        // A page that is touched first in the run would be part of a latency.
        ring.pre_touch();
        client.set_tracer(Tracer::new(CLIENT_MEMBER, ring, monotonic_now, trace_every));
    }
    let count_calls = |port: &NetworkPort| port.counters().system_calls();
    let mut client = LoadClient::new(client, workload, monotonic_now, count_calls);
    let printer = NoticePrinter::start().map_err(BenchError::io("a thread to print notices"))?;
    client.print_notices(printer);
    Ok(client)
}

/// Drives `client` until `is_over` says so of it, or `within` has passed. Returns whether it is.
pub(super) fn drive_until(
    client: &mut BenchClient,
    within: Nanos,
    is_over: impl Fn(&BenchClient, Nanos) -> bool,
) -> bool {
    let mut idle = Idler::new(IdleStrategy::Yield);
    let until = monotonic_now() + within;
    loop {
        let now = monotonic_now();
        idle.idle(client.do_work(now));
        if is_over(client, now) {
            return true;
        }
        if now >= until {
            return false;
        }
    }
}

/// Ends the process of `client` as a kill would, socket and all, and has another one go on with
/// its session from what it would have written down: the last answer that it has taken.
///
/// # Errors
/// When it has no session yet, or the other one's socket cannot be opened.
pub(super) fn restart(cluster: &ClusterConfig, client: &mut BenchClient) -> Result<(), BenchError> {
    let Some(point) = client.client().resume_point() else {
        let problem = "the client has no session to go on with".to_owned();
        return Err(BenchError::Cluster { problem });
    };
    let leader = client.client().leader().unwrap_or(0);
    client.continue_with(process(cluster, leader, Some(point))?);
    Ok(())
}
