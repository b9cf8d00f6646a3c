//! The metrics of events, deliveries and attempts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labelled_counters::{CounterFamily, LabelledCounters, Labels};
use super::{GaugeGuard, Metrics, add, seconds};
use crate::domain::delivery::{STATUSES, Status};
use crate::domain::event_type::Validation;
use crate::domain::waiting::{Waiting, WaitingCount};

/// The promised time from acceptance to delivery.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// Buckets in seconds: from the fastest receivers to the longest timeout of a webhook; one is the default attempt timeout.
const ATTEMPT_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0];
/// Buckets in seconds: from an immediate delivery to the end of the default schedule; one is exactly [`FIVE_MINUTES`].
const EVENT_TO_DELIVERY_BUCKETS: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0,
    172_800.0,
];

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered 2xx.
    Success,
    /// The plugin filtered the event, or failed with `on_error` set to `drop`: nothing was sent.
    Filtered,
    /// The receiver answered with any other status.
    HttpError,
    /// There was no answer: a refused connection, a timeout, or a target that may not be reached.
    NoAnswer,
    /// The plugin failed or could not be loaded: nothing was sent.
    PluginError,
}

const RESULTS: [AttemptResult; 5] = [
    AttemptResult::Success,
    AttemptResult::Filtered,
    AttemptResult::HttpError,
    AttemptResult::NoAnswer,
    AttemptResult::PluginError,
];

impl AttemptResult {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Filtered => "filtered",
            Self::HttpError => "http_error",
            Self::NoAnswer => "no_answer",
            Self::PluginError => "plugin_error",
        }
    }
}

#[derive(Debug)]
pub(super) struct DeliveryMetrics {
    accepted: Counter,
    unmatched: Counter,
    refused: Family<Labels<1>, Counter>,
    invalid: LabelledCounters<Validation>,
    ended: LabelledCounters<Status>,
    attempts: LabelledCounters<AttemptResult>,
    in_flight: Gauge,
    attempt: Histogram,
    event_to_delivery: Histogram,
    on_time: Counter,
    waiting: Family<Labels<1>, Gauge>,
    oldest_waiting: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    oldest_due: Gauge<f64, AtomicU64>,
}

impl DeliveryMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let final_statuses = STATUSES.into_iter().filter(|status| *status != Status::Pending);
        let outcomes = CounterFamily {
            name: "deliveries",
            help: "Deliveries that reached a final status; one that is retried or replayed counts again",
        };
        let results = CounterFamily { name: "attempts", help: "Delivery attempts, by result" };
        let invalid =
            CounterFamily { name: "events_invalid", help: "Events whose data broke the schema of their type" };
        let actions = [Validation::Warn, Validation::Reject];
        let oldest_due = Gauge::default();
        let age = "Time since the oldest due delivery that no node holds in memory became due; 0 if there is none";
        to.register_with_unit("oldest_due_delivery_age", age, Unit::Seconds, oldest_due.clone());
        let oldest_waiting = Family::default();
        let age = "Time since the acceptance of the oldest pending delivery, by state; 0 if there is none";
        to.register_with_unit("oldest_waiting_delivery_age", age, Unit::Seconds, oldest_waiting.clone());
        let duration = "Duration of attempts, including the transform";
        let latency = "Time from an event's acceptance to the end of the attempt that delivered it; without replays";
        let within = "First deliveries that ended within 300 s of the event's acceptance";
        Self {
            accepted: add(to, "events_accepted", "Events stored, each id once", Counter::default()),
            unmatched: add(to, "events_unmatched", "Events stored for which nobody subscribed", Counter::default()),
            refused: add(to, "events_refused", "Events that were not stored, by reason", Family::default()),
            invalid: LabelledCounters::register(to, invalid, actions, |action| [("validate", action.name())]),
            ended: LabelledCounters::register(to, outcomes, final_statuses, |status| [("outcome", status.name())]),
            attempts: LabelledCounters::register(to, results, RESULTS, |result| [("result", result.name())]),
            in_flight: add(to, "attempts_in_flight", "Attempts in progress", Gauge::default()),
            attempt: seconds(to, "attempt_duration", duration, &ATTEMPT_BUCKETS),
            event_to_delivery: seconds(to, "event_to_delivery", latency, &EVENT_TO_DELIVERY_BUCKETS),
            on_time: add(to, "deliveries_on_time", within, Counter::default()),
            waiting: add(to, "deliveries_waiting", "Pending deliveries, by state", Family::default()),
            oldest_waiting,
            oldest_due,
        }
    }
}

