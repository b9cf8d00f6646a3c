//! What an attempt came to, written to the log: the one place that decides what a failed attempt means.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::Pipeline;
use super::lanes::{Job, Verdict};
use crate::domain::delivery::{Attempt, Status};
use crate::domain::webhook::Webhook;
use crate::store::Completion;

/// A webhook that has only failed for this long is disabled, in milliseconds.
const GIVE_UP_MS: i64 = 48 * 3_600_000;
/// A streak of failures is written down once it is this old, in milliseconds, or pauses for as long: a webhook that fails
/// now and then must not cost a write each time.
const NOTED_MS: i64 = 60_000;
/// How much later than asked for by `Retry-After` an attempt may be, as a part of the wait.
const LATER: f64 = 0.1;

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// The receiver took the event.
    Delivered,
    /// The plugin dropped it, or failed where that means the same.
    Filtered,
    /// The receiver answered that it did not take it, or the plugin failed.
    Refused {
        /// The receiver wants nothing more, ever (410).
        gone: bool,
        /// The least wait that it asked for.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    Silent,
    /// The host could not make the attempt.
    Hindered,
}

/// What becomes of a delivery after an attempt.
struct Next {
    status: Status,
    /// When it is due again.
    due: Option<i64>,
    /// The disabled webhook that it waits for.
    waits_for: Option<Arc<Webhook>>,
}

/// How an attempt ended.
pub(super) struct Ending {
    pub(super) came: Came,
    pub(super) started_at: i64,
    pub(super) took: Duration,
    pub(super) status_code: Option<u16>,
    pub(super) error: Option<String>,
    /// The plugin failed, or could not be loaded, so that nothing was sent.
    pub(super) plugin_failed: bool,
    pub(super) response_body: Option<String>,
    pub(super) request_headers: Option<Box<RawValue>>,
    pub(super) plugin: Option<Box<RawValue>>,
}

impl Ending {
    pub(super) fn new(came: Came) -> Self {
        Self {
            came,
            started_at: 0,
            took: Duration::ZERO,
            status_code: None,
            error: None,
            plugin_failed: false,
            response_body: None,
            request_headers: None,
            plugin: None,
        }
    }

    pub(super) fn filtered() -> Self {
        Self::new(Came::Filtered)
    }

    pub(super) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::new(Came::Refused { gone: false, retry_after: None }) }
    }

    pub(super) fn hindered(error: String) -> Self {
        Self { error: Some(error), ..Self::new(Came::Hindered) }
    }

    fn verdict(&self) -> Verdict {
        match self.came {
            Came::Delivered => Verdict::Well,
            Came::Refused { .. } => Verdict::Refused,
            Came::Silent => Verdict::Silent,
            Came::Filtered | Came::Hindered => Verdict::Nothing,
        }
    }

    /// As the log keeps it.
    pub(super) fn attempt(self, number: u32) -> Attempt {
        Attempt {
            number,
            started_at: self.started_at,
            duration_ms: ms(self.took),
            status_code: self.status_code,
            error: self.error,
            response_body: self.response_body,
            request_headers: self.request_headers,
            plugin: self.plugin,
        }
    }
}

