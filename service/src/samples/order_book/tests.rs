//! The book against a naive model on random flows, and its rules one by one.

use proptest::prelude::*;

use super::codec::CancelReason;
use super::*;
use crate::clustered_service::ClusteredService as _;

/// Small enough that random flows meet every limit.
const LIMITS: BookLimits = BookLimits {
    symbols_max: 2,
    side_orders_max: 6,
    session_orders_max: 5,
    sessions_max: 3,
    notional_min: 300,
    fills_max: 4,
    counterparties_max: 2,
};

/// An order of the model; the vector's order is the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ModelOrder {
    id: u64,
    owner: i64,
    symbol: u32,
    side: Side,
    price: i64,
    quantity: u64,
    filled: u64,
}

/// The specification, slow and obvious: orders in the order of arrival, searched linearly.
#[derive(Clone, Debug, Default)]
struct Model {
    orders: Vec<ModelOrder>,
}

type Reports = Vec<(i64, Report)>;

impl Model {
    /// Index of the maker that trades first with an order on `side` at `price`.
    fn best_maker(&self, order: &ModelOrder) -> Option<usize> {
        let reachable = self.orders.iter().enumerate().filter(|(_, maker)| {
            maker.symbol == order.symbol
                && maker.side != order.side
                && match order.side {
                    Side::Buy => maker.price <= order.price,
                    Side::Sell => maker.price >= order.price,
                }
        });
        let key = |maker: &ModelOrder| match order.side {
            Side::Buy => maker.price,
            Side::Sell => -maker.price,
        };
        reachable
            .min_by_key(|(at, maker)| (key(maker), *at))
            .map(|(at, _)| at)
    }

    /// Trades `order` with whom it meets, as far as one request may; what it met goes to `fills`.
    /// Whether it was cut short.
    fn trade(&mut self, order: &mut ModelOrder, fills: &mut Reports) -> bool {
        let (mut makers, mut others) = (0, std::collections::BTreeSet::new());
        while order.quantity > 0 {
            let Some(at) = self.best_maker(order) else {
                break;
            };
            let maker = &mut self.orders[at];
            if maker.owner != order.owner {
                others.insert(maker.owner);
            }
            makers += 1;
            if makers > LIMITS.fills_max || others.len() > LIMITS.counterparties_max as usize {
                return true;
            }
            let quantity = maker.quantity.min(order.quantity);
            maker.quantity -= quantity;
            maker.filled += quantity;
            order.quantity -= quantity;
            order.filled += quantity;
            let fill = Report::Fill {
                taker_side: order.side,
                symbol: order.symbol,
                maker_id: maker.id,
                taker_id: order.id,
                price: maker.price,
                quantity,
                maker_remaining: maker.quantity,
                taker_remaining: order.quantity,
            };
            fills.push((order.owner, fill));
            if maker.owner != order.owner {
                fills.push((maker.owner, fill));
            }
            if maker.quantity == 0 {
                self.orders.remove(at);
            }
        }
        false
    }

    /// What must be cancelled to let `order` rest, or why it may not.
    fn room(&self, order: &ModelOrder) -> Result<Option<u64>, RejectReason> {
        let owners: std::collections::BTreeSet<i64> = self.orders.iter().map(|o| o.owner).collect();
        if !owners.contains(&order.owner) && owners.len() == LIMITS.sessions_max as usize {
            return Err(RejectReason::BookFull);
        }
        let own = self.orders.iter().filter(|o| o.owner == order.owner);
        if own.count() == LIMITS.session_orders_max as usize {
            return Err(RejectReason::TooManyOrders);
        }
        let queue = self.queue(order.symbol, order.side);
        if queue.len() < LIMITS.side_orders_max as usize {
            return Ok(None);
        }
        let (last, price, _) = queue[queue.len() - 1];
        let is_better = match order.side {
            Side::Buy => order.price > price,
            Side::Sell => order.price < price,
        };
        is_better
            .then_some(Some(last))
            .ok_or(RejectReason::BookFull)
    }

    /// Trades and rests `order`, or says why not; leaves nothing changed then.
    fn place(
        &mut self,
        mut order: ModelOrder,
        kind: AckKind,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let (mut after, mut fills) = (self.clone(), Vec::new());
        let is_cut = after.trade(&mut order, &mut fills);
        let rests = order.quantity > 0 && !is_cut;
        let evicted = if rests { self.room(&order)? } else { None };
        let ack = Report::Ack {
            kind,
            symbol: order.symbol,
            order_id: order.id,
            remaining: if rests { order.quantity } else { 0 },
            filled: order.filled,
        };
        reports.push((order.owner, ack));
        reports.extend(fills);
        if is_cut {
            reports.push(cancelled(CancelReason::MatchLimit, &order));
        }
        if let Some(id) = evicted {
            let at = after.orders.iter().position(|o| o.id == id).unwrap();
            reports.push(cancelled(CancelReason::BetterPrice, &after.orders[at]));
            after.orders.remove(at);
        }
        if rests {
            after.orders.push(order);
        }
        *self = after;
        Ok(())
    }

