//! Accepts events: stored first, then answered, then handed to their queue in memory.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::lease::LeaseHolder;
use super::queue::{QueuedDelivery, Reservation, WebhookQueues};
use super::waiting_consumers::WaitingConsumers;
use crate::domain::event::Event;
use crate::domain::id::{Ids, delivery_id};
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use crate::store::{Lease, NewDelivery, NewDeliveryWaits, NewEventRow, Publish, Published, Store, StoreError};

/// An event as its producer publishes it, already checked.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The company.
    pub company: String,
    /// The type.
    pub event_type: String,
    /// The producer's id for it; `None`: the service makes one.
    pub id: Option<String>,
    /// When it happened, milliseconds since 1970; `None`: now.
    pub occurred_at: Option<i64>,
    /// Headers to send along.
    pub headers: Vec<(String, String)>,
    /// JSON text.
    pub data: Bytes,
}

/// The answer to an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedEvent {
    /// The event's id.
    pub id: String,
    /// Its deliveries; none if the company has no webhook for it.
    pub delivery_ids: Vec<String>,
    /// The company had published the same event before: nothing new was stored.
    pub is_duplicate: bool,
}

/// An event in the writer's queue, behind those that were submitted before.
#[must_use]
pub struct SubmittedEvent {
    id: String,
    delivery_ids: Vec<String>,
    stored: oneshot::Receiver<Result<Published, StoreError>>,
}

impl SubmittedEvent {
    /// Waits until the event is on disk.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: another event has this id, or one whose data was erased. The store's. The event is not stored.
    pub async fn accepted(self) -> Result<AcceptedEvent, StoreError> {
        let Self { id, delivery_ids, stored } = self;
        match stored.await.unwrap_or(Err(StoreError::NotCommitted))? {
            Published::Stored => Ok(AcceptedEvent { id, delivery_ids, is_duplicate: false }),
            Published::Duplicate(delivery_ids) => Ok(AcceptedEvent { id, delivery_ids, is_duplicate: true }),
            Published::IdTaken => Err(StoreError::InUse(format!(
                "the event id `{id}` was used before, for another type or other data; nothing was stored: publish a new \
                 event under a new id"
            ))),
            Published::IdErased => Err(StoreError::InUse(format!(
                "the event id `{id}` was used before, for data that was erased since, so that this event cannot be compared with \
                 it; nothing was stored: publish a new event under a new id"
            ))),
        }
    }
}

/// Stores events and hands them over for delivery.
pub struct Publisher {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) ids: Arc<Ids>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) consumers: Arc<WaitingConsumers>,
    pub(super) metrics: Arc<Metrics>,
}

impl Publisher {
    /// Stores an event and hands it over for delivery. When this returns, the event is on disk. If the caller goes away
    /// earlier, the event is delivered all the same once it is stored.
    ///
    /// # Errors
    /// As [`SubmittedEvent::accepted`]: the event is not stored.
    pub async fn publish(&self, new: NewEvent) -> Result<AcceptedEvent, StoreError> {
        self.submit(new).await?.accepted().await
    }

    /// Hands an event to the writer without waiting for the disk. Events that one caller submits one after the other are
    /// delivered in that order.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company stores too many bytes of events. The store's: the event is not stored.
    pub async fn submit(&self, new: NewEvent) -> Result<SubmittedEvent, StoreError> {
        self.store.check_event_quota(&new.company)?;
        let webhooks = self.store.webhooks_for(&new.company, &new.event_type).await?;
        let now_ms = self.clock.wall_ms();
        let event = Arc::new(event(new, &self.ids, now_ms));
        let places = webhooks.iter().map(|webhook| (webhook.clone(), self.place(webhook)));
        let (row, handovers) = row(event, places, self.ids.next("dlv", now_ms), now_ms);
        let (id, delivery_ids) = (row.event.id.clone(), row.deliveries.iter().map(|one| one.id.clone()).collect());
        let (sender, stored) = oneshot::channel();
        let (queues, effects, metrics) = (self.queues.clone(), self.effects.clone(), self.metrics.clone());
        let consumers = self.consumers.clone();
        // This runs on the writer's task, so that a client that hung up meanwhile loses nothing.
        let done = move |result: Result<Published, StoreError>| {
            if let Ok(Published::Stored) = &result {
                metrics.event_accepted();
                if handovers.is_empty() {
                    metrics.event_unmatched();
                }
                handovers.into_iter().for_each(|handover| handover.complete(&queues, &effects, &consumers));
            }
            let _ = sender.send(result);
        };
        self.store.publish(Publish { row, done: Box::new(done) }).await;
        Ok(SubmittedEvent { id, delivery_ids, stored })
    }

