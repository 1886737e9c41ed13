//! The sample orders file: what the generator writes, whole, and rich in everything.

use std::collections::BTreeMap;

use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{AckKind, RejectReason, Report};
use lockstep_service::samples::order_book::csv::parse_line;
use lockstep_transport::ids::SessionId;

#[path = "../examples/generate_orders.rs"]
#[expect(dead_code, reason = "main belongs to the example")]
mod generate_orders;

const ORDERS: &str = include_str!("../examples/data/orders.csv");

#[test]
fn the_file_is_what_the_generator_writes() {
    let generated = generate_orders::orders_csv();
    let difference = generated
        .lines()
        .zip(ORDERS.lines())
        .position(|(a, b)| a != b);
    assert_eq!(difference, None, "first line that differs, from 0");
    assert_eq!(generated.len(), ORDERS.len());
}

#[test]
fn the_file_fills_the_book_with_every_kind_of_outcome() {
    let mut book = OrderBook::default();
    let (mut requests, mut fills, mut ended) = (0_u64, 0_u64, 0_u64);
    let mut acks = [0_u64; 3];
    let mut rejects = BTreeMap::new();
    for (number, line) in (1..).zip(ORDERS.lines()) {
        let Some(line) = parse_line(number, line).unwrap() else {
            continue;
        };
        requests += 1;
        assert_eq!(line.sequence, requests);
        book.apply(
            SessionId::new(1),
            &line.request,
            &mut |_, report| match report {
                Report::Ack {
                    kind: AckKind::Accepted,
                    ..
                } => acks[0] += 1,
                Report::Ack {
                    kind: AckKind::Cancelled,
                    ..
                } => acks[1] += 1,
                Report::Ack {
                    kind: AckKind::Replaced,
                    remaining,
                    ..
                } => {
                    acks[2] += 1;
                    ended += u64::from(*remaining == 0);
                }
                Report::Cancelled { .. } => panic!("one session meets no limit: {report:?}"),
                Report::Reject { reason, .. } => *rejects.entry(*reason).or_insert(0) += 1,
                Report::Fill { .. } => fills += 1,
            },
        );
    }
    assert!(requests >= 100_000 && ORDERS.len() < 5_000_000);
    assert!(acks.iter().all(|count| *count > 10_000), "{acks:?}");
    assert!(fills > 10_000, "{fills} fills");
    assert!(ended > 10, "{ended} replaces ended their order");
    let expected = [
        RejectReason::DuplicateOrder,
        RejectReason::UnknownOrder,
        RejectReason::ZeroQuantity,
        RejectReason::QuantityTooLarge,
        RejectReason::BadPrice,
        RejectReason::SideMismatch,
        RejectReason::SymbolMismatch,
        RejectReason::UnknownSymbol,
        RejectReason::BelowMinimum,
        RejectReason::OutsideBand,
    ];
    for reason in expected {
        assert!(
            rejects.get(&reason).is_some_and(|count| *count > 10),
            "{reason:?} {rejects:?}"
        );
    }
    assert!(
        (500..2_000).contains(&book.open_orders()),
        "{} open",
        book.open_orders()
    );
    assert_eq!(book.totals().acks + book.totals().rejects, requests);
}