    fn try_apply(
        &mut self,
        session: i64,
        request: &OrderRequest,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let open = self
            .orders
            .iter()
            .position(|order| order.id == request.order_id);
        check(request)?;
        let order = ModelOrder {
            id: request.order_id,
            owner: session,
            symbol: request.symbol,
            side: request.side.unwrap_or(Side::Buy),
            price: request.price,
            quantity: request.quantity,
            filled: 0,
        };
        if request.action == Action::Add {
            if is_dust(request) {
                return Err(RejectReason::BelowMinimum);
            }
            if open.is_some() {
                return Err(RejectReason::DuplicateOrder);
            }
            return self.place(order, AckKind::Accepted, reports);
        }
        let at = open.ok_or(RejectReason::UnknownOrder)?;
        let own = self.orders[at];
        if own.owner != session {
            return Err(RejectReason::NotOwner);
        } else if own.symbol != request.symbol {
            return Err(RejectReason::SymbolMismatch);
        }
        if request.action == Action::Cancel {
            self.orders.remove(at);
            let ack = Report::Ack {
                kind: AckKind::Cancelled,
                symbol: own.symbol,
                order_id: own.id,
                remaining: own.quantity,
                filled: own.filled,
            };
            reports.push((session, ack));
            return Ok(());
        }
        self.replace(at, request, order, reports)
    }

    /// Replaces the order at `at` by `order`, which states the total.
    fn replace(
        &mut self,
        at: usize,
        request: &OrderRequest,
        order: ModelOrder,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let own = self.orders[at];
        let replaced = |remaining| {
            let ack = Report::Ack {
                kind: AckKind::Replaced,
                symbol: own.symbol,
                order_id: own.id,
                remaining,
                filled: own.filled,
            };
            (own.owner, ack)
        };
        if own.side != order.side {
            return Err(RejectReason::SideMismatch);
        }
        if request.quantity <= own.filled {
            self.orders.remove(at);
            reports.push(replaced(0));
            return Ok(());
        } else if is_dust(request) {
            return Err(RejectReason::BelowMinimum);
        }
        let order = ModelOrder {
            quantity: request.quantity - own.filled,
            filled: own.filled,
            ..order
        };
        if own.price == order.price && order.quantity <= own.quantity {
            self.orders[at].quantity = order.quantity;
            reports.push(replaced(order.quantity));
            return Ok(());
        }
        let mut without = self.clone();
        without.orders.remove(at);
        without.place(order, AckKind::Replaced, reports)?;
        *self = without;
        Ok(())
    }

    fn apply(&mut self, session: i64, request: &OrderRequest) -> Reports {
        let mut reports = Vec::new();
        if let Err(reason) = self.try_apply(session, request, &mut reports) {
            let rejected = Report::Reject {
                reason,
                symbol: request.symbol,
                order_id: request.order_id,
            };
            reports.push((session, rejected));
        }
        reports
    }

    fn queue(&self, symbol: u32, side: Side) -> Vec<(u64, i64, u64)> {
        let mine = |o: &&ModelOrder| o.symbol == symbol && o.side == side;
        let mut orders: Vec<_> = self.orders.iter().filter(mine).collect();
        orders.sort_by_key(|order| match side {
            Side::Buy => -order.price,
            Side::Sell => order.price,
        });
        orders.iter().map(|o| (o.id, o.price, o.quantity)).collect()
    }
}

/// What is wrong with a request whatever the book holds.
fn check(request: &OrderRequest) -> Result<(), RejectReason> {
    if request.action == Action::Cancel {
        Ok(())
    } else if request.symbol >= LIMITS.symbols_max {
        Err(RejectReason::UnknownSymbol)
    } else if request.quantity == 0 {
        Err(RejectReason::ZeroQuantity)
    } else if request.quantity > QUANTITY_MAX {
        Err(RejectReason::QuantityTooLarge)
    } else if !(1..=PRICE_MAX).contains(&request.price) {
        Err(RejectReason::BadPrice)
    } else {
        Ok(())
    }
}

fn is_dust(request: &OrderRequest) -> bool {
    let notional = i128::from(request.price) * i128::from(request.quantity);
    notional < i128::from(LIMITS.notional_min)
}

