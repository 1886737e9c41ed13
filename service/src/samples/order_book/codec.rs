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

use lockstep_transport::codec::{FieldReader, FieldWriter, decoded, encoded};

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
    pub(super) const fn from_number(number: u8) -> Option<Self> {
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
fn write_head(fields: &mut FieldWriter<'_>, kind: u8, detail: u8, symbol: u32, id: u64) {
    fields.u8(kind).u8(detail).zeros(2).u32(symbol).u64(id);
}

/// Reads what follows kind and detail in every message: symbol and id.
fn read_head(fields: &mut FieldReader<'_>) -> Option<(u32, u64)> {
    let is_plain = fields.u16()? == 0;
    let head = (fields.u32()?, fields.u64()?);
    is_plain.then_some(head)
}

impl OrderRequest {
    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_LENGTH] {
        let side = self.side.map_or(0, |side| side as u8);
        encoded(|fields| {
            let action = self.action as u8;
            write_head(fields, action, side, self.symbol, self.order_id);
            fields.i64(self.price).u64(self.quantity);
        })
    }

    /// Decodes a request; `None` when the bytes are not exactly one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; REQUEST_LENGTH] = bytes.try_into().ok()?;
        decoded(bytes, Self::read)
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let action = match fields.u8()? {
            1 => Action::Add,
            2 => Action::Cancel,
            3 => Action::Replace,
            _ => return None,
        };
        let number = fields.u8()?;
        let side = Side::from_number(number);
        let (symbol, order_id) = read_head(fields)?;
        let (price, quantity) = (fields.i64()?, fields.u64()?);
        let fits = match action {
            Action::Cancel => (number, price, quantity) == (0, 0, 0),
            Action::Add | Action::Replace => side.is_some(),
        };
        fits.then_some(Self {
            action,
            side,
            symbol,
            order_id,
            price,
            quantity,
        })
    }
}

impl Report {
    /// Encodes the report at the start of `bytes` and returns what was written.
    pub fn encode<'a>(&self, bytes: &'a mut [u8; REPORT_LENGTH_MAX]) -> &'a [u8] {
        let mut fields = FieldWriter::new(bytes);
        self.write(&mut fields);
        let length = fields.length();
        &bytes[..length]
    }

    fn write(&self, fields: &mut FieldWriter<'_>) {
        match *self {
            Self::Ack {
                kind,
                symbol,
                order_id,
                remaining,
                filled,
            } => {
                write_head(fields, ACK, kind as u8, symbol, order_id);
                fields.u64(remaining).u64(filled);
            }
            Self::Reject {
                reason,
                symbol,
                order_id,
            } => write_head(fields, REJECT, reason as u8, symbol, order_id),
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
                write_head(fields, FILL, taker_side as u8, symbol, maker_id);
                fields.u64(taker_id).i64(price).u64(quantity);
                fields.u64(maker_remaining).u64(taker_remaining);
            }
            Self::Cancelled {
                reason,
                symbol,
                order_id,
                quantity,
                filled,
            } => {
                write_head(fields, CANCELLED, reason as u8, symbol, order_id);
                fields.u64(quantity).u64(filled);
            }
        }
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
        let mut fields = FieldReader::new(bytes);
        let report = Self::read(&mut fields)?;
        Some((report, fields.rest()))
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let (kind, detail) = (fields.u8()?, fields.u8()?);
        let (symbol, order_id) = read_head(fields)?;
        Some(match kind {
            ACK => Self::Ack {
                kind: match detail {
                    1 => AckKind::Accepted,
                    2 => AckKind::Cancelled,
                    3 => AckKind::Replaced,
                    _ => return None,
                },
                symbol,
                order_id,
                remaining: fields.u64()?,
                filled: fields.u64()?,
            },
            REJECT => Self::Reject {
                reason: RejectReason::from_number(detail)?,
                symbol,
                order_id,
            },
            FILL => Self::Fill {
                taker_side: Side::from_number(detail)?,
                symbol,
                maker_id: order_id,
                taker_id: fields.u64()?,
                price: fields.i64()?,
                quantity: fields.u64()?,
                maker_remaining: fields.u64()?,
                taker_remaining: fields.u64()?,
            },
            CANCELLED => Self::Cancelled {
                reason: CancelReason::from_number(detail)?,
                symbol,
                order_id,
                quantity: fields.u64()?,
                filled: fields.u64()?,
            },
            _ => return None,
        })
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
