//! Sends the deliveries of a range of time again.

use std::sync::Arc;
use std::time::Duration;

use super::background_steps::BackgroundSteps;
use super::effect_runner::EffectRunner;
use super::fetch_signal::FetchSignal;
use super::operational_events::OperationalEvents;
use super::queue::WebhookQueues;
use crate::domain::operational_event::{FinishedReplay, OperationalEvent};
use crate::store::{Replay, ReplayStep, Store, StoreError};

/// Pause between two steps of a replay.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Orders replays and carries them out.
pub struct Replayer {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) fetch: Arc<FetchSignal>,
    pub(super) operational_events: Arc<OperationalEvents>,
    pub(super) steps: BackgroundSteps,
}

impl Replayer {
    /// Orders a replay. Returns the number of deliveries that it will send.
    ///
    /// # Errors
    /// [`StoreError::Limit`] if the company has too many replays under way.
    pub async fn replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let count = self.store.start_replay(replay).await?;
        self.steps.wake();
        Ok(count)
    }

    /// Carries replays out, a few deliveries at a time, until the engine stops.
    pub(super) async fn run(self: Arc<Self>) {
        self.steps.run(STEP_PAUSE, "a step of a replay failed; trying again", || self.step()).await;
    }

    async fn forget_sent(&self) -> Result<(), StoreError> {
        for (company, replay) in self.store.forget_sent_replays().await? {
            let finished = FinishedReplay {
                id: &replay.id,
                selection: &replay.selection,
                missing: replay.missing,
                since_ms: replay.since,
                until_ms: replay.until,
            };
            self.operational_events.publish(&company, OperationalEvent::ReplayFinished(finished)).await;
        }
        Ok(())
    }

    /// Makes one step of each replay. Returns whether there were any; if not, forgets those that were sent.
    async fn step(&self) -> Result<bool, StoreError> {
        let replays = self.store.replays_in_progress().await?;
        let more = !replays.is_empty();
        if !more {
            self.forget_sent().await?;
        }
        for id in replays {
            let ReplayStep { company, webhooks } = self.store.replay_step(id).await?;
            for webhook in webhooks {
                if let Some(webhook) = self.store.webhook_of(&company, &webhook).await? {
                    self.effects.apply(self.queues.replay_requested(&webhook)).await;
                }
            }
            self.fetch.wake();
        }
        Ok(more)
    }
}
