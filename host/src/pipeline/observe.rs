//! What the pipeline tells of itself.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Pipeline;
use super::lanes::Job;
use super::record::{Came, Ending};
use crate::domain::id;
use crate::metrics::AttemptResult;

/// Rest between two counts of what waits, at least.
const REST: Duration = Duration::from_secs(1);
/// And at least so many times what the count took: a million waiting deliveries take a good part of a second to count,
/// and counting must stay a hundredth of one reader's time.
const REST_FOR_COUNT: u32 = 100;

impl Pipeline {
    /// An attempt has ended.
    pub(super) fn observe(&self, job: &Job, ending: &Ending) {
        let metrics = &self.0.parts.metrics;
        let result = result(ending);
        metrics.attempt_ended(result, ending.took);
        // A replay says nothing about how quick the first way was.
        let accepted = id::made_at(&job.delivery).filter(|_| job.attempt_base == 0);
        if let (AttemptResult::Success, Some(accepted)) = (result, accepted) {
            let took = self.0.time.of_day().saturating_sub(accepted);
            metrics.event_delivered(Duration::from_millis(u64::try_from(took).unwrap_or(0)));
        }
    }

    /// Counts what waits, again and again, until the pipeline is stopped.
    pub(super) async fn count_waiting(self) {
        while !self.0.stop.is_cancelled() {
            let (begun, now) = (Instant::now(), self.0.time.due());
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                counted = self.0.store.waiting(now) => match counted {
                    Ok(waiting) => self.0.parts.metrics.waiting(&waiting, now),
                    Err(error) => self.0.said.warn("counting what waits failed; its metrics are old", &error),
                },
            }
            let rest = begun.elapsed().saturating_mul(REST_FOR_COUNT).max(REST);
            let _ = timeout(rest, self.0.stop.cancelled()).await;
        }
    }
}

fn result(ending: &Ending) -> AttemptResult {
    match (&ending.came, ending.status_code) {
        (Came::Delivered, _) => AttemptResult::Success,
        (Came::Filtered, _) => AttemptResult::Filtered,
        (_, Some(_)) => AttemptResult::HttpError,
        _ if ending.plugin_failed => AttemptResult::PluginError,
        _ => AttemptResult::NoAnswer,
    }
}
