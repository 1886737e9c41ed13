//! Prices far from where a symbol trades.

use super::*;

/// A book that traded at `price`, between sessions 1 and 2, and holds nothing.
fn traded_at(price: i64) -> OrderBook {
    let mut book = OrderBook::new(LIMITS);
    let lot = 300;
    apply(
        &mut book,
        1,
        &request(Action::Add, 1, Side::Sell, price, lot),
    );
    apply(
        &mut book,
        2,
        &request(Action::Add, 1, Side::Buy, price, lot),
    );
    assert_eq!((book.totals().fills, book.open_orders()), (1, 0));
    book
}

/// What becomes of an order of session 3.
fn refusal(book: &mut OrderBook, side: Side, price: i64) -> Option<RejectReason> {
    only_reject(&apply(book, 3, &request(Action::Add, 1, side, price, 300)))
}

#[test]
fn a_price_outside_the_band_around_the_last_trade_is_rejected_on_either_side() {
    // 110 per cent of 100, and what 100 is 110 per cent of.
    for (price, is_refused) in [(90, true), (91, false), (110, false), (111, true)] {
        for side in [Side::Buy, Side::Sell] {
            let mut book = traded_at(100);
            let expected = is_refused.then_some(RejectReason::OutsideBand);
            assert_eq!(refusal(&mut book, side, price), expected, "{price}");
            assert_eq!(book.open_orders(), u32::from(!is_refused));
        }
    }
}

#[test]
fn before_a_symbol_has_traded_no_price_is_far() {
    let mut book = OrderBook::new(LIMITS);
    apply(&mut book, 1, &request(Action::Add, 1, Side::Buy, 100, 10));
    assert_eq!(book.reference(0), None);
    assert_eq!(refusal(&mut book, Side::Sell, 100_000), None);
    // Nor because another one has.
    let mut book = traded_at(100);
    let elsewhere = OrderRequest {
        symbol: 1,
        ..request(Action::Add, 1, Side::Sell, 100_000, 10)
    };
    assert_eq!(only_reject(&apply(&mut book, 3, &elsewhere)), None);
}

#[test]
fn a_replace_to_a_price_outside_the_band_is_rejected_and_the_order_stays_as_it_was() {
    let mut book = OrderBook::new(LIMITS);
    apply(&mut book, 3, &request(Action::Add, 1, Side::Buy, 50, 10));
    apply(&mut book, 1, &request(Action::Add, 1, Side::Sell, 100, 3));
    apply(&mut book, 2, &request(Action::Add, 1, Side::Buy, 100, 3));
    let far = request(Action::Replace, 1, Side::Buy, 60, 10);
    let refused = only_reject(&apply(&mut book, 3, &far));
    assert_eq!(refused, Some(RejectReason::OutsideBand));
    assert_eq!(book.queue(0, Side::Buy).collect::<Vec<_>>(), [(1, 50, 10)]);
    // It was there before, so its size may change; and it may come nearer.
    let less = request(Action::Replace, 1, Side::Buy, 50, 9);
    assert_eq!(only_reject(&apply(&mut book, 3, &less)), None);
    let near = request(Action::Replace, 1, Side::Buy, 95, 10);
    assert_eq!(only_reject(&apply(&mut book, 3, &near)), None);
}

#[test]
fn who_names_a_better_price_moves_the_band_and_its_leaving_moves_it_back() {
    let mut book = traded_at(100);
    assert_eq!(refusal(&mut book, Side::Buy, 110), None);
    assert_eq!(book.reference(0), Some(110));
    let next = request(Action::Add, 2, Side::Sell, 121, 300);
    assert_eq!(only_reject(&apply(&mut book, 1, &next)), None);
    let cancel = OrderRequest {
        side: None,
        ..request(Action::Cancel, 1, Side::Buy, 0, 0)
    };
    apply(&mut book, 3, &cancel);
    assert_eq!(book.reference(0), Some(100));
    let next = request(Action::Add, 3, Side::Sell, 121, 300);
    let refused = only_reject(&apply(&mut book, 1, &next));
    assert_eq!(refused, Some(RejectReason::OutsideBand));
}

#[test]
fn from_the_least_price_the_way_leads_up_step_by_step() {
    let mut book = traded_at(1);
    // 110 per cent of 1 is no price above 1.
    assert_eq!(
        refusal(&mut book, Side::Buy, 3),
        Some(RejectReason::OutsideBand)
    );
    assert_eq!(refusal(&mut book, Side::Buy, 2), None);
    assert_eq!(book.reference(0), Some(2));
}
