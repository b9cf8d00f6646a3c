//! Attempts one delivery now, because somebody asks for it.

use std::sync::Arc;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetch_signal::FetchSignal;
use super::lease::LeaseHolder;
use super::queue::{QueuedDelivery, WebhookQueues};
use crate::domain::webhook::Webhook;
use crate::store::{DeliveryKey, RetryMode, RetryRequest, Store, StoreError};

/// Retries deliveries by hand.
pub struct ManualRetry {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) fetch: Arc<FetchSignal>,
}

impl ManualRetry {
    /// Attempts a delivery now, whatever its status, against the webhook as it stands. One that is in flight is left alone.
    /// While the webhook is disabled, the delivery waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, company: &str, id: &str, webhook: &Webhook) -> Result<RetryRequest, StoreError> {
        let delivery = DeliveryKey { company: company.to_owned(), id: id.to_owned() };
        let mode = match () {
            () if !webhook.enabled => RetryMode::Spill,
            () if self.queues.may_serve(webhook) => RetryMode::Claim(self.leases.lease()),
            () => RetryMode::Due(self.clock.due_ms()),
        };
        let request = self.store.request_retry(delivery, webhook.id.clone(), mode).await?;
        let effects = match &request {
            RetryRequest::Claimed(claimed) => self.queues.retry_now(webhook, QueuedDelivery::from((**claimed).clone())),
            // The webhook may have been enabled since it was read, or another node has to learn of it.
            RetryRequest::Waiting => self.queues.spilled(webhook),
            RetryRequest::InMemory => self.queues.expedite(webhook, id),
            RetryRequest::Missing => return Ok(request),
        };
        self.effects.apply(effects).await;
        if webhook.ordered {
            self.fetch.wake();
        }
        Ok(request)
    }
}