impl Metrics {
    /// Counts an event that was stored for the first time under its id.
    pub fn event_accepted(&self) {
        self.delivering.accepted.inc();
    }

    /// Counts an event that was stored, though nobody subscribes to its type.
    pub fn event_unmatched(&self) {
        self.delivering.unmatched.inc();
    }

    /// Counts an event that was not stored; `reason` comes from a fixed table of problem types.
    pub fn event_refused(&self, reason: &'static str) {
        self.delivering.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts an event whose data broke the schema of its type; `validation` says what happens to it.
    pub fn event_invalid(&self, validation: Validation) {
        self.delivering.invalid.add(validation, 1);
    }

    /// Counts deliveries that reached this final status; [`Status::Pending`] is not final and is ignored.
    pub fn deliveries_ended(&self, status: Status, count: u64) {
        self.delivering.ended.add(status, count);
    }

    /// Counts an attempt as in flight until the returned guard is dropped.
    pub fn attempt_began(&self) -> GaugeGuard {
        GaugeGuard::new(&self.delivering.in_flight)
    }

    /// Records the result and the duration of an attempt.
    pub fn attempt_ended(&self, result: AttemptResult, took: Duration) {
        self.delivering.attempts.add(result, 1);
        self.delivering.attempt.observe(took.as_secs_f64());
    }

    /// Records the time from an event's acceptance to its delivery. Callers leave out replays: their latency depends on
    /// the time of the request, not on the service.
    pub fn event_delivered(&self, after: Duration) {
        self.delivering.event_to_delivery.observe(after.as_secs_f64());
        if after <= FIVE_MINUTES {
            self.delivering.on_time.inc();
        }
    }

    /// Sets the gauges of the deliveries that wait in the database, at `now_ms`, in milliseconds since 1970.
    pub fn waiting(&self, waiting: &Waiting, now_ms: i64) {
        let Waiting { scheduled, backlog, disabled, replayed, pulled } = *waiting;
        for (state, count) in [
            ("scheduled", scheduled),
            ("backlog", backlog),
            ("disabled", disabled),
            ("replayed", replayed),
            ("pulled", pulled),
        ] {
            self.delivering.set_waiting(state, count, now_ms);
        }
    }

    /// Sets the gauges of the deliveries that this process has in memory, at `now_ms`, in milliseconds since 1970.
    pub fn waiting_in_memory(&self, held: WaitingCount, now_ms: i64) {
        self.delivering.set_waiting("leased", held, now_ms);
    }

    /// Sets the due time of the oldest due delivery that no node holds in memory; both in milliseconds since 1970.
    pub fn oldest_due(&self, oldest_due: Option<i64>, now_ms: i64) {
        self.delivering.oldest_due.set(seconds_since(oldest_due, now_ms));
    }
}

impl DeliveryMetrics {
    fn set_waiting(&self, state: &'static str, WaitingCount { count, oldest }: WaitingCount, now_ms: i64) {
        let labels = [("state", state)];
        self.waiting.get_or_create(&labels).set(count);
        self.oldest_waiting.get_or_create(&labels).set(seconds_since(oldest, now_ms));
    }
}

/// Returns the seconds from `ms` to `now_ms`; 0 for none, or an instant ahead of a clock that was set back.
fn seconds_since(ms: Option<i64>, now_ms: i64) -> f64 {
    let age = ms.map_or(0, |ms| now_ms.saturating_sub(ms).max(0));
    Duration::from_millis(age.unsigned_abs()).as_secs_f64()
}
