//! The book against a naive model on random flows, and its rules one by one.

use proptest::prelude::*;

use super::*;

const LIMITS: BookLimits = BookLimits {
    symbols_max: 2,
    orders_max: 12,
    levels_max: 5,
    fills_max: 4,
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

    fn levels(&self, order: &ModelOrder) -> std::collections::BTreeSet<i64> {
        let same = |o: &&ModelOrder| o.symbol == order.symbol && o.side == order.side;
        self.orders.iter().filter(same).map(|o| o.price).collect()
    }

    /// Trades and rests `order`, or says why not; leaves nothing changed then.
    fn place(
        &mut self,
        mut order: ModelOrder,
        kind: AckKind,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let mut after = self.clone();
        let mut fills = Vec::new();
        while order.quantity > 0 {
            let Some(at) = after.best_maker(&order) else {
                break;
            };
            let maker = &mut after.orders[at];
            let quantity = maker.quantity.min(order.quantity);
            maker.quantity -= quantity;
            order.quantity -= quantity;
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
                after.orders.remove(at);
            }
        }
        let makers = fills
            .iter()
            .filter(|(owner, _)| *owner == order.owner)
            .count();
        if makers > LIMITS.fills_max as usize {
            return Err(RejectReason::TooManyFills);
        }
        if order.quantity > 0 {
            let mut levels = self.levels(&order);
            levels.insert(order.price);
            let full = self.orders.len() == LIMITS.orders_max as usize;
            if full || levels.len() > LIMITS.levels_max as usize {
                return Err(RejectReason::BookFull);
            }
            after.orders.push(order);
        }
        *self = after;
        let ack = Report::Ack {
            kind,
            symbol: order.symbol,
            order_id: order.id,
            remaining: order.quantity,
        };
        reports.push((order.owner, ack));
        reports.extend(fills);
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
        if request.action != Action::Cancel {
            if request.symbol >= LIMITS.symbols_max {
                return Err(RejectReason::UnknownSymbol);
            } else if request.quantity == 0 {
                return Err(RejectReason::ZeroQuantity);
            } else if request.quantity > QUANTITY_MAX {
                return Err(RejectReason::QuantityTooLarge);
            } else if !(1..=PRICE_MAX).contains(&request.price) {
                return Err(RejectReason::BadPrice);
            }
        }
        let order = ModelOrder {
            id: request.order_id,
            owner: session,
            symbol: request.symbol,
            side: request.side.unwrap_or(Side::Buy),
            price: request.price,
            quantity: request.quantity,
        };
        if request.action == Action::Add {
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
        let ack = |kind, remaining| Report::Ack {
            kind,
            symbol: own.symbol,
            order_id: own.id,
            remaining,
        };
        if request.action == Action::Cancel {
            self.orders.remove(at);
            reports.push((session, ack(AckKind::Cancelled, own.quantity)));
            return Ok(());
        }
        if own.side != order.side {
            return Err(RejectReason::SideMismatch);
        }
        if own.price == order.price && order.quantity <= own.quantity {
            self.orders[at].quantity = order.quantity;
            reports.push((session, ack(AckKind::Replaced, order.quantity)));
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
        0_u64..24,
        price,
        quantity,
        1_i64..3,
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

/// What a request's reports say it did to the resting quantity.
fn reported_change(book: &OrderBook, before: u128, reports: &Reports) -> bool {
    let mut after = before as i128;
    let mut seen = Vec::new();
    for (_, report) in reports {
        match report {
            Report::Fill { quantity, .. } if !seen.contains(report) => {
                after -= i128::from(*quantity);
                seen.push(*report);
            }
            Report::Ack {
                kind: AckKind::Accepted,
                remaining,
                ..
            } => {
                after += i128::from(*remaining);
            }
            Report::Ack {
                kind: AckKind::Cancelled,
                remaining,
                ..
            } => {
                after -= i128::from(*remaining);
            }
            _ => {}
        }
    }
    after == resting(book) as i128
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn random_flows_match_the_model_report_by_report(
        flow in proptest::collection::vec(any_request(), 1..250)
    ) {
        let mut book = OrderBook::new(LIMITS);
        let mut model = Model::default();
        for (session, request) in &flow {
            let before = resting(&book);
            let replaced = request.action == Action::Replace;
            let reports = apply(&mut book, *session, request);
            prop_assert_eq!(&reports, &model.apply(*session, request));
            prop_assert!(replaced || reported_change(&book, before, &reports));
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
        &request(Action::Replace, 3, Side::Buy, 101, 1),
    );
    apply(
        &mut book,
        1,
        &request(Action::Replace, 3, Side::Buy, 100, 1),
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

#[test]
fn an_order_meets_as_many_makers_as_allowed_and_not_one_more() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=5 {
        apply(&mut book, 1, &request(Action::Add, id, Side::Sell, 100, 10));
    }
    let before = book.queue(0, Side::Sell).count();
    let reports = apply(&mut book, 1, &request(Action::Add, 9, Side::Buy, 100, 41));
    let rejected = Report::Reject {
        reason: RejectReason::TooManyFills,
        symbol: 0,
        order_id: 9,
    };
    assert_eq!(reports, [(1, rejected)]);
    assert_eq!(
        book.queue(0, Side::Sell).count(),
        before,
        "nothing was traded"
    );
    let reports = apply(&mut book, 1, &request(Action::Add, 9, Side::Buy, 100, 40));
    assert_eq!((reports.len(), ids(&book, Side::Sell)), (5, vec![5]));
}

#[test]
fn a_full_book_still_trades_cancels_and_replaces() {
    let mut book = OrderBook::new(LIMITS);
    for id in 1..=12 {
        apply(&mut book, 1, &request(Action::Add, id, Side::Sell, 100, 10));
    }
    let full = |reports: Reports| {
        let reason = RejectReason::BookFull;
        matches!(reports[..], [(1, Report::Reject { reason: found, .. })] if found == reason)
    };
    assert!(full(apply(
        &mut book,
        1,
        &request(Action::Add, 13, Side::Sell, 100, 1)
    )));
    let fill = apply(&mut book, 1, &request(Action::Add, 13, Side::Buy, 100, 4));
    assert_eq!(fill.len(), 2);
    let moved = apply(
        &mut book,
        1,
        &request(Action::Replace, 12, Side::Sell, 101, 10),
    );
    assert!(matches!(
        moved[0].1,
        Report::Ack {
            kind: AckKind::Replaced,
            ..
        }
    ));
    apply(&mut book, 1, &request(Action::Cancel, 12, Side::Sell, 0, 0));
    assert!(!full(apply(
        &mut book,
        1,
        &request(Action::Add, 14, Side::Sell, 100, 1)
    )));
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
