//! Sending again: one delivery now, or many over a range of time.

use std::time::Duration;

use tokio::time::timeout;

use super::lanes::Job;
use super::{Inner, Pipeline};
use crate::domain::webhook::Webhook;
use crate::store::{Replay, ReplayStep, StoreError, Urge, Urged};

/// Rest between two steps of a replay.
const REST: Duration = Duration::from_millis(50);
/// How often replays are looked for that somebody else has ordered, or that an earlier process has begun.
const POLL: Duration = Duration::from_secs(15);

impl Pipeline {
    /// Attempts a delivery now, whatever its status, against the webhook as it stands; one that is in flight already is
    /// left alone. While the webhook is disabled it waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, company: &str, id: &str, webhook: &Webhook) -> Result<Urged, StoreError> {
        let inner = &self.0;
        let urge = match () {
            () if !webhook.enabled => Urge::Park,
            () if inner.lanes.answers_for(webhook) => Urge::Take(self.lease()),
            () => Urge::Due(inner.time.due()),
        };
        let urged = inner.store.urge((company.to_owned(), id.to_owned()), webhook.id.clone(), urge).await?;
        match &urged {
            Urged::Taken(claimed) => {
                let (start, refused) = inner.lanes.urge(webhook, Job::from((**claimed).clone()));
                if start {
                    self.start_worker();
                }
                if let Some(job) = refused {
                    self.park(&job, webhook).await;
                }
                if webhook.ordered {
                    inner.wake_sweep.notify_one();
                }
            }
            Urged::Left => {
                // It may have been enabled since it was read, or another node has to be told.
                if inner.lanes.parked(webhook) {
                    inner.wake_sweep.notify_one();
                }
            }
            Urged::OnItsWay => {
                if inner.lanes.hasten(webhook, id) {
                    self.start_worker();
                }
                if webhook.ordered {
                    inner.wake_sweep.notify_one();
                }
            }
            Urged::Missing => (),
        }
        Ok(urged)
    }

    /// Orders a replay; answers how many deliveries it will send.
    ///
    /// # Errors
    /// [`StoreError::Limit`] when the company has too many replays under way.
    pub async fn replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let count = self.0.store.start_replay(replay).await?;
        self.0.wake_replays.notify_one();
        Ok(count)
    }

    /// Carries replays on, a few deliveries at a time, until the pipeline is stopped.
    pub(super) async fn replays(self) {
        let inner: &Inner = &self.0;
        while !inner.stop.is_cancelled() {
            let rest = match self.replay_some().await {
                Ok(true) => REST,
                Ok(false) => POLL,
                Err(error) => {
                    inner.said.warn("carrying a replay on failed; trying again", &error);
                    POLL
                }
            };
            tokio::select! {
                () = inner.stop.cancelled() => return,
                _ = timeout(rest, inner.wake_replays.notified()) => (),
            }
        }
    }

    /// One step of each replay. True: there is more to do.
    async fn replay_some(&self) -> Result<bool, StoreError> {
        let replays = self.0.store.replays_under_way().await?;
        let more = !replays.is_empty();
        for id in replays {
            let ReplayStep { company, event_types } = self.0.store.replay_step(id).await?;
            for event_type in event_types {
                if let Some(webhook) = self.0.store.webhook_for(&company, &event_type).await? {
                    self.0.lanes.replayed(&webhook);
                }
            }
            self.0.wake_sweep.notify_one();
        }
        Ok(more)
    }
}
