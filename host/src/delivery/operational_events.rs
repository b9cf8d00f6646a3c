//! Publishes operational events: the only place that looks up who subscribes to them, and that stores them.
//!
//! An event that nobody subscribes to is not stored. One that belongs to a change in the database is stored either in the
//! transaction of the change ([`OperationalEvents::prepare`]), and then as often as the change, or right after it
//! ([`OperationalEvents::publish`]): a crash between the two loses it.

mod exhausted_limit;
mod plugin_streaks;

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::attempt::{PluginFault, PluginResult};
use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::host_event::HostEvents;
use super::queue::WebhookQueues;
use crate::domain::operational_event::{ExhaustedDelivery, OperationalEvent};
use crate::domain::webhook::Webhook;
use crate::store::{NewEventRow, Publish, Published, Store, StoreError};
use crate::telemetry::ThrottledLog;

pub(super) use exhausted_limit::ExhaustedLimit;
pub(super) use plugin_streaks::PluginStreaks;

/// What is logged if an event cannot be published.
const LOST: &str = "an operational event could not be published, and is lost";

/// Publishes operational events.
pub struct OperationalEvents {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) host_events: Arc<HostEvents>,
    pub(super) tasks: TaskTracker,
    pub(super) log: Arc<ThrottledLog>,
    pub(super) exhausted: ExhaustedLimit,
    pub(super) plugins: PluginStreaks,
}

/// An operational event on its way into the database.
#[must_use]
pub(super) struct Notice {
    row: NewEventRow,
    /// The webhooks that get it, in the order of its deliveries.
    subscribers: Vec<Arc<Webhook>>,
}

impl Notice {
    /// Returns the row, for the transaction of the change that it is about.
    pub(super) fn row(&self) -> NewEventRow {
        self.row.clone()
    }
}

impl OperationalEvents {
    /// Publishes an event about something that has happened to this company. If that fails, it is lost: the caller has done
    /// what it is about.
    pub async fn publish(&self, company: &str, event: OperationalEvent<'_>) {
        if let Err(error) = self.try_publish(company, &event).await {
            self.log.warn(LOST, &error);
        }
    }

    async fn try_publish(&self, company: &str, event: &OperationalEvent<'_>) -> Result<(), StoreError> {
        if let Some(notice) = self.prepare(company, event).await? {
            self.store(notice).await;
        }
        Ok(())
    }

    /// Tells that a delivery is exhausted, unless the company was told of too many lately: [`ExhaustedDelivery::omitted`] is
    /// set here. The caller waits for no write.
    pub(super) async fn delivery_exhausted(self: &Arc<Self>, delivery: ExhaustedDelivery<'_>) {
        let company = &delivery.webhook.company;
        let subscribers = self.subscribers(company, &OperationalEvent::DeliveryExhausted(delivery)).await;
        // Only what is told counts towards the limit.
        let Some(subscribers) = self.logged(subscribers) else { return };
        let Some(omitted) = self.exhausted.admit(company, Instant::now()) else { return };
        let event = OperationalEvent::DeliveryExhausted(ExhaustedDelivery { omitted, ..delivery });
        self.store_soon(self.notice(subscribers, &event));
    }

    /// Notes whether the plugins of a webhook worked in an attempt, and tells if it has failed several times in a row. The caller
    /// waits for no write.
    pub(super) async fn plugin_ended(self: &Arc<Self>, webhook: &Webhook, result: &PluginResult) {
        let PluginFault { name, digest, error } = match result {
            PluginResult::NotCalled => return,
            PluginResult::Worked => return self.plugins.worked(webhook),
            PluginResult::Failed(fault) => &**fault,
        };
        let digest = digest.as_ref();
        let Some(failures) = self.plugins.failed(webhook, digest) else { return };
        let event = OperationalEvent::PluginFailing { webhook, name, digest, failures, error };
        let notice = self.prepare(&webhook.company, &event).await;
        if let Some(notice) = self.logged(notice) {
            self.store_soon(notice);
        }
    }

    /// Returns what was found; an error is logged.
    fn logged<T>(&self, found: Result<Option<T>, StoreError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.log.warn(LOST, &error);
            None
        })
    }

    /// Makes the row of an event, to be stored in the transaction of the change that it is about; then [`Self::stored`] sends
    /// it. `None`: nobody gets it.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn prepare(
        &self,
        company: &str,
        event: &OperationalEvent<'_>,
    ) -> Result<Option<Notice>, StoreError> {
        let subscribers = self.subscribers(company, event).await?;
        Ok(subscribers.map(|subscribers| self.notice(subscribers, event)))
    }

    /// Returns the webhooks that get the event, `None` if there are none; from memory, if they are cached.
    async fn subscribers(
        &self,
        company: &str,
        event: &OperationalEvent<'_>,
    ) -> Result<Option<Vec<Arc<Webhook>>>, StoreError> {
        let webhooks = self.store.webhooks_for(company, event.event_type()).await?;
        let subscribers: Vec<_> = webhooks.iter().filter(|webhook| event.goes_to(webhook)).cloned().collect();
        Ok((!subscribers.is_empty()).then_some(subscribers))
    }

    fn notice(&self, subscribers: Vec<Arc<Webhook>>, event: &OperationalEvent<'_>) -> Notice {
        let now = self.clock.wall_ms();
        let company = subscribers.first().map_or("", |first| &first.company);
        let published = self.host_events.event(company, event.event_type(), &event.data(now), now);
        let row = self.host_events.row(published, subscribers.iter().map(|webhook| &**webhook));
        Notice { row, subscribers }
    }

    /// Sends an event that is stored now.
    pub(super) fn stored(&self, notice: &Notice) {
        hand_over(&notice.subscribers, &self.queues, &self.effects);
    }

    /// Stores an event in a task of its own: its company may have to wait for its share of the writer.
    fn store_soon(self: &Arc<Self>, notice: Notice) {
        let events = self.clone();
        self.tasks.spawn(async move { events.store(notice).await });
    }

    async fn store(&self, notice: Notice) {
        let Notice { row, subscribers } = notice;
        if let Err(full) = self.store.check_event_quota(&row.event.company) {
            return self.log.warn(LOST, &full);
        }
        let (queues, effects, log) = (self.queues.clone(), self.effects.clone(), self.log.clone());
        let done = move |result: Result<Published, StoreError>| match result {
            Ok(_) => hand_over(&subscribers, &queues, &effects),
            Err(error) => log.warn(LOST, &error),
        };
        self.store.publish(Publish { row, done: Box::new(done) }).await;
    }
}

/// Lets the queues of subscribers fetch what was stored for them.
fn hand_over(subscribers: &[Arc<Webhook>], queues: &WebhookQueues, effects: &Arc<EffectRunner>) {
    for subscriber in subscribers.iter().filter(|subscriber| subscriber.enabled) {
        effects.apply_now(queues.spilled(subscriber));
    }
}
