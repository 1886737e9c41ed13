//! What requests say, and whether the answers are right.

use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{Action, OrderRequest, Side};
use lockstep_transport::ids::SessionId;

/// Bytes at the start of an echo message that carry its number.
pub(super) const NUMBER_LENGTH: usize = 8;

/// Orders before the first is repeated: more than are ever in flight.
const ORDERS: u64 = 8_192;

/// Price and quantity of each, in the book's own units; their values do not matter.
const ORDER_PRICE: i64 = 1_000_000;
const ORDER_QUANTITY: u64 = 10_000;

/// The requests of a run.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Messages that must come back as they were sent: a number, then a fixed pattern.
    Echo {
        /// The message; its first bytes are replaced by the number.
        pattern: Vec<u8>,
    },
    /// Messages as those, of which an answer has the end: the service says something of its own
    /// instead of the number.
    Pages {
        /// As above.
        pattern: Vec<u8>,
    },
    /// Prepared messages, sent one after the other and then again from the first.
    Prepared {
        /// The messages.
        messages: Vec<Vec<u8>>,
        /// The answer to each; empty when whoever prepared them checks what comes back.
        answers: Vec<Vec<u8>>,
    },
}

impl Workload {
    /// Echo messages of `length` bytes.
    #[must_use]
    pub fn echo(length: usize) -> Self {
        Self::Echo {
            pattern: pattern(length),
        }
    }

    /// Messages of `length` bytes, each of which is about the page of its number.
    #[must_use]
    pub fn pages(length: usize) -> Self {
        Self::Pages {
            pattern: pattern(length),
        }
    }

    /// Whether a request may have several answers.
    #[must_use]
    pub(crate) const fn has_further_answers(&self) -> bool {
        matches!(self, Self::Prepared { .. })
    }

    /// Orders for the matching engine: a buy, then a sell that takes all of it, so that the
    /// book neither grows nor repeats an open order's id.
    #[must_use]
    pub fn orders() -> Self {
        let order = |number: u64| OrderRequest {
            action: Action::Add,
            side: Some(if number.is_multiple_of(2) {
                Side::Buy
            } else {
                Side::Sell
            }),
            symbol: 0,
            order_id: number + 1,
            price: ORDER_PRICE,
            quantity: ORDER_QUANTITY,
        };
        let mut book = OrderBook::default();
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        for number in 0..ORDERS {
            let message = order(number).encode().to_vec();
            // One session has one answer to each, which fits one message.
            book.answer(SessionId::new(1), &message, &mut |_, answer: &[u8]| {
                answers.push(answer.to_vec())
            });
            messages.push(message);
        }
        Self::Prepared { messages, answers }
    }

    /// Writes request `number` (from 1) into `message`, which keeps its room.
    pub fn write(&self, number: u64, message: &mut Vec<u8>) {
        message.clear();
        match self {
            Self::Echo { pattern } | Self::Pages { pattern } => {
                message.extend_from_slice(pattern);
                let prefix = NUMBER_LENGTH.min(message.len());
                message[..prefix].copy_from_slice(&number.to_le_bytes()[..prefix]);
            }
            Self::Prepared { messages, .. } => {
                let index = (number - 1) as usize % messages.len();
                message.extend_from_slice(&messages[index]);
            }
        }
    }

    /// Whether `response` is a right answer to request `number`, as far as that can be told
    /// from the two alone.
    #[must_use]
    pub(crate) fn is_right(&self, number: u64, response: &[u8]) -> bool {
        let pattern = match self {
            Self::Echo { pattern } => pattern,
            Self::Pages { pattern } => {
                let own = NUMBER_LENGTH.min(pattern.len());
                return response.len() == pattern.len() && response[own..] == pattern[own..];
            }
            Self::Prepared { answers, .. } if answers.is_empty() => return true,
            Self::Prepared { answers, .. } => {
                let index = (number.max(1) - 1) as usize % answers.len();
                return response == answers[index];
            }
        };
        let prefix = NUMBER_LENGTH.min(pattern.len());
        response.len() == pattern.len()
            && response[..prefix] == number.to_le_bytes()[..prefix]
            && response[prefix..] == pattern[prefix..]
    }

    /// Length of the longest request in bytes.
    #[must_use]
    pub fn length_max(&self) -> usize {
        match self {
            Self::Echo { pattern } | Self::Pages { pattern } => pattern.len(),
            Self::Prepared { messages, .. } => messages.iter().map(Vec::len).max().unwrap_or(0),
        }
    }
}

/// Neither zeros nor a short period, so that a shifted or torn copy never looks right.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_service::samples::order_book::codec::Report;

    use super::*;

    #[test]
    fn only_the_same_bytes_are_a_right_echo() {
        for length in [1, 8, 9, 288] {
            let workload = Workload::echo(length);
            let mut message = Vec::new();
            workload.write(7, &mut message);
            assert_eq!(message.len(), length);
            assert!(workload.is_right(7, &message));
            assert!(!workload.is_right(8, &message));
            assert!(!workload.is_right(7, &message[1..]));
            let last = length - 1;
            message[last] ^= 1;
            assert!(!workload.is_right(7, &message));
        }
    }

    #[test]
    fn an_answer_about_a_page_says_something_and_ends_as_the_request_does() {
        let workload = Workload::pages(288);
        let mut message = Vec::new();
        workload.write(7, &mut message);
        assert_eq!(message[..8], 7_u64.to_le_bytes());
        message[..8].fill(0xEE);
        assert!(workload.is_right(7, &message));
        assert!(!workload.is_right(7, &message[1..]));
        message[8] ^= 1;
        assert!(!workload.is_right(7, &message));
        assert!(!workload.has_further_answers());
    }

    #[test]
    fn orders_are_filled_in_pairs_and_none_is_rejected() {
        let workload = Workload::orders();
        let mut book = OrderBook::default();
        let mut twin = OrderBook::default();
        let (mut fills, mut rejects, mut message) = (0, 0, Vec::new());
        for number in 1..=2 * ORDERS {
            workload.write(number, &mut message);
            let order = OrderRequest::decode(&message).unwrap();
            let mut answer = Vec::new();
            twin.answer(SessionId::new(1), &message, &mut |_, bytes: &[u8]| {
                answer.extend_from_slice(bytes)
            });
            assert!(workload.is_right(number, &answer), "{number}");
            assert!(!workload.is_right(number + 1, &answer), "{number}");
            assert!(!workload.is_right(number, &answer[1..]), "{number}");
            book.apply(SessionId::new(1), &order, &mut |_, report| match report {
                Report::Fill { .. } => fills += 1,
                Report::Reject { .. } => rejects += 1,
                Report::Ack { .. } | Report::Cancelled { .. } => {}
            });
        }
        assert_eq!(rejects, 0);
        assert!(fills >= ORDERS);
    }

    #[test]
    fn prepared_messages_repeat_from_the_first() {
        let messages = vec![vec![1], vec![2, 2]];
        let answers = Vec::new();
        let workload = Workload::Prepared { messages, answers };
        let mut message = Vec::new();
        workload.write(3, &mut message);
        assert_eq!(message, [1]);
        assert_eq!(workload.length_max(), 2);
    }
}
