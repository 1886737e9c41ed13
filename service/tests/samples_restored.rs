//! Each sample service gives its state away and takes it back: what was restored answers as what
//! ran on, and gives away the same bytes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::outbox::{Outbox, OutboxLimits};
use lockstep_service::samples::big_state::{BigState, PAGE_LENGTH};
use lockstep_service::samples::counter::Counter;
use lockstep_service::samples::echo::Echo;
use lockstep_service::samples::order_book::codec::{Action, OrderRequest, Side};
use lockstep_service::samples::order_book::csv::parse_line;
use lockstep_service::samples::order_book::{BookLimits, OrderBook};
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress, SnapshotReader,
    SnapshotWriter,
};
use lockstep_transport::ids::SessionId;
use proptest::collection::vec;
use proptest::prelude::*;

/// A service, and what it said.
struct Running<S> {
    service: S,
    outbox: Outbox,
    position: i64,
}

impl<S: ClusteredService> Running<S> {
    fn new(service: S) -> Self {
        let outbox = Outbox::new(OutboxLimits {
            effects_per_cause: 128,
            effect_bytes_per_cause: 128 * 1024,
            capacity_bytes: 256 * 1024,
            enabled: false,
            service: 0,
        });
        Self {
            service,
            outbox,
            position: 0,
        }
    }

    /// Executes a message, or closes the session where that is empty, and returns what was said.
    fn execute(&mut self, session: i64, message: &[u8]) -> Vec<(SessionId, Vec<u8>)> {
        self.position += 32;
        self.outbox.begin(self.position);
        let mut cluster = Cluster::new(0, self.position, &mut self.outbox);
        let session = ClientSession {
            id: SessionId::new(session),
        };
        match message {
            b"close" => self.service.on_session_close(&mut cluster, session),
            _ => self
                .service
                .on_session_message(&mut cluster, session, message),
        }
        let effects = self.outbox.direct();
        effects
            .map(|effect| (effect.session, effect.message.to_vec()))
            .collect()
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let mut writer = SnapshotWriter::new();
        for step in 0.. {
            let before = writer.length();
            let mut snapshot = ServiceSnapshot::new(&mut writer);
            let progress = self.service.snapshot_step(step, &mut snapshot).unwrap();
            // And what the chunk before held, which is whole now.
            assert!(
                writer.length() - before < 64 * 1024 + 34 * 1024,
                "step {step}"
            );
            if progress == SnapshotProgress::Done {
                break;
            }
        }
        writer.finish().unwrap();
        writer.pending().to_vec()
    }

    fn load(&mut self, mut stream: &[u8]) -> Result<(), SnapshotError> {
        let mut reader = SnapshotReader::open(&mut stream)?;
        let mut sections = ServiceSnapshotReader::new(&mut reader);
        self.service.load_snapshot(&mut sections)?;
        reader.finish().map(|_| ())
    }
}

/// Runs `messages`, and from each `stride`-th on a service that was restored there as well.
fn check<S: ClusteredService>(
    service: impl Fn() -> S,
    messages: &[(i64, Vec<u8>)],
    stride: usize,
) -> Vec<u8> {
    let mut running = Running::new(service());
    let mut restored: Option<Running<S>> = None;
    for (index, (session, message)) in messages.iter().enumerate() {
        if index % stride == 0 {
            let stream = running.snapshot();
            // One that was given up after a step leaves nothing.
            let mut writer = SnapshotWriter::new();
            let mut snapshot = ServiceSnapshot::new(&mut writer);
            let _ = running.service.snapshot_step(0, &mut snapshot).unwrap();
            if let Some(restored) = &mut restored {
                assert_eq!(restored.snapshot(), stream, "after {index} messages");
            }
            let mut next = Running::new(service());
            next.load(&stream).unwrap();
            assert_eq!(next.service.state_hash(), running.service.state_hash());
            restored = Some(next);
        }
        let restored = restored.as_mut().unwrap();
        assert_eq!(
            restored.execute(*session, message),
            running.execute(*session, message),
            "message {index}"
        );
    }
    let restored = restored.unwrap();
    assert_eq!(restored.service.describe(), running.service.describe());
    assert_eq!(restored.service.state_hash(), running.service.state_hash());
    running.snapshot()
}

