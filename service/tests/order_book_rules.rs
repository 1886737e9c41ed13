//! What an exchange would decide where one session could harm the others, or a request races a
//! fill: the sample order book with the limits that a node runs it with.

use lockstep_service::container::Container;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{
    Action, OrderRequest, RejectReason, Report, Side,
};
use lockstep_transport::ids::SessionId;

/// The default limits of a cluster.
const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 64,
    effect_bytes_per_cause: 64 * 1024,
    capacity_bytes: 16 << 20,
    enabled: true,
    service: 0,
};
const MESSAGE_MAX: usize = 32 * 1024;

/// 100.0000 and 1.000: worth 100.
const PRICE: i64 = 1_000_000;
const LOT: u64 = 1_000;

type Reports = Vec<(i64, Report)>;

fn request(action: Action, order_id: u64, side: Side, price: i64, quantity: u64) -> OrderRequest {
    OrderRequest {
        action,
        side: Some(side),
        symbol: 0,
        order_id,
        price,
        quantity,
    }
}

fn apply(book: &mut OrderBook, session: i64, request: OrderRequest) -> Reports {
    let mut reports = Vec::new();
    book.apply(SessionId::new(session), &request, &mut |owner, report| {
        reports.push((owner.get(), *report))
    });
    reports
}

fn add(book: &mut OrderBook, session: i64, id: u64, side: Side, price: i64, lots: u64) -> Reports {
    let request = request(Action::Add, id, side, price, lots * LOT);
    apply(book, session, request)
}

fn is_rejected(reports: &Reports) -> bool {
    matches!(reports[..], [(_, Report::Reject { .. })])
}

/// What the reports say was traded by `taker`.
fn traded(reports: &Reports, taker: i64) -> u64 {
    let quantity = |(session, report): &(i64, Report)| match report {
        Report::Fill { quantity, .. } if *session == taker => *quantity,
        _ => 0,
    };
    reports.iter().map(quantity).sum()
}

#[test]
fn worthless_prices_fill_the_book_for_nobody() {
    let mut book = OrderBook::default();
    let mut id = 0;
    // Two sessions and as many worthless prices as a side ever had room for, and more.
    for session in [1, 2] {
        for price in 0..2_500 {
            id += 1;
            let price = 1 + price * 2 + session % 2;
            apply(
                &mut book,
                session,
                request(Action::Add, id, Side::Buy, price, 1 << 40),
            );
        }
    }
    for order in 0..100 {
        let price = PRICE - order;
        let reports = add(&mut book, 3, 10_000 + order as u64, Side::Buy, price, 1);
        assert!(!is_rejected(&reports), "order {order}: {reports:?}");
    }
    assert_eq!(book.best(0, Side::Buy), Some((PRICE, LOT)));
    let reports = add(&mut book, 4, 20_000, Side::Sell, PRICE, 1);
    assert_eq!(traded(&reports, 4), LOT);
}

#[test]
fn a_worthless_or_mistaken_price_is_refused_once_the_symbol_has_traded() {
    let mut book = OrderBook::default();
    add(&mut book, 1, 1, Side::Sell, PRICE, 1);
    add(&mut book, 2, 1, Side::Buy, PRICE, 1);
    for side in [Side::Buy, Side::Sell] {
        for price in [1, 10_000, PRICE / 5 - 1, PRICE * 5 + 1, 1 << 40] {
            let far = request(Action::Add, 2, side, price, 1 << 30);
            let reports = apply(&mut book, 3, far);
            let Report::Reject { reason, .. } = reports[0].1 else {
                panic!("{price}: {reports:?}");
            };
            assert_eq!(reason, RejectReason::OutsideBand);
        }
    }
    assert_eq!(book.open_orders(), 0);
    for (id, price) in [(2, PRICE / 5), (3, PRICE * 5)] {
        let side = if price < PRICE { Side::Buy } else { Side::Sell };
        assert!(!is_rejected(&add(&mut book, 3, id, side, price, 1)));
    }
}