    /// Reserves a place for a delivery to this webhook.
    fn place(&self, webhook: &Webhook) -> Place {
        if webhook.is_pulled() {
            return Place::Consumer;
        }
        if !webhook.enabled {
            return Place::Disabled;
        }
        let reservation = self.queues.reserve(webhook);
        let lease = reservation.in_memory().then(|| self.leases.lease());
        Place::Queue(reservation, lease)
    }
}

/// Where a new delivery goes.
enum Place {
    /// Into the backlog of a webhook that is disabled.
    Disabled,
    /// Behind those that wait for the consumer of a webhook.
    Consumer,
    /// Into the webhook's queue under this lease, or, without one, into the backlog.
    Queue(Reservation, Option<Lease>),
}

/// Returns an event that is published at `now_ms`, milliseconds since 1970.
fn event(new: NewEvent, ids: &Ids, now_ms: i64) -> Event {
    Event {
        id: new.id.unwrap_or_else(|| ids.next("evt", now_ms)),
        event_type: new.event_type,
        company: new.company,
        occurred_at: new.occurred_at.unwrap_or(now_ms),
        headers: new.headers,
        data: new.data,
    }
}

/// Returns the rows of an event with a delivery to each webhook, and the way of each into its queue once they are stored.
fn row(
    event: Arc<Event>,
    places: impl ExactSizeIterator<Item = (Arc<Webhook>, Place)>,
    place: String,
    created_at: i64,
) -> (NewEventRow, Vec<Handover>) {
    let mut deliveries = Vec::with_capacity(places.len());
    let mut handovers = Vec::with_capacity(places.len());
    for (number, (webhook, queue)) in places.enumerate() {
        let id = delivery_id(&place, number);
        let (reservation, waits) = match queue {
            Place::Disabled => (None, NewDeliveryWaits::InBacklog),
            Place::Consumer => (None, NewDeliveryWaits::ForConsumer),
            Place::Queue(reservation, lease) => {
                (Some(reservation), lease.map_or(NewDeliveryWaits::InBacklog, NewDeliveryWaits::InMemory))
            }
        };
        let delivery = QueuedDelivery {
            lease: waits.lease().map(|lease| lease.node.clone()),
            ..QueuedDelivery::fresh(id.clone(), &webhook, event.clone())
        };
        deliveries.push(NewDelivery::new(id, &webhook, waits));
        handovers.push(Handover { delivery, webhook, reservation });
    }
    (NewEventRow { place, event, deliveries, created_at }, handovers)
}

/// A stored delivery on its way into its queue.
struct Handover {
    delivery: QueuedDelivery,
    webhook: Arc<Webhook>,
    /// `None`: the webhook is disabled, or its events wait for a consumer.
    reservation: Option<Reservation>,
}

