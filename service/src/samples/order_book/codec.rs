//! Messages of the order book: fixed layouts, little-endian, exact lengths, reserved bytes 0.
//! A request is a message; a message of the book holds one or more reports, end to end.
//!
//! | | request (32 B) | Ack (32 B) | Reject (16 B) | Fill (56 B) | Cancelled (32 B) |
//! |---|---|---|---|---|---|
//! | 0 | action u8 | 1 | 2 | 3 | 4 |
//! | 1 | side u8, cancel: 0 | kind u8 | reason u8 | taker's side u8 | reason u8 |
//! | 2 | reserved u16 | reserved u16 | reserved u16 | reserved u16 | reserved u16 |
//! | 4 | symbol u32 | symbol u32 | symbol u32 | symbol u32 | symbol u32 |
//! | 8 | order id u64 | order id u64 | order id u64 | maker id u64 | order id u64 |
//! | 16 | price i64, cancel: 0 | remaining u64 | | taker id u64 | quantity u64 |
//! | 24 | quantity u64, cancel: 0 | filled u64 | | price i64 | filled u64 |
//! | 32 | | | | quantity u64 | |
//! | 40 | | | | maker's remaining u64 | |
//! | 48 | | | | taker's remaining u64 | |

/// Decimals of a price: the integer 1 means 0.0001.
pub const PRICE_DECIMALS: u32 = 4;

/// Decimals of a quantity: the integer 1 means 0.001.
pub const QUANTITY_DECIMALS: u32 = 3;

/// Largest price, in units of [`PRICE_DECIMALS`].
pub const PRICE_MAX: i64 = 1 << 40;

/// Largest quantity of one order; 2^20 of them still add up in 64 bits.
pub const QUANTITY_MAX: u64 = 1 << 40;

/// Bytes of every request.
pub const REQUEST_LENGTH: usize = 32;

/// Bytes of the longest report.
pub const REPORT_LENGTH_MAX: usize = 56;

const ACK_LENGTH: usize = 32;
const REJECT_LENGTH: usize = 16;
const FILL_LENGTH: usize = 56;
const CANCELLED_LENGTH: usize = 32;

const ACK: u8 = 1;
const REJECT: u8 = 2;
const FILL: u8 = 3;
const CANCELLED: u8 = 4;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// A new order.
    Add = 1,
    /// Take an open order out.
    Cancel = 2,
    /// Give an open order another price or total quantity, what was filled included.
    Replace = 3,
}

/// Which side of the book an order is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// A bid.
    Buy = 1,
    /// An ask.
    Sell = 2,
}

impl Side {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Buy),
            2 => Some(Self::Sell),
            _ => None,
        }
    }

    /// The side an order of this one trades with.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// Whether an order with `limit` on this side may trade at `price`.
    pub(super) const fn reaches(self, limit: i64, price: i64) -> bool {
        match self {
            Self::Buy => limit >= price,
            Self::Sell => limit <= price,
        }
    }

    /// Place of this side of `symbol` among all sides.
    pub(super) const fn index(self, symbol: u32) -> usize {
        symbol as usize * 2 + (self as usize - 1)
    }
}

/// A request, well-formed but not yet accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// What is asked for.
    pub action: Action,
    /// The order's side; `None` exactly for a cancel.
    pub side: Option<Side>,
    /// The instrument.
    pub symbol: u32,
    /// The order: a number the session chooses, unique among its own open orders.
    pub order_id: u64,
    /// Limit price in units of [`PRICE_DECIMALS`]; 0 for a cancel.
    pub price: i64,
    /// Quantity in units of [`QUANTITY_DECIMALS`]; 0 for a cancel. The whole order's, also in a
    /// replace: what was filled counts towards it.
    pub quantity: u64,
}

/// What an Ack acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AckKind {
    /// An order was added; `remaining` rests in the book.
    Accepted = 1,
    /// An order was cancelled; `remaining` had been open.
    Cancelled = 2,
    /// An order was replaced; `remaining` rests in the book, and 0 means that it is done.
    Replaced = 3,
}

