//! What a load was asked for and did not do, in words: a run with less than was asked for is not
//! a good one, however right every answer was. Pure.

use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};
use crate::report_words::seconds;

/// An open loop whose last request left later than this, or than a twentieth of the schedule if
/// that is more, was not at the rate asked for: more than a hiccup at the very end.
const LATENESS_MAX_NS: Nanos = 250 * MILLISECOND;

/// Everything that `load`, which has ended, was asked for and did not do.
#[must_use]
pub(crate) fn shortfalls(load: &Load) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(capped(load));
    problems.extend(match load.config().shape {
        LoadShape::Open { rate } => behind(load, rate),
        LoadShape::Closed { window } => narrower(load, window as u64),
    });
    if load.latencies().count() == 0 {
        problems.push("nothing was measured: ask for more time or more messages".to_owned());
    }
    problems
}

/// The disk was full before the time was over.
fn capped(load: &Load) -> Option<String> {
    let LoadConfig {
        limit: LoadLimit::Duration(asked),
        messages_cap,
        ..
    } = *load.config()
    else {
        return None;
    };
    let measured = load.measured_time();
    (load.sent() >= messages_cap && measured < asked).then(|| {
        format!(
            "asked for {:.1} s, measured {:.1} s: {messages_cap} messages are all that the disk \
             budget holds without snapshots; raise --disk-budget or ask for less",
            seconds(asked),
            seconds(measured)
        )
    })
}

/// The requests did not leave when they should have.
fn behind(load: &Load, rate: f64) -> Option<String> {
    let scheduled = load.config().scheduled()?;
    let allowed = LATENESS_MAX_NS.max((scheduled as f64 / rate * 0.05 * SECOND as f64) as Nanos);
    let (unsent, lateness) = (load.unsent(), load.lateness());
    if (unsent == 0 || load.is_stopped()) && lateness <= allowed {
        return None;
    }
    let achieved = load.sent() as f64 / seconds(load.sending_time()).max(1e-9);
    Some(format!(
        "asked for {rate:.0} requests/s, achieved {achieved:.0}: {unsent} of {scheduled} requests \
         that were due were never sent, the last one left {:.1} s late; ask for a rate that this \
         cluster sustains",
        seconds(lateness)
    ))
}

/// There were never as many in flight as should have been.
fn narrower(load: &Load, window: u64) -> Option<String> {
    let peak = load.in_flight_peak();
    (peak < window && load.sent() >= window && !load.is_stopped()).then(|| {
        format!(
            "asked for {window} requests in flight, there were never more than {peak}: use a \
             smaller --window or shorter messages"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: LoadConfig, until: Nanos, step: Nanos) -> Load {
        let mut load = Load::new(config, 0);
        let mut now = 0;
        while now <= until && !load.is_done(now) {
            if let Some(number) = load.due(now) {
                load.on_sent(now);
                load.on_response(now + 1, number);
            }
            now += step;
        }
        load
    }

    fn open(rate: f64, limit: LoadLimit) -> LoadConfig {
        LoadConfig {
            shape: LoadShape::Open { rate },
            warmup_ns: 0,
            limit,
            messages_cap: u64::MAX,
        }
    }

    #[test]
    fn a_rate_that_is_met_lacks_nothing() {
        for limit in [LoadLimit::Messages(1_000), LoadLimit::Duration(SECOND)] {
            let load = run(open(1e3, limit), 10 * SECOND, 100_000);
            assert_eq!(shortfalls(&load), Vec::<String>::new());
        }
    }

    #[test]
    fn a_rate_that_is_not_met_is_told_beside_the_one_asked_for() {
        // One request per 10 ms is all that leaves, of ten.
        for limit in [LoadLimit::Messages(1_000), LoadLimit::Duration(SECOND)] {
            let load = run(open(1e3, limit), 10 * SECOND, 10 * MILLISECOND);
            let problems = shortfalls(&load);
            assert_eq!(problems.len(), 1);
            for part in ["asked for 1000", "achieved 100", "of 1000 requests"] {
                assert!(problems[0].contains(part), "{part}: {problems:?}");
            }
        }
    }

    #[test]
    fn a_rate_that_is_met_too_late_is_not_met() {
        // Everything leaves in the end, in twice the time.
        let load = run(
            open(1e3, LoadLimit::Messages(1_000)),
            10 * SECOND,
            2 * MILLISECOND,
        );
        assert_eq!(load.unsent(), 0);
        assert!(shortfalls(&load)[0].contains("achieved 50"));
    }

    #[test]
    fn a_run_that_the_disk_cuts_short_is_told() {
        let config = LoadConfig {
            shape: LoadShape::Closed { window: 1 },
            warmup_ns: 0,
            limit: LoadLimit::Duration(10 * SECOND),
            messages_cap: 10,
        };
        let problems = shortfalls(&run(config, 20 * SECOND, MILLISECOND));
        assert!(problems[0].contains("raise --disk-budget"), "{problems:?}");
        let enough = LoadConfig {
            messages_cap: u64::MAX,
            ..config
        };
        assert_eq!(shortfalls(&run(enough, 20 * SECOND, MILLISECOND)).len(), 0);
    }

    #[test]
    fn a_window_that_was_never_full_is_told() {
        let config = LoadConfig {
            shape: LoadShape::Closed { window: 4 },
            warmup_ns: 0,
            limit: LoadLimit::Messages(10),
            messages_cap: u64::MAX,
        };
        let problems = shortfalls(&run(config, SECOND, MILLISECOND));
        assert!(problems[0].contains("never more than 1"), "{problems:?}");
    }

    #[test]
    fn a_run_that_measured_nothing_is_told() {
        let config = LoadConfig {
            warmup_ns: SECOND,
            ..open(0.1, LoadLimit::Duration(SECOND))
        };
        let problems = shortfalls(&run(config, 20 * SECOND, MILLISECOND));
        assert!(problems[0].contains("nothing was measured"), "{problems:?}");
    }
}
