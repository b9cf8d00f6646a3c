//! How a webhook's receiver has been answering of late.
//!
//! A receiver that only fails is probed, one attempt at a time with pauses between, so that it costs next to nothing and
//! is found well again within half a minute. A few failures in a row are no reason yet: every event has a schedule of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::webhook::Webhook;

/// Failures in a row, and the time they have to span, before a lane is only probed.
const STRIKES: u32 = 16;
const SPAN: Duration = Duration::from_secs(5);
/// Attempts without an answer, in a row, after which a receiver is one that keeps silent.
const SILENCES: u32 = 3;
/// The pause between two probes: an eighth of how long it has been failing, within these.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A failing webhook is logged once in this time.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// What failed the last time this long ago is no longer remembered.
const MEMORY: Duration = Duration::from_secs(3600);

/// What an attempt says about the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum ReceiverSignal {
    /// It took the event.
    Accepted,
    /// It answered that it did not, or the plugin failed.
    Rejected,
    /// It gave no answer: such an attempt may have held its slot for the whole time-out.
    NoResponse,
    /// Nothing: it was not asked, or the failure was the host's.
    Nothing,
}

/// A streak of failures, right after one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) struct FailureStreak {
    /// When the first of them was, milliseconds since 1970.
    pub(in crate::delivery) since_ms: i64,
    /// It is time to log it: so many failed since the last time.
    pub(in crate::delivery) failures_to_log: Option<u32>,
}

#[derive(Debug)]
struct Failing {
    strikes: u32,
    began: Instant,
    since: i64,
    last: Instant,
    /// How many of the last were silent.
    silences: u32,
}

/// What is remembered of one lane's attempts.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The last attempt that said something said that the receiver is well.
    proven: bool,
    /// It was failing when this process began to look.
    suspected: bool,
    failing: Option<Failing>,
    /// When a failure was last logged: one that fails now and then is not logged each time either.
    said: Option<Instant>,
    unsaid: u32,
}

impl Health {
    /// As it was written down.
    pub(super) fn of(webhook: &Webhook) -> Self {
        Self { proven: webhook.proven, suspected: webhook.failing_since.is_some(), ..Self::default() }
    }

    /// Takes in an attempt that ended at `now`, which is `now_ms` milliseconds since 1970.
    pub(super) fn judge(&mut self, verdict: ReceiverSignal, now: Instant, now_ms: i64) -> Option<FailureStreak> {
        let silent = match verdict {
            ReceiverSignal::Nothing => return None,
            ReceiverSignal::Accepted => {
                (self.proven, self.suspected, self.failing) = (true, false, None);
                return None;
            }
            ReceiverSignal::Rejected => false,
            ReceiverSignal::NoResponse => true,
        };
        self.proven = false;
        let failing =
            self.failing.get_or_insert(Failing { strikes: 0, began: now, since: now_ms, last: now, silences: 0 });
        failing.strikes = failing.strikes.saturating_add(1);
        failing.last = now;
        failing.silences = if silent { failing.silences.saturating_add(1) } else { 0 };
        let since = failing.since;
        self.unsaid = self.unsaid.saturating_add(1);
        let due = self.said.is_none_or(|said| now.duration_since(said) >= SAID_EVERY);
        let say = due.then(|| std::mem::take(&mut self.unsaid));
        if due {
            self.said = Some(now);
        }
        Some(FailureStreak { since_ms: since, failures_to_log: say })
    }

    /// Forgets how the receiver has been answering.
    pub(super) fn start_anew(&mut self) {
        (self.proven, self.suspected, self.failing) = (false, false, None);
    }

    /// The next attempt need not wait for the time of a probe. Since when it has been failing stays as it was.
    pub(super) fn hurry(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.strikes = 0;
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether it keeps silent.
    pub(super) fn is_silent(&self) -> bool {
        self.failing.as_ref().map_or(self.suspected, |failing| failing.silences >= SILENCES)
    }

    /// When the next probe may begin; `None`: the receiver is not only probed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        let failing = self.failing.as_ref()?;
        let span = failing.last.duration_since(failing.began);
        (failing.strikes >= STRIKES && span >= SPAN).then(|| failing.last + (span / 8).clamp(SHORTEST, LONGEST))
    }

    /// Whether there is nothing worth remembering.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.failing.as_ref().is_none_or(|failing| now.duration_since(failing.last) > MEMORY)
            && self.said.is_none_or(|said| now.duration_since(said) >= SAID_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(health: &mut Health, begin: Instant, at: Duration) -> FailureStreak {
        let ms = i64::try_from(at.as_millis()).unwrap();
        health.judge(ReceiverSignal::NoResponse, begin + at, ms).unwrap()
    }

    #[test]
    fn is_probed_after_many_failures_over_some_time_and_well_after_one_success() {
        let (begin, mut health) = (Instant::now(), Health::default());
        for _ in 0..100 {
            failed(&mut health, begin, Duration::from_secs(4));
        }
        assert_eq!(health.probe_at(), None);
        failed(&mut health, begin, Duration::from_secs(9));
        assert_eq!(health.probe_at(), Some(begin + Duration::from_secs(10)));
        failed(&mut health, begin, Duration::from_secs(84));
        assert_eq!(health.probe_at(), Some(begin + Duration::from_secs(94)));
        let streak = failed(&mut health, begin, Duration::from_secs(4000));
        assert_eq!((health.probe_at(), streak.since_ms), (Some(begin + Duration::from_secs(4030)), 4000));
        assert_eq!(health.judge(ReceiverSignal::Accepted, begin, 0), None);
        assert!(health.probe_at().is_none() && health.is_proven() && !health.is_silent());
    }

    #[test]
    fn is_logged_once_a_minute_with_the_number_of_failures_since() {
        let (begin, mut health) = (Instant::now(), Health::default());
        let said: Vec<_> = (0..130)
            .filter_map(|second| failed(&mut health, begin, Duration::from_secs(second)).failures_to_log)
            .collect();
        assert_eq!(said, [1, 60, 60]);
    }

    #[test]
    fn one_that_fails_now_and_then_is_logged_no_oftener() {
        let (begin, mut health) = (Instant::now(), Health::default());
        let mut said = Vec::new();
        for tenth in 0..1300 {
            said.extend(failed(&mut health, begin, Duration::from_millis(100 * tenth)).failures_to_log);
            health.judge(ReceiverSignal::Accepted, begin, 0);
            assert!(!health.is_forgotten(begin + Duration::from_millis(100 * tenth)));
        }
        assert_eq!(said, [1, 600, 600]);
        assert!(health.is_forgotten(begin + Duration::from_secs(180)));
    }

    #[test]
    fn what_says_nothing_about_the_receiver_changes_nothing() {
        let (begin, mut health) = (Instant::now(), Health::default());
        for _ in 0..SILENCES {
            assert!(!health.is_silent());
            failed(&mut health, begin, Duration::ZERO);
        }
        assert_eq!(health.judge(ReceiverSignal::Nothing, begin, 0), None);
        assert!(health.is_silent() && !health.is_forgotten(begin + MEMORY));
        assert!(health.is_forgotten(begin + MEMORY + Duration::from_secs(1)));
    }
}