#[test]
fn a_first_trade_at_any_price_shuts_nobody_out() {
    for silly in [1, 1 << 40] {
        let mut book = OrderBook::default();
        for (session, side) in [(1, Side::Sell), (2, Side::Buy)] {
            apply(
                &mut book,
                session,
                request(Action::Add, 1, side, silly, 1 << 30),
            );
        }
        assert_eq!(book.reference(0), Some(silly));
        // Whoever stands at a better price leads the band back to where the symbol is worth it.
        let (side, mut id) = if silly < PRICE {
            (Side::Buy, 1)
        } else {
            (Side::Sell, 1)
        };
        while book.best(0, side).is_none_or(|(price, _)| price != PRICE) {
            let at = book.reference(0).expect("it has traded");
            let price = match side {
                Side::Buy => (at * 5).min(PRICE),
                Side::Sell => (at + 4).div_euclid(5).max(PRICE),
            };
            let step = request(Action::Add, id, side, price, 1 << 30);
            assert!(!is_rejected(&apply(&mut book, 3, step)), "{at} to {price}");
            id += 1;
        }
        assert!(id <= 10, "{id} orders");
        let reports = add(&mut book, 4, 1, side.opposite(), PRICE, 1);
        assert_eq!(traded(&reports, 4), LOT);
    }
}

#[test]
fn dust_does_not_stop_a_large_taker() {
    let mut book = OrderBook::default();
    for id in 1..=200 {
        // The smallest order that is taken at this price, 0.010 x 100, from a few sessions.
        let dust = request(Action::Add, id, Side::Sell, PRICE, 10);
        assert!(!is_rejected(&apply(&mut book, id as i64 % 5, dust)));
    }
    assert!(!is_rejected(&add(&mut book, 6, 201, Side::Sell, PRICE, 50)));
    let reports = add(&mut book, 7, 300, Side::Buy, PRICE, 52);
    assert_eq!(traded(&reports, 7), 52 * LOT, "{:?}", &reports[..1]);
    assert_eq!(book.open_orders(), 0);
}

#[test]
fn a_taker_that_meets_more_orders_than_one_request_may_is_told_the_rest_and_goes_on() {
    let mut book = OrderBook::default();
    for id in 1..=600 {
        add(&mut book, id as i64 % 5, id, Side::Sell, PRICE, 1);
    }
    let (mut left, mut requests) = (600, 0);
    while left > 0 {
        let reports = add(&mut book, 7, 1_000, Side::Buy, PRICE, left);
        let done = traded(&reports, 7) / LOT;
        assert!(done > 0, "request {requests} of {left} traded nothing");
        assert_eq!(book.best(0, Side::Buy), None, "a crossed book");
        left -= done;
        requests += 1;
    }
    assert_eq!(requests, 3);
}

#[test]
fn orders_worth_less_than_the_minimum_are_rejected() {
    let mut book = OrderBook::default();
    let dust = request(Action::Add, 1, Side::Sell, PRICE, 9);
    assert!(is_rejected(&apply(&mut book, 1, dust)));
    let enough = request(Action::Add, 1, Side::Sell, PRICE, 10);
    assert!(!is_rejected(&apply(&mut book, 1, enough)));
}

fn header(kind: EntryKind, session: i64) -> EntryHeader {
    EntryHeader {
        kind,
        service: 0,
        flags: 0,
        ordinal: 0,
        log_time: 0,
        session: SessionId::new(session),
        number: 0,
        refers_to: 0,
        leader_commit: 0,
    }
}

/// A container that is told entries one after the other.
struct Node {
    container: Container<OrderBook>,
    position: i64,
}

impl Node {
    fn new() -> Self {
        Self {
            container: Container::new(OrderBook::default(), 0, LIMITS, MESSAGE_MAX),
            position: 0,
        }
    }

    fn request(&mut self, session: i64, request: &OrderRequest) {
        let header = header(EntryKind::Request, session);
        let (position, bytes) = (self.position, request.encode());
        self.position += 128;
        let applied = self
            .container
            .apply_request(&header, position, self.position, &bytes);
        applied.expect("the entry is in order");
    }

    fn close(&mut self, session: i64) {
        let header = header(EntryKind::SessionClose, session);
        let position = self.position;
        self.position += 128;
        let applied = self
            .container
            .apply_session_close(&header, position, self.position);
        applied.expect("the entry is in order");
    }

