//! The health of a webhook's receiver, from the results of its attempts.
//!
//! A receiver that is silent or overloaded is probed, so that it costs next to nothing and is found healthy again within
//! half a minute: one attempt at a time with pauses between. A few failures in a row are no reason yet: every event has
//! a retry schedule of its own. If the receiver answers, only retries are probes: it may accept the next event, so each
//! first attempt is made at once. A refused event says nothing about the others, so refusals never lead to probing.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::webhook::Webhook;

/// Attempts in a row that found the receiver silent or overloaded, and the time they have to span, before it is probed.
const PROBED_AFTER: u32 = 16;
const PROBED_AFTER_SPAN: Duration = Duration::from_secs(5);
/// Attempts without a response, in a row, after which a receiver is silent.
pub(super) const SILENT_AFTER: u32 = 3;
/// The pause between two probes: an eighth of the time for which the receiver has been failing, within these bounds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Failures of one webhook are logged once in this time.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// A streak whose last failure is this long ago is no longer remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);

/// The result of an attempt, as far as it concerns the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum ReceiverSignal {
    /// It accepted the event.
    Accepted,
    /// It refused this event (3xx, 4xx).
    Refused,
    /// The plugin failed on the event, so that nothing was sent.
    PluginFailed,
    /// It accepts no event for now (5xx).
    Overloaded,
    /// It accepts no event for this long (429, or 503 with `Retry-After`); `None`: it does not say how long.
    Throttled(Option<Duration>),
    /// It did not respond: such an attempt may have held its slot for the whole time-out.
    NoResponse,
    /// Nothing was sent, or the failure was the host's.
    Nothing,
}

/// A streak of failures, right after one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) struct FailureStreak {
    /// The time of its first failure, milliseconds since 1970.
    pub(in crate::delivery) since_ms: i64,
    /// If it is time to log the failures of this webhook: their number since they were last logged.
    pub(in crate::delivery) failures_to_log: Option<u32>,
}

/// Failures in a row, without a success between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failures {
    /// Those that found it silent or overloaded, in a row: counted towards probing.
    pub(super) count: u32,
    /// The first of them; `None`: it refused the last event.
    pub(super) first: Option<Instant>,
    pub(super) last: Instant,
    /// The time of the first failure, milliseconds since 1970.
    pub(super) since_ms: i64,
    /// How many of the last ones, in a row, were without a response.
    pub(super) unanswered: u32,
    /// When the last retry began.
    pub(super) last_retry: Option<Instant>,
}

impl Failures {
    fn new(now: Instant, since_ms: i64) -> Self {
        Self { count: 0, first: None, last: now, since_ms, unanswered: 0, last_retry: None }
    }

    fn add(&mut self, kind: FailureKind, now: Instant) {
        self.last = now;
        match kind {
            FailureKind::NotSent => (),
            FailureKind::Refused => (self.count, self.first, self.unanswered) = (0, None, 0),
            FailureKind::Overloaded | FailureKind::NoResponse => {
                self.count = self.count.saturating_add(1);
                self.first.get_or_insert(now);
                let answered = kind == FailureKind::Overloaded;
                self.unanswered = if answered { 0 } else { self.unanswered.saturating_add(1) };
            }
        }
    }

    /// Returns the pause between two probes; `None`: the receiver is not probed.
    fn probe_pause(&self) -> Option<Duration> {
        let span = self.last.duration_since(self.first?);
        let probed = self.count >= PROBED_AFTER && span >= PROBED_AFTER_SPAN;
        probed.then(|| (span / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    fn is_silent(&self) -> bool {
        self.unanswered >= SILENT_AFTER
    }
}

/// A failed attempt, as far as it concerns the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    NotSent,
    Refused,
    Overloaded,
    NoResponse,
}

/// The state of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReceiverState {
    /// Nothing is known of it.
    Unproven,
    /// It was failing when its queue was made, according to the database: it counts as silent.
    Suspected,
    /// It accepted the last event.
    Healthy,
    /// It did not accept the last events.
    Failing(Failures),
}

impl ReceiverState {
    /// Records the result of an attempt that ended at `now`, which is `now_ms` milliseconds since 1970. Returns the
    /// time of the first failure if the attempt failed, milliseconds since 1970.
    pub(super) fn attempt_ended(&mut self, signal: ReceiverSignal, now: Instant, now_ms: i64) -> Option<i64> {
        let kind = match signal {
            ReceiverSignal::Nothing => return None,
            ReceiverSignal::Accepted => {
                *self = Self::Healthy;
                return None;
            }
            ReceiverSignal::PluginFailed => FailureKind::NotSent,
            ReceiverSignal::Refused => FailureKind::Refused,
            ReceiverSignal::Overloaded | ReceiverSignal::Throttled(_) => FailureKind::Overloaded,
            ReceiverSignal::NoResponse => FailureKind::NoResponse,
        };
        let mut failures = match std::mem::replace(self, Self::Unproven) {
            Self::Failing(failures) => failures,
            Self::Unproven | Self::Suspected | Self::Healthy => Failures::new(now, now_ms),
        };
        failures.add(kind, now);
        let since_ms = failures.since_ms;
        *self = Self::Failing(failures);
        Some(since_ms)
    }

