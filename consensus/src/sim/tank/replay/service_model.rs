//! What the tank's service does with a log, written once more: a hash of all it was told, a count
//! of requests, and registers that answers depend on.

use std::collections::BTreeMap;

use super::entries::{LoggedEntry, i64_at};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ServiceModel {
    hash: u64,
    requests: u64,
    registers: BTreeMap<i64, i64>,
}

impl ServiceModel {
    fn fold(&mut self, values: &[i64]) {
        for value in values {
            let mixed = self.hash ^ value.cast_unsigned();
            self.hash = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        }
    }

    /// Hash of the state.
    #[must_use]
    pub const fn state_hash(&self) -> u64 {
        self.hash ^ self.requests
    }

    /// A leadership term begins.
    pub fn new_term(&mut self, term: i64, log_time: i64) {
        self.fold(&[term, log_time]);
    }

    /// A session opens.
    pub fn open(&mut self, id: i64, log_time: i64) {
        self.fold(&[id ^ log_time]);
    }

    /// A session closes.
    pub fn close(&mut self, id: i64) {
        self.fold(&[!id]);
    }

    /// Executes a request. Returns the answers, in order.
    pub fn execute(&mut self, request: &LoggedEntry) -> Vec<Vec<u8>> {
        self.requests += 1;
        self.fold(&[request.position, request.log_time]);
        let body = &request.body;
        let Some((client, number)) = i64_at(body, 0).zip(i64_at(body, 8)) else {
            return Vec::new();
        };
        self.fold(&[client << 32 ^ number ^ body.len() as i64]);
        let before = self.registers.insert(number % 8, client << 32 ^ number);
        let answer = |ordinal: i64| {
            let count = self.requests.cast_signed();
            let fields = [client, number, count, before.unwrap_or(0), ordinal];
            fields
                .iter()
                .flat_map(|field| field.to_le_bytes())
                .collect()
        };
        (0..number % 4).map(answer).collect()
    }
}
