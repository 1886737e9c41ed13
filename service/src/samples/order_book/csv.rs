//! Orders as text: one request per line, for files people can read and change.
//!
//! `seq,action,order_id,side,price,quantity,symbol`, for example `1,add,1001,buy,99.5,10,0`,
//! `2,replace,1001,buy,99.25,8,0`, `3,cancel,1001,,,,0`.
//!
//! | field | text |
//! |---|---|
//! | seq | number of the line, for people; any u64 |
//! | action | `add`, `cancel` or `replace` |
//! | order_id | u64 |
//! | side | `buy` or `sell`; empty for a cancel |
//! | price | decimal with at most 4 decimals, may be negative; empty for a cancel |
//! | quantity | decimal with at most 3 decimals; empty for a cancel |
//! | symbol | u32 |
//!
//! Empty lines, lines that begin with `#` and a first line that is exactly [`HEADER`] are skipped.

use super::codec::{Action, OrderRequest, PRICE_DECIMALS, QUANTITY_DECIMALS, Side};

/// The header line.
pub const HEADER: &str = "seq,action,order_id,side,price,quantity,symbol";

/// A line that holds a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// Its first field.
    pub sequence: u64,
    /// The request.
    pub request: OrderRequest,
}

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// `seq`
    Sequence,
    /// `action`
    Action,
    /// `order_id`
    OrderId,
    /// `side`
    Side,
    /// `price`
    Price,
    /// `quantity`
    Quantity,
    /// `symbol`
    Symbol,
}

const FIELDS: [Field; 7] = [
    Field::Sequence,
    Field::Action,
    Field::OrderId,
    Field::Side,
    Field::Price,
    Field::Quantity,
    Field::Symbol,
];

impl std::fmt::Display for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = HEADER.split(',').nth(*self as usize).unwrap_or_default();
        formatter.write_str(name)
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The line ends before it.
    #[error("is missing; a line is {HEADER}")]
    Missing,
    /// More fields follow the last one.
    #[error("is followed by more; a line is {HEADER}")]
    NotLast,
    /// Not a number of the kind the field needs.
    #[error("is not a number it can hold")]
    NotANumber,
    /// More decimals than fixed point keeps.
    #[error("has more than {most} decimals")]
    TooManyDecimals {
        /// Decimals the field keeps.
        most: u32,
    },
    /// Not an action.
    #[error("is none of add, cancel, replace")]
    UnknownAction,
    /// Not a side.
    #[error("is neither buy nor sell")]
    UnknownSide,
    /// A cancel names only the order and its symbol.
    #[error("must be empty in a cancel")]
    NotEmpty,
}

/// A malformed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {field} {problem}")]
pub struct CsvError {
    /// The line, from 1.
    pub line: u64,
    /// Byte in the line where the field begins, from 1.
    pub column: usize,
    /// The field.
    pub field: Field,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// Parses line number `number` (from 1) of an orders file; `None` for a line without a request.
///
/// # Errors
/// [`CsvError`] with line, column, field and problem when the line is malformed. A request that
/// the book would reject is not malformed.
pub fn parse_line(number: u64, line: &str) -> Result<Option<OrderLine>, CsvError> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.starts_with('#') || (number == 1 && line == HEADER) {
        return Ok(None);
    }
    let fields = Fields::split(number, line)?;
    let cancel = fields.text(Field::Action) == "cancel";
    let action = match fields.text(Field::Action) {
        "add" => Action::Add,
        "cancel" => Action::Cancel,
        "replace" => Action::Replace,
        _ => return Err(fields.error(Field::Action, FieldProblem::UnknownAction)),
    };
    let (mut side, mut price, mut quantity) = (None, 0, 0);
    if cancel {
        for field in [Field::Side, Field::Price, Field::Quantity] {
            if !fields.text(field).is_empty() {
                return Err(fields.error(field, FieldProblem::NotEmpty));
            }
        }
    } else {
        side = Some(fields.side()?);
        price = fields.price()?;
        quantity = fields.fixed(
            Field::Quantity,
            fields.text(Field::Quantity),
            QUANTITY_DECIMALS,
        )?;
    }
    Ok(Some(OrderLine {
        sequence: fields.number(Field::Sequence)?,
        request: OrderRequest {
            action,
            side,
            symbol: fields.number(Field::Symbol)?,
            order_id: fields.number(Field::OrderId)?,
            price,
            quantity,
        },
    }))
}

/// The fields of one line: where each begins and ends.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    line: &'a str,
    number: u64,
    ranges: [(usize, usize); FIELDS.len()],
}

impl<'a> Fields<'a> {
    fn split(number: u64, line: &'a str) -> Result<Self, CsvError> {
        let mut fields = Self {
            line,
            number,
            ranges: [(line.len(), line.len()); FIELDS.len()],
        };
        let mut begin = 0;
        for (index, text) in line.split(',').enumerate() {
            let Some(range) = fields.ranges.get_mut(index) else {
                return Err(fields.error(Field::Symbol, FieldProblem::NotLast));
            };
            *range = (begin, begin + text.len());
            begin += text.len() + 1;
        }
        let count = line.split(',').count();
        match FIELDS.get(count) {
            Some(missing) => Err(fields.error(*missing, FieldProblem::Missing)),
            None => Ok(fields),
        }
    }