impl Pipeline {
    /// Writes down how an attempt ended, and what follows for the delivery and for its webhook. True: it is to be tried
    /// again.
    pub(super) async fn record(&self, job: &Job, webhook: &Webhook, ending: Ending) -> bool {
        let inner = &self.0;
        let number = job.attempt_count.saturating_add(1);
        self.observe(job, &ending);
        let Next { status, due, waits_for } = self.as_it_stands(job, self.follows(job, number, &ending.came)).await;
        let cautious = inner.time.cautious();
        let (verdict, gone) = (ending.verdict(), matches!(ending.came, Came::Refused { gone: true, .. }));
        let why = ending.error.clone().unwrap_or_default();
        let streak = inner.lanes.judge(job, verdict, cautious);
        if let Some(failures) = streak.and_then(|streak| streak.say) {
            let (webhook, company) = (&job.webhook, &job.event.company);
            tracing::warn!(webhook, company, failures, error = why, "a webhook fails");
        }
        let completion = Completion {
            company: job.event.company.clone(),
            id: job.delivery.clone(),
            lease: job.lease.clone(),
            status,
            attempt_count: number,
            due,
            finished_at: (status != Status::Pending).then(|| inner.time.of_day()),
            attempt: Some(ending.attempt(number)),
        };
        inner.store.finish(completion).await;
        if due.is_some() {
            inner.wake_sweep.notify_one();
        }
        if let Some(webhook) = waits_for {
            // It may have been enabled meanwhile, and its lane been refilled before this was parked.
            inner.lanes.parked(&webhook);
        }
        if gone {
            self.disable(webhook, "the receiver answered 410 Gone").await;
        } else if let Some(streak) = streak {
            let rests = due.is_none_or(|due| due.saturating_sub(inner.time.due()) >= NOTED_MS);
            self.fails(webhook, (streak.since, rests), &why).await;
        } else if verdict == Verdict::Well && (webhook.failing_since.is_some() || !webhook.proven) {
            self.note_failing(webhook, None).await;
        }
        due.is_some()
    }

    /// The delivery's status from now on, and when it is due again.
    fn follows(&self, job: &Job, number: u32, came: &Came) -> (Status, Option<i64>) {
        let least = match came {
            Came::Delivered => return (Status::Delivered, None),
            Came::Filtered => return (Status::Filtered, None),
            Came::Refused { gone: true, .. } => return (Status::Failed, None),
            Came::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            Came::Silent | Came::Hindered => Duration::ZERO,
        };
        let dice = &self.0.parts.dice;
        match self.0.parts.schedule.wait_after(number.saturating_sub(job.attempt_base), dice()) {
            Some(wait) => {
                let wait = wait.max(least.mul_f64(1.0 + LATER * dice().clamp(0.0, 1.0)));
                (Status::Pending, Some(self.0.time.due().saturating_add(ms(wait))))
            }
            None => (Status::Failed, None),
        }
    }

    /// The same, unless the webhook was removed or disabled while the attempt was made: nothing is tried again then, or
    /// not before it is enabled.
    async fn as_it_stands(&self, job: &Job, (status, due): (Status, Option<i64>)) -> Next {
        let same = Next { status, due, waits_for: None };
        if due.is_none() {
            return same;
        }
        match self.0.store.webhook_for(&job.event.company, &job.event.event_type).await {
            Ok(Some(webhook)) if webhook.id == job.webhook && webhook.enabled => same,
            Ok(Some(webhook)) if webhook.id == job.webhook => Next { due: None, waits_for: Some(webhook), ..same },
            Ok(_) => Next { status: Status::Cancelled, due: None, ..same },
            // Whoever takes it up when it is due looks again.
            Err(_) => same,
        }
    }

    /// A webhook has failed since `since`, without a success in between; `rests`: its next attempt may be long after.
    async fn fails(&self, webhook: &Webhook, (since, rests): (i64, bool), why: &str) {
        let since = webhook.failing_since.map_or(since, |noted| noted.min(since));
        let age = self.0.time.cautious().saturating_sub(since);
        if age >= GIVE_UP_MS {
            self.disable(webhook, &format!("every attempt failed for 48 hours, the last one with: {why}")).await;
        } else if (age >= NOTED_MS || rests) && webhook.failing_since.is_none() {
            self.note_failing(webhook, Some(since)).await;
        }
    }

    async fn note_failing(&self, webhook: &Webhook, since: Option<i64>) {
        if let Err(error) = self.0.store.note_failing(webhook, since).await {
            self.0.said.warn("noting since when a webhook fails did not work; the next attempt will", &error);
        }
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}
