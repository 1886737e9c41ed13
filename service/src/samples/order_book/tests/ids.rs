//! Ids are a session's own.

use super::*;

#[test]
fn two_sessions_may_call_their_orders_alike() {
    let mut book = OrderBook::new(LIMITS);
    let add = |side, price| request(Action::Add, 7, side, price, 10);
    for (session, price) in [(1, 99), (2, 98)] {
        let reports = apply(&mut book, session, &add(Side::Buy, price));
        assert_eq!(only_reject(&reports), None, "{session}");
    }
    let twice = only_reject(&apply(&mut book, 1, &add(Side::Buy, 97)));
    assert_eq!(twice, Some(RejectReason::DuplicateOrder));
    // Each changes its own.
    apply(&mut book, 2, &request(Action::Replace, 7, Side::Buy, 98, 4));
    let open = [1, 2].map(|session| book.open_order(SessionId::new(session), 7).unwrap());
    assert_eq!(open.map(|o| (o.price, o.remaining)), [(99, 10), (98, 4)]);
    // And they may trade with each other: who is told knows its own by the side.
    let sold = apply(&mut book, 3, &add(Side::Sell, 99));
    let fills = sold.iter().filter(|(_, report)| {
        matches!(
            report,
            Report::Fill {
                taker_side: Side::Sell,
                maker_id: 7,
                taker_id: 7,
                ..
            }
        )
    });
    assert_eq!(fills.map(|f| f.0).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(book.open_order(SessionId::new(1), 7), None);
    assert!(book.open_order(SessionId::new(2), 7).is_some());
}

#[test]
fn nobody_changes_or_finds_the_order_of_another_session() {
    let mut book = OrderBook::new(LIMITS);
    apply(&mut book, 1, &request(Action::Add, 7, Side::Buy, 100, 10));
    let cancel = OrderRequest {
        side: None,
        ..request(Action::Cancel, 7, Side::Buy, 0, 0)
    };
    let replace = request(Action::Replace, 7, Side::Buy, 100, 5);
    for foreign in [cancel, replace] {
        let refused = only_reject(&apply(&mut book, 2, &foreign));
        assert_eq!(refused, Some(RejectReason::UnknownOrder));
    }
    assert_eq!(
        book.open_order(SessionId::new(1), 7)
            .map(|order| order.remaining),
        Some(10)
    );
}
