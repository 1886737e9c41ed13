//! Load generation: a closed loop with a window, or an open loop with a fixed schedule.
//!
//! Pure. In the open loop latency counts from the moment a request *should* have been sent,
//! so a stalled cluster cannot hide its stall by slowing its load down (no coordinated
//! omission). In the closed loop it counts from the send.

use core::hint::black_box;

use lockstep_transport::time::{Nanos, SECOND};

use crate::histogram::LatencyHistogram;
use crate::latency_slots::LatencySlots;

/// Requests whose intended time is remembered; above any client's in-flight limit (4,096).
const INTENDED_TIMES_MAX: usize = 16_384;

/// How long after the end of its schedule an open loop still sends what was due before: longer
/// than a hiccup of a busy machine. What is unsent then has not been done.
const DRAIN_NS: Nanos = 2 * SECOND;

/// For how long after the time that a load is to take its latencies are told apart by when they
/// were, and for how long those of a load of so many messages.
const SLOTS_SPARE_NS: Nanos = 60 * SECOND;
const SLOTS_OF_MESSAGES_NS: Nanos = 600 * SECOND;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadShape {
    /// So many in flight at any time; the next leaves when an answer arrives.
    Closed {
        /// Requests in flight.
        window: usize,
    },
    /// At a fixed rate, whatever the answers do.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// When the measured part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadLimit {
    /// After so many measured requests.
    Messages(u64),
    /// After so many nanoseconds of measuring.
    Duration(Nanos),
}

/// What to send, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadConfig {
    /// When requests are sent.
    pub shape: LoadShape,
    /// Requests sent earlier than this after the start are not measured, ns.
    pub warmup_ns: Nanos,
    /// When the measured part ends.
    pub limit: LoadLimit,
    /// Most requests sent in all, warm-up included, whatever the limit: what the disk holds.
    pub messages_cap: u64,
}

impl LoadConfig {
    /// Requests that this load has scheduled, or `None` when only the cluster's speed limits it.
    #[must_use]
    pub(crate) fn scheduled(&self) -> Option<u64> {
        let LoadShape::Open { rate } = self.shape else {
            return None;
        };
        let sent_in = |duration: Nanos| (duration as f64 * rate / SECOND as f64).ceil() as u64;
        Some(match self.limit {
            LoadLimit::Messages(messages) => sent_in(self.warmup_ns) + messages,
            LoadLimit::Duration(duration) => sent_in(self.warmup_ns + duration),
        })
    }

    /// For how long latencies are told apart by when they were.
    fn slots_ns(&self) -> Nanos {
        match self.limit {
            LoadLimit::Messages(_) => SLOTS_OF_MESSAGES_NS,
            LoadLimit::Duration(duration) => self
                .warmup_ns
                .saturating_add(duration)
                .saturating_add(SLOTS_SPARE_NS),
        }
    }

    /// When request `number` of an open loop should leave, in ns after the start.
    fn offset(rate: f64, number: u64) -> Nanos {
        ((number - 1) as f64 * SECOND as f64 / rate) as Nanos
    }
}

/// What a response was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first answer to the oldest unanswered request.
    First,
    /// A further answer to a request that already has one.
    Further,
    /// An answer to a request whose predecessor has none, or that was never sent.
    OutOfOrder,
}

/// Decides when to send and accounts for what comes back. Requests are numbered from 1.
#[derive(Debug)]
pub struct Load {
    config: LoadConfig,
    intended: Vec<Nanos>,
    started: Nanos,
    sent: u64,
    received: u64,
    measured_from: Option<(u64, Nanos)>,
    last_received: Nanos,
    last_sent: Nanos,
    in_flight_peak: u64,
    stop_after: Option<u64>,
    latencies: LatencyHistogram,
    slots: Vec<LatencySlots>,
}

impl From<LoadConfig> for Load {
    /// A load with all its room, its pages touched, whose latencies are not told apart. It starts
    /// when `begin` says so.
    fn from(config: LoadConfig) -> Self {
        let mut intended = vec![0; INTENDED_TIMES_MAX];
        black_box(&mut intended).fill(0);
        Self {
            config,
            intended,
            started: 0,
            sent: 0,
            received: 0,
            measured_from: None,
            last_received: 0,
            last_sent: 0,
            in_flight_peak: 0,
            stop_after: None,
            latencies: LatencyHistogram::touched(),
            slots: Vec::new(),
        }
    }
}