    fn book(&self) -> &OrderBook {
        self.container.service()
    }
}

#[test]
fn orders_of_an_expired_session_leave_the_book_with_it() {
    let mut node = Node::new();
    for id in 1..=2_000 {
        let side = if id % 2 == 0 { Side::Buy } else { Side::Sell };
        let price = if id % 2 == 0 { PRICE } else { 2 * PRICE } + id as i64 % 1_000;
        node.request(1, &request(Action::Add, id, side, price, LOT));
    }
    node.request(2, &request(Action::Add, 5_000, Side::Buy, PRICE, LOT));
    let effects = node.container.outputs().outbox().len();
    node.close(1);
    assert_eq!(node.book().queue(0, Side::Buy).count(), 1);
    assert_eq!(node.book().best(0, Side::Buy), Some((PRICE, LOT)));
    assert_eq!(node.book().best(0, Side::Sell), None);
    assert_eq!(node.book().open_orders(), 1);
    assert_eq!(
        node.container.outputs().outbox().len(),
        effects,
        "nobody to tell"
    );
    // Its ids and its room are free again.
    node.request(3, &request(Action::Add, 7, Side::Sell, 2 * PRICE, LOT));
    assert_eq!(node.book().open_orders(), 2);
    node.close(1);
    assert_eq!(node.book().open_orders(), 2);
}

#[test]
fn a_replace_that_races_a_fill_trades_no_more_than_its_total() {
    // The client has 10 open, and before it learns that 4 of them traded asks for a total.
    for (total, price, open) in [
        (8, PRICE, 4),
        (10, PRICE + 1, 6),
        (20, PRICE, 16),
        (5, PRICE + 1, 1),
        (4, PRICE, 0),
        (2, PRICE, 0),
        (2, PRICE + 1, 0),
    ] {
        let mut book = OrderBook::default();
        add(&mut book, 1, 1, Side::Sell, PRICE, 10);
        add(&mut book, 2, 2, Side::Buy, PRICE, 4);
        let replace = request(Action::Replace, 1, Side::Sell, price, total * LOT);
        let reports = apply(&mut book, 1, replace);
        assert!(
            matches!(reports[..], [(1, Report::Ack { remaining, .. })] if remaining == open * LOT),
            "total {total}: {reports:?}"
        );
        // A buyer of everything gets what is left of the total, and no more.
        let reports = add(&mut book, 2, 3, Side::Buy, 2 * PRICE, 100);
        assert_eq!(traded(&reports, 2), open * LOT, "total {total}");
    }
}

#[test]
fn a_replace_of_what_was_filled_whole_is_too_late() {
    let mut book = OrderBook::default();
    add(&mut book, 1, 1, Side::Sell, PRICE, 10);
    add(&mut book, 2, 2, Side::Buy, PRICE, 10);
    let replace = request(Action::Replace, 1, Side::Sell, PRICE, 15 * LOT);
    assert!(is_rejected(&apply(&mut book, 1, replace)));
    assert_eq!(book.open_orders(), 0);
}

#[test]
fn the_messages_of_the_largest_trade_fit_what_one_entry_may_cause() {
    let mut node = Node::new();
    // More orders of more sessions than one request may trade with, interleaved.
    for id in 1..=600 {
        let add = request(Action::Add, id, Side::Sell, PRICE, LOT);
        node.request(1 + id as i64 % 47, &add);
    }
    for id in 601..=700 {
        let add = request(Action::Add, id, Side::Sell, PRICE, LOT);
        node.request(id as i64, &add);
    }
    for number in 0..8 {
        let before = node.container.outputs().outbox().len();
        let id = 1_000 + number;
        node.request(999, &request(Action::Add, id, Side::Buy, PRICE, 700 * LOT));
        let effects = node.container.outputs().outbox().len() - before;
        assert!((1..=64).contains(&effects), "{effects} effects");
    }
    let totals = node.book().totals();
    assert_eq!(totals.fills, 700);
    let text = format!("{totals:?}");
    assert!(text.contains("lost: 0"), "{text}");
}
