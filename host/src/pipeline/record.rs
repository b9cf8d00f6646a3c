//! What an attempt came to, written to the log.

use std::time::Duration;

use serde_json::value::RawValue;

use super::Pipeline;
use super::lanes::Job;
use crate::domain::delivery::{Attempt, Status};
use crate::store::Completion;

/// How an attempt ended.
#[derive(Default)]
pub(super) struct Ending {
    /// What becomes of the delivery; `None`: it has failed, and is tried again if the schedule has a wait left.
    pub(super) status: Option<Status>,
    pub(super) status_code: Option<u16>,
    pub(super) error: Option<String>,
    /// The plugin failed, or could not be loaded, so that nothing was sent.
    pub(super) plugin_failed: bool,
    pub(super) response_body: Option<String>,
    pub(super) request_headers: Option<Box<RawValue>>,
    pub(super) plugin: Option<Box<RawValue>>,
}

impl Ending {
    pub(super) fn filtered() -> Self {
        Self { status: Some(Status::Filtered), ..Self::default() }
    }

    pub(super) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

impl Pipeline {
    pub(super) async fn record(&self, job: &Job, started_at: i64, took: Duration, ending: Ending) {
        let number = job.attempt_count.saturating_add(1);
        let now = self.0.parts.clock.now_ms();
        self.observe(job, took, now, &ending);
        let (status, due) = match ending.status {
            Some(status) => (status, None),
            None => match self.0.parts.schedule.wait_after(number, (self.0.parts.dice)()) {
                Some(wait) => (Status::Pending, Some(now + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2))),
                None => (Status::Failed, None),
            },
        };
        let attempt = Attempt {
            number,
            started_at,
            duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            status_code: ending.status_code,
            error: ending.error,
            response_body: ending.response_body,
            request_headers: ending.request_headers,
            plugin: ending.plugin,
        };
        let completion = Completion {
            company: job.event.company.clone(),
            id: job.delivery.clone(),
            status,
            attempt_count: number,
            due,
            finished_at: (status != Status::Pending).then_some(now),
            attempt: Some(attempt),
        };
        self.0.store.finish(completion).await;
        if due.is_some() {
            self.0.wake_sweep.notify_one();
        }
    }
}