impl Load {
    /// The same, whose latencies are told apart by parts of time of these `lengths` too: of a long
    /// load that is much room, which takes a while to touch. Best made before the cluster is there.
    pub(crate) fn in_slots(config: LoadConfig, lengths: &[Nanos]) -> Self {
        let duration = config.slots_ns();
        let slots = lengths
            .iter()
            .map(|length| LatencySlots::new(*length, duration));
        Self {
            slots: slots.collect(),
            ..Self::from(config)
        }
    }

    /// A load that starts at `now`.
    #[must_use]
    pub fn new(config: LoadConfig, now: Nanos) -> Self {
        let mut load = Self::from(config);
        load.begin(now);
        load
    }

    /// The load starts at `now`.
    pub(crate) fn begin(&mut self, now: Nanos) {
        (self.started, self.last_received, self.last_sent) = (now, now, now);
        self.slots.iter_mut().for_each(|slots| slots.begin(now));
    }

    /// What was asked for.
    #[must_use]
    pub const fn config(&self) -> &LoadConfig {
        &self.config
    }

    fn intended_time(&self, number: u64, now: Nanos) -> Nanos {
        match self.config.shape {
            LoadShape::Closed { .. } => now,
            LoadShape::Open { rate } => self.started + LoadConfig::offset(rate, number),
        }
    }

    /// The request to offer now, if one is due. Offer it, then call [`on_sent`](Self::on_sent)
    /// if it was taken; otherwise it stays due.
    #[must_use]
    pub fn due(&self, now: Nanos) -> Option<u64> {
        let number = self.sent + 1;
        let in_flight = (self.sent - self.received) as usize;
        let has_room = match self.config.shape {
            LoadShape::Closed { window } => in_flight < window.min(INTENDED_TIMES_MAX),
            LoadShape::Open { .. } => {
                in_flight < INTENDED_TIMES_MAX && self.intended_time(number, now) <= now
            }
        };
        (has_room && !self.is_all_sent(now)).then_some(number)
    }

