//! A full side, a session with many orders, and takers of many makers.

use super::*;

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
    let more = request(Action::Add, 6, Side::Buy, 99, 10);
    let refused = only_reject(&apply(&mut book, 1, &more));
    assert_eq!(refused, Some(RejectReason::TooManyOrders));
    assert_eq!(only_reject(&apply(&mut book, 2, &more)), None);
    // It may still trade, replace and cancel, and then add again.
    apply(&mut book, 1, &request(Action::Add, 7, Side::Sell, 99, 10));
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