    /// Records that a retry begins.
    pub(super) fn retry_began(&mut self, now: Instant) {
        if let Self::Failing(failures) = self {
            failures.last_retry = Some(now);
        }
    }

    /// Records that the webhook was changed: its receiver may be another one.
    pub(super) fn webhook_changed(&mut self) {
        *self = Self::Unproven;
    }

    /// Records that a user wants an attempt now: it does not wait for the next probe. The start of the streak stays.
    pub(super) fn attempt_requested(&mut self) {
        if let Self::Failing(failures) = self {
            failures.count = 0;
        }
    }

    /// Returns whether attempts are expected to hang until the time-out.
    pub(super) fn is_silent(&self) -> bool {
        match self {
            Self::Unproven | Self::Healthy => false,
            Self::Suspected => true,
            Self::Failing(failures) => failures.is_silent(),
        }
    }

    /// Returns when the next attempt may begin, a retry or a first attempt; `None`: at any time.
    pub(super) fn opens_at(&self, is_retry: bool) -> Option<Instant> {
        let Self::Failing(failures) = self else { return None };
        let pause = failures.probe_pause()?;
        match (failures.is_silent(), is_retry) {
            (true, _) => Some(failures.last + pause),
            (false, true) => failures.last_retry.map(|began| began + pause),
            (false, false) => None,
        }
    }

    /// Returns whether every attempt is a probe.
    pub(super) fn is_only_probed(&self) -> bool {
        matches!(self, Self::Failing(failures) if failures.is_silent() && failures.probe_pause().is_some())
    }
}

/// When failures were last logged. It outlives the streaks: a receiver that fails now and then is logged no more often
/// than one that always fails.
#[derive(Debug, Default)]
struct FailureLog {
    last: Option<Instant>,
    unlogged: u32,
}

impl FailureLog {
    /// Counts a failure. Returns the number of failures to log, if it is time.
    fn failed(&mut self, now: Instant) -> Option<u32> {
        self.unlogged = self.unlogged.saturating_add(1);
        if !self.is_due(now) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.duration_since(last) >= LOGGED_EVERY)
    }
}

/// The health of one webhook's receiver.
#[derive(Debug)]
pub(super) struct ReceiverHealth {
    state: ReceiverState,
    log: FailureLog,
}

impl ReceiverHealth {
    /// Returns the health that the database has noted.
    pub(super) fn new(webhook: &Webhook) -> Self {
        let state = match (webhook.failing_since, webhook.proven) {
            (Some(_), _) => ReceiverState::Suspected,
            (None, true) => ReceiverState::Healthy,
            (None, false) => ReceiverState::Unproven,
        };
        Self { state, log: FailureLog::default() }
    }

    /// Records the result of an attempt that ended at `now`, which is `now_ms` milliseconds since 1970. Returns the
    /// streak that it belongs to, if it failed.
    pub(super) fn attempt_ended(&mut self, signal: ReceiverSignal, now: Instant, now_ms: i64) -> Option<FailureStreak> {
        let since_ms = self.state.attempt_ended(signal, now, now_ms)?;
        Some(FailureStreak { since_ms, failures_to_log: self.log.failed(now) })
    }

    /// See [`ReceiverState::webhook_changed`].
    pub(super) fn webhook_changed(&mut self) {
        self.state.webhook_changed();
    }

    /// See [`ReceiverState::attempt_requested`].
    pub(super) fn attempt_requested(&mut self) {
        self.state.attempt_requested();
    }

    /// Returns whether it accepted the last event.
    pub(super) fn is_healthy(&self) -> bool {
        self.state == ReceiverState::Healthy
    }

    /// See [`ReceiverState::is_silent`].
    pub(super) fn is_silent(&self) -> bool {
        self.state.is_silent()
    }

    /// See [`ReceiverState::retry_began`].
    pub(super) fn retry_began(&mut self, now: Instant) {
        self.state.retry_began(now);
    }

    /// See [`ReceiverState::opens_at`].
    pub(super) fn opens_at(&self, is_retry: bool) -> Option<Instant> {
        self.state.opens_at(is_retry)
    }

    /// See [`ReceiverState::is_only_probed`].
    pub(super) fn is_only_probed(&self) -> bool {
        self.state.is_only_probed()
    }

    /// Returns whether nothing is worth remembering.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        let forgettable = match &self.state {
            ReceiverState::Failing(failures) => now.duration_since(failures.last) > REMEMBERED,
            ReceiverState::Unproven | ReceiverState::Suspected | ReceiverState::Healthy => true,
        };
        forgettable && self.log.is_due(now)
    }
}
