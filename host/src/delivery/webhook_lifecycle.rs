//! What it means for waiting deliveries that a webhook was stored, disabled or removed.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetch_signal::FetchSignal;
use super::fetcher::IntakeLock;
use super::operational_events::OperationalEvents;
use super::queue::WebhookQueues;
use super::unattempted::cancelled;
use crate::domain::operational_event::OperationalEvent;
use crate::domain::webhook::Webhook;
use crate::outbound::Outbound;
use crate::store::{Store, StoreError};
use crate::telemetry::ThrottledLog;

/// The reason of a webhook that a user disabled.
const BY_HAND: &str = "a request set `enabled` to false";

/// Moves retries into the backlogs of their webhooks.
struct RetrySpiller {
    store: Arc<Store>,
    queues: Arc<WebhookQueues>,
    effects: Arc<EffectRunner>,
    log: Arc<ThrottledLog>,
}

impl RetrySpiller {
    async fn spill(&self, webhook: &Webhook) -> Result<(), StoreError> {
        self.store.spill_scheduled(&webhook.id).await?;
        if webhook.enabled {
            self.effects.apply(self.queues.spilled(webhook)).await;
        }
        Ok(())
    }

    fn log_failure(&self, error: &StoreError) {
        self.log.warn("spilling the retries of a changed webhook failed; each waits until it is due", error);
    }
}

/// Follows changes of webhooks.
pub struct WebhookLifecycle {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) fetch: Arc<FetchSignal>,
    pub(super) intake: IntakeLock,
    pub(super) outbound: Arc<Outbound>,
    pub(super) operational_events: Arc<OperationalEvents>,
    pub(super) tasks: TaskTracker,
    /// Wakes the sweeper.
    pub(super) sweep: Arc<Notify>,
    pub(super) log: Arc<ThrottledLog>,
}

impl WebhookLifecycle {
    /// A webhook was stored: its queue follows the new settings from now on. If it is enabled, its waiting deliveries go on;
    /// if it is disabled, they are spilled and come back when it is enabled.
    pub fn changed(&self, webhook: &Webhook) {
        // A user who changes a webhook may know that its receiver has moved.
        if let Some(Ok(target)) = webhook.recipient.url().map(|url| self.outbound.guard().parse_target(url)) {
            self.outbound.close_idle(&webhook.company, &target, webhook.tls.as_deref());
        }
        if webhook.enabled {
            self.effects.apply_now(self.queues.webhook_changed(webhook));
            self.fetch.wake();
            return;
        }
        self.effects.apply_now(self.queues.webhook_disabled(&webhook.id));
        self.spill_retries(webhook);
    }

    /// A user has made a webhook.
    pub async fn created(&self, webhook: &Webhook) {
        self.changed(webhook);
        self.publish(webhook, OperationalEvent::WebhookCreated(webhook)).await;
    }

    /// A user has edited a webhook. If the edit changes the requests, its deliveries that wait for a retry are attempted at
    /// once, within the limits of the webhook: the edit may correct the cause of their failures.
    pub async fn edited(&self, webhook: &Webhook, before: &Webhook) {
        self.changed(webhook);
        if webhook.enabled && webhook.sends_otherwise_than(before) {
            self.spill_retries(webhook);
        }
        if before.is_pulled() && !webhook.is_pulled() {
            self.sweep.notify_one();
        }
        self.publish(webhook, OperationalEvent::WebhookUpdated(webhook)).await;
        match (before.enabled, webhook.enabled) {
            (false, true) => self.publish(webhook, OperationalEvent::WebhookEnabled(webhook)).await,
            (true, false) => {
                self.publish(webhook, OperationalEvent::WebhookDisabled { webhook, reason: BY_HAND }).await
            }
            (true, true) | (false, false) => (),
        }
    }

    /// A user has rotated the signing secret of a webhook.
    pub async fn rotated(&self, webhook: &Webhook) {
        self.publish(webhook, OperationalEvent::WebhookUpdated(webhook)).await;
    }

    async fn publish(&self, webhook: &Webhook, event: OperationalEvent<'_>) {
        self.operational_events.publish(&webhook.company, event).await;
    }

    /// Another version of a plugin is active for the company's webhooks of these ids. As after an edit, their deliveries
    /// that wait for a retry are attempted at once, within the limits of each webhook: one webhook after the other, in the
    /// background.
    pub fn plugin_activated(&self, company: &str, webhooks: Vec<String>) {
        let (store, spiller, company) = (self.store.clone(), self.retry_spiller(), company.to_owned());
        self.tasks.spawn(async move {
            for id in webhooks {
                let spilled = async {
                    let webhook = store.webhook_of(&company, &id).await?;
                    match webhook.filter(|webhook| webhook.enabled) {
                        Some(webhook) => spiller.spill(&webhook).await,
                        None => Ok(()),
                    }
                };
                if let Err(error) = spilled.await {
                    return spiller.log_failure(&error);
                }
            }
        });
    }

    /// Moves the retries of a webhook into its backlog, in the background. If it is enabled, they are fetched at once.
    fn spill_retries(&self, webhook: &Webhook) {
        let (spiller, webhook) = (self.retry_spiller(), webhook.clone());
        self.tasks.spawn(async move {
            if let Err(error) = spiller.spill(&webhook).await {
                spiller.log_failure(&error);
            }
        });
    }

    fn retry_spiller(&self) -> RetrySpiller {
        RetrySpiller {
            store: self.store.clone(),
            queues: self.queues.clone(),
            effects: self.effects.clone(),
            log: self.log.clone(),
        }
    }

    /// Removes a webhook. Returns false if it did not exist. Of its waiting deliveries, those in memory and a first part of
    /// those in the database are cancelled when this returns; the [sweeper](super::orphan_sweeper) cancels the others. All that
    /// goes on if the caller goes away. Attempts in flight end by themselves.
    ///
    /// # Errors
    /// The store's. The webhook may be removed all the same if cancelling its deliveries failed.
    pub async fn remove(self: &Arc<Self>, webhook: Webhook) -> Result<bool, StoreError> {
        let lifecycle = self.clone();
        let removing = self.tasks.spawn(async move {
            if !lifecycle.store.delete_webhook(&webhook).await? {
                return Ok(false);
            }
            // The webhook is gone: what cannot be cancelled now is left to the sweeper.
            if let Err(error) = lifecycle.cancel_deliveries(&webhook.id).await {
                lifecycle.log.warn("cancelling the deliveries of a removed webhook failed; trying again", &error);
            }
            lifecycle.publish(&webhook, OperationalEvent::WebhookDeleted(&webhook)).await;
            Ok(true)
        });
        // It fails only if the runtime ends.
        removing.await.unwrap_or(Err(StoreError::Unanswered))
    }

    /// Cancels the deliveries of a removed webhook that are in memory, and the first of those in the database.
    pub(super) async fn cancel_deliveries(&self, webhook_id: &str) -> Result<(), StoreError> {
        self.cancel_queued(webhook_id).await;
        let more = self.store.cancel_orphans(webhook_id.to_owned(), self.clock.wall_ms()).await;
        self.sweep.notify_one();
        more?;
        // The fetcher may have claimed some just before: they have reached the queue when it lets go of this lock.
        drop(self.intake.lock().await);
        self.cancel_queued(webhook_id).await;
        self.store.written().await
    }

    async fn cancel_queued(&self, webhook_id: &str) {
        for delivery in self.queues.webhook_removed(webhook_id) {
            self.store.finish(cancelled(&delivery, self.clock.wall_ms())).await;
        }
    }
}