fn cancelled(reason: CancelReason, order: &ModelOrder) -> (i64, Report) {
    let report = Report::Cancelled {
        reason,
        symbol: order.symbol,
        order_id: order.id,
        quantity: order.quantity,
        filled: order.filled,
    };
    (order.owner, report)
}

fn apply(book: &mut OrderBook, session: i64, request: &OrderRequest) -> Reports {
    let mut reports = Vec::new();
    book.apply(session, request, &mut |owner, report| {
        reports.push((owner, *report))
    });
    reports
}

fn any_request() -> impl Strategy<Value = (i64, OrderRequest)> {
    let action = prop_oneof![
        6 => Just(Action::Add),
        2 => Just(Action::Cancel),
        3 => Just(Action::Replace),
    ];
    let quantity =
        prop_oneof![30 => 1_u64..12, 10 => 12_u64..60, 1 => Just(0), 1 => Just(QUANTITY_MAX + 1)];
    let price = prop_oneof![40 => 94_i64..107, 1 => -1_i64..=0, 1 => Just(PRICE_MAX + 1)];
    let symbol = prop_oneof![30 => Just(0_u32), 10 => Just(1), 1 => Just(2)];
    (
        action,
        any::<bool>(),
        symbol,
        0_u64..32,
        price,
        quantity,
        1_i64..5,
    )
        .prop_map(
            |(action, buy, symbol, order_id, price, quantity, session)| {
                let cancel = action == Action::Cancel;
                let side = if buy { Side::Buy } else { Side::Sell };
                let request = OrderRequest {
                    action,
                    side: (!cancel).then_some(side),
                    symbol,
                    order_id,
                    price: if cancel { 0 } else { price },
                    quantity: if cancel { 0 } else { quantity },
                };
                (session, request)
            },
        )
}

/// Quantity resting on both sides of all symbols.
fn resting(book: &OrderBook) -> u128 {
    let sides = (0..LIMITS.symbols_max).flat_map(|s| [(s, Side::Buy), (s, Side::Sell)]);
    sides
        .flat_map(|(s, side)| book.queue(s, side))
        .map(|o| u128::from(o.2))
        .sum()
}

/// Whether the resting quantity is what the reports make of what it was before.
fn reported_change(book: &OrderBook, before: u128, reports: &Reports) -> bool {
    let mut after = before as i128;
    let mut seen = Vec::new();
    for (_, report) in reports {
        after += match *report {
            Report::Fill { quantity, .. } if !seen.contains(report) => {
                seen.push(*report);
                -i128::from(quantity)
            }
            Report::Ack {
                kind, remaining, ..
            } => match kind {
                AckKind::Accepted => i128::from(remaining),
                AckKind::Cancelled => -i128::from(remaining),
                AckKind::Replaced => 0,
            },
            Report::Cancelled {
                reason: CancelReason::BetterPrice,
                quantity,
                ..
            } => -i128::from(quantity),
            _ => 0,
        };
    }
    after == resting(book) as i128
}

