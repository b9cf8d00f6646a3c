//! The consequences of an attempt, as pure functions: for its delivery, and for its webhook.

use std::time::Duration;

use crate::delivery::attempt::{AttemptOutcome, Rejection, whole_ms};
use crate::delivery::queue::QueuedDelivery;
use crate::domain::delivery::Status;
use crate::domain::id;
use crate::domain::retry::Schedule;
use crate::domain::webhook::Webhook;
use crate::store::FailureNote;

/// A webhook that has only failed for this long is disabled, in milliseconds.
const DISABLE_AFTER_MS: i64 = 48 * 3_600_000;
/// A streak of failures is stored once it is this old, in milliseconds, or pauses for as long: a webhook that fails now and
/// then must not cost a write each time.
const STORE_STREAK_AFTER_MS: i64 = 60_000;
/// The ages of a streak of failures that are announced, in milliseconds: a minute, an hour, a day. The first is no shorter than
/// [`STORE_STREAK_AFTER_MS`], so that what is announced is stored.
const ANNOUNCED_AFTER_MS: [i64; 3] = [60_000, 3_600_000, 24 * 3_600_000];
/// How much later than `Retry-After` an attempt may be, as a share of the wait.
const RETRY_AFTER_SPREAD: f64 = 0.1;

/// What happens to a delivery next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextStep {
    pub(super) status: Status,
    /// When the next attempt is due, milliseconds since 1970. `None` with [`Status::Pending`]: when its webhook is enabled.
    pub(super) due: Option<i64>,
    /// Attempts that the schedule does not count.
    pub(super) attempt_base: u32,
}

/// The state of the delivery's webhook when its attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebhookNow {
    Enabled,
    Disabled,
    Removed,
    /// The database did not answer.
    Unknown,
}

/// A streak of failures, right after one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streak {
    /// When the first failure was, milliseconds since 1970.
    pub(super) since_ms: i64,
    /// By the same clock.
    pub(super) now_ms: i64,
    /// How long this delivery rests before its next attempt; `None`: it has none.
    pub(super) rest_ms: Option<i64>,
}

/// What happens to the webhook next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    None,
    /// It is disabled, for this reason.
    Disable(String),
    /// This is stored. If it announces more thresholds than were announced, or ends what was announced, an operational
    /// event tells it.
    Note(FailureNote),
}

/// The delivery's status and, if it is retried, its next due time; `now_due` is milliseconds since 1970.
pub(super) fn next_step(
    schedule: &Schedule,
    delivery: &QueuedDelivery,
    outcome: &AttemptOutcome,
    rng: &dyn Fn() -> f64,
    now_due: i64,
) -> NextStep {
    let ended = |status| NextStep { status, due: None, attempt_base: delivery.attempt_base };
    let (shortest, throttled) = match outcome {
        AttemptOutcome::Delivered | AttemptOutcome::DeliveredLast => return ended(Status::Delivered),
        AttemptOutcome::Filtered => return ended(Status::Filtered),
        AttemptOutcome::Rejected { rejection, .. } if ends_at_once(*rejection) => return ended(Status::Failed),
        AttemptOutcome::Rejected { rejection, retry_after } => {
            (retry_after.unwrap_or_default(), *rejection == Rejection::Throttled)
        }
        AttemptOutcome::NoResponse | AttemptOutcome::HostError => (Duration::ZERO, false),
    };
    // A replay begins the schedule again.
    let counted = delivery.attempt_count.saturating_add(1).saturating_sub(delivery.attempt_base);
    // A receiver that asks to wait takes up the first step of the schedule and no further one, as long as the whole
    // schedule would last.
    let uncounted = throttled && counted > 1 && !is_older_than(delivery, schedule.total(), now_due);
    let attempt_base = delivery.attempt_base.saturating_add(u32::from(uncounted));
    match schedule.wait_after(if uncounted { 1 } else { counted }, rng()) {
        Some(wait) => {
            let wait = wait.max(shortest.mul_f64(1.0 + RETRY_AFTER_SPREAD * rng().clamp(0.0, 1.0)));
            NextStep { status: Status::Pending, due: Some(now_due.saturating_add(whole_ms(wait))), attempt_base }
        }
        None => ended(Status::Failed),
    }
}

