//! The health of a webhook's receiver, from the results of its attempts.
//!
//! A receiver that only fails is probed, one attempt at a time with pauses between, so that it costs next to nothing and
//! is found healthy again within half a minute. A few failures in a row are no reason yet: every event has a retry
//! schedule of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::webhook::Webhook;

/// Failures in a row, and the time they have to span, before a receiver is only probed.
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
    /// It answered that it did not, or the plugin failed.
    Rejected,
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
    /// Counted towards probing.
    pub(super) count: u32,
    pub(super) first: Instant,
    pub(super) last: Instant,
    /// The time of the first one, milliseconds since 1970.
    pub(super) since_ms: i64,
    /// How many of the last ones, in a row, were without a response.
    pub(super) unanswered: u32,
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
        let answered = match signal {
            ReceiverSignal::Nothing => return None,
            ReceiverSignal::Accepted => {
                *self = Self::Healthy;
                return None;
            }
            ReceiverSignal::Rejected => true,
            ReceiverSignal::NoResponse => false,
        };
        match self {
            Self::Failing(failures) => {
                failures.count = failures.count.saturating_add(1);
                failures.last = now;
                failures.unanswered = if answered { 0 } else { failures.unanswered.saturating_add(1) };
                Some(failures.since_ms)
            }
            Self::Unproven | Self::Suspected | Self::Healthy => {
                let unanswered = u32::from(!answered);
                *self = Self::Failing(Failures { count: 1, first: now, last: now, since_ms: now_ms, unanswered });
                Some(now_ms)
            }
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
            Self::Failing(failures) => failures.unanswered >= SILENT_AFTER,
        }
    }

    /// Returns when the next probe may begin; `None`: the receiver is not only probed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        let Self::Failing(failures) = self else { return None };
        let span = failures.last.duration_since(failures.first);
        let probed = failures.count >= PROBED_AFTER && span >= PROBED_AFTER_SPAN;
        probed.then(|| failures.last + (span / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
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

    /// See [`ReceiverState::probe_at`].
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.state.probe_at()
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
