//! A cluster of one with a service of its own: it counts words, is asked for a snapshot, ends, is
//! started again, and goes on from there. Fails where anything is otherwise.

mod tally;

use std::error::Error;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::node::control::{ControlRequest, ask};
use lockstep_consensus::node::counters::{Counter, Counters};
use lockstep_consensus::node::launch::launch;
use lockstep_consensus::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};
use lockstep_transport::agent::{IdleStrategy, run};
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now, randomness};

use tally::Tally;

/// Different words that are said, more than one step of a snapshot takes.
const WORDS: u64 = 2_500;

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The node on a thread of its own: what it launches there belongs to that thread.
struct Member {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
    start_line: String,
}

impl Member {
    fn start(cluster: &ClusterConfig, config: &NodeConfig) -> Outcome<Self> {
        let (cluster, config) = (cluster.clone(), config.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (said, heard) = channel();
        let thread = spawn(move || {
            let service = Box::new(Tally::default());
            let mut node = launch(&cluster, &config, service).map_err(|error| error.to_string())?;
            let _ = said.send(node.start_line().to_owned());
            run(&mut node, IdleStrategy::Yield, &stopped, monotonic_now);
            if let Some(fault) = node.fault() {
                return Err(fault.to_string());
            }
            node.close().map_err(|error| error.to_string())
        });
        match first(&heard) {
            Some(start_line) => Ok(Self {
                stop,
                thread,
                start_line,
            }),
            // It has ended, and says why.
            None => Err(ended(thread)
                .err()
                .unwrap_or_else(|| "no start line".into())),
        }
    }

    fn end(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        ended(self.thread)
    }
}

fn first(heard: &Receiver<String>) -> Option<String> {
    heard.recv().ok()
}

fn ended(thread: JoinHandle<Result<(), String>>) -> Outcome<()> {
    Ok(thread.join().map_err(|_| "the node panicked")??)
}

/// Says `words`, one after the other, in a session of its own. Returns what the last was answered.
fn say(cluster: &ClusterConfig, words: impl Iterator<Item = String>) -> Outcome<u64> {
    let config = ClientConfig {
        members: cluster
            .members
            .iter()
            .map(|member| member.ingress)
            .collect(),
        cluster_id: cluster_id(&cluster.name),
        ..ClientConfig::default()
    };
    let address = "127.0.0.1:0".parse()?;
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall)?;
    let identity = ClientIdentity::draw(&mut randomness()?);
    let mut client = ClusterClient::new(config, port, identity)?;
    let until = Instant::now() + PATIENCE;
    let (mut words, mut answered, mut asked) = (words.peekable(), 0, 0);
    let (mut last, mut trouble) = (0, None);
    while words.peek().is_some() || answered < asked {
        let now = monotonic_now();
        client.do_work(now);
        client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response { payload, .. } => {
                answered += 1;
                last = payload.try_into().map_or(0, u64::from_le_bytes);
            }
            EgressEvent::Connected { .. } | EgressEvent::NewLeader { .. } => {}
            other => trouble = Some(format!("{other:?}")),
        });
        if let Some(trouble) = trouble {
            return Err(trouble.into());
        }
        if Instant::now() > until {
            return Err(format!("{answered} of {asked} words were answered in time").into());
        }
        let offer = words.peek().map(|word| client.offer(now, word.as_bytes()));
        match offer {
            Some(OfferResult::Accepted(_)) => {
                asked += 1;
                words.next();
            }
            None | Some(OfferResult::BackPressured | OfferResult::NotConnected) => {}
            Some(refused) => return Err(format!("a word was not taken: {refused:?}").into()),
        }
    }
    client.close(monotonic_now());
    while !client.is_done() && Instant::now() < until {
        client.do_work(monotonic_now());
        client.poll_egress(monotonic_now(), 64, &mut |_| {});
    }
    Ok(last)
}

/// Asks the node for a snapshot, as `lockstep snapshot` does, and waits until it is stored. Returns
/// where it was taken.
fn take_snapshot(directory: &Path) -> Outcome<i64> {
    println!("{}", ask(directory, ControlRequest::Snapshot)??);
    let counters = Counters::open(directory)?.ok_or("the node has no counters")?;
    let until = Instant::now() + PATIENCE;
    while counters.get(Counter::Snapshots) == 0 {
        if Instant::now() > until {
            return Err("no snapshot was stored in time".into());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(counters.get(Counter::SnapshotPosition))
}

/// Addresses that nobody has at the moment.
fn free_addresses() -> Outcome<MemberEndpoints> {
    let sockets = [
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    ];
    Ok(MemberEndpoints {
        ingress: sockets[0].local_addr()?,
        member: sockets[1].local_addr()?,
    })
}

fn word(number: u64) -> String {
    format!("word {number}")
}

/// Says `words`, of which the last is then to have been heard so often, and prints that it was.
fn expect_count(
    cluster: &ClusterConfig,
    words: impl Iterator<Item = u64> + Clone,
    expected: u64,
) -> Outcome<()> {
    let Some(last) = words.clone().last() else {
        return Ok(());
    };
    let count = say(cluster, words.map(word))?;
    if count != expected {
        let last = word(last);
        return Err(format!("\"{last}\" was heard {count} times, not {expected}").into());
    }
    println!("\"{}\" was heard {count} times", word(last));
    Ok(())
}

fn show(directory: &Path) -> Outcome<()> {
    let cluster = ClusterConfig {
        name: "tally".to_owned(),
        members: vec![free_addresses()?],
        ..ClusterConfig::default()
    };
    let config = NodeConfig {
        directory: directory.to_owned(),
        ..NodeConfig::default()
    };
    let node = Member::start(&cluster, &config)?;
    println!("{}", node.start_line);
    expect_count(&cluster, (0..WORDS).chain(0..WORDS), 2)?;
    let position = take_snapshot(&config.directory)?;
    // What follows is in the log alone.
    expect_count(&cluster, 0..10, 3)?;
    node.end()?;

    let node = Member::start(&cluster, &config)?;
    println!("{}", node.start_line);
    let begun = format!("begun from the snapshot at {position}");
    if !node.start_line.contains(&begun) {
        return Err(format!("it should have {begun}").into());
    }
    // The newest word that only the snapshot has, and the last that only the log has.
    expect_count(&cluster, WORDS - 1..WORDS, 3)?;
    expect_count(&cluster, 9..10, 4)?;
    node.end()?;
    println!("{begun}: {WORDS} words are counted on from there");
    Ok(())
}

fn main() -> Outcome<()> {
    let argument = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = argument.unwrap_or_else(|| std::env::temp_dir().join("tally"));
    if directory.exists() {
        let path = directory.display();
        return Err(format!("{path} is there already: name another directory").into());
    }
    let shown = show(&directory);
    let removed = std::fs::remove_dir_all(&directory);
    // What came to grief first is told first: there may be no directory yet.
    shown?;
    Ok(removed?)
}
