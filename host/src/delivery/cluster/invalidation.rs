//! Follows the changes that other nodes announce. Every change is also found by polling, only later.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::delivery::canceller::Canceller;
use crate::delivery::compiled_plugins::CompiledPlugins;
use crate::delivery::effect_runner::EffectRunner;
use crate::delivery::fetch_signal::FetchSignal;
use crate::delivery::queue::WebhookQueues;
use crate::delivery::webhook_lifecycle::WebhookLifecycle;
use crate::store::{Change, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Follows notifications.
pub(in crate::delivery) struct Invalidation {
    pub(in crate::delivery) store: Arc<Store>,
    pub(in crate::delivery) queues: Arc<WebhookQueues>,
    pub(in crate::delivery) lifecycle: Arc<WebhookLifecycle>,
    pub(in crate::delivery) canceller: Arc<Canceller>,
    pub(in crate::delivery) plugins: Arc<CompiledPlugins>,
    pub(in crate::delivery) effects: Arc<EffectRunner>,
    pub(in crate::delivery) fetch: Arc<FetchSignal>,
    pub(in crate::delivery) precompile: Arc<Notify>,
    pub(in crate::delivery) stop: CancellationToken,
    pub(in crate::delivery) log: ThrottledLog,
}

impl Invalidation {
    /// Follows `notifications` until the engine stops.
    pub(in crate::delivery) async fn run(self, mut notifications: mpsc::Receiver<Change>) {
        loop {
            let change = tokio::select! {
                () = self.stop.cancelled() => return,
                change = notifications.recv() => change,
            };
            let Some(change) = change else { return };
            if let Err(error) = self.follow(change).await {
                self.log.warn("following a change of another node failed", &error);
                self.fetch.reconcile_now();
            }
        }
    }

    async fn follow(&self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Webhook { company, event_type } => self.webhook_changed(&company, &event_type).await?,
            Change::Backlog { company, event_type } => {
                if let Some(webhook) = self.store.webhook_for(&company, &event_type).await? {
                    self.effects.apply(self.queues.spilled_elsewhere(&webhook)).await;
                }
            }
            Change::Cancelled(selection) => self.canceller.cancelled_elsewhere(&selection).await,
            Change::Plugins => self.precompile.notify_one(),
            Change::Everything => {
                self.fetch.reconcile_now();
                self.precompile.notify_one();
            }
        }
        Ok(())
    }

    /// A webhook was stored, changed or removed, here or elsewhere.
    async fn webhook_changed(&self, company: &str, event_type: &str) -> Result<(), StoreError> {
        let webhook = self.store.webhook_for(company, event_type).await?;
        for queued in self.queues.webhooks_of_type(company, event_type) {
            if webhook.as_ref().is_none_or(|webhook| *webhook.id != *queued) {
                self.lifecycle.cancel_deliveries(&queued).await?;
            }
        }
        let Some(webhook) = webhook else { return Ok(()) };
        let version = webhook.plugin_digest.as_ref().filter(|_| webhook.enabled);
        if version.is_some_and(|digest| !self.plugins.keeps(digest)) {
            self.precompile.notify_one();
        }
        if self.queues.is_outdated(&webhook) {
            self.lifecycle.changed(&webhook);
        }
        Ok(())
    }
}
