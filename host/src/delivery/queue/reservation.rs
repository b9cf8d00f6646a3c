//! Reservations: the claim of a new event on its webhook's queue, while the event is being stored.

use std::sync::Arc;

use super::WebhookQueues;
use crate::domain::webhook::Webhook;

/// The claim of a new event, while it is being stored, on its webhook's queue: on a place in memory, or on being spilled
/// before all later events. Dropping it releases it.
pub(in crate::delivery) struct Reservation {
    queues: Arc<WebhookQueues>,
    pub(super) webhook_id: String,
    in_memory: bool,
}

impl Reservation {
    /// Returns whether the queue keeps a place in memory for the event; if not, it has to be spilled.
    pub(in crate::delivery) fn in_memory(&self) -> bool {
        self.in_memory
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.queues.change(|state, now| {
            if let Some(queue) = state.queues.get_mut(self.webhook_id.as_str()) {
                queue.release(self.in_memory);
            }
            state.settle(&self.webhook_id, now);
        });
    }
}

impl WebhookQueues {
    /// Reserves a place for a new event of this webhook.
    pub(in crate::delivery) fn reserve(self: &Arc<Self>, webhook: &Webhook) -> Reservation {
        let mut state = self.lock();
        let limit = state.queue_limit(&webhook.company);
        let in_memory = state.queue(webhook).reserve(limit);
        Reservation { queues: self.clone(), webhook_id: webhook.id.clone(), in_memory }
    }
}
