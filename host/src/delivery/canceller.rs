//! Cancels deliveries because a user asks for it: in memory, in the database, and on other nodes.

use std::sync::Arc;
use std::time::Duration;

use super::background_steps::BackgroundSteps;
use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetcher::IntakeLock;
use super::queue::WebhookQueues;
use super::unattempted::cancelled;
use crate::store::{CancelSelection, Cancellation, ReplayKey, ReplayRecord, Store, StoreError};

/// Pause between two steps of a cancellation.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// Orders cancellations and carries them out.
pub struct Canceller {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) intake: IntakeLock,
    pub(super) steps: BackgroundSteps,
}

impl Canceller {
    /// Cancels one delivery if it is pending. If its attempt is in flight, it is cancelled when that fails; if another node has
    /// it in memory, that node cancels it.
    ///
    /// # Errors
    /// The store's.
    pub async fn cancel_one(&self, company: &str, id: &str) -> Result<(), StoreError> {
        let selection = CancelSelection::one(company, id);
        // Without the fetcher, a delivery is either in its queue or in the database.
        let intake = self.intake.lock().await;
        self.cancel_queued(&selection).await;
        self.store.written().await?;
        self.store.cancel_now(selection.clone(), self.clock.wall_ms()).await?;
        drop(intake);
        self.effects.apply(self.queues.cancelled(&selection)).await;
        Ok(())
    }

    /// Orders the cancellation of many deliveries. Returns their number.
    ///
    /// # Errors
    /// [`StoreError::Limit`] if the company has too many cancellations under way. The store's.
    pub async fn cancel(&self, cancellation: Cancellation) -> Result<u64, StoreError> {
        let selection = cancellation.selection.clone();
        let count = self.store.start_cancellation(cancellation).await?;
        if count > 0 {
            self.cancel_queued(&selection).await;
            self.steps.wake();
        }
        Ok(count)
    }

    /// Stops a replay, and orders the cancellation of what it has marked, under the id `cancellation`. `None`: there is no such
    /// replay.
    ///
    /// # Errors
    /// The store's.
    pub async fn stop_replay(
        &self,
        replay: ReplayKey,
        cancellation: String,
    ) -> Result<Option<ReplayRecord>, StoreError> {
        let stopped = self.store.stop_replay(replay, cancellation, self.clock.wall_ms()).await?;
        let Some((replay, selection)) = stopped else {
            return Ok(None);
        };
        self.cancel_queued(&selection).await;
        self.steps.wake();
        Ok(Some(replay))
    }

    /// Cancels in memory what is cancelled in the database by another node, or by an erasure.
    pub(super) async fn cancel_in_memory(&self, selection: &CancelSelection) {
        let intake = self.intake.lock().await;
        self.cancel_queued(selection).await;
        drop(intake);
        self.effects.apply(self.queues.cancelled(selection)).await;
    }

    /// Carries cancellations out, a few deliveries at a time, until the engine stops.
    pub(super) async fn run(self: Arc<Self>) {
        self.steps.run(STEP_PAUSE, "a step of a cancellation failed; trying again", || self.step()).await;
    }

    /// Makes one step of each cancellation. Returns whether there may be more.
    async fn step(&self) -> Result<bool, StoreError> {
        let mut more = false;
        for id in self.store.cancellations_in_progress().await? {
            let intake = self.intake.lock().await;
            if let Some(selection) = self.store.cancel_step(id, self.clock.wall_ms()).await? {
                more = true;
                self.cancel_queued(&selection).await;
                drop(intake);
                self.effects.apply(self.queues.cancelled(&selection)).await;
            }
        }
        Ok(more)
    }

    async fn cancel_queued(&self, selection: &CancelSelection) {
        for delivery in self.queues.cancel(selection) {
            self.store.finish(cancelled(&delivery, self.clock.wall_ms())).await;
        }
    }
}
