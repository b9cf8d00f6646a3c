//! Follows the changes that other nodes announce. Every change is also found by polling, only later.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::delivery::canceller::Canceller;
use crate::delivery::compiled_plugins::CompiledPlugins;
use crate::delivery::effect_runner::EffectRunner;
use crate::delivery::fetch_signal::FetchSignal;
use crate::delivery::queue::WebhookQueues;
use crate::delivery::webhook_lifecycle::WebhookLifecycle;
use crate::domain::plugin::Digest;
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
            Change::Webhook { company, id: Some(id), .. } => self.webhook_changed(&company, &id).await?,
            Change::Webhook { company, event_type, id: None } => {
                for id in self.webhooks_of_type(&company, &event_type).await? {
                    self.webhook_changed(&company, &id).await?;
                }
            }
            Change::Backlog { company, event_type, id } => {
                let webhook = match id {
                    Some(id) => self.store.webhook_of(&company, &id).await?,
                    None => self.store.webhook_for(&company, &event_type).await?,
                };
                if let Some(webhook) = webhook {
                    self.effects.apply(self.queues.spilled_elsewhere(&webhook)).await;
                }
            }
            Change::Cancelled(selection) => self.canceller.cancel_in_memory(&selection).await,
            Change::Plugins | Change::Policies { .. } => self.precompile.notify_one(),
            Change::PluginsRemoved { digests } => {
                self.plugins.forget(digests.iter().map(|digest| Digest::stored(digest)).collect()).await;
            }
            Change::Company { company } => self.store.forget_company(&company),
            Change::Everything => {
                self.plugins.forget_removed().await?;
                self.fetch.reconcile_now();
                self.precompile.notify_one();
            }
        }
        Ok(())
    }

    /// Returns the ids of the webhooks that a node of the previous version, which names only the type, may have changed.
    async fn webhooks_of_type(&self, company: &str, event_type: &str) -> Result<BTreeSet<String>, StoreError> {
        let stored = self.store.webhooks_for(company, event_type).await?;
        let queued = self.queues.webhooks_of_type(company, event_type);
        let queued = queued.iter().map(ToString::to_string);
        Ok(stored.iter().map(|webhook| webhook.id.clone()).chain(queued).collect())
    }

    /// A webhook was stored, changed or removed, here or elsewhere.
    async fn webhook_changed(&self, company: &str, id: &str) -> Result<(), StoreError> {
        let Some(webhook) = self.store.webhook_of(company, id).await? else {
            if self.queues.has_queue(id) {
                self.lifecycle.cancel_deliveries(id).await?;
            }
            return Ok(());
        };
        let mut versions = webhook.transforms().filter_map(|transform| transform.digest);
        if webhook.enabled && versions.any(|digest| !self.plugins.keeps(digest)) {
            self.precompile.notify_one();
        }
        if self.queues.is_outdated(&webhook) {
            self.lifecycle.changed(&webhook);
        }
        Ok(())
    }
}
