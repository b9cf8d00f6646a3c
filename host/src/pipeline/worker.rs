//! One delivery from take to record.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Pipeline;
use super::lanes::Job;
use super::record::Ending;
use super::transform::Prepared;
use crate::domain::webhook::Webhook;

/// Rest before a delivery is looked at again whose webhook could not be read.
const REST: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Starts a worker, which takes deliveries until none is left for it.
    pub(super) fn start_worker(&self) {
        let pipeline = self.clone();
        self.0.workers.spawn(async move {
            while let Some((job, more)) = pipeline.0.lanes.take() {
                if more {
                    pipeline.start_worker();
                }
                let again = pipeline.attend(&job).await;
                if pipeline.0.lanes.done(&job, again) {
                    pipeline.0.wake_sweep.notify_one();
                }
            }
        });
    }

    /// Lets the lanes in whose time has come, until the pipeline is stopped.
    pub(super) async fn open_lanes(self) {
        let lanes = &self.0.lanes;
        while !self.0.stop.is_cancelled() {
            let (start, next) = lanes.open();
            if start {
                self.start_worker();
            }
            let opening = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = lanes.timers.notified() => (),
                () = opening => (),
            }
        }
    }

    /// True: it is to be tried again.
    async fn attend(&self, job: &Job) -> bool {
        match self.webhook_of(job).await {
            Found::Webhook(webhook) => match self.may_attempt(job).await {
                Some(true) if webhook.enabled => return self.attempt(job, &webhook).await,
                // What others have taken meanwhile stays theirs.
                Some(_) => self.park(job, &webhook).await,
                None => (),
            },
            Found::Nothing => self.0.store.finish(self.cancelled(job)).await,
            // Its lease is nobody's from the next start on.
            Found::Stopping => (),
        }
        false
    }

    /// The webhook as it stands now: a delivery goes wherever it points when it is attempted.
    async fn webhook_of(&self, job: &Job) -> Found {
        loop {
            match self.0.store.webhook_for(&job.event.company, &job.event.event_type).await {
                Ok(Some(webhook)) if webhook.id == job.webhook => return Found::Webhook(webhook),
                Ok(_) => return Found::Nothing,
                Err(_) if self.0.stop.is_cancelled() => return Found::Stopping,
                Err(error) => {
                    self.0.said.warn("reading a webhook failed; trying again", &error);
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Whether the delivery is this node's to attempt: the database may have been away, and the node been taken for dead.
    /// `None`: the service stops.
    async fn may_attempt(&self, job: &Job) -> Option<bool> {
        if !self.0.store.is_shared() {
            return Some(true);
        }
        while self.0.lanes.is_fenced() {
            if timeout(REST, self.0.stop.cancelled()).await.is_ok() {
                return None;
            }
        }
        Some(job.lease.as_deref() == Some(&*self.process()))
    }

    async fn attempt(&self, job: &Job, webhook: &Webhook) -> bool {
        let ending = self.try_once(job, webhook).await;
        self.record(job, webhook, ending).await
    }

    /// One attempt, from the transform to the receiver's answer.
    pub(super) async fn try_once(&self, job: &Job, webhook: &Webhook) -> Ending {
        let (begun, started_at) = (Instant::now(), self.0.time.of_day());
        let _in_flight = self.0.parts.metrics.attempt_began();
        let (prepared, plugin) = self.transform(job, webhook).await;
        let ending = match prepared {
            Prepared::Filtered => Ending::filtered(),
            Prepared::Failed(error) => Ending { plugin_failed: true, ..Ending::failed(error) },
            Prepared::Hindered(error) => Ending { plugin_failed: true, ..Ending::hindered(error) },
            Prepared::Send(outgoing) => self.send(job, webhook, outgoing, started_at).await,
        };
        Ending { plugin, started_at, took: begun.elapsed(), ..ending }
    }
}

enum Found {
    Webhook(Arc<Webhook>),
    /// It was removed.
    Nothing,
    /// The service stops before the database has answered.
    Stopping,
}
