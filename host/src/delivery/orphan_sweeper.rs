//! Cancels the waiting deliveries of webhooks that were removed, a few at a time, however often the process stops meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::queue::WebhookQueues;
use crate::store::{Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Pause between two steps, so that other operations of the writer come first.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// How often to look for what another node, or an earlier process, left.
const POLL: Duration = Duration::from_secs(15);

/// Looks for waiting deliveries without a webhook.
pub(super) struct OrphanSweeper {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) clock: Arc<DeliveryClock>,
    /// Notified when a webhook is removed.
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl OrphanSweeper {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.release_entries().await {
                self.log.warn("releasing what waited for consumers failed; trying again", &error);
            }
            if let Err(error) = self.sweep().await {
                self.log.warn("cancelling the deliveries of removed webhooks failed; trying again", &error);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(POLL, self.wake.notified()) => (),
            }
        }
    }

    /// Moves what waits for consumers of webhooks that have none any more into the backlogs.
    async fn release_entries(&self) -> Result<(), StoreError> {
        for id in self.store.webhooks_without_consumer().await? {
            while let Some(company) = self.store.release_entries(id.clone()).await? {
                if let Some(webhook) = self.store.webhook_of(&company, &id).await? {
                    self.effects.apply_now(self.queues.spilled(&webhook));
                }
                if timeout(STEP_PAUSE, self.stop.cancelled()).await.is_ok() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.store.orphaned_webhooks(&after).await?;
            for webhook in page.webhooks {
                while self.store.cancel_orphans(webhook.clone(), self.clock.wall_ms()).await? {
                    if timeout(STEP_PAUSE, self.stop.cancelled()).await.is_ok() {
                        return Ok(());
                    }
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }
}