/// Why a request was rejected. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RejectReason {
    /// The bytes are no request.
    Malformed = 1,
    /// The session has an open order of that id.
    DuplicateOrder = 2,
    /// The session has no open order of that id: it never had, or it is too late and it is filled
    /// or cancelled.
    UnknownOrder = 3,
    /// The quantity is 0.
    ZeroQuantity = 4,
    /// The quantity exceeds [`QUANTITY_MAX`].
    QuantityTooLarge = 5,
    /// The price is not positive or exceeds [`PRICE_MAX`].
    BadPrice = 6,
    // 7 was once an order of another session; ids are a session's own now.
    /// The order is on the other side.
    SideMismatch = 8,
    /// The order is of another symbol.
    SymbolMismatch = 9,
    /// There is no such symbol.
    UnknownSymbol = 10,
    /// The side is full of orders with prices at least as good.
    BookFull = 11,
    // 12 was once an order that would meet too many makers; see [`CancelReason::MatchLimit`].
    /// The session has as many open orders as it may have.
    TooManyOrders = 13,
    /// Price times quantity is below the least that may be ordered.
    BelowMinimum = 14,
    /// The price is too far from where the symbol trades.
    OutsideBand = 15,
}

impl RejectReason {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Malformed,
            2 => Self::DuplicateOrder,
            3 => Self::UnknownOrder,
            4 => Self::ZeroQuantity,
            5 => Self::QuantityTooLarge,
            6 => Self::BadPrice,
            8 => Self::SideMismatch,
            9 => Self::SymbolMismatch,
            10 => Self::UnknownSymbol,
            11 => Self::BookFull,
            13 => Self::TooManyOrders,
            14 => Self::BelowMinimum,
            15 => Self::OutsideBand,
            _ => return None,
        })
    }
}

/// Why the book cancelled what nobody asked it to cancel. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CancelReason {
    /// The request met as many orders, or sessions, as one request may trade with: what it had
    /// not traded yet is cancelled, and can be sent again.
    MatchLimit = 1,
    /// The side was full and a better price came: the order with the worst price had to go.
    BetterPrice = 2,
}

impl CancelReason {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::MatchLimit,
            2 => Self::BetterPrice,
            _ => return None,
        })
    }
}

/// What the book answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The request was carried out.
    Ack {
        /// What was done.
        kind: AckKind,
        /// The instrument.
        symbol: u32,
        /// The order.
        order_id: u64,
        /// Quantity that rests after the request, or was open before a cancel.
        remaining: u64,
        /// Quantity of the order that has traded in all, the trades of this request included.
        filled: u64,
    },
    /// The request was not carried out; nothing changed.
    Reject {
        /// Why.
        reason: RejectReason,
        /// The instrument named by the request; 0 when malformed.
        symbol: u32,
        /// The order named by the request; 0 when malformed.
        order_id: u64,
    },
    /// Two orders traded, at the maker's price. Both sessions are told alike; each knows its own
    /// order by the side, for the ids are of two sessions.
    Fill {
        /// Side of the order that came later.
        taker_side: Side,
        /// The instrument.
        symbol: u32,
        /// The order that rested in the book.
        maker_id: u64,
        /// The order that came later.
        taker_id: u64,
        /// Price, in units of [`PRICE_DECIMALS`].
        price: i64,
        /// Quantity, in units of [`QUANTITY_DECIMALS`].
        quantity: u64,
        /// What is left of the maker.
        maker_remaining: u64,
        /// What is left of the taker.
        taker_remaining: u64,
    },
    /// The book cancelled what was left of an order, unasked.
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// The instrument.
        symbol: u32,
        /// The order.
        order_id: u64,
        /// Quantity that was left.
        quantity: u64,
        /// Quantity of the order that has traded in all.
        filled: u64,
    },
}

/// Writes the common beginning of every message.
fn put_head(bytes: &mut [u8], kind: u8, detail: u8, symbol: u32, id: u64) {
    bytes[0] = kind;
    bytes[1] = detail;
    bytes[2..4].fill(0);
    bytes[4..8].copy_from_slice(&symbol.to_le_bytes());
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
}

/// Writes what follows the common beginning.
fn put_words<const COUNT: usize>(bytes: &mut [u8], words: [u64; COUNT]) {
    for (word, bytes) in words.iter().zip(bytes[16..].chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(raw)
}

fn symbol_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])
}

impl OrderRequest {
    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_LENGTH] {
        let mut bytes = [0; REQUEST_LENGTH];
        let side = self.side.map_or(0, |side| side as u8);
        put_head(
            &mut bytes,
            self.action as u8,
            side,
            self.symbol,
            self.order_id,
        );
        bytes[16..24].copy_from_slice(&self.price.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.quantity.to_le_bytes());
        bytes
    }

    /// Decodes a request; `None` when the bytes are not exactly one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != REQUEST_LENGTH || bytes[2..4] != [0, 0] {
            return None;
        }
        let action = match bytes[0] {
            1 => Action::Add,
            2 => Action::Cancel,
            3 => Action::Replace,
            _ => return None,
        };
        let side = Side::from_number(bytes[1]);
        let nothing_else = bytes[1] == 0 && bytes[16..32] == [0; 16];
        let fits = match action {
            Action::Cancel => nothing_else,
            Action::Add | Action::Replace => side.is_some(),
        };
        fits.then(|| Self {
            action,
            side,
            symbol: symbol_of(bytes),
            order_id: u64_at(bytes, 8),
            price: u64_at(bytes, 16) as i64,
            quantity: u64_at(bytes, 24),
        })
    }
}

