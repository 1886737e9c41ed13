//! The book as a service: messages in, messages out, orders cancelled with their session.

use std::fmt::Write as _;

use lockstep_transport::ids::SessionId;

use super::OrderBook;
use super::codec::{OrderRequest, RejectReason, Report, Side, decimal_price, decimal_quantity};
use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};

impl OrderBook {
    /// Carries out `message` of `session` and hands every message that answers it to `send`,
    /// with the session it is for: exactly what the service sends.
    pub fn answer(
        &mut self,
        session: SessionId,
        message: &[u8],
        send: &mut impl FnMut(SessionId, &[u8]),
    ) {
        // Lent to this call; an empty one allocates nothing.
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let mut report = |owner: SessionId, report: &Report| outgoing.push(owner, report);
        match OrderRequest::decode(message) {
            Some(request) => self.apply(session, &request, &mut report),
            None => {
                self.totals.rejects += 1;
                let rejected = Report::Reject {
                    reason: RejectReason::Malformed,
                    symbol: 0,
                    order_id: 0,
                };
                report(session, &rejected);
            }
        }
        outgoing.send(send);
        self.outgoing = outgoing;
    }
}

impl ClusteredService for OrderBook {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let mut lost = 0;
        self.answer(session.id, message, &mut |owner, bytes| {
            let sent = cluster.respond(ClientSession { id: owner }, bytes);
            lost += u64::from(sent.is_err());
        });
        self.totals.messages_lost += lost;
    }

    fn on_session_close(&mut self, _cluster: &mut Cluster<'_>, session: ClientSession) {
        self.close_session(session.id);
    }

    fn state_hash(&self) -> u64 {
        self.hash()
    }

    fn describe(&self) -> String {
        let mut text = format!("order book: {} open orders\n", self.open_orders());
        for symbol in 0..self.limits.symbols_max {
            let best = [Side::Buy, Side::Sell].map(|side| self.best(symbol, side));
            if best == [None, None] {
                continue;
            }
            let [bid, ask] = best.map(|level| {
                level.map_or("-".to_owned(), |(price, quantity)| {
                    format!("{} x {}", decimal_quantity(quantity), decimal_price(price))
                })
            });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "symbol {symbol}: best bid {bid}, best ask {ask}");
        }
        let totals = &self.totals;
        let _ = write!(
            text,
            "{} acknowledged, {} rejected, {} fills of {} in all\n{} cancelled by the book, {} \
             with their session\nhash {:016x}",
            totals.acks,
            totals.rejects,
            totals.fills,
            decimal_quantity(u64::try_from(totals.quantity).unwrap_or(u64::MAX)),
            totals.cancelled,
            totals.orphans,
            self.hash()
        );
        text
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        self.write_step(step, snapshot)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        self.read_all(snapshot)
    }
}
