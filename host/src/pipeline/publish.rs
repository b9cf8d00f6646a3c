//! Accepting an event: stored first, then answered, then handed over in memory.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use super::lanes::{Job, Place};
use super::{Inner, Pipeline};
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;
use crate::store::{NewDelivery, Publish, Published, StoreError};

/// An event as its producer hands it in, already checked.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The company.
    pub company: String,
    /// The type.
    pub event_type: String,
    /// The producer's id for it; `None` has one made.
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
pub struct Accepted {
    /// The event's id.
    pub id: String,
    /// The delivery it makes; `None`: nobody subscribes.
    pub delivery_id: Option<String>,
}

/// An event that has its place behind those handed in before, in the writer's queue and in its webhook's lane.
pub struct HandedIn {
    id: String,
    delivery: Option<String>,
    stored: oneshot::Receiver<Result<Published, StoreError>>,
}

impl HandedIn {
    /// The answer, once the event is on disk.
    ///
    /// # Errors
    /// The store's: the event is not stored.
    pub async fn accepted(self) -> Result<Accepted, StoreError> {
        match self.stored.await.unwrap_or(Err(StoreError::NotCommitted))? {
            Published::Stored => Ok(Accepted { id: self.id, delivery_id: self.delivery }),
            Published::Before(delivery_id) => Ok(Accepted { id: self.id, delivery_id }),
        }
    }
}

impl Pipeline {
    /// Stores an event and sends it on its way. When this returns, the event is on disk; should the caller go away
    /// before, the event is delivered all the same once it is stored.
    ///
    /// # Errors
    /// The store's: the event is not stored.
    pub async fn publish(&self, new: NewEvent) -> Result<Accepted, StoreError> {
        self.hand_in(new).await?.accepted().await
    }

    /// Hands an event to the writer: of several, who waits for one of these before the next has them delivered in that
    /// order, and need not wait for each to be stored.
    ///
    /// # Errors
    /// The store's: the event is not stored.
    pub async fn hand_in(&self, new: NewEvent) -> Result<HandedIn, StoreError> {
        let inner = &self.0;
        let webhook = inner.store.webhook_for(&new.company, &new.event_type).await?;
        let place = webhook.as_deref().filter(|webhook| webhook.enabled).map(|hook| inner.lanes.reserve(hook));
        let now = inner.time.of_day();
        let event = Arc::new(Event {
            id: new.id.unwrap_or_else(|| inner.ids.next("evt", now)),
            event_type: new.event_type,
            company: new.company,
            occurred_at: new.occurred_at.unwrap_or(now),
            headers: new.headers,
            data: new.data,
        });
        let row = NewDelivery {
            id: inner.ids.next("dlv", now),
            event: event.clone(),
            webhook: webhook.as_ref().map(|webhook| webhook.id.clone()),
            lease: place.as_ref().filter(|place| place.in_memory).map(|_| self.lease()),
            created_at: now,
        };
        let lease = row.lease.as_ref().map(|(_, process)| process.clone());
        let (id, delivery) = (event.id.clone(), row.webhook.is_some().then(|| row.id.clone()));
        let (sender, stored) = oneshot::channel();
        let pipeline = self.clone();
        let job = webhook.zip(delivery.clone()).map(|(webhook, delivery)| {
            let job = Job { lease, ..Job::fresh(delivery, &webhook, event) };
            (webhook, job)
        });
        let done = move |result: Result<Published, StoreError>| {
            if let Ok(Published::Stored) = &result {
                pipeline.0.parts.metrics.event_accepted();
            }
            if let (Ok(Published::Stored), Some((webhook, job))) = (&result, job) {
                pipeline.hand_over(&webhook, job, place);
            }
            let _ = sender.send(result);
        };
        inner.store.publish(Publish { row, done: Box::new(done) }).await;
        Ok(HandedIn { id, delivery, stored })
    }

    /// An event of the host's own for this webhook, made at `now`, in milliseconds since 1970; it is parked.
    pub(super) fn own_event(&self, webhook: &Webhook, (event_type, data): (&str, Value), now: i64) -> NewDelivery {
        let event = Event {
            id: self.0.ids.next("evt", now),
            event_type: event_type.into(),
            company: webhook.company.clone(),
            occurred_at: now,
            headers: Vec::new(),
            data: data.to_string().into(),
        };
        NewDelivery {
            id: self.0.ids.next("dlv", now),
            event: Arc::new(event),
            webhook: Some(webhook.id.clone()),
            lease: None,
            created_at: now,
        }
    }

    fn hand_over(&self, webhook: &Webhook, job: Job, place: Option<Place>) {
        let inner: &Inner = &self.0;
        match place {
            Some(place) if place.in_memory => {
                if inner.lanes.put(&place, job) {
                    self.start_worker();
                }
            }
            Some(_) if inner.lanes.parked(webhook) => inner.wake_sweep.notify_one(),
            Some(_) | None => (),
        }
    }
}
