//! Accepts events: stored first, then answered, then handed to their queue in memory.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::lease::LeaseHolder;
use super::queue::{QueuedDelivery, Reservation, WebhookQueues};
use crate::domain::event::Event;
use crate::domain::id::Ids;
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use crate::store::{Lease, NewDelivery, Publish, Published, Store, StoreError};

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
    /// Its delivery; `None`: the company has no webhook for the type.
    pub delivery_id: Option<String>,
    /// The company had published the same event before: nothing new was stored.
    pub is_duplicate: bool,
}

/// An event in the writer's queue, behind those that were submitted before.
#[must_use]
pub struct SubmittedEvent {
    id: String,
    delivery_id: Option<String>,
    stored: oneshot::Receiver<Result<Published, StoreError>>,
}

impl SubmittedEvent {
    /// Waits until the event is on disk.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: another event has this id. The store's. The event is not stored.
    pub async fn accepted(self) -> Result<AcceptedEvent, StoreError> {
        let id = self.id;
        match self.stored.await.unwrap_or(Err(StoreError::NotCommitted))? {
            Published::Stored => Ok(AcceptedEvent { id, delivery_id: self.delivery_id, is_duplicate: false }),
            Published::Duplicate(delivery_id) => Ok(AcceptedEvent { id, delivery_id, is_duplicate: true }),
            Published::IdTaken => Err(StoreError::InUse(format!(
                "the event id `{id}` was used before, for another type or other data; nothing was stored: publish a new \
                 event under a new id"
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
        let webhook = self.store.webhook_for(&new.company, &new.event_type).await?;
        let reservation = webhook.as_deref().filter(|webhook| webhook.enabled).map(|hook| self.queues.reserve(hook));
        let in_memory = reservation.as_ref().is_some_and(Reservation::in_memory);
        let lease = in_memory.then(|| self.leases.lease());
        let row = new_delivery(new, webhook.as_deref(), lease, &self.ids, self.clock.wall_ms());
        let (id, delivery_id) = (row.event.id.clone(), row.webhook.is_some().then(|| row.id.clone()));
        let (sender, stored) = oneshot::channel();
        let handover = webhook.map(|webhook| Handover::new(&row, webhook, reservation));
        let (queues, effects, metrics) = (self.queues.clone(), self.effects.clone(), self.metrics.clone());
        // This runs on the writer's task, so that a client that hung up meanwhile loses nothing.
        let done = move |result: Result<Published, StoreError>| {
            if let Ok(Published::Stored) = &result {
                metrics.event_accepted();
                match handover {
                    Some(handover) => handover.complete(&queues, &effects),
                    None => metrics.event_unmatched(),
                }
            }
            let _ = sender.send(result);
        };
        self.store.publish(Publish { row, done: Box::new(done) }).await;
        Ok(SubmittedEvent { id, delivery_id, stored })
    }
}

/// The row of a new event. It has a lease if its delivery goes to a queue in memory, and waits in the database otherwise;
/// `now_ms` is milliseconds since 1970.
fn new_delivery(new: NewEvent, webhook: Option<&Webhook>, lease: Option<Lease>, ids: &Ids, now_ms: i64) -> NewDelivery {
    let event = Event {
        id: new.id.unwrap_or_else(|| ids.next("evt", now_ms)),
        event_type: new.event_type,
        company: new.company,
        occurred_at: new.occurred_at.unwrap_or(now_ms),
        headers: new.headers,
        data: new.data,
    };
    NewDelivery {
        id: ids.next("dlv", now_ms),
        event: Arc::new(event),
        webhook: webhook.map(|webhook| webhook.id.clone()),
        lease,
        created_at: now_ms,
    }
}

/// A stored event on its way into its queue.
struct Handover {
    delivery: QueuedDelivery,
    webhook: Arc<Webhook>,
    /// `None`: the webhook is disabled.
    reservation: Option<Reservation>,
}

impl Handover {
    fn new(row: &NewDelivery, webhook: Arc<Webhook>, reservation: Option<Reservation>) -> Self {
        let lease = row.lease.as_ref().map(|lease| lease.node.clone());
        let delivery = QueuedDelivery { lease, ..QueuedDelivery::fresh(row.id.clone(), &webhook, row.event.clone()) };
        Self { delivery, webhook, reservation }
    }

    fn complete(self, queues: &WebhookQueues, effects: &Arc<EffectRunner>) {
        match self.reservation {
            Some(place) if place.in_memory() => effects.apply_now(queues.fill(&place, self.delivery)),
            Some(_) => effects.apply_now(queues.spilled(&self.webhook)),
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

    #[test]
    fn event_without_id_and_time_gets_both() {
        let row = new_delivery(new_event(), None, None, &Ids::default(), NOW);
        assert!(row.event.id.starts_with("evt_") && row.id.starts_with("dlv_"), "{} {}", row.event.id, row.id);
        assert_eq!((row.event.occurred_at, row.created_at), (NOW, NOW));
        assert_eq!((row.webhook, row.lease), (None, None));
        assert_eq!(row.event.headers, [("x-a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn producer_chooses_id_and_time_but_not_when_the_event_was_accepted() {
        let new = NewEvent { id: Some("evt-7".into()), occurred_at: Some(5), ..new_event() };
        let row = new_delivery(new, Some(&Webhook::sample("acme", "wh_1")), None, &Ids::default(), NOW);
        assert_eq!((row.event.id.as_str(), row.event.occurred_at, row.created_at), ("evt-7", 5, NOW));
        assert_eq!(row.webhook.as_deref(), Some("wh_1"));
    }

    #[test]
    fn delivery_in_memory_has_the_lease_of_its_row() {
        let hook = Arc::new(Webhook::sample("acme", "wh_1"));
        let lease = Some(Lease { until_ms: NOW + 60_000, node: "run_1".into() });
        let row = new_delivery(new_event(), Some(&hook), lease, &Ids::default(), NOW);
        let delivery = Handover::new(&row, hook, None).delivery;
        assert_eq!(delivery.lease.as_deref(), Some("run_1"));
        assert_eq!((delivery.id, delivery.webhook_id.as_str()), (row.id, "wh_1"));
        assert_eq!((delivery.attempt_count, delivery.attempt_base), (0, 0));
    }

    #[test]
    fn deliveries_ascend_in_the_order_of_publishing() {
        let ids = Ids::default();
        let made: Vec<_> = (0..100).map(|_| new_delivery(new_event(), None, None, &ids, NOW).id).collect();
        assert!(made.is_sorted());
    }

    #[tokio::test]
    async fn event_whose_id_was_used_before_is_answered_with_its_first_delivery() {
        let answer = |stored: Result<Published, StoreError>| async {
            let (sender, receiver) = oneshot::channel();
            sender.send(stored).unwrap_or_default();
            let submitted = SubmittedEvent { id: "e".into(), delivery_id: Some("dlv_2".into()), stored: receiver };
            submitted.accepted().await
        };
        let stored = answer(Ok(Published::Stored)).await.unwrap();
        assert_eq!(stored.delivery_id.as_deref(), Some("dlv_2"));
        assert!(!stored.is_duplicate);
        let again = answer(Ok(Published::Duplicate(Some("dlv_1".into())))).await.unwrap();
        assert_eq!(again, AcceptedEvent { id: "e".into(), delivery_id: Some("dlv_1".into()), is_duplicate: true });
        assert!(matches!(answer(Ok(Published::IdTaken)).await, Err(StoreError::InUse(_))));
        assert!(matches!(answer(Err(StoreError::Full)).await, Err(StoreError::Full)));
    }
}