#[test]
fn echo_and_counter_are_restored() {
    let messages: Vec<_> = (0..300)
        .map(|at: usize| (1, vec![at as u8; at % 20]))
        .collect();
    check(Echo::new, &messages, 7);
    check(Counter::new, &messages, 7);
}

#[test]
fn a_big_state_is_restored_page_by_page_and_only_to_its_own_size() {
    let length = 300 * PAGE_LENGTH + 1;
    let message = |at: u64| match at % 40 {
        0 => b"no page".to_vec(),
        _ => (at * at * 7).to_le_bytes().to_vec(),
    };
    let messages: Vec<_> = (0..2_000).map(|at| (1, message(at))).collect();
    let stream = check(|| BigState::new(length), &messages, 499);
    assert!(stream.len() > length);
    let mut other = Running::new(BigState::new(length - 2));
    let error = other.load(&stream).unwrap_err();
    assert!(
        error.to_string().contains("301 pages instead of 300"),
        "{error}"
    );
    // What a page says depends on what it was asked before.
    let mut small = Running::new(BigState::new(1));
    let said = |small: &mut Running<BigState>| small.execute(1, &9_u64.to_le_bytes());
    let first = said(&mut small);
    assert_ne!(said(&mut small), first);
    // What follows the number comes back behind it.
    let answers = small.execute(1, b"01234567and more");
    assert!(answers[0].1.ends_with(b"and more"), "{answers:?}");
}

/// The orders of the example, of several sessions, some of which close.
fn orders() -> Vec<(i64, Vec<u8>)> {
    let text = include_str!("../examples/data/orders.csv");
    let lines = (1..).zip(text.lines()).take(20_000);
    let requests = lines.filter_map(|(number, line)| {
        let line = parse_line(number, line).unwrap()?;
        let session = number as i64 % 7 + 1;
        Some(match number % 3_001 {
            3_000 => (session, b"close".to_vec()),
            _ => (session, line.request.encode().to_vec()),
        })
    });
    requests.collect()
}

#[test]
fn an_order_book_is_restored_with_every_order_in_its_place() {
    let stream = check(OrderBook::default, &orders(), 2_500);
    assert!(
        stream.len() > 128 * 1024,
        "{} bytes are few steps",
        stream.len()
    );
    let fewer = BookLimits {
        symbols_max: 3,
        ..BookLimits::default()
    };
    let error = Running::new(OrderBook::new(fewer))
        .load(&stream)
        .unwrap_err();
    assert!(
        error.to_string().contains("16 symbols instead of 3"),
        "{error}"
    );
}

/// Limits of a book that is soon full.
const LIMITS: BookLimits = BookLimits {
    symbols_max: 2,
    side_orders_max: 4,
    session_orders_max: 3,
    sessions_max: 3,
    notional_min: 0,
    band_percent: 500,
    fills_max: 4,
    counterparties_max: 4,
};

/// Session, id, price, quantity, filled; symbol and side.
type Order = ([i64; 5], u32, u8);

/// A snapshot of a book with these orders and last prices.
fn book(prices: &[i64], orders: &[Order]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    let mut snapshot = ServiceSnapshot::new(&mut writer);
    let mut write = |name: &str, content: &[u8]| {
        snapshot.begin_section(name).unwrap();
        snapshot.write(content).unwrap();
        snapshot.end_section().unwrap();
    };
    write("totals", &[0; 80]);
    let words = |words: &[i64]| {
        words
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect::<Vec<_>>()
    };
    write("prices", &words(&[&[prices.len() as i64], prices].concat()));
    let order = |(numbers, symbol, side): &Order| {
        let mut bytes = words(numbers);
        bytes.extend_from_slice(&symbol.to_le_bytes());
        bytes.push(*side);
        bytes
    };
    write("orders", &orders.iter().flat_map(order).collect::<Vec<_>>());
    writer.finish().unwrap();
    writer.pending().to_vec()
}