/// Returns whether the attempt was the last one of the schedule: the answer alone would not have ended the delivery.
pub(super) fn is_exhausted(next: NextStep, outcome: &AttemptOutcome) -> bool {
    let ended_by_answer = matches!(outcome, AttemptOutcome::Rejected { rejection, .. } if ends_at_once(*rejection));
    next.status == Status::Failed && !ended_by_answer
}

/// Returns whether the answer ends its delivery, whatever is left of the schedule.
fn ends_at_once(rejection: Rejection) -> bool {
    match rejection {
        Rejection::Gone | Rejection::DisableRequested | Rejection::Aborted | Rejection::Loop => true,
        Rejection::Throttled | Rejection::Overloaded | Rejection::Refused => false,
    }
}

/// Returns whether the delivery was created longer ago than `time`.
fn is_older_than(delivery: &QueuedDelivery, time: Duration, now_ms: i64) -> bool {
    id::made_at(&delivery.id).is_some_and(|made| now_ms.saturating_sub(made) > whole_ms(time))
}

/// A planned retry, given the webhook as it stands now: a removed webhook cancels it, a disabled one holds it back.
pub(super) fn for_webhook(planned: NextStep, now: WebhookNow) -> NextStep {
    match now {
        // If the database did not answer, the worker that takes the delivery when it is due looks again.
        WebhookNow::Enabled | WebhookNow::Unknown => planned,
        WebhookNow::Disabled => NextStep { due: None, ..planned },
        WebhookNow::Removed => NextStep { status: Status::Cancelled, due: None, ..planned },
    }
}

/// How many thresholds a streak of failures of this age has reached, in milliseconds.
fn thresholds_reached(age_ms: i64) -> u32 {
    ANNOUNCED_AFTER_MS.iter().map(|threshold| u32::from(age_ms >= *threshold)).sum()
}

/// Why the attempt alone disables its webhook; `None`: it does not.
fn disabled_at_once(outcome: &AttemptOutcome) -> Option<&'static str> {
    let requested = "the receiver asked for it with `webhook-delivery: disable`";
    match outcome {
        AttemptOutcome::DeliveredLast => Some(requested),
        AttemptOutcome::Rejected { rejection, .. } => match rejection {
            Rejection::DisableRequested => Some(requested),
            Rejection::Gone => Some("the receiver answered 410 Gone"),
            Rejection::Loop => Some(
                "its events are published again and come back to it: its target leads to this service, in a circle",
            ),
            Rejection::Aborted | Rejection::Throttled | Rejection::Overloaded | Rejection::Refused => None,
        },
        AttemptOutcome::Delivered
        | AttemptOutcome::Filtered
        | AttemptOutcome::NoResponse
        | AttemptOutcome::HostError => None,
    }
}

/// What the attempt means for the webhook. `streak` is there if the attempt belongs to one; `error` is the attempt's.
pub(super) fn consequence(
    webhook: &Webhook,
    outcome: &AttemptOutcome,
    streak: Option<Streak>,
    error: &str,
) -> Consequence {
    if let Some(reason) = disabled_at_once(outcome) {
        return Consequence::Disable(reason.into());
    }
    let Some(Streak { since_ms, now_ms, rest_ms }) = streak else {
        let news = webhook.failing_since.is_some() || !webhook.proven || webhook.failing_announced > 0;
        return match outcome {
            AttemptOutcome::Delivered if news => Consequence::Note(FailureNote::Succeeded),
            _ => Consequence::None,
        };
    };
    let since = webhook.failing_since.map_or(since_ms, |stored| stored.min(since_ms));
    let age = now_ms.saturating_sub(since);
    if age >= DISABLE_AFTER_MS {
        return Consequence::Disable(format!("every attempt failed for 48 hours, the last one with: {error}"));
    }
    let rests = rest_ms.is_none_or(|rest| rest >= STORE_STREAK_AFTER_MS);
    let needs_storing = webhook.failing_since.is_none() && (age >= STORE_STREAK_AFTER_MS || rests);
    let announced = thresholds_reached(age).max(webhook.failing_announced);
    if needs_storing || announced > webhook.failing_announced {
        return Consequence::Note(FailureNote::Failing { since_ms: since, announced });
    }
    Consequence::None
}

#[cfg(test)]
mod tests;
