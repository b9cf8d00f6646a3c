//! The inputs that come from other nodes of the same database, or concern them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Effects, Fence, WebhookQueues};
use crate::domain::webhook::Webhook;

impl WebhookQueues {
    /// Sets the number of nodes that serve the database, this one included. Before the first call there is never more
    /// than this one.
    pub(in crate::delivery) fn set_node_count(&self, count: u32) -> Effects {
        self.change(|state, now| {
            if state.node.set_count(count) {
                state.for_each_queue(now, |queue| queue.node_count_set(count));
            }
            state.worker_effects(now)
        })
    }

    /// Sets when this node stops, until the next call: by then the other nodes may take it for dead.
    pub(in crate::delivery) fn set_fence(&self, fence: Fence) -> Effects {
        self.change(|state, now| {
            if state.node.is_fenced(now) {
                // Nothing could be served meanwhile: no queue has waited for service since before.
                let waiting = state.queues.values_mut().filter_map(|queue| queue.notes.servable_since.as_mut());
                waiting.for_each(|since| *since = now);
            }
            state.node.set_fence(fence);
            state.worker_effects(now)
        })
    }

    /// Returns whether the fence has passed, so that no attempt may begin now.
    pub(in crate::delivery) fn is_fenced(&self) -> bool {
        self.lock().node.is_fenced((self.now)())
    }

    /// Returns when attempts in flight end at the latest; `None`: there is never another node.
    pub(in crate::delivery) fn attempts_end_at(&self) -> Option<Instant> {
        self.lock().node.attempts_end_at()
    }

    /// Returns whether this node may serve the webhook, as far as it knows.
    pub(in crate::delivery) fn may_serve(&self, webhook: &Webhook) -> bool {
        self.lock().queue(webhook).may_serve()
    }

    /// Forgets every ownership, because other nodes took this one for dead and claimed its deliveries, and gives back all
    /// that is queued. Attempts in flight end by themselves.
    pub(in crate::delivery) fn ownership_lost(&self) -> Effects {
        self.change(|state, now| {
            state.node.lose_all();
            let mut give_back = Vec::new();
            for queue in state.queues.values_mut() {
                give_back.append(&mut queue.ownership_lost());
            }
            state.forget(&give_back);
            state.for_each_queue(now, |_| ());
            Effects { give_back, ..Effects::default() }
        })
    }

    /// Records that another node has spilled deliveries of this webhook, or has marked some for replay. Wakes the fetcher
    /// if this node may serve the webhook.
    pub(in crate::delivery) fn spilled_elsewhere(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        // Most notifications are for other nodes, which have queues for the webhooks.
        if !state.queues.contains_key(webhook.id.as_str()) && !state.node.owns(&webhook.id) {
            return Effects::default();
        }
        let queue = state.queue(webhook);
        let wake_fetcher = queue.may_serve();
        if wake_fetcher {
            queue.spilled_elsewhere();
        }
        Effects { wake_fetcher, ..Effects::default() }
    }

    /// Returns whether the webhook has been changed since its queue was made, or since the last [`WebhookQueues::webhook_changed`].
    pub(in crate::delivery) fn is_outdated(&self, webhook: &Webhook) -> bool {
        let state = self.lock();
        state.queues.get(webhook.id.as_str()).is_some_and(|queue| queue.follows_version_of != webhook.updated_at)
    }

    /// Returns whether the webhook with this id has a queue.
    pub(in crate::delivery) fn has_queue(&self, webhook_id: &str) -> bool {
        self.lock().queues.contains_key(webhook_id)
    }

    /// Returns the ids of the webhooks of this company and event type that have queues.
    pub(in crate::delivery) fn webhooks_of_type(&self, company: &str, event_type: &str) -> Vec<Arc<str>> {
        let state = self.lock();
        let same =
            state.queues.iter().filter(|(_, queue)| *queue.company == *company && queue.event_type == event_type);
        same.map(|(webhook_id, _)| webhook_id.clone()).collect()
    }
}
