//! How an incoming order meets the other side: planned first, so that what does not fit is
//! known before anything has changed, then carried out exactly as planned.

use lockstep_transport::ids::SessionId;

use super::OrderBook;
use super::codec::{AckKind, CancelReason, Report};
use super::orders::{NO_ORDER, Order};
use super::taker::Taker;

/// What an order will meet on the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    matched: u64,
    makers: u32,
    /// Whether it would meet more, were it not for the limits.
    is_cut: bool,
}

impl Plan {
    /// What will be left to rest in the book.
    pub(super) const fn rests(&self, taker: &Taker) -> u64 {
        if self.is_cut {
            0
        } else {
            taker.quantity - self.matched
        }
    }
}

impl OrderBook {
    /// What `taker` would trade, without trading; walks at most `fills_max` + 1 makers.
    pub(super) fn plan(&mut self, taker: &Taker) -> Plan {
        self.plans += 1;
        let makers = &self.sides[taker.side.opposite().index(taker.symbol)];
        let mut counterparties = 0;
        let mut plan = Plan {
            matched: 0,
            makers: 0,
            is_cut: false,
        };
        let reachable = makers
            .best_first()
            .take_while(|level| taker.side.reaches(taker.price, level.price));
        for level in reachable {
            let mut slot = level.head;
            while slot != NO_ORDER && plan.matched < taker.quantity {
                let maker = self.orders.get(slot);
                let owner = self.owners.get_mut(maker.owner);
                let is_new = owner.session != taker.session && owner.counted_by != self.plans;
                if plan.makers == self.limits.fills_max
                    || (is_new && counterparties == self.limits.counterparties_max)
                {
                    plan.is_cut = true;
                    return plan;
                }
                owner.counted_by = self.plans;
                counterparties += u32::from(is_new);
                plan.matched += maker.quantity.min(taker.quantity - plan.matched);
                plan.makers += 1;
                slot = maker.next;
            }
            if plan.matched == taker.quantity {
                break;
            }
        }
        plan
    }

    /// Acknowledges, trades as planned and rests what remains.
    pub(super) fn execute(
        &mut self,
        mut taker: Taker,
        plan: Plan,
        kind: AckKind,
        report: &mut impl FnMut(SessionId, &Report),
    ) {
        let ack = Report::Ack {
            kind,
            symbol: taker.symbol,
            order_id: taker.id,
            remaining: plan.rests(&taker),
            filled: taker.filled + plan.matched,
        };
        report(taker.session, &ack);
        for _ in 0..plan.makers {
            self.fill(&mut taker, report);
        }
        if plan.is_cut {
            self.totals.cancelled += 1;
            let rest = Report::Cancelled {
                reason: CancelReason::MatchLimit,
                symbol: taker.symbol,
                order_id: taker.id,
                quantity: taker.quantity,
                filled: taker.filled,
            };
            report(taker.session, &rest);
        } else if taker.quantity > 0 {
            self.make_room(&taker, report);
            self.rest(&taker);
        }
    }

    /// One trade of `taker` with the first maker in the queue.
    fn fill(&mut self, taker: &mut Taker, report: &mut impl FnMut(SessionId, &Report)) {
        let makers = &mut self.sides[taker.side.opposite().index(taker.symbol)];
        let slot = makers.first().expect("the plan counted this maker");
        let maker = *self.orders.get(slot);
        let quantity = maker.quantity.min(taker.quantity);
        taker.quantity -= quantity;
        taker.filled += quantity;
        if quantity == maker.quantity {
            self.remove(slot);
        } else {
            makers.reduce(slot, quantity, &mut self.orders);
            self.orders.get_mut(slot).filled += quantity;
        }
        self.last_prices[taker.symbol as usize] = maker.price;
        self.totals.fills += 1;
        self.totals.quantity += u128::from(quantity);
        self.totals.notional += maker.price as u128 * u128::from(quantity);
        let fill = Report::Fill {
            taker_side: taker.side,
            symbol: taker.symbol,
            maker_id: maker.id,
            taker_id: taker.id,
            price: maker.price,
            quantity,
            maker_remaining: maker.quantity - quantity,
            taker_remaining: taker.quantity,
        };
        report(taker.session, &fill);
        if maker.session != taker.session {
            report(maker.session, &fill);
        }
    }

    /// Cancels the order that would trade last, if the side is full; the caller checked that
    /// its price is worse.
    fn make_room(&mut self, taker: &Taker, report: &mut impl FnMut(SessionId, &Report)) {
        if !self.side(taker).is_full() {
            return;
        }
        let last = self.side(taker).last_behind(taker.price);
        let slot = last.expect("the caller checked that there is room");
        let order = *self.orders.get(slot);
        self.remove(slot);
        self.totals.cancelled += 1;
        let cancelled = Report::Cancelled {
            reason: CancelReason::BetterPrice,
            symbol: order.symbol,
            order_id: order.id,
            quantity: order.quantity,
            filled: order.filled,
        };
        report(order.session, &cancelled);
    }

    /// Puts what is left of `taker` at the end of the queue of its price.
    fn rest(&mut self, taker: &Taker) {
        self.rest_order(Order {
            session: taker.session,
            id: taker.id,
            price: taker.price,
            quantity: taker.quantity,
            filled: taker.filled,
            owner: 0,
            symbol: taker.symbol,
            side: taker.side,
            next: NO_ORDER,
            previous: NO_ORDER,
            older: NO_ORDER,
            newer: NO_ORDER,
        });
    }

    /// Puts an order, of whatever owner, at the end of the queue of its price.
    pub(super) fn rest_order(&mut self, order: Order) {
        let slot = self.orders.insert(Order {
            owner: self.owners.enter(order.session),
            ..order
        });
        self.owners.link(slot, &mut self.orders);
        self.sides[order.side.index(order.symbol)].push(slot, &mut self.orders);
    }
}
