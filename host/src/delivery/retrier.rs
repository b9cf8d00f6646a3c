//! Attempts one delivery now, because somebody asks for it.

use std::sync::Arc;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetcher::FetchSignal;
use super::lease::LeaseHolder;
use super::queue::{QueuedDelivery, WebhookQueues};
use crate::domain::webhook::Webhook;
use crate::store::{Store, StoreError, Urge, Urged};

/// Retries deliveries by hand.
pub struct Retrier {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: EffectRunner,
    pub(super) fetch: Arc<FetchSignal>,
}

impl Retrier {
    /// Attempts a delivery now, whatever its status, against the webhook as it stands. One that is in flight is left alone.
    /// While the webhook is disabled, the delivery waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, company: &str, id: &str, webhook: &Webhook) -> Result<Urged, StoreError> {
        let urge = match () {
            () if !webhook.enabled => Urge::Park,
            () if self.queues.may_serve(webhook) => Urge::Take(self.leases.lease()),
            () => Urge::Due(self.clock.due_ms()),
        };
        let urged = self.store.urge((company.to_owned(), id.to_owned()), webhook.id.clone(), urge).await?;
        let effects = match &urged {
            Urged::Taken(claimed) => self.queues.retry_now(webhook, QueuedDelivery::from((**claimed).clone())),
            // The webhook may have been enabled since it was read, or another node has to learn of it.
            Urged::Left => self.queues.spilled(webhook),
            Urged::OnItsWay => self.queues.expedite(webhook, id),
            Urged::Missing => return Ok(urged),
        };
        self.effects.apply(effects).await;
        if webhook.ordered {
            self.fetch.wake();
        }
        Ok(urged)
    }
}