impl Handover {
    fn complete(self, queues: &WebhookQueues, effects: &Arc<EffectRunner>, consumers: &WaitingConsumers) {
        match self.reservation {
            Some(place) if place.in_memory() => effects.apply_now(queues.fill(&place, self.delivery)),
            Some(_) => effects.apply_now(queues.spilled(&self.webhook)),
            None if self.webhook.is_pulled() => consumers.wake(&self.webhook.id),
            None => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_123;

    fn new_event() -> NewEvent {
        NewEvent {
            company: "acme".into(),
            event_type: "t".into(),
            id: None,
            occurred_at: None,
            headers: vec![("x-a".into(), "1".into())],
            data: Bytes::from_static(b"1"),
        }
    }

    fn webhooks(ids: &[&str]) -> Vec<(Arc<Webhook>, Place)> {
        ids.iter().map(|id| (Arc::new(Webhook::sample("acme", id)), Place::Disabled)).collect()
    }

    #[test]
    fn event_without_id_and_time_gets_both() {
        let event = event(new_event(), &Ids::default(), NOW);
        assert!(event.id.starts_with("evt_"), "{}", event.id);
        assert_eq!((event.occurred_at, event.headers), (NOW, vec![("x-a".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn producer_chooses_id_and_time_but_not_when_the_event_was_accepted() {
        let new = NewEvent { id: Some("evt-7".into()), occurred_at: Some(5), ..new_event() };
        let event = event(new, &Ids::default(), NOW);
        let (row, _) = row(Arc::new(event), webhooks(&["wh_1"]).into_iter(), "dlv_1".into(), NOW);
        assert_eq!((row.event.id.as_str(), row.event.occurred_at, row.created_at), ("evt-7", 5, NOW));
    }

    #[test]
    fn event_has_a_delivery_for_each_webhook_whose_ids_begin_with_its_place() {
        let event = Arc::new(event(new_event(), &Ids::default(), NOW));
        let (none, handovers) = row(event.clone(), Vec::new().into_iter(), "dlv_1".into(), NOW);
        assert!(none.deliveries.is_empty() && handovers.is_empty());
        drop(none);
        let labelled = Webhook { label: Some("copy".into()), ..Webhook::sample("acme", "wh_2") };
        let mut places = webhooks(&["wh_1"]);
        places.push((Arc::new(labelled), Place::Disabled));
        let (row, handovers) = row(event.clone(), places.into_iter(), "dlv_1".into(), NOW);
        let made: Vec<_> = row
            .deliveries
            .iter()
            .map(|one| (&*one.id, &*one.webhook, one.label.as_deref(), one.waits.lease().is_some()))
            .collect();
        assert_eq!(made, [("dlv_1", "wh_1", None, false), ("dlv_1_001", "wh_2", Some("copy"), false)]);
        let queued: Vec<_> = handovers.iter().map(|one| (&*one.delivery.id, &*one.delivery.webhook_id)).collect();
        assert_eq!(queued, [("dlv_1", "wh_1"), ("dlv_1_001", "wh_2")]);
        assert_eq!(Arc::strong_count(&event), 4, "the event is in memory once");
    }

    #[tokio::test]
    async fn event_whose_id_was_used_before_is_answered_with_its_first_deliveries() {
        let answer = |stored: Result<Published, StoreError>| async {
            let (sender, receiver) = oneshot::channel();
            sender.send(stored).unwrap_or_default();
            let submitted = SubmittedEvent { id: "e".into(), delivery_ids: vec!["dlv_2".into()], stored: receiver };
            submitted.accepted().await
        };
        let stored = answer(Ok(Published::Stored)).await.unwrap();
        assert_eq!((stored.delivery_ids, stored.is_duplicate), (vec!["dlv_2".to_owned()], false));
        let again = answer(Ok(Published::Duplicate(vec!["dlv_1".into()]))).await.unwrap();
        assert_eq!(again, AcceptedEvent { id: "e".into(), delivery_ids: vec!["dlv_1".into()], is_duplicate: true });
        assert!(matches!(answer(Ok(Published::IdTaken)).await, Err(StoreError::InUse(_))));
        assert!(matches!(answer(Err(StoreError::Full)).await, Err(StoreError::Full)));
    }
}