    fn text(&self, field: Field) -> &'a str {
        let (begin, end) = self.ranges[field as usize];
        &self.line[begin..end]
    }

    fn error(&self, field: Field, problem: FieldProblem) -> CsvError {
        CsvError {
            line: self.number,
            column: self.ranges[field as usize].0 + 1,
            field,
            problem,
        }
    }

    fn number<N: std::str::FromStr>(&self, field: Field) -> Result<N, CsvError> {
        let text = self.text(field);
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.ok_or_else(|| self.error(field, FieldProblem::NotANumber))
    }

    fn side(&self) -> Result<Side, CsvError> {
        match self.text(Field::Side) {
            "buy" => Ok(Side::Buy),
            "sell" => Ok(Side::Sell),
            _ => Err(self.error(Field::Side, FieldProblem::UnknownSide)),
        }
    }

    fn price(&self) -> Result<i64, CsvError> {
        let text = self.text(Field::Price);
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let value = self.fixed(Field::Price, digits, PRICE_DECIMALS)?;
        let value =
            i64::try_from(value).map_err(|_| self.error(Field::Price, FieldProblem::NotANumber))?;
        Ok(if negative { -value } else { value })
    }

    /// `text` as an integer number of units of 10^-`decimals`, without rounding.
    fn fixed(&self, field: Field, text: &str, decimals: u32) -> Result<u64, CsvError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(self.error(field, FieldProblem::NotANumber)),
            None => (text, ""),
        };
        if fraction.len() > decimals as usize {
            let problem = FieldProblem::TooManyDecimals { most: decimals };
            return Err(self.error(field, problem));
        }
        let digits = whole.bytes().chain(fraction.bytes());
        let missing = decimals as usize - fraction.len();
        let mut value = if whole.is_empty() { None } else { Some(0_u64) };
        for byte in digits.chain(std::iter::repeat_n(b'0', missing)) {
            value = value
                .filter(|_| byte.is_ascii_digit())
                .and_then(|value| value.checked_mul(10))
                .and_then(|value| value.checked_add(u64::from(byte - b'0')));
        }
        value.ok_or_else(|| self.error(field, FieldProblem::NotANumber))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> (usize, Field, FieldProblem) {
        let error = parse_line(9, line).unwrap_err();
        assert_eq!(error.line, 9);
        (error.column, error.field, error.problem)
    }

    #[test]
    fn every_action_is_parsed_exactly() {
        let line = parse_line(2, "1,add,1001,buy,99.5,10.25,3\r\n")
            .unwrap()
            .unwrap();
        let add = OrderRequest {
            action: Action::Add,
            side: Some(Side::Buy),
            symbol: 3,
            order_id: 1001,
            price: 995_000,
            quantity: 10_250,
        };
        assert_eq!(
            line,
            OrderLine {
                sequence: 1,
                request: add
            }
        );
        let line = parse_line(3, "2,replace,1001,sell,-0.0001,0,3")
            .unwrap()
            .unwrap();
        assert_eq!((line.request.price, line.request.quantity), (-1, 0));
        let line = parse_line(4, "3,cancel,1001,,,,3").unwrap().unwrap();
        assert_eq!(line.request.action, Action::Cancel);
        assert_eq!(line.request.side, None);
        for nothing in ["", "# a remark", "\r\n"] {
            assert_eq!(parse_line(5, nothing), Ok(None));
        }
        assert_eq!(parse_line(1, HEADER), Ok(None));
    }

    #[test]
    fn a_malformed_line_is_told_by_column_field_and_problem() {
        use FieldProblem::*;
        assert_eq!(problem("1,add,7,buy,1,1"), (16, Field::Symbol, Missing));
        assert_eq!(problem("1"), (2, Field::Action, Missing));
        assert_eq!(problem("1,add,7,buy,1,1,0,x"), (17, Field::Symbol, NotLast));
        assert_eq!(
            problem("1,sell,7,buy,1,1,0"),
            (3, Field::Action, UnknownAction)
        );
        assert_eq!(
            problem("1,add,-7,buy,1,1,0"),
            (7, Field::OrderId, NotANumber)
        );
        assert_eq!(problem("1,add,7,both,1,1,0"), (9, Field::Side, UnknownSide));
        assert_eq!(
            problem("1,add,7,buy,1e3,1,0"),
            (13, Field::Price, NotANumber)
        );
        let most = TooManyDecimals { most: 4 };
        assert_eq!(problem("1,add,7,buy,1.00000,1,0"), (13, Field::Price, most));
        for number in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            " 1",
            "99999999999999999999",
            "é",
        ] {
            let line = format!("1,add,7,buy,1,{number},0");
            assert_eq!(
                problem(&line),
                (15, Field::Quantity, NotANumber),
                "{number}"
            );
        }
        assert_eq!(problem("1,cancel,7,,1,,0"), (13, Field::Price, NotEmpty));
        assert_eq!(problem(HEADER), (5, Field::Action, UnknownAction));
        let error = parse_line(12, "1,add,7,buy,x,1,0").unwrap_err();
        let text = "line 12, column 13: price is not a number it can hold";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_first_line_is_a_header_only_if_it_is_the_header() {
        assert_eq!(parse_line(1, &format!("{HEADER}\r\n")), Ok(None));
        for line in [
            "seq1,add,1001,buy,99.5,10,0",
            "seq",
            "seq,action,order_id,side,price,quantity,symbol,more",
            "seq,add,1001,buy,99.5,10,0",
        ] {
            let error = parse_line(1, line).unwrap_err();
            assert_eq!(error.line, 1, "{line}");
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let line = "1,add,1001,buy,99.5,10.25,3";
        for at in 0..line.len() {
            for byte in 0..=127_u8 {
                let mut changed = line.as_bytes().to_vec();
                changed[at] = byte;
                let _ = parse_line(2, std::str::from_utf8(&changed).unwrap());
                changed.truncate(at);
                let _ = parse_line(2, std::str::from_utf8(&changed).unwrap());
            }
        }
    }
}
