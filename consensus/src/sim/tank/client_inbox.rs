//! What a client in the node tank was handed, and what it is owed next (oracle 4).

use super::replay::Answer;
use crate::sim::tank::service::{Response, response_count};
use crate::sim::{Broken, Rule};

/// What a client did or was handed.
#[derive(Clone, Debug)]
pub enum ClientNews {
    /// It made a request.
    Made {
        /// How the process signs its requests.
        name: u64,
        /// The request's number.
        number: i64,
    },
    /// It was handed an answer.
    Answered {
        /// Its answers before, in this session.
        nth: u64,
        /// The answer.
        answer: Answer,
    },
}

/// See the module.
#[derive(Debug)]
pub struct ClientInbox {
    index: u64,
    is_direct: bool,
    /// Of each process that was connected: the last number that is not its own, and the process.
    lives: Vec<(i64, u64)>,
    /// The response owed next, as (number, ordinal).
    owed: (i64, u32),
    received: u64,
    /// Of these, in the present session.
    in_session: u64,
    last_position: i64,
    news: Vec<ClientNews>,
}

impl ClientInbox {
    /// Of client `index`, whose responses may be lost if `is_direct`.
    #[must_use]
    pub fn new(index: u64, is_direct: bool) -> Self {
        Self {
            index,
            is_direct,
            lives: vec![(0, 0)],
            owed: first_owed(1),
            received: 0,
            in_session: 0,
            last_position: 0,
            news: Vec::new(),
        }
    }

    /// The response owed next, as (number, ordinal).
    #[must_use]
    pub const fn owed(&self) -> (i64, u32) {
        self.owed
    }

    /// Responses received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Greatest position a response was received for.
    #[must_use]
    pub const fn last_position(&self) -> i64 {
        self.last_position
    }

    /// Process `life` numbers its requests from above `base`.
    pub fn begin_life(&mut self, base: i64, life: u64) {
        self.lives.push((base, life));
    }

    /// Another session, of which nothing is owed yet.
    pub fn begin_session(&mut self) {
        self.lives.clear();
        self.owed = first_owed(1);
        self.in_session = 0;
    }

    /// The process that signs with `name` has made a request.
    pub fn note_made(&mut self, name: u64, number: i64) {
        self.news.push(ClientNews::Made { name, number });
    }

    /// What there is since this was asked last, in order; of direct responses nothing.
    pub fn take_news(&mut self) -> impl Iterator<Item = ClientNews> + '_ {
        self.news.drain(..)
    }

    /// A response was handed over.
    ///
    /// # Errors
    /// It is not the one owed next; of direct responses, one that comes later.
    pub fn on_response(&mut self, answer: Answer) -> Result<(), Broken> {
        let seen = Response::decode(&answer.bytes);
        let passed = seen.filter(|_| self.is_direct);
        while passed.is_some_and(|seen| (seen.number, seen.ordinal) > self.owed) {
            self.owed = owed_after(self.owed);
        }
        let owed = self.owed;
        let of = self.lives.iter().rev().find(|(base, _)| *base < owed.0);
        let expected = Response {
            client: self.index | of.map_or(0, |(_, life)| *life) << 32,
            number: owed.0,
            ordinal: owed.1,
        };
        let (index, number, position) = (self.index, answer.number, answer.position);
        if !self.is_direct {
            let nth = self.in_session;
            self.news.push(ClientNews::Answered { nth, answer });
        }
        self.received += 1;
        self.in_session += 1;
        self.last_position = self.last_position.max(position);
        self.owed = owed_after(owed);
        if seen == Some(expected) && number == owed.0 {
            return Ok(());
        }
        Err(Rule::Answers.broken(format!(
            "client {index} was owed {owed:?} and got {seen:?} as the answer to {number} at \
             {position}"
        )))
    }
}

/// The response owed after this one.
fn owed_after((number, ordinal): (i64, u32)) -> (i64, u32) {
    if ordinal + 1 < response_count(number) {
        (number, ordinal + 1)
    } else {
        first_owed(number + 1)
    }
}

/// The first response owed for request `number` or a later one that has any.
fn first_owed(mut number: i64) -> (i64, u32) {
    while response_count(number) == 0 {
        number += 1;
    }
    (number, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: i64, ordinal: u32) -> Answer {
        let response = Response {
            client: 3,
            number,
            ordinal,
        };
        Answer {
            position: 32 * number,
            cause: 0,
            number,
            bytes: response.encode(0, 0).to_vec(),
        }
    }

    #[test]
    fn answers_come_once_and_in_order() {
        let mut inbox = ClientInbox::new(3, false);
        assert_eq!(inbox.on_response(answer(1, 0)), Ok(()));
        assert_eq!(inbox.on_response(answer(2, 0)), Ok(()));
        let broken = inbox.on_response(answer(2, 0)).unwrap_err();
        assert_eq!(broken.rule, Rule::Answers);
        assert_eq!(inbox.take_news().count(), 3);
    }

    #[test]
    fn direct_answers_may_be_lost_and_come_in_order() {
        let mut inbox = ClientInbox::new(3, true);
        assert_eq!(inbox.on_response(answer(3, 1)), Ok(()));
        assert!(inbox.on_response(answer(2, 0)).is_err());
    }
}
