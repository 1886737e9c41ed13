//! What a replace does to an order's place, and when it is refused.

use super::*;

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
