//! Plays a file of orders through a cluster of three processes and proves the outcome: every
//! report equals that of a single-threaded replay, and all members hold the same book.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lockstep_consensus::settings::threading::Threading;
use lockstep_service::clustered_service::ClusteredService as _;
use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{
    OrderRequest, Report, decimal_price, decimal_quantity,
};
use lockstep_service::samples::order_book::csv::{HEADER, parse_line};
use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::ids::SessionId;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};

use super::agreement;
use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, check_window};
use super::outage::Outage;
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use super::service_choice::ServiceChoice;
use super::workload::Workload;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Fills shown at the beginning and at the end of the list.
const FILLS_SHOWN: usize = 5;

/// A response: number of its request, and its bytes.
type Response = (u64, Vec<u8>);

/// What `lockstep orders` can be told.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// The orders.
    pub file: PathBuf,
    /// Kill the leader once so many requests have been answered, and start it again.
    pub kill_leader_at: Option<u64>,
    /// Requests in flight.
    pub window: usize,
    /// Which threads a node's agents have.
    pub threading: Threading,
    /// Under which directory the run's own is made.
    pub directory: PathBuf,
    /// Whether the run's directory stays.
    pub is_kept: bool,
    /// Cores: one left to the client, then those that members are pinned to.
    pub cores: Vec<usize>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct OrdersReport {
    requests: u64,
    reports: Vec<Report>,
    book: String,
    state_hash: u64,
    elapsed_ns: Nanos,
    failover_ns: Option<Nanos>,
    differences: Vec<String>,
    notes: Vec<String>,
}

impl OrdersReport {
    /// Whether the cluster did exactly what a single thread would have done.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.differences.is_empty()
    }

    fn fills(&self) -> impl DoubleEndedIterator<Item = &Report> {
        let is_fill = |report: &&Report| matches!(report, Report::Fill { .. });
        self.reports.iter().filter(is_fill)
    }

    /// All fills, one per line.
    #[must_use]
    pub fn fills_text(&self) -> String {
        let lines = self.fills().map(fill_line);
        let mut text = "symbol,taker,maker,price,quantity\n".to_owned();
        lines.for_each(|line| text.push_str(&line));
        text
    }
}

fn fill_line(fill: &Report) -> String {
    match fill {
        Report::Fill {
            symbol,
            maker_id,
            taker_id,
            price,
            quantity,
            ..
        } => {
            let (price, quantity) = (decimal_price(*price), decimal_quantity(*quantity));
            format!("{symbol},{taker_id},{maker_id},{price},{quantity}\n")
        }
        _ => String::new(),
    }
}

impl Display for OrdersReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = |wanted: fn(&Report) -> bool| {
            let reports = self.reports.iter();
            reports.filter(|report| wanted(report)).count()
        };
        let acks = count(|report| matches!(report, Report::Ack { .. }));
        let rejects = count(|report| matches!(report, Report::Reject { .. }));
        let fills = self.fills().count();
        let seconds = self.elapsed_ns as f64 / SECOND as f64;
        writeln!(
            f,
            "{} orders in {seconds:.2} s: {acks} acknowledged, {rejects} rejected, {fills} fills",
            self.requests
        )?;
        writeln!(f, "fills (symbol,taker,maker,price,quantity):")?;
        for fill in self.fills().take(FILLS_SHOWN) {
            write!(f, "  {}", fill_line(fill))?;
        }
        if fills > 2 * FILLS_SHOWN {
            writeln!(f, "  ... {} more ...", fills - 2 * FILLS_SHOWN)?;
        }
        let shown = fills.min(FILLS_SHOWN);
        let last = FILLS_SHOWN.min(fills - shown);
        for fill in self.fills().skip(fills - last) {
            write!(f, "  {}", fill_line(fill))?;
        }
        writeln!(f, "{}", self.book.trim_end())?;
        writeln!(f, "state hash of all members: {:016x}", self.state_hash)?;
        if let Some(failover) = self.failover_ns {
            let us = failover / MICROSECOND;
            writeln!(
                f,
                "leader killed; first response of the next one after {us} us"
            )?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERENCE: {difference}")?;
        }
        if self.is_good() {
            writeln!(f, "every report equals that of a single-threaded replay")?;
        }
        Ok(())
    }
}

fn refused(option: &'static str, problem: String) -> BenchError {
    BenchError::Option { option, problem }
}

/// Reads and parses the file, and checks what is to happen on the way against its length.
fn read_orders(config: &OrdersConfig) -> Result<Vec<OrderRequest>, BenchError> {
    let file = config.file.display();
    let text = std::fs::read_to_string(&config.file).map_err(|error| {
        refused(
            "--file",
            format!("cannot read {file}: {error}; check the path"),
        )
    })?;
    let mut orders = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let parsed = parse_line(index as u64 + 1, line).map_err(|error| {
            refused(
                "--file",
                format!("{file}: {error}; correct it, nothing has been sent"),
            )
        })?;
        orders.extend(parsed.map(|line| line.request));
    }
    if orders.is_empty() {
        let problem = format!("{file} holds no orders; a line is {HEADER}");
        return Err(refused("--file", problem));
    }
    let count = orders.len() as u64;
    match config.kill_leader_at {
        Some(at) if at >= count => {
            let problem = format!("{at} is not before the end of {file}: use less than {count}");
            Err(refused("--kill-leader-at", problem))
        }
        _ => Ok(orders),
    }
}

