//! Writes the sample orders file to standard output: always the same one.
//!
//! `cargo run -p lockstep-service --example generate_orders > service/examples/data/orders.csv`
//!
//! Adds, cancels, replaces and crossing prices around a wandering price per symbol, and about one
//! in thirty orders that is well-formed and must be rejected. The book itself is run along, so
//! that most cancels and replaces meet an open order.

use std::fmt::Write as _;
use std::io::Write as _;

use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{
    Action, OrderRequest, Side, decimal_price, decimal_quantity,
};
use lockstep_service::samples::order_book::csv::HEADER;
use lockstep_transport::ids::SessionId;
use lockstep_transport::prng::SplitMix64;

/// Orders in the file.
const LINES: u64 = 110_000;

/// Symbols that are traded; the book has more.
const SYMBOLS: u64 = 4;

/// One price step: 0.01.
const TICK: i64 = 100;

/// Session under which the book is run along.
const SESSION: SessionId = SessionId::new(1);

/// Open orders from which on orders are cancelled rather than added: a little below the most
/// that one session may have.
const OPEN_MAX: u32 = 1_900;

/// Numbers of a seed, the same everywhere.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn side(&mut self) -> Side {
        if self.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }
}

/// The flow of orders and what it knows of the market.
struct Flow {
    random: Random,
    book: OrderBook,
    /// Middle price of each symbol.
    middle: [i64; SYMBOLS as usize],
    /// Orders that were added, with their symbol; some are no longer open.
    added: Vec<(u64, u32)>,
    next_id: u64,
}

impl Flow {
    fn new() -> Self {
        Self {
            random: Random(SplitMix64(2_024)),
            book: OrderBook::default(),
            middle: [1_000_000, 250_000, 42_000_000, 7_500],
            added: Vec::new(),
            next_id: 1_001,
        }
    }

    fn next(&mut self) -> OrderRequest {
        let request = match self.random.below(1_000) {
            0..34 => self.rejected(),
            34..250 => self.cancel(),
            250..420 => self.replace(),
            _ if self.book.open_orders() >= OPEN_MAX => self.cancel(),
            _ => self.add(),
        };
        self.book.apply(SESSION, &request, &mut |_, _| {});
        if request.action == Action::Add
            && self.book.open_order(SESSION, request.order_id).is_some()
        {
            self.added.push((request.order_id, request.symbol));
        }
        request
    }

    fn add(&mut self) -> OrderRequest {
        let symbol = self.random.below(SYMBOLS);
        let middle = &mut self.middle[symbol as usize];
        *middle = (*middle + (self.random.below(3) as i64 - 1) * TICK).max(40 * TICK);
        let middle = *middle;
        let side = self.random.side();
        // One in four crosses the middle and usually trades.
        let away = match self.random.below(4) {
            0 => -(self.random.below(4) as i64),
            _ => 1 + self.random.below(30) as i64,
        };
        let price = match side {
            Side::Buy => middle - away * TICK,
            Side::Sell => middle + away * TICK,
        };
        self.next_id += 1;
        OrderRequest {
            action: Action::Add,
            side: Some(side),
            symbol: symbol as u32,
            order_id: self.next_id,
            price,
            quantity: self.quantity(),
        }
    }

    /// Mostly small and whole, sometimes large, sometimes with decimals.
    fn quantity(&mut self) -> u64 {
        match self.random.below(20) {
            0 => 1_000 * (1 + self.random.below(400)),
            1 => 1 + self.random.below(20_000),
            _ => 1_000 * (1 + self.random.below(25)),
        }
    }

    /// An open order, found by forgetting those met that are open no more.
    fn open(&mut self) -> Option<(u64, u32)> {
        while !self.added.is_empty() {
            let at = self.random.below(self.added.len() as u64) as usize;
            let found = self.added[at];
            if self.book.open_order(SESSION, found.0).is_some() {
                return Some(found);
            }
            self.added.swap_remove(at);
        }
        None
    }

    fn cancel(&mut self) -> OrderRequest {
        let Some((order_id, symbol)) = self.open() else {
            return self.add();
        };
        OrderRequest {
            action: Action::Cancel,
            side: None,
            symbol,
            order_id,
            price: 0,
            quantity: 0,
        }
    }

    fn replace(&mut self) -> OrderRequest {
        let Some((order_id, symbol)) = self.open() else {
            return self.add();
        };
        let open = self.book.open_order(SESSION, order_id).expect("it is open");
        let keeps_price = self.random.below(2) == 0;
        let step = (self.random.below(9) as i64 - 4) * TICK;
        OrderRequest {
            action: Action::Replace,
            side: Some(open.side),
            symbol,
            order_id,
            price: if keeps_price {
                open.price
            } else {
                (open.price + step).max(TICK)
            },
            // The total, sometimes less than what has traded.
            quantity: match self.random.below(3) {
                0 => self.quantity(),
                _ => open.filled + open.remaining.div_ceil(2),
            },
        }
    }

    /// Well-formed, but not to be accepted.
    fn rejected(&mut self) -> OrderRequest {
        let new = self.add();
        let kind = self.random.below(10);
        if kind < 5 {
            return match kind {
                0 => OrderRequest { quantity: 0, ..new },
                1 => OrderRequest { price: 0, ..new },
                2 => OrderRequest {
                    price: -new.price,
                    ..new
                },
                3 => OrderRequest {
                    price: new.price * 100,
                    ..new
                },
                _ => OrderRequest { symbol: 99, ..new },
            };
        }
        let Some((order_id, symbol)) = self.open() else {
            return OrderRequest { quantity: 0, ..new };
        };
        let open = self.book.open_order(SESSION, order_id).expect("it is open");
        let known = OrderRequest {
            action: Action::Replace,
            side: Some(open.side),
            symbol,
            order_id,
            price: open.price,
            quantity: open.filled + open.remaining,
        };
        match kind {
            5 => OrderRequest {
                action: Action::Add,
                ..known
            },
            6 => OrderRequest {
                order_id: 1_000_000_000 + order_id,
                ..known
            },
            7 => OrderRequest {
                side: Some(open.side.opposite()),
                ..known
            },
            8 => OrderRequest {
                symbol: (symbol + 1) % SYMBOLS as u32,
                ..known
            },
            _ => OrderRequest {
                quantity: 1 << 41,
                ..known
            },
        }
    }
}

/// The whole file.
pub fn orders_csv() -> String {
    let mut flow = Flow::new();
    let mut text = format!("{HEADER}\n");
    for sequence in 1..=LINES {
        let request = flow.next();
        let (id, symbol) = (request.order_id, request.symbol);
        let written = if let Some(side) = request.side {
            let action = if request.action == Action::Add {
                "add"
            } else {
                "replace"
            };
            let side = if side == Side::Buy { "buy" } else { "sell" };
            let (price, quantity) = (
                decimal_price(request.price),
                decimal_quantity(request.quantity),
            );
            writeln!(
                text,
                "{sequence},{action},{id},{side},{price},{quantity},{symbol}"
            )
        } else {
            writeln!(text, "{sequence},cancel,{id},,,,{symbol}")
        };
        written.expect("writing to a string cannot fail");
    }
    text
}

fn main() -> std::io::Result<()> {
    std::io::stdout().lock().write_all(orders_csv().as_bytes())
}