impl Report {
    /// Encodes the report at the start of `bytes` and returns what was written.
    pub fn encode<'a>(&self, bytes: &'a mut [u8; REPORT_LENGTH_MAX]) -> &'a [u8] {
        let length = match *self {
            Self::Ack {
                kind,
                symbol,
                order_id,
                remaining,
                filled,
            } => {
                put_head(bytes, ACK, kind as u8, symbol, order_id);
                put_words(bytes, [remaining, filled]);
                ACK_LENGTH
            }
            Self::Reject {
                reason,
                symbol,
                order_id,
            } => {
                put_head(bytes, REJECT, reason as u8, symbol, order_id);
                REJECT_LENGTH
            }
            Self::Fill {
                taker_side,
                symbol,
                maker_id,
                taker_id,
                price,
                quantity,
                maker_remaining,
                taker_remaining,
            } => {
                put_head(bytes, FILL, taker_side as u8, symbol, maker_id);
                let price = price as u64;
                put_words(
                    bytes,
                    [taker_id, price, quantity, maker_remaining, taker_remaining],
                );
                FILL_LENGTH
            }
            Self::Cancelled {
                reason,
                symbol,
                order_id,
                quantity,
                filled,
            } => {
                put_head(bytes, CANCELLED, reason as u8, symbol, order_id);
                put_words(bytes, [quantity, filled]);
                CANCELLED_LENGTH
            }
        };
        &bytes[..length]
    }

    /// Decodes a report; `None` when the bytes are not exactly one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (report, rest) = Self::split_first(bytes)?;
        rest.is_empty().then_some(report)
    }

    /// Decodes the first report of a message and returns what follows it; `None` when the bytes
    /// do not begin with a report.
    #[must_use]
    pub fn split_first(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = match *bytes.first()? {
            ACK => ACK_LENGTH,
            REJECT => REJECT_LENGTH,
            FILL => FILL_LENGTH,
            CANCELLED => CANCELLED_LENGTH,
            _ => return None,
        };
        let (bytes, rest) = bytes.split_at_checked(length)?;
        if bytes[2..4] != [0, 0] {
            return None;
        }
        let (symbol, order_id) = (symbol_of(bytes), u64_at(bytes, 8));
        let report = match bytes[0] {
            ACK => Self::Ack {
                kind: match bytes[1] {
                    1 => AckKind::Accepted,
                    2 => AckKind::Cancelled,
                    3 => AckKind::Replaced,
                    _ => return None,
                },
                symbol,
                order_id,
                remaining: u64_at(bytes, 16),
                filled: u64_at(bytes, 24),
            },
            REJECT => Self::Reject {
                reason: RejectReason::from_number(bytes[1])?,
                symbol,
                order_id,
            },
            CANCELLED => Self::Cancelled {
                reason: CancelReason::from_number(bytes[1])?,
                symbol,
                order_id,
                quantity: u64_at(bytes, 16),
                filled: u64_at(bytes, 24),
            },
            _ => Self::Fill {
                taker_side: Side::from_number(bytes[1])?,
                symbol,
                maker_id: order_id,
                taker_id: u64_at(bytes, 16),
                price: u64_at(bytes, 24) as i64,
                quantity: u64_at(bytes, 32),
                maker_remaining: u64_at(bytes, 40),
                taker_remaining: u64_at(bytes, 48),
            },
        };
        Some((report, rest))
    }
}

/// `price` as people write it.
#[must_use]
pub fn decimal_price(price: i64) -> String {
    let sign = if price < 0 { "-" } else { "" };
    format!("{sign}{}", decimal(price.unsigned_abs(), PRICE_DECIMALS))
}

/// `quantity` as people write it.
#[must_use]
pub fn decimal_quantity(quantity: u64) -> String {
    decimal(quantity, QUANTITY_DECIMALS)
}

/// `value` with a point before its last `decimals` digits, without trailing zeros.
fn decimal(value: u64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let digits = format!(
        "{}.{:0width$}",
        value / unit,
        value % unit,
        width = decimals as usize
    );
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests;