#[test]
fn a_book_that_no_requests_lead_to_is_refused() {
    let load = |prices: &[i64], orders: &[Order]| {
        let mut running = Running::new(OrderBook::new(LIMITS));
        let loaded = running.load(&book(prices, orders));
        loaded.map_err(|error| error.to_string())
    };
    let bid = |id: i64, price: i64| ([id % 3 + 1, id, price, 1, 0], 0, 1);
    let ask = |id: i64, price: i64| ([id % 3 + 1, id, price, 1, 0], 0, 2);
    let fine = [
        bid(1, 4),
        bid(2, 5),
        bid(3, 5),
        ask(4, 9),
        ask(5, 9),
        ask(6, 8),
    ];
    assert_eq!(load(&[7, 0], &fine), Ok(()));
    let cases: [(&[i64], &[Order], &str); 16] = [
        (&[0], &[], "1 symbols instead of 2"),
        (&[-1, 0], &[], "a last price of -1"),
        (&[0, 1 << 41], &[], "a last price of 2199023255552"),
        (&[0, 0], &[bid(1, 5), bid(2, 4)], "order 2 of session 3"),
        (&[0, 0], &[ask(1, 5), ask(2, 6)], "order 2 of session 3"),
        (&[0, 0], &[ask(1, 5), bid(2, 4)], "order 2 of session 3"),
        (&[0, 0], &[bid(1, 5), ask(2, 5)], "order 2 of session 3"),
        (&[0, 0], &[bid(1, 5), bid(1, 6)], "order 1 of session 2"),
        (&[0, 0], &[bid(1, 0)], "order 1 of session 2"),
        (&[0, 0], &[bid(1, (1 << 40) + 1)], "order 1 of session 2"),
        (&[0, 0], &[([1, 1, 5, 0, 0], 0, 1)], "order 1 of session 1"),
        (
            &[0, 0],
            &[([1, 1, 5, 1, 1 << 40], 0, 1)],
            "order 1 of session 1",
        ),
        (&[0, 0], &[([1, 1, 5, 1, 0], 2, 1)], "order 1 of session 1"),
        (
            &[0, 0],
            &[([1, 1, 5, 1, 0], u32::MAX, 2)],
            "order 1 of session 1",
        ),
        (&[0, 0], &[([1, 1, 5, 1, 0], 0, 3)], "neither side"),
        (
            &[0, 0],
            &[bid(0, 1), bid(3, 2), bid(6, 3), bid(9, 4)],
            "order 9 of session 1",
        ),
    ];
    for (prices, orders, expected) in cases {
        let error = load(prices, orders).expect_err(expected);
        assert!(error.contains(expected), "{error}, not {expected}");
    }
    let crowd = [bid(0, 1), bid(1, 2), bid(2, 3), bid(3, 4), bid(4, 5)];
    assert!(load(&[0, 0], &crowd).is_err(), "a side has four");
    let strangers = [1, 2, 3, 4].map(|session| ([session, 1, session, 1, 0], 0, 1));
    assert!(load(&[0, 0], &strangers).is_err(), "there are three owners");
}

proptest! {
    #[test]
    fn hostile_orders_are_refused_or_a_book_and_never_panic(
        orders in vec(
            ([0..5_i64, 0..5_i64, 0..9_i64, 0..3_i64, 0..3_i64], 0..3_u32, 0..4_u8), 0..5,
        ),
        messages in vec((0..5_i64, 0..4_u32, 0..5_u64, 1..9_i64, 1..4_u64), 0..30),
    ) {
        let mut orders = orders;
        orders.sort_by_key(|order| (order.1, order.2, order.0[2]));
        let mut running = Running::new(OrderBook::new(LIMITS));
        if running.load(&book(&[0, 3], &orders)).is_err() {
            return Ok(());
        }
        for (session, kind, order_id, price, quantity) in messages {
            let (action, side) = match kind {
                0 => (Action::Cancel, None),
                1 => (Action::Replace, Some(Side::Buy)),
                2 => (Action::Add, Some(Side::Buy)),
                _ => (Action::Add, Some(Side::Sell)),
            };
            let request = OrderRequest {
                action,
                side,
                symbol: order_id as u32 % 2,
                order_id,
                price: if kind > 0 { price } else { 0 },
                quantity: if kind > 0 { quantity } else { 0 },
            };
            running.execute(session, &request.encode());
        }
        running.execute(1, b"close");
        let stream = running.snapshot();
        prop_assert_eq!(Running::new(OrderBook::new(LIMITS)).load(&stream), Ok(()));
    }
}
