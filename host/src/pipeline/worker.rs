//! One delivery from take to record.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use super::lanes::Job;
use super::record::Ending;
use super::sweep::parked;
use super::transform::Prepared;
use crate::domain::webhook::Webhook;

/// Rest before a delivery is looked at again whose webhook could not be read.
const REST: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Starts a worker, which takes deliveries until none is left for it.
    pub(super) fn start_worker(&self) {
        let pipeline = self.clone();
        self.0.workers.spawn(async move {
            while let Some(job) = pipeline.0.lanes.take() {
                pipeline.attend(&job).await;
                if pipeline.0.lanes.done(&job) {
                    pipeline.0.wake_sweep.notify_one();
                }
            }
        });
    }

    async fn attend(&self, job: &Job) {
        match self.webhook_of(job).await {
            None => self.0.store.finish(self.cancelled(job)).await,
            Some(webhook) if !webhook.enabled => self.0.store.finish(parked(job)).await,
            Some(webhook) => self.attempt(job, &webhook).await,
        }
    }

    /// The webhook as it stands now: a delivery goes wherever it points when it is attempted.
    async fn webhook_of(&self, job: &Job) -> Option<Arc<Webhook>> {
        loop {
            match self.0.store.webhook_for(&job.event.company, &job.event.event_type).await {
                Ok(found) => return found.filter(|webhook| webhook.id == job.webhook),
                Err(error) => {
                    tracing::warn!(%error, webhook = job.webhook, "reading a webhook failed; trying again");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    async fn attempt(&self, job: &Job, webhook: &Webhook) {
        let (begun, started_at) = (Instant::now(), self.0.parts.clock.now_ms());
        let _in_flight = self.0.parts.metrics.attempt_began();
        let (prepared, plugin) = self.transform(job, webhook).await;
        let ending = match prepared {
            Prepared::Filtered => Ending { plugin, ..Ending::filtered() },
            Prepared::Failed(error) => Ending { plugin, plugin_failed: true, ..Ending::failed(error) },
            Prepared::Send(outgoing) => Ending { plugin, ..self.send(job, webhook, outgoing, started_at).await },
        };
        self.record(job, started_at, begun.elapsed(), ending).await;
    }
}