/// Plays the file.
///
/// # Errors
/// When it cannot be played; a wrong outcome is a report with differences.
pub fn run(config: &OrdersConfig) -> Result<OrdersReport, BenchError> {
    check_window(config.window)?;
    let orders = read_orders(config)?;
    let bench = ClusterBench {
        service: ServiceChoice::OrderBook,
        threading: config.threading,
        directory: config.directory.clone(),
        cores: config.cores.clone(),
        is_processes: true,
        trace_every: 0,
        ..ClusterBench::default()
    };
    let (bench, notes) = bench.fitted();
    let directory = RunDirectory::create(&config.directory, config.is_kept)?;
    let cluster = bench.cluster_config()?;
    let mut members = ProcessCluster::start(&bench, &cluster, directory.path())?;
    let messages = orders.iter().map(|order| order.encode().to_vec()).collect();
    let answers = Vec::new();
    let workload = Workload::Prepared { messages, answers };
    let mut client = members.connected_client(&cluster, workload)?;
    let collected = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&collected);
    client.set_sink(Box::new(move |number, bytes| {
        if let Ok(mut collected) = sink.lock() {
            collected.push((number, bytes.to_vec()));
        }
    }));
    let session = client.client().session_id().unwrap_or(SessionId::NONE);
    let started = monotonic_now();
    client.start(LoadConfig {
        shape: LoadShape::Closed {
            window: config.window,
        },
        warmup_ns: 0,
        limit: LoadLimit::Messages(orders.len() as u64),
        messages_cap: orders.len() as u64,
    });
    let failover_ns = play(config, &mut client, &mut members)?;
    let elapsed_ns = monotonic_now() - started;
    settle(&mut client, &collected);
    let state_hash = agreement::state_hash_while(&mut members, |now| client.do_work(now))?;
    let received = collected
        .lock()
        .map(|list| list.clone())
        .unwrap_or_default();
    let mut report = compare(&orders, session, &received, state_hash);
    report.elapsed_ns = elapsed_ns;
    report.notes = notes;
    report.failover_ns = failover_ns;
    report.differences.extend(client.faults());
    if let (Some(at), None) = (config.kill_leader_at, failover_ns) {
        report.differences.push(format!(
            "the leader was to be killed at {at} answers and another one to answer before the \
             end of the file, which was too near: use a smaller number"
        ));
    }
    Ok(report)
}

/// Drives the client to the end of the file, killing the leader on the way if so told.
fn play(
    config: &OrdersConfig,
    client: &mut BenchClient,
    members: &mut ProcessCluster,
) -> Result<Option<Nanos>, BenchError> {
    let mut idle = Idler::new(IdleStrategy::Yield);
    let mut kill_at = config.kill_leader_at;
    let mut outage: Option<Outage> = None;
    let mut failover = None;
    loop {
        let now = monotonic_now();
        let work = client.do_work(now);
        if client.is_done(now) {
            break;
        }
        let answered = client.load().map_or(0, Load::received);
        if kill_at.is_some_and(|at| answered >= at)
            && let Some(leader) = members.leader()
        {
            kill_at = None;
            outage = Some(Outage::begin(members, leader)?);
        }
        if let Some(recovery) = outage.as_mut().and_then(|outage| outage.recovery(client)) {
            failover = Some(recovery);
            if let Some(over) = outage.take() {
                over.end(members)?;
            }
        }
        if work == 0 {
            idle.idle(0);
        }
    }
    if let Some(outage) = outage {
        outage.end(members)?;
    }
    Ok(failover)
}

/// Takes the last request's further reports: a request may have several.
fn settle(client: &mut BenchClient, collected: &Mutex<Vec<Response>>) {
    let count = || collected.lock().map_or(0, |list| list.len());
    let (mut seen, mut since) = (count(), monotonic_now());
    while monotonic_now() - since < SECOND {
        client.do_work(monotonic_now());
        if count() != seen {
            (seen, since) = (count(), monotonic_now());
        }
        std::thread::yield_now();
    }
}

/// Replays the orders on this thread and compares.
fn compare(
    orders: &[OrderRequest],
    session: SessionId,
    received: &[Response],
    state_hash: u64,
) -> OrdersReport {
    let mut book = OrderBook::default();
    let mut expected: Vec<Response> = Vec::new();
    for (number, order) in (1..).zip(orders) {
        book.answer(session, &order.encode(), &mut |_, message: &[u8]| {
            expected.push((number, message.to_vec()))
        });
    }
    let mut differences = Vec::new();
    let is_other = |(want, have): (&Response, &Response)| want != have;
    if let Some(at) = expected.iter().zip(received).position(is_other) {
        let ((number, want), (answered, have)) = (&expected[at], &received[at]);
        differences.push(format!(
            "message {at}: a replay gives {:?} for order {number}, the cluster gave {:?} for \
             order {answered}",
            reports(want),
            reports(have)
        ));
    }
    if expected.len() != received.len() {
        let (want, have) = (expected.len(), received.len());
        differences.push(format!(
            "a replay gives {want} messages, the cluster gave {have}"
        ));
    }
    if book.state_hash() != state_hash {
        let hash = book.state_hash();
        differences.push(format!(
            "a replay ends in state {hash:016x}, the members in {state_hash:016x}"
        ));
    }
    OrdersReport {
        requests: orders.len() as u64,
        // What the cluster said, right or wrong.
        reports: received.iter().flat_map(|(_, m)| reports(m)).collect(),
        book: book.describe(),
        state_hash,
        elapsed_ns: 0,
        failover_ns: None,
        notes: Vec::new(),
        differences,
    }
}

/// The reports that a message holds, up to the first that is none.
fn reports(message: &[u8]) -> Vec<Report> {
    let mut rest = message;
    let next = || {
        let (report, after) = Report::split_first(rest)?;
        rest = after;
        Some(report)
    };
    std::iter::from_fn(next).collect()
}
