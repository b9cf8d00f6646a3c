//! Events that the service itself publishes: pings and operational events.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::event::Event;
use crate::domain::id::Ids;
use crate::domain::webhook::Webhook;
use crate::store::{NewDelivery, NewEventRow};

/// Makes events of the service's own.
pub(super) struct HostEvents {
    pub(super) ids: Arc<Ids>,
}

impl HostEvents {
    /// An event for this webhook, published at `now_ms`, milliseconds since 1970. Its delivery waits in the database.
    pub(super) fn event_for(&self, webhook: &Webhook, event_type: &str, data: &Value, now_ms: i64) -> NewEventRow {
        let event = Event {
            id: self.ids.next("evt", now_ms),
            event_type: event_type.into(),
            company: webhook.company.clone(),
            occurred_at: now_ms,
            headers: Vec::new(),
            data: data.to_string().into(),
        };
        let place = self.ids.next("dlv", now_ms);
        let delivery =
            NewDelivery { id: place.clone(), webhook: webhook.id.clone(), label: webhook.label.clone(), lease: None };
        NewEventRow { place, event: Arc::new(event), deliveries: vec![delivery], created_at: now_ms }
    }
}
