//! The book against the model, report by report, on random flows.

use proptest::prelude::*;

use super::model::Model;
use super::*;

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
        0_u64..8,
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
                book.close_session(SessionId::new(*session));
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
