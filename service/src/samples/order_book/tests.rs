//! The book against a naive model on random flows, and its rules one by one. What an exchange
//! decides with the limits that a node runs it with is tested in `tests/order_book_rules.rs`.

mod answers;
mod bands;
mod ids;
mod model;
mod random_flows;
mod replace;
mod room;

use self::model::{ModelOrder, cancelled};
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
    band_percent: 110,
    fills_max: 4,
    counterparties_max: 2,
};

type Reports = Vec<(i64, Report)>;

fn apply(book: &mut OrderBook, session: i64, request: &OrderRequest) -> Reports {
    let mut reports = Vec::new();
    book.apply(SessionId::new(session), request, &mut |owner, report| {
        reports.push((owner.get(), *report))
    });
    reports
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

fn only_reject(reports: &Reports) -> Option<RejectReason> {
    match reports[..] {
        [(_, Report::Reject { reason, .. })] => Some(reason),
        _ => None,
    }
}
