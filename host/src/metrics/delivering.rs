//! Events, their deliveries and the attempts at them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::known::{Known, Labels};
use super::{Held, Metrics, add, seconds};
use crate::domain::delivery::{STATUSES, Status, Waiting};

/// What is promised: an event is delivered within this long.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// From the quickest receiver to the longest that an attempt takes by default.
const ATTEMPT: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];
/// From at once to the end of the default schedule; one is [`FIVE_MINUTES`] exactly.
const EVENT_TO_DELIVERY: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0,
    172_800.0,
];

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered 2xx.
    Success,
    /// The plugin filtered the event, or failed where that means the same: nothing was sent.
    Filtered,
    /// The receiver answered anything else.
    HttpError,
    /// There was no answer, or no way to ask: a refused connection, a timeout, a target that may not be reached.
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
pub(super) struct Delivering {
    accepted: Counter,
    refused: Family<Labels<1>, Counter>,
    ended: Known<Status>,
    attempts: Known<AttemptResult>,
    in_flight: Gauge,
    attempt: Histogram,
    event_to_delivery: Histogram,
    within_five_minutes: Counter,
    waiting: Family<Labels<1>, Gauge>,
    oldest_due: Gauge<f64, AtomicU64>,
}

impl Delivering {
    pub(super) fn register(to: &mut Registry) -> Self {
        let ends = STATUSES.into_iter().filter(|status| *status != Status::Pending);
        let outcomes = ("deliveries", "Deliveries that came to their end; one that is retried or replayed ends again");
        let results = ("attempts", "Attempts at deliveries, by what came of them");
        let oldest_due = Gauge::default();
        let age = "How long the delivery has been due that has been so the longest and is in no memory; 0: none";
        to.register_with_unit("oldest_due_delivery_age", age, Unit::Seconds, oldest_due.clone());
        let within = "First deliveries that ended within 300 s of the event's acceptance";
        Self {
            accepted: add(to, "events_accepted", "Events stored, each id once", Counter::default()),
            refused: add(to, "events_refused", "Events that were not stored, by reason", Family::default()),
            ended: Known::register(to, outcomes, ends, |status| [("outcome", status.name())]),
            attempts: Known::register(to, results, RESULTS, |result| [("result", result.name())]),
            in_flight: add(to, "attempts_in_flight", "Attempts under way", Gauge::default()),
            attempt: seconds(to, "attempt_duration", "Attempts, their transforms included", &ATTEMPT),
            event_to_delivery: seconds(
                to,
                "event_to_delivery",
                "From an event's acceptance to the end of the attempt that delivered it; replays are left out",
                &EVENT_TO_DELIVERY,
            ),
            within_five_minutes: add(to, "deliveries_within_five_minutes", within, Counter::default()),
            waiting: add(
                to,
                "deliveries_waiting",
                "Deliveries that are pending, by where they wait",
                Family::default(),
            ),
            oldest_due,
        }
    }
}

impl Metrics {
    /// An event was stored, for the first time under its id.
    pub fn event_accepted(&self) {
        self.delivering.accepted.inc();
    }

    /// An event was not stored; `reason` is from a fixed table of such words.
    pub fn event_refused(&self, reason: &'static str) {
        self.delivering.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// So many deliveries have this status from now on; [`Status::Pending`] is no end and is ignored.
    pub fn deliveries_ended(&self, status: Status, count: u64) {
        self.delivering.ended.add(status, count);
    }

    /// An attempt is under way for as long as the answer lives.
    pub fn attempt_began(&self) -> Held {
        Held::new(&self.delivering.in_flight)
    }

    /// An attempt took this long and came to this.
    pub fn attempt_ended(&self, result: AttemptResult, took: Duration) {
        self.delivering.attempts.add(result, 1);
        self.delivering.attempt.observe(took.as_secs_f64());
    }

    /// An event was delivered this long after it was accepted. A replay is not told: it says nothing about waiting.
    pub fn event_delivered(&self, after: Duration) {
        self.delivering.event_to_delivery.observe(after.as_secs_f64());
        if after <= FIVE_MINUTES {
            self.delivering.within_five_minutes.inc();
        }
    }

    /// What waits, as it was counted at `now_ms`, milliseconds since 1970.
    pub fn waiting(&self, waiting: &Waiting, now_ms: i64) {
        let Waiting { scheduled, leased, parked, replayed, oldest_due } = *waiting;
        let states = [("scheduled", scheduled), ("leased", leased), ("parked", parked), ("replayed", replayed)];
        for (state, count) in states {
            self.delivering.waiting.get_or_create(&[("state", state)]).set(count);
        }
        let age = oldest_due.map_or(0, |due| now_ms.saturating_sub(due).max(0));
        self.delivering.oldest_due.set(Duration::from_millis(age.unsigned_abs()).as_secs_f64());
    }
}
