//! Events that the service itself publishes: pings and operational events.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::event::Event;
use crate::domain::id::{Ids, delivery_id};
use crate::domain::webhook::Webhook;
use crate::store::{NewDelivery, NewDeliveryWaits, NewEventRow};

/// Makes events of the service's own.
pub(super) struct HostEvents {
    pub(super) ids: Arc<Ids>,
}

impl HostEvents {
    /// Returns an event of a company, published at `now_ms`, milliseconds since 1970.
    pub(super) fn event(&self, company: &str, event_type: &str, data: &Value, now_ms: i64) -> Event {
        Event {
            id: self.ids.next("evt", now_ms),
            event_type: event_type.into(),
            company: company.into(),
            occurred_at: now_ms,
            headers: Vec::new(),
            data: data.to_string().into(),
        }
    }

    /// Returns the row of such an event, with a delivery to each of these webhooks that waits in the database.
    pub(super) fn row<'w>(&self, event: Event, webhooks: impl IntoIterator<Item = &'w Webhook>) -> NewEventRow {
        let (created_at, place) = (event.occurred_at, self.ids.next("dlv", event.occurred_at));
        let delivery = |(number, webhook): (usize, &Webhook)| {
            let waits = match webhook.is_pulled() {
                true => NewDeliveryWaits::ForConsumer,
                false => NewDeliveryWaits::InBacklog,
            };
            NewDelivery::new(delivery_id(&place, number), webhook, waits)
        };
        let deliveries = webhooks.into_iter().enumerate().map(delivery).collect();
        NewEventRow { place, event: Arc::new(event), deliveries, created_at }
    }
}
