//! Applies what the queues ask for: the only place that starts workers, wakes the fetcher and spills what the queues give back.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

use tokio_util::task::TaskTracker;

use super::fetch_signal::FetchSignal;
use super::queue::{Effects, QueuedDelivery, WebhookQueues};
use super::unattempted::spilled;
use crate::domain::webhook::Webhook;
use crate::store::Store;
use crate::telemetry::ThrottledLog;

/// Starts workers.
pub(super) trait WorkerPool: Send + Sync {
    /// Starts one worker. It ends by itself when no delivery is left for it.
    fn start_worker(self: Arc<Self>);
}

/// Applies [`Effects`]. Shared as one `Arc`, since every published event holds it while it is stored.
pub(super) struct EffectRunner {
    queues: Arc<WebhookQueues>,
    store: Arc<Store>,
    fetch: Arc<FetchSignal>,
    tasks: TaskTracker,
    log: ThrottledLog,
    /// Set once it is built: its own components apply effects too.
    workers: OnceLock<Weak<dyn WorkerPool>>,
}

impl EffectRunner {
    pub(super) fn new(
        queues: Arc<WebhookQueues>,
        store: Arc<Store>,
        fetch: Arc<FetchSignal>,
        tasks: TaskTracker,
    ) -> Self {
        Self { queues, store, fetch, tasks, log: ThrottledLog::default(), workers: OnceLock::new() }
    }

    /// Workers start in this pool. Called once, before anything runs.
    pub(super) fn connect(&self, workers: Weak<dyn WorkerPool>) {
        let first = self.workers.set(workers);
        debug_assert!(first.is_ok(), "connected twice");
    }

    /// Applies the effects. When this returns, what the queues gave back has been handed to the writer.
    pub(super) async fn apply(&self, effects: Effects) {
        let given_back = self.signal(effects);
        if !given_back.is_empty() {
            self.spill(given_back).await;
        }
    }

    /// Applies the effects without waiting: what the queues gave back is spilled by a task of its own.
    pub(super) fn apply_now(self: &Arc<Self>, effects: Effects) {
        let given_back = self.signal(effects);
        if !given_back.is_empty() {
            let runner = self.clone();
            self.tasks.spawn(async move { runner.spill(given_back).await });
        }
    }

    fn signal(&self, effects: Effects) -> Vec<QueuedDelivery> {
        let Effects { start_worker, wake_fetcher, give_back } = effects;
        if start_worker && let Some(workers) = self.workers.get().and_then(Weak::upgrade) {
            workers.start_worker();
        }
        if wake_fetcher {
            self.fetch.wake();
        }
        give_back
    }

    /// Spills one delivery of a webhook that is at hand.
    pub(super) async fn spill_one(self: &Arc<Self>, delivery: &QueuedDelivery, webhook: &Webhook) {
        self.store.finish(spilled(delivery)).await;
        // After the write: the queue may have fetched its backlog before this delivery was part of it.
        self.apply_now(self.queues.spilled(webhook));
    }

    async fn spill(&self, deliveries: Vec<QueuedDelivery>) {
        let mut webhooks = HashSet::new();
        for delivery in &deliveries {
            self.store.finish(spilled(delivery)).await;
            webhooks.insert((delivery.event.company(), delivery.webhook_id.as_str()));
        }
        for (company, id) in webhooks {
            match self.store.webhook_of(company, id).await {
                Ok(Some(webhook)) => {
                    let effects = self.queues.spilled(&webhook);
                    debug_assert!(effects.give_back.is_empty(), "noting a backlog gives nothing back");
                    self.signal(effects);
                }
                Ok(None) => (),
                Err(error) => self.log.warn("noting a backlog failed; it is found within 15 s", &error),
            }
        }
    }
}