/// A session that closes now and then, between its requests.
fn any_step() -> impl Strategy<Value = (i64, Option<OrderRequest>)> {
    prop_oneof![
        40 => any_request().prop_map(|(session, request)| (session, Some(request))),
        1 => (1_i64..5).prop_map(|session| (session, None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn random_flows_match_the_model_report_by_report(
        flow in proptest::collection::vec(any_step(), 1..250)
    ) {
        let mut book = OrderBook::new(LIMITS);
        let mut model = Model::default();
        for (session, request) in &flow {
            let before = resting(&book);
            if let Some(request) = request {
                let replaced = request.action == Action::Replace;
                let reports = apply(&mut book, *session, request);
                prop_assert_eq!(&reports, &model.apply(*session, request));
                prop_assert!(replaced || reported_change(&book, before, &reports));
                prop_assert!(reports.len() <= LIMITS.reports_max() as usize);
            } else {
                book.close_session(*session);
                model.orders.retain(|order| order.owner != *session);
            }
            prop_assert_eq!(book.open_orders() as usize, model.orders.len());
            for symbol in 0..LIMITS.symbols_max {
                for side in [Side::Buy, Side::Sell] {
                    let queue: Vec<_> = book.queue(symbol, side).collect();
                    prop_assert_eq!(&queue, &model.queue(symbol, side));
                    let best = queue.first().map(|order| order.1);
                    let total = queue.iter().filter(|o| Some(o.1) == best).map(|o| o.2).sum();
                    prop_assert_eq!(book.best(symbol, side), best.map(|price| (price, total)));
                }
                let bid = book.best(symbol, Side::Buy).map_or(0, |level| level.0);
                let ask = book.best(symbol, Side::Sell).map_or(i64::MAX, |level| level.0);
                prop_assert!(bid < ask, "crossed at {bid} and {ask}");
            }
        }
    }

    #[test]
    fn the_same_flow_gives_the_same_hash_and_any_lost_request_another(
        flow in proptest::collection::vec(any_request(), 2..60),
        lost in any::<proptest::sample::Index>(),
    ) {
        let run = |skip: usize| {
            let mut book = OrderBook::new(LIMITS);
            for (at, (session, request)) in flow.iter().enumerate() {
                if at != skip {
                    apply(&mut book, *session, request);
                }
            }
            book.hash()
        };
        prop_assert_eq!(run(flow.len()), run(flow.len()));
        prop_assert_ne!(run(flow.len()), run(lost.index(flow.len())));
    }
}

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

fn ids(book: &OrderBook, side: Side) -> Vec<u64> {
    book.queue(0, side).map(|order| order.0).collect()
}

#[test]
fn replace_keeps_its_place_only_for_less_at_the_same_price() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=3 {
        apply(&mut book, 1, &request(Action::Add, id, Side::Buy, 100, 10));
    }
    apply(
        &mut book,
        1,
        &request(Action::Replace, 1, Side::Buy, 100, 4),
    );
    assert_eq!(ids(&book, Side::Buy), [1, 2, 3]);
    apply(
        &mut book,
        1,
        &request(Action::Replace, 1, Side::Buy, 100, 5),
    );
    assert_eq!(ids(&book, Side::Buy), [2, 3, 1]);
    apply(
        &mut book,
        1,
        &request(Action::Replace, 3, Side::Buy, 101, 4),
    );
    apply(
        &mut book,
        1,
        &request(Action::Replace, 3, Side::Buy, 100, 4),
    );
    assert_eq!(ids(&book, Side::Buy), [2, 1, 3]);
}

#[test]
fn orders_of_different_places_in_the_queue_hash_differently() {
    let hash = |order: [u64; 2]| {
        let mut book = OrderBook::new(LIMITS);
        for id in order {
            apply(&mut book, 1, &request(Action::Add, id, Side::Sell, 100, 10));
        }
        book.hash()
    };
    assert_ne!(hash([1, 2]), hash([2, 1]));
}

fn only_reject(reports: &Reports) -> Option<RejectReason> {
    match reports[..] {
        [(_, Report::Reject { reason, .. })] => Some(reason),
        _ => None,
    }
}

#[test]
fn what_exceeds_the_makers_of_one_request_is_cancelled_and_told() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=5 {
        apply(&mut book, 1, &request(Action::Add, id, Side::Sell, 100, 10));
    }
    let reports = apply(&mut book, 1, &request(Action::Add, 9, Side::Buy, 100, 47));
    assert_eq!(reports.len(), 6);
    let rest = ModelOrder {
        id: 9,
        owner: 1,
        symbol: 0,
        side: Side::Buy,
        price: 100,
        quantity: 7,
        filled: 40,
    };
    assert_eq!(reports[5], cancelled(CancelReason::MatchLimit, &rest));
    assert_eq!(ids(&book, Side::Sell), [5]);
    assert_eq!(ids(&book, Side::Buy), []);
    assert_eq!(book.totals().cancelled, 1);
}

#[test]
fn a_request_trades_with_so_many_other_sessions_and_with_its_own_besides() {
    let mut book = OrderBook::new(BookLimits {
        sessions_max: 8,
        ..LIMITS
    });
    for (id, owner) in [(1, 1), (2, 9), (3, 2), (4, 3)] {
        apply(
            &mut book,
            owner,
            &request(Action::Add, id, Side::Sell, 100, 10),
        );
    }
    apply(&mut book, 9, &request(Action::Add, 9, Side::Buy, 100, 40));
    assert_eq!(ids(&book, Side::Sell), [4]);
}

#[test]
fn a_full_side_gives_way_to_a_better_price_and_to_no_other() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=6 {
        let price = if id <= 2 { 101 } else { 100 };
        let owner = 1 + id as i64 % 2;
        apply(
            &mut book,
            owner,
            &request(Action::Add, id, Side::Sell, price, 10),
        );
    }
    for price in [101, 102] {
        let late = request(Action::Add, 7, Side::Sell, price, 10);
        assert_eq!(
            only_reject(&apply(&mut book, 3, &late)),
            Some(RejectReason::BookFull)
        );
    }
    let reports = apply(&mut book, 3, &request(Action::Add, 7, Side::Sell, 99, 10));
    let last = ModelOrder {
        id: 2,
        owner: 1,
        symbol: 0,
        side: Side::Sell,
        price: 101,
        quantity: 10,
        filled: 0,
    };
    assert_eq!(reports[1..], [cancelled(CancelReason::BetterPrice, &last)]);
    assert_eq!(ids(&book, Side::Sell), [7, 3, 4, 5, 6, 1]);
    // The other side and the other symbol have room of their own, and all of it trades.
    assert_eq!(
        apply(&mut book, 4, &request(Action::Add, 8, Side::Buy, 99, 4)).len(),
        3
    );
    let moved = request(Action::Replace, 1, Side::Sell, 102, 10);
    assert_eq!(only_reject(&apply(&mut book, 2, &moved)), None);
    let elsewhere = OrderRequest {
        symbol: 1,
        ..request(Action::Add, 20, Side::Sell, 200, 10)
    };
    assert_eq!(only_reject(&apply(&mut book, 2, &elsewhere)), None);
}

