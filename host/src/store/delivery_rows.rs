//! The rows of deliveries: the types that go into the table and come out of it.
//!
//! Four structs describe a delivery here, one per step: [`NewDelivery`] is stored with its event, [`ClaimedDelivery`] is read for an
//! attempt, [`DeliveryUpdate`] is the result of that attempt, and `domain::delivery::Delivery` is an entry of the log.

use std::sync::Arc;

use bytes::Bytes;

use super::db::DatabaseRow;
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;

/// An event to store, with its deliveries.
#[derive(Clone)]
pub struct NewEventRow {
    /// Its place in the log: the id of its first delivery, whether or not it has one.
    pub place: String,
    /// The event.
    pub event: Arc<Event>,
    /// Its deliveries; none if the company has no webhook for it.
    pub deliveries: Vec<NewDelivery>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// A delivery of an event that is to be stored.
#[derive(Clone)]
pub struct NewDelivery {
    /// Its id: the place of the event, and a number for each after the first.
    pub id: String,
    /// The id of its webhook.
    pub webhook: String,
    /// The webhook's label.
    pub label: Option<String>,
    /// Where it waits.
    pub waits: NewDeliveryWaits,
    /// Whether what it holds of its event's data is erased once it has ended.
    pub transient: bool,
}

impl NewDelivery {
    /// Returns a delivery to this webhook.
    pub fn new(id: String, webhook: &Webhook, waits: NewDeliveryWaits) -> Self {
        let (label, transient) = (webhook.label.clone(), webhook.is_transient());
        Self { id, webhook: webhook.id.clone(), label, waits, transient }
    }
}

/// Where a new delivery waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewDeliveryWaits {
    /// In the memory of the storing process, under its lease.
    InMemory(Lease),
    /// In the backlog of its webhook.
    InBacklog,
    /// For the consumer of its webhook.
    ForConsumer,
}

impl NewDeliveryWaits {
    /// Returns the lease under which the storing process holds it.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::InMemory(lease) => Some(lease),
            Self::InBacklog | Self::ForConsumer => None,
        }
    }
}

/// The result of storing an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The event is stored.
    Stored,
    /// The company has stored the same event before; holds the ids of the deliveries that it had then.
    Duplicate(Vec<String>),
    /// The company has used the event's id before, for other data or another type. Nothing is stored.
    IdTaken,
    /// The company has used the event's id before, for data that was erased since. Nothing is stored.
    IdErased,
}

/// The result of an attempt, to be written into its delivery.
#[derive(Debug, Clone)]
pub struct DeliveryUpdate {
    /// The company.
    pub company: String,
    /// The delivery's id.
    pub id: String,
    /// The lease under which the delivery was claimed. If the row has another lease by now, or none, it is left unchanged.
    pub lease: Option<Arc<str>>,
    /// The new status.
    pub status: Status,
    /// The number of attempts so far.
    pub attempt_count: u32,
    /// The number of these that the retry schedule does not count.
    pub attempt_base: u32,
    /// For [`Status::Pending`], when the next attempt is due, in milliseconds since 1970; `None` puts the delivery into the
    /// backlog.
    pub due: Option<i64>,
    /// For any other status, when the delivery ended, in milliseconds since 1970.
    pub finished_at: Option<i64>,
    /// The attempt, if one was made.
    pub attempt: Option<Attempt>,
}

/// A delivery that a process has claimed for an attempt.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// The delivery's id.
    pub id: String,
    /// The id of its webhook.
    pub webhook: String,
    /// The lease under which it was claimed.
    pub lease: Option<Arc<str>>,
    /// The number of attempts so far.
    pub attempt_count: u32,
    /// The number of attempts that the retry schedule does not count, because they were made before a replay.
    pub attempt_base: u32,
    /// The event.
    pub event: Arc<Event>,
}

/// A node's claim on deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it ends: milliseconds since 1970.
    pub until_ms: i64,
    /// The name of the node.
    pub node: Arc<str>,
}

/// The columns of an [`Event`] in the table `events`.
pub(super) const EVENT_COLUMNS: &str = "company, id AS event_id, event_type, occurred_at, headers, data";

/// Sorts after all ids of deliveries.
pub(super) const ID_END: &str = "dlv_~";

/// Returns the least id that a delivery of this millisecond can have. Ids begin with its 48 bits (UUIDv7), so a range of
/// time is a range of the primary key.
pub fn first_id(ms: i64) -> String {
    format!("dlv_{:012x}", ms.max(0))
}

/// Reads a row of [`EVENT_COLUMNS`].
pub(super) fn event_from_row(row: &DatabaseRow) -> Result<Event, sqlx::Error> {
    let headers: String = row.try_get("headers")?;
    let data: Vec<u8> = row.try_get("data")?;
    Ok(Event {
        id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        company: row.try_get("company")?,
        occurred_at: row.try_get("occurred_at")?,
        headers: serde_json::from_str(&headers).map_err(|error| sqlx::Error::Decode(error.into()))?,
        data: Bytes::from(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_of_a_millisecond_orders_like_time() {
        assert_eq!(first_id(0x0198_c0aa_0000), "dlv_0198c0aa0000");
        assert_eq!(first_id(-1), first_id(0));
        assert!(first_id(1) < first_id(0x10) && first_id(i64::MAX >> 16).as_str() < ID_END);
    }
}
