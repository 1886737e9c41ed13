//! Who is told what, and what a book and its hash say of it.

use super::*;

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
