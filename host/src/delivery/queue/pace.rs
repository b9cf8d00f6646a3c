//! The pace of a rate-limited queue. It is not stored: the first attempt after a start, a change of the webhook or of its owner
//! begins at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::rate_limit::RateLimit;

/// How far a queue may catch up with its own pace: the lateness of timers.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Spaces the attempts of one queue.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Between the beginnings of two attempts.
    interval: Option<Duration>,
    /// The earliest beginning of the next attempt.
    next_at: Option<Instant>,
}

impl Pace {
    /// Returns the pace of a rate limit.
    pub(super) fn new(rate_limit: Option<RateLimit>) -> Self {
        let mut pace = Self::default();
        pace.set_rate(rate_limit);
        pace
    }

    /// Sets the rate limit. An attempt that is already spaced keeps its time.
    pub(super) fn set_rate(&mut self, rate_limit: Option<RateLimit>) {
        self.interval = rate_limit.map(RateLimit::interval);
    }

    /// Spaces the attempt after one that begins now.
    pub(super) fn attempt_began(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            // A queue that is slower than its timers are late needs to catch up with nothing.
            let late = if interval < CATCH_UP { CATCH_UP } else { Duration::ZERO };
            let earliest = now.checked_sub(late).unwrap_or(now);
            self.next_at = Some(self.next_at.map_or(now, |next_at| next_at.max(earliest)) + interval);
        }
    }

    /// Allows the next attempt at once.
    pub(super) fn reset(&mut self) {
        self.next_at = None;
    }

    /// Returns the earliest beginning of the next attempt; `None`: at any time.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Returns whether the pace allows an attempt now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.next_at.is_none_or(|next_at| next_at <= now)
    }
}
