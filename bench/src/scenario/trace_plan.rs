//! How many messages of a run to trace, so that the nodes' rings hold the whole run.
//!
//! An estimate: rates differ from machine to machine. A ring that is overrun all the same keeps
//! the newest records, and the report says how many messages its budget is made of.

use lockstep_consensus::node::tracers::RING_RECORDS;
use lockstep_consensus::settings::config::{ResponsesMode, SyncMode};
use lockstep_transport::time::SECOND;

use crate::load::{LoadConfig, LoadLimit, LoadShape};

/// Records per crossing of the log that a leader writes for each move of its cursors, whether
/// the messages below are sampled or not (counted in a closed loop, one message in flight).
const CURSOR_RECORDS: f64 = 6.0;

/// Records per crossing that a leader's consensus writes for a sampled message, rounded up.
const MESSAGE_RECORDS: f64 = 4.0;

/// Records that its service writes for a sampled message, and its side that faces clients.
const SERVICE_RECORDS: f64 = 3.0;
const CLIENTS_RECORDS: f64 = 1.0;

/// Messages that at most share a move of a cursor when many are in flight.
const BATCH_MAX: f64 = 16.0;

/// Messages per second and crossing that one in flight makes at most, durable and not.
const RATE_DURABLE: f64 = 8_000.0;
const RATE: f64 = 30_000.0;

/// Messages per second that any number in flight make at most.
const CLOSED_LOOP_RATE_MAX: f64 = 400_000.0;

/// Sparsest choice: of a million messages, enough are left for a 99.9th percentile.
const EVERY_MAX: u64 = 64;

/// The default of `--trace-every`: the smallest power of two with which the records of the run
/// fit into every ring, and at most 64, from where only cursors would be left to save.
#[must_use]
pub fn trace_every(load: &LoadConfig, sync: SyncMode, responses: ResponsesMode) -> u64 {
    let crossings = f64::from(responses.crossings());
    let single = match sync {
        SyncMode::Data => RATE_DURABLE,
        SyncMode::None => RATE,
    };
    let (rate, batch) = match load.shape {
        LoadShape::Open { rate } => (rate, 1.0),
        LoadShape::Closed { window } => {
            let window = window as f64;
            let rate = (window * single / crossings).min(CLOSED_LOOP_RATE_MAX);
            (rate, window.clamp(1.0, BATCH_MAX))
        }
    };
    let seconds = |ns: i64| ns as f64 / SECOND as f64;
    let measured = match load.limit {
        LoadLimit::Messages(messages) => messages as f64,
        LoadLimit::Duration(duration) => rate * seconds(duration),
    };
    let messages = measured + rate * seconds(load.warmup_ns);
    let fits = |every: u64| {
        let sampled = messages / every as f64;
        let cursors = messages * crossings * CURSOR_RECORDS / batch;
        let records = [
            cursors + sampled * crossings * MESSAGE_RECORDS,
            sampled * SERVICE_RECORDS,
            sampled * CLIENTS_RECORDS,
        ];
        let mut rings = records.into_iter().zip(RING_RECORDS);
        rings.all(|(records, ring)| records <= ring as f64)
    };
    let mut every = 1;
    while every < EVERY_MAX && !fits(every) {
        every *= 2;
    }
    every
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(shape: LoadShape, limit: LoadLimit) -> LoadConfig {
        LoadConfig {
            shape,
            warmup_ns: SECOND,
            limit,
            messages_cap: u64::MAX,
        }
    }

    #[test]
    fn a_default_run_is_traced_whole_and_a_fast_one_in_part() {
        let closed = LoadShape::Closed { window: 1 };
        let five = load(closed, LoadLimit::Duration(5 * SECOND));
        let replicated = ResponsesMode::Replicated;
        assert_eq!(trace_every(&five, SyncMode::Data, replicated), 1);
        let fast = trace_every(&five, SyncMode::None, ResponsesMode::Direct);
        assert_eq!(fast, EVERY_MAX);
        let short = load(closed, LoadLimit::Messages(300));
        assert_eq!(trace_every(&short, SyncMode::Data, replicated), 1);
    }

    #[test]
    fn the_smallest_ring_holds_the_run_too() {
        // Many in flight share the moves of cursors: what is left is mostly the messages' own.
        let closed = LoadShape::Closed { window: 64 };
        let every = |messages| {
            let limit = LoadLimit::Messages(messages);
            let load = LoadConfig {
                warmup_ns: 0,
                ..load(closed, limit)
            };
            trace_every(&load, SyncMode::Data, ResponsesMode::Direct)
        };
        let (service, clients) = (RING_RECORDS[1] as u64 / 3, RING_RECORDS[2] as u64);
        let most = service.min(clients);
        assert_eq!((every(most), every(most + 1)), (1, 2));
        assert_eq!((every(2 * most), every(2 * most + 1)), (2, 4));
    }

    #[test]
    fn the_more_messages_the_fewer_of_them() {
        let limit = LoadLimit::Duration(5 * SECOND);
        let every = |rate: f64| {
            let load = load(LoadShape::Open { rate }, limit);
            trace_every(&load, SyncMode::Data, ResponsesMode::Replicated)
        };
        assert_eq!(every(1_000.0), 1);
        assert!(every(10_000.0) > 1);
        assert!(every(10_000.0).is_power_of_two());
        assert_eq!(every(1e9), EVERY_MAX);
    }
}