#[test]
fn one_session_alone_fills_no_side() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=5 {
        apply(&mut book, 1, &request(Action::Add, id, Side::Sell, 100, 10));
    }
    let more = request(Action::Add, 6, Side::Buy, 90, 10);
    let refused = only_reject(&apply(&mut book, 1, &more));
    assert_eq!(refused, Some(RejectReason::TooManyOrders));
    assert_eq!(only_reject(&apply(&mut book, 2, &more)), None);
    // It may still trade, replace and cancel, and then add again.
    apply(&mut book, 1, &request(Action::Add, 7, Side::Sell, 90, 10));
    assert_eq!(book.totals().fills, 1);
    let moved = request(Action::Replace, 5, Side::Sell, 101, 10);
    assert_eq!(only_reject(&apply(&mut book, 1, &moved)), None);
    let cancel = OrderRequest {
        side: None,
        ..request(Action::Cancel, 5, Side::Sell, 0, 0)
    };
    apply(&mut book, 1, &cancel);
    let again = request(Action::Add, 8, Side::Sell, 100, 10);
    assert_eq!(only_reject(&apply(&mut book, 1, &again)), None);
}

#[test]
fn a_replace_below_the_minimum_is_rejected_unless_it_ends_the_order() {
    let mut book = OrderBook::new(LIMITS);
    apply(&mut book, 1, &request(Action::Add, 1, Side::Sell, 100, 10));
    let dust = request(Action::Replace, 1, Side::Sell, 100, 2);
    let refused = only_reject(&apply(&mut book, 1, &dust));
    assert_eq!(refused, Some(RejectReason::BelowMinimum));
    apply(&mut book, 2, &request(Action::Add, 2, Side::Buy, 100, 4));
    let reports = apply(&mut book, 1, &dust);
    let done = Report::Ack {
        kind: AckKind::Replaced,
        symbol: 0,
        order_id: 1,
        remaining: 0,
        filled: 4,
    };
    assert_eq!(reports, [(1, done)]);
    assert_eq!(book.open_orders(), 0);
}

#[test]
fn both_sessions_of_a_trade_are_told() {
    let mut book = OrderBook::new(LIMITS);
    apply(&mut book, 1, &request(Action::Add, 1, Side::Sell, 100, 5));
    let reports = apply(&mut book, 2, &request(Action::Add, 2, Side::Buy, 101, 3));
    let owners: Vec<_> = reports.iter().map(|(owner, _)| *owner).collect();
    assert_eq!(owners, [2, 2, 1]);
    assert_eq!(reports[1].1, reports[2].1);
    assert_eq!(book.totals().notional, 300);
}

#[test]
fn a_default_book_fits_a_default_cluster() {
    let limits = BookLimits::default();
    assert!(limits.messages_max() <= 64, "{}", limits.messages_max());
    assert!(limits.message_bytes_max() <= 64 * 1024);
}

#[test]
fn the_description_shows_levels_orders_totals_and_hash() {
    let mut book = OrderBook::new(LIMITS);
    apply(
        &mut book,
        1,
        &request(Action::Add, 1, Side::Sell, 1_000_000, 5_000),
    );
    apply(
        &mut book,
        1,
        &request(Action::Add, 2, Side::Buy, 995_000, 2_500),
    );
    let text = book.describe();
    assert!(text.contains("2 open orders"), "{text}");
    assert!(
        text.contains("best bid 2.5 x 99.5, best ask 5 x 100"),
        "{text}"
    );
    assert!(
        text.contains("2 acknowledged, 0 rejected, 0 fills"),
        "{text}"
    );
    assert!(
        text.contains(&format!("hash {:016x}", book.hash())),
        "{text}"
    );
}
