//! A delivery held in memory.

use std::sync::Arc;

use super::AttemptClass;
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;

/// Approximate memory of a delivery besides its event's data and headers, in bytes.
const OVERHEAD: usize = 768;

/// A delivery held in memory: queued or in flight. It is made from an accepted event or from a row that the store
/// claimed (`ClaimedDelivery`), and ends as a write to the store (`DeliveryUpdate`).
#[derive(Debug, Clone)]
pub(in crate::delivery) struct QueuedDelivery {
    /// `dlv_…`. Identifiers ascend in the order of publishing.
    pub(in crate::delivery) id: String,
    /// `wh_…` of its webhook.
    pub(in crate::delivery) webhook_id: String,
    /// The lease under which this process holds it; a write under any other lease changes nothing.
    pub(in crate::delivery) lease: Option<Arc<str>>,
    /// Attempts made so far.
    pub(in crate::delivery) attempt_count: u32,
    /// Attempts that the retry schedule does not count: those before a replay or a retry by hand.
    pub(in crate::delivery) attempt_base: u32,
    /// The event.
    pub(in crate::delivery) event: Arc<Event>,
    /// The class under which its attempt in flight is counted.
    pub(in crate::delivery) class: AttemptClass,
    /// The number of its attempt in flight, among those of this process.
    pub(in crate::delivery) attempt: u64,
}

impl QueuedDelivery {
    /// Returns the delivery of an event that has never been attempted, without a lease.
    pub(in crate::delivery) fn fresh(id: String, webhook: &Webhook, event: Arc<Event>) -> Self {
        Self {
            id,
            webhook_id: webhook.id.clone(),
            lease: None,
            attempt_count: 0,
            attempt_base: 0,
            event,
            class: AttemptClass::Unproven,
            attempt: 0,
        }
    }

    /// Returns whether its next attempt repeats one that the retry schedule counts.
    pub(super) fn is_retry(&self) -> bool {
        self.attempt_count > self.attempt_base
    }

    /// Returns the approximate memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let headers = self.event.headers.iter().map(|(name, value)| name.len() + value.len());
        OVERHEAD + self.event.data.len() + headers.sum::<usize>()
    }
}
