//! The specification, slow and obvious.

use super::*;

/// An order of the model; the vector's order is the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ModelOrder {
    pub(super) id: u64,
    pub(super) owner: i64,
    pub(super) symbol: u32,
    pub(super) side: Side,
    pub(super) price: i64,
    pub(super) quantity: u64,
    pub(super) filled: u64,
}

/// The specification, slow and obvious: orders in the order of arrival, searched linearly.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) orders: Vec<ModelOrder>,
    /// Price of the last trade of each symbol.
    last: [Option<i64>; LIMITS.symbols_max as usize],
}

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

    /// Trades `order` with whom it meets, as far as one request may; what it met goes to `fills`.
    /// Whether it was cut short.
    fn trade(&mut self, order: &mut ModelOrder, fills: &mut Reports) -> bool {
        let (mut makers, mut others) = (0, std::collections::BTreeSet::new());
        while order.quantity > 0 {
            let Some(at) = self.best_maker(order) else {
                break;
            };
            let maker = &mut self.orders[at];
            if maker.owner != order.owner {
                others.insert(maker.owner);
            }
            makers += 1;
            if makers > LIMITS.fills_max || others.len() > LIMITS.counterparties_max as usize {
                return true;
            }
            let quantity = maker.quantity.min(order.quantity);
            maker.quantity -= quantity;
            maker.filled += quantity;
            order.quantity -= quantity;
            order.filled += quantity;
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
            self.last[order.symbol as usize] = Some(maker.price);
            fills.push((order.owner, fill));
            if maker.owner != order.owner {
                fills.push((maker.owner, fill));
            }
            if maker.quantity == 0 {
                self.orders.remove(at);
            }
        }
        false
    }

    /// What must be cancelled to let `order` rest, or why it may not.
    fn room(&self, order: &ModelOrder) -> Result<Option<ModelOrder>, RejectReason> {
        let owners: std::collections::BTreeSet<i64> = self.orders.iter().map(|o| o.owner).collect();
        if !owners.contains(&order.owner) && owners.len() == LIMITS.sessions_max as usize {
            return Err(RejectReason::BookFull);
        }
        let own = self.orders.iter().filter(|o| o.owner == order.owner);
        if own.count() == LIMITS.session_orders_max as usize {
            return Err(RejectReason::TooManyOrders);
        }
        let queue = self.side(order.symbol, order.side);
        if queue.len() < LIMITS.side_orders_max as usize {
            return Ok(None);
        }
        let last = queue[queue.len() - 1];
        let is_better = match order.side {
            Side::Buy => order.price > last.price,
            Side::Sell => order.price < last.price,
        };
        is_better
            .then_some(Some(last))
            .ok_or(RejectReason::BookFull)
    }

    /// Whether `order` is as near to where its symbol trades as it must be.
    fn is_within_band(&self, order: &ModelOrder) -> bool {
        let Some(last) = self.last[order.symbol as usize] else {
            return true;
        };
        let best = |side| self.side(order.symbol, side).first().map(|o| o.price);
        let bid = best(Side::Buy).unwrap_or(last).max(last);
        let reference = best(Side::Sell).unwrap_or(bid).min(bid);
        let percent = i64::from(LIMITS.band_percent);
        let is_near =
            order.price * 100 <= reference * percent && reference * 100 <= order.price * percent;
        is_near || order.price.abs_diff(reference) == 1
    }

    /// Trades and rests `order`, or says why not; leaves nothing changed then.
    fn place(
        &mut self,
        mut order: ModelOrder,
        kind: AckKind,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let (mut after, mut fills) = (self.clone(), Vec::new());
        let is_cut = after.trade(&mut order, &mut fills);
        let rests = order.quantity > 0 && !is_cut;
        let evicted = if rests { self.room(&order)? } else { None };
        let ack = Report::Ack {
            kind,
            symbol: order.symbol,
            order_id: order.id,
            remaining: if rests { order.quantity } else { 0 },
            filled: order.filled,
        };
        reports.push((order.owner, ack));
        reports.extend(fills);
        if is_cut {
            reports.push(cancelled(CancelReason::MatchLimit, &order));
        }
        if let Some(last) = evicted {
            let is_last = |o: &ModelOrder| (o.owner, o.id) == (last.owner, last.id);
            let at = after.orders.iter().position(is_last).unwrap();
            reports.push(cancelled(CancelReason::BetterPrice, &after.orders[at]));
            after.orders.remove(at);
        }
        if rests {
            after.orders.push(order);
        }
        *self = after;
        Ok(())
    }

    fn try_apply(
        &mut self,
        session: i64,
        request: &OrderRequest,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let is_meant = |order: &ModelOrder| (order.owner, order.id) == (session, request.order_id);
        let open = self.orders.iter().position(is_meant);
        check(request)?;
        let order = ModelOrder {
            id: request.order_id,
            owner: session,
            symbol: request.symbol,
            side: request.side.unwrap_or(Side::Buy),
            price: request.price,
            quantity: request.quantity,
            filled: 0,
        };
        if request.action == Action::Add {
            if is_dust(request) {
                return Err(RejectReason::BelowMinimum);
            }
            if open.is_some() {
                return Err(RejectReason::DuplicateOrder);
            }
            if !self.is_within_band(&order) {
                return Err(RejectReason::OutsideBand);
            }
            return self.place(order, AckKind::Accepted, reports);
        }
        let at = open.ok_or(RejectReason::UnknownOrder)?;
        let own = self.orders[at];
        if own.symbol != request.symbol {
            return Err(RejectReason::SymbolMismatch);
        }
        if request.action == Action::Cancel {
            self.orders.remove(at);
            let ack = Report::Ack {
                kind: AckKind::Cancelled,
                symbol: own.symbol,
                order_id: own.id,
                remaining: own.quantity,
                filled: own.filled,
            };
            reports.push((session, ack));
            return Ok(());
        }
        self.replace(at, request, order, reports)
    }

    /// Replaces the order at `at` by `order`, which states the total.
    fn replace(
        &mut self,
        at: usize,
        request: &OrderRequest,
        order: ModelOrder,
        reports: &mut Reports,
    ) -> Result<(), RejectReason> {
        let own = self.orders[at];
        let replaced = |remaining| {
            let ack = Report::Ack {
                kind: AckKind::Replaced,
                symbol: own.symbol,
                order_id: own.id,
                remaining,
                filled: own.filled,
            };
            (own.owner, ack)
        };
        if own.side != order.side {
            return Err(RejectReason::SideMismatch);
        }
        if request.quantity <= own.filled {
            self.orders.remove(at);
            reports.push(replaced(0));
            return Ok(());
        } else if is_dust(request) {
            return Err(RejectReason::BelowMinimum);
        } else if own.price != order.price && !self.is_within_band(&order) {
            return Err(RejectReason::OutsideBand);
        }
        let order = ModelOrder {
            quantity: request.quantity - own.filled,
            filled: own.filled,
            ..order
        };
        if own.price == order.price && order.quantity <= own.quantity {
            self.orders[at].quantity = order.quantity;
            reports.push(replaced(order.quantity));
            return Ok(());
        }
        let mut without = self.clone();
        without.orders.remove(at);
        without.place(order, AckKind::Replaced, reports)?;
        *self = without;
        Ok(())
    }

    pub(super) fn apply(&mut self, session: i64, request: &OrderRequest) -> Reports {
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

    pub(super) fn queue(&self, symbol: u32, side: Side) -> Vec<(u64, i64, u64)> {
        let orders = self.side(symbol, side);
        orders.iter().map(|o| (o.id, o.price, o.quantity)).collect()
    }

    /// The orders of one side in the order they would trade.
    fn side(&self, symbol: u32, side: Side) -> Vec<ModelOrder> {
        let mine = |o: &&ModelOrder| o.symbol == symbol && o.side == side;
        let mut orders: Vec<_> = self.orders.iter().filter(mine).copied().collect();
        orders.sort_by_key(|order| match side {
            Side::Buy => -order.price,
            Side::Sell => order.price,
        });
        orders
    }
}

/// What is wrong with a request whatever the book holds.
fn check(request: &OrderRequest) -> Result<(), RejectReason> {
    if request.action == Action::Cancel {
        Ok(())
    } else if request.symbol >= LIMITS.symbols_max {
        Err(RejectReason::UnknownSymbol)
    } else if request.quantity == 0 {
        Err(RejectReason::ZeroQuantity)
    } else if request.quantity > QUANTITY_MAX {
        Err(RejectReason::QuantityTooLarge)
    } else if !(1..=PRICE_MAX).contains(&request.price) {
        Err(RejectReason::BadPrice)
    } else {
        Ok(())
    }
}

fn is_dust(request: &OrderRequest) -> bool {
    let notional = i128::from(request.price) * i128::from(request.quantity);
    notional < i128::from(LIMITS.notional_min)
}

pub(super) fn cancelled(reason: CancelReason, order: &ModelOrder) -> (i64, Report) {
    let report = Report::Cancelled {
        reason,
        symbol: order.symbol,
        order_id: order.id,
        quantity: order.quantity,
        filled: order.filled,
    };
    (order.owner, report)
}