    /// When a request is due next, as far as no answer has to come first.
    #[must_use]
    pub(crate) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match self.config.shape {
            LoadShape::Open { rate } => {
                let offset = LoadConfig::offset(rate, self.sent + 1);
                Some((self.started + offset).max(now))
            }
            LoadShape::Closed { .. } => self.due(now).map(|_| now),
        }
    }

    /// The request that was due has been taken.
    pub fn on_sent(&mut self, now: Nanos) {
        self.sent += 1;
        self.last_sent = now;
        self.in_flight_peak = self.in_flight_peak.max(self.sent - self.received);
        let intended = self.intended_time(self.sent, now);
        self.intended[self.sent as usize % INTENDED_TIMES_MAX] = intended;
        if self.measured_from.is_none() && intended >= self.started + self.config.warmup_ns {
            self.measured_from = Some((self.sent, intended));
        }
    }

    /// A response to request `number` arrived.
    pub fn on_response(&mut self, now: Nanos, number: u64) -> Answer {
        if number == 0 || number > self.sent || number > self.received + 1 {
            return Answer::OutOfOrder;
        }
        if number <= self.received {
            return Answer::Further;
        }
        self.received = number;
        self.last_received = now;
        if self.measured_from.is_some_and(|(first, _)| number >= first) {
            let intended = self.intended[number as usize % INTENDED_TIMES_MAX];
            self.latencies.record(now - intended);
            for slots in &mut self.slots {
                slots.record(now, now - intended);
            }
        }
        Answer::First
    }

    /// What was sent above request `number` is due again, for nobody has it. Returns false, and
    /// does nothing, where that cannot be: an answer is there to a later one, or none was sent so
    /// far.
    #[must_use]
    pub(crate) fn send_again_above(&mut self, number: u64) -> bool {
        let can_be = (self.received..=self.sent).contains(&number);
        if can_be {
            self.sent = number;
        }
        can_be
    }

    /// No request is sent any more, whatever the limit says: the run is being cut short.
    pub fn stop(&mut self) {
        self.stop_after = Some(self.sent);
    }

    /// Whether everything that is to be sent has been.
    #[must_use]
    pub(crate) fn is_all_sent(&self, now: Nanos) -> bool {
        if self.stop_after.is_some() || self.sent >= self.config.messages_cap {
            return true;
        }
        if let Some(scheduled) = self.config.scheduled() {
            return self.sent >= scheduled || now >= self.schedule_end() + DRAIN_NS;
        }
        let Some((first, since)) = self.measured_from else {
            return false;
        };
        match self.config.limit {
            LoadLimit::Messages(messages) => self.sent + 1 - first >= messages,
            LoadLimit::Duration(duration) => now >= since + duration,
        }
    }

    /// When the last scheduled request of an open loop was due; the start of a closed one.
    fn schedule_end(&self) -> Nanos {
        match (self.config.shape, self.config.scheduled()) {
            (LoadShape::Open { rate }, Some(scheduled)) if scheduled > 0 => {
                self.started + LoadConfig::offset(rate, scheduled)
            }
            _ => self.started,
        }
    }

    /// Whether everything was sent and answered.
    #[must_use]
    pub fn is_done(&self, now: Nanos) -> bool {
        self.is_all_sent(now) && self.received == self.sent
    }

    /// Requests sent, warm-up included.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Requests answered, warm-up included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Number of the first measured request, once it was sent.
    #[must_use]
    pub(crate) fn first_measured(&self) -> Option<u64> {
        self.measured_from.map(|(first, _)| first)
    }

    /// Latencies of the measured requests that were answered.
    #[must_use]
    pub const fn latencies(&self) -> &LatencyHistogram {
        &self.latencies
    }

    /// The same, by the parts of time of this `length` that the requests were under way in, where
    /// they are told apart.
    #[must_use]
    pub(crate) fn slots(&self, length: Nanos) -> Option<&LatencySlots> {
        self.slots.iter().find(|slots| slots.length() == length)
    }

    /// From when to when was measured; `None` where nothing was.
    #[must_use]
    pub(crate) fn measured(&self) -> Option<(Nanos, Nanos)> {
        let (_, since) = self.measured_from?;
        Some((since, self.last_received))
    }

    /// Latencies of all measured requests. One that was due and never sent counts with the time
    /// it had waited at the end: it took at least as long.
    #[must_use]
    pub(crate) fn latencies_of_all_due(&self) -> LatencyHistogram {
        let mut all = self.latencies.clone();
        let LoadShape::Open { rate } = self.config.shape else {
            return all;
        };
        let end = self.last_received.max(self.schedule_end());
        let unsent = self.sent + 1..=self.sent + self.unsent();
        for offset in unsent.map(|number| LoadConfig::offset(rate, number)) {
            if offset >= self.config.warmup_ns {
                all.record(end - self.started - offset);
            }
        }
        all
    }

    /// Requests of an open loop that were scheduled and never sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        let scheduled = self.config.scheduled().unwrap_or(self.sent);
        scheduled.saturating_sub(self.sent)
    }

    /// How long after it was due the last request left that an open loop sent, ns.
    #[must_use]
    pub(crate) fn lateness(&self) -> Nanos {
        match self.config.shape {
            LoadShape::Open { rate } if self.sent > 0 => {
                self.last_sent - self.started - LoadConfig::offset(rate, self.sent)
            }
            _ => 0,
        }
    }

    /// Time from the start to the last send, ns.
    #[must_use]
    pub(crate) const fn sending_time(&self) -> Nanos {
        self.last_sent - self.started
    }

    /// Time from the first measured send to the last one, ns.
    #[must_use]
    pub(crate) fn measured_time(&self) -> Nanos {
        let since = self.measured_from.map(|(_, since)| since);
        since.map_or(0, |since| self.last_sent - since)
    }

    /// Most requests that were in flight at once.
    #[must_use]
    pub(crate) const fn in_flight_peak(&self) -> u64 {
        self.in_flight_peak
    }

    /// Whether [`stop`](Self::stop) cut the run short.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stop_after.is_some()
    }

    /// Measured answers per second, from the first measured send to the last answer.
    #[must_use]
    pub(crate) fn throughput(&self) -> f64 {
        let Some((_, since)) = self.measured_from else {
            return 0.0;
        };
        let elapsed = (self.last_received - since).max(1);
        self.latencies.count() as f64 * SECOND as f64 / elapsed as f64
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::time::MILLISECOND;

    use super::*;

    fn closed(window: usize, messages: u64) -> LoadConfig {
        LoadConfig {
            shape: LoadShape::Closed { window },
            warmup_ns: 0,
            limit: LoadLimit::Messages(messages),
            messages_cap: u64::MAX,
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_window_full_and_ends() {
        let mut load = Load::new(closed(2, 3), 100);
        assert_eq!(load.due(100), Some(1));
        load.on_sent(100);
        load.on_sent(110);
        assert_eq!((load.due(120), load.next_due(120)), (None, None));
        assert_eq!(load.on_response(130, 1), Answer::First);
        assert_eq!((load.due(130), load.next_due(130)), (Some(3), Some(130)));
        load.on_sent(130);
        assert!(load.is_all_sent(130) && !load.is_done(130));
        assert_eq!(load.on_response(140, 2), Answer::First);
        assert_eq!(load.on_response(150, 3), Answer::First);
        assert!(load.is_done(150));
        assert_eq!(load.latencies().summary().max, 30);
        assert_eq!(load.throughput(), 3.0 * 1e9 / 50.0);
    }

    #[test]
    fn an_open_loop_counts_from_the_intended_time() {
        let config = LoadConfig {
            shape: LoadShape::Open { rate: 1e6 },
            warmup_ns: 0,
            limit: LoadLimit::Messages(2),
            messages_cap: u64::MAX,
        };
        let mut load = Load::new(config, 0);
        load.on_sent(0);
        assert_eq!((load.due(999), load.next_due(999)), (None, Some(1_000)));
        // The sender was held up: the second request leaves 9 us late.
        assert_eq!(load.due(10_000), Some(2));
        load.on_sent(10_000);
        load.on_response(11_000, 1);
        load.on_response(11_000, 2);
        assert_eq!(load.latencies().summary().min, 10_000);
    }

    #[test]
    fn an_open_loop_that_cannot_keep_up_counts_what_it_never_sent() {
        let config = LoadConfig {
            shape: LoadShape::Open { rate: 1e3 },
            warmup_ns: 0,
            limit: LoadLimit::Duration(SECOND),
            messages_cap: u64::MAX,
        };
        assert_eq!(config.scheduled(), Some(1_000));
        let mut load = Load::new(config, 0);
        load.on_sent(0);
        load.on_response(MILLISECOND, 1);
        // The sender comes back when the second is over: all the others are still due.
        assert_eq!(load.due(SECOND), Some(2));
        assert!(!load.is_all_sent(SECOND + DRAIN_NS - 2 * MILLISECOND));
        assert!(load.is_all_sent(SECOND + DRAIN_NS) && load.is_done(SECOND + DRAIN_NS));
        assert_eq!(load.unsent(), 999);
        let all = load.latencies_of_all_due().summary();
        assert_eq!(all.count, 1_000);
        assert!((450 * MILLISECOND as u64..550 * MILLISECOND as u64).contains(&all.p50));
    }

    #[test]
    fn an_open_loop_that_catches_up_has_sent_everything() {
        let config = LoadConfig {
            shape: LoadShape::Open { rate: 100.0 },
            warmup_ns: 100 * MILLISECOND,
            limit: LoadLimit::Duration(SECOND),
            messages_cap: u64::MAX,
        };
        let mut load = Load::new(config, 0);
        let late = SECOND + 200 * MILLISECOND;
        while let Some(number) = load.due(late) {
            load.on_sent(late);
            load.on_response(late + MILLISECOND, number);
        }
        assert!(load.is_done(late));
        assert_eq!((load.sent(), load.unsent()), (110, 0));
        assert_eq!(load.latencies().count(), 100);
        assert_eq!(load.lateness(), 110 * MILLISECOND);
    }

    #[test]
    fn answers_out_of_order_are_noticed() {
        let mut load = Load::new(closed(8, 8), 0);
        load.on_sent(0);
        load.on_sent(0);
        assert_eq!(load.on_response(1, 2), Answer::OutOfOrder);
        assert_eq!(load.on_response(1, 3), Answer::OutOfOrder);
        assert_eq!(load.on_response(1, 1), Answer::First);
        assert_eq!(load.on_response(1, 1), Answer::Further);
    }

    #[test]
    fn what_nobody_has_is_sent_again_and_nothing_that_was_answered() {
        let mut load = Load::new(closed(3, 8), 0);
        (0..3).for_each(|_| load.on_sent(0));
        assert_eq!(load.on_response(1, 1), Answer::First);
        assert!(!load.send_again_above(0) && !load.send_again_above(4));
        assert_eq!(load.sent(), 3);
        assert!(load.send_again_above(2));
        assert_eq!(load.due(2), Some(3));
        load.on_sent(2);
        assert_eq!(load.on_response(3, 2), Answer::First);
        assert_eq!(load.on_response(3, 3), Answer::First);
    }

    #[test]
    fn warm_up_is_sent_but_not_measured() {
        let config = LoadConfig {
            warmup_ns: 1_000,
            limit: LoadLimit::Duration(1_000),
            ..closed(1, 0)
        };
        let mut load = Load::new(config, 0);
        for (sent, answered) in [(0, 400), (500, 900), (1_000, 1_400), (1_900, 2_100)] {
            load.on_sent(sent);
            let number = load.sent();
            load.on_response(answered, number);
        }
        assert_eq!(load.latencies().count(), 2);
        assert!(load.is_done(2_100));
        assert_eq!(load.first_measured(), Some(3));
    }
}
