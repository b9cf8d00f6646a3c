//! The inputs of a queue that concern the other nodes of the database.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Effects, QueuedDelivery, WebhookQueues};
use crate::domain::webhook::Webhook;

impl WebhookQueues {
    /// Sets the number of nodes that serve the database, this one included. The first call says that there may be
    /// several at all.
    pub(in crate::delivery) fn set_node_count(&self, count: u32) -> Effects {
        self.change(|state, now| {
            if state.seats.nodes.replace(count) != Some(count) {
                state.for_each_lane(now, |lane| lane.share.nodes = Some(count));
            }
            Effects { start_worker: state.starts_worker(now), ..Effects::default() }
        })
    }

    /// Sets the instant from which no attempt begins, until the next call: by the time such an attempt would end, the
    /// other nodes may take this one for dead.
    pub(in crate::delivery) fn set_fence(&self, fence: Instant) -> Effects {
        self.change(|state, now| {
            if state.seats.is_fenced(now) {
                // Nothing could be served meanwhile: no queue has waited for service since before.
                let waiting = state.lanes.values_mut().filter_map(|lane| lane.servable_since.as_mut());
                waiting.for_each(|since| *since = now);
            }
            state.seats.fence = Some(fence);
            Effects { start_worker: state.starts_worker(now), ..Effects::default() }
        })
    }

    /// Returns whether the fence has passed, so that no attempt may begin now.
    pub(in crate::delivery) fn is_fenced(&self) -> bool {
        self.lock().seats.is_fenced((self.now)())
    }

    /// Returns whether this node may serve the webhook, as far as it knows.
    pub(in crate::delivery) fn may_serve(&self, webhook: &Webhook) -> bool {
        self.lock().lane(webhook).is_ours()
    }

    /// Forgets every ownership, because other nodes took this one for dead and claimed what it held, and gives back
    /// all queued deliveries. Attempts in flight end by themselves.
    pub(in crate::delivery) fn ownership_lost(&self) -> Effects {
        self.change(|state, now| {
            state.seats.ours.clear();
            state.seats.term += 1;
            let mut lost: Vec<QueuedDelivery> = Vec::new();
            for lane in state.lanes.values_mut() {
                lane.lose_seat();
                (lane.parked, lane.replayed) = (false, false);
                lost.append(&mut lane.take_all());
            }
            for job in &lost {
                state.let_go(job);
            }
            state.for_each_lane(now, |_| ());
            Effects { give_back: lost, ..Effects::default() }
        })
    }

    /// Takes in that another node has spilled deliveries of this webhook, or has marked some for replay.
    pub(in crate::delivery) fn spilled_elsewhere(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        // Most notifications concern webhooks of other nodes, which have queues for them.
        if !state.lanes.contains_key(webhook.id.as_str()) && !state.seats.share(&webhook.id).seat {
            return Effects::default();
        }
        let lane = state.lane(webhook);
        let ours = lane.is_ours();
        lane.parked |= ours;
        lane.replayed |= ours;
        Effects { wake_fetcher: ours, ..Effects::default() }
    }

    /// Returns whether the webhook has been changed since its queue began with it, or was last told of a change.
    pub(in crate::delivery) fn is_outdated(&self, webhook: &Webhook) -> bool {
        self.lock().lanes.get(webhook.id.as_str()).is_some_and(|lane| lane.anew_at != webhook.updated_at)
    }

    /// Returns the ids of the webhooks of this company and event type that have queues: more than one after the
    /// webhook was removed and subscribed again.
    pub(in crate::delivery) fn webhooks_of_type(&self, company: &str, event_type: &str) -> Vec<Arc<str>> {
        let state = self.lock();
        let same = state.lanes.iter().filter(|(_, lane)| *lane.company == *company && lane.event_type == event_type);
        same.map(|(webhook, _)| webhook.clone()).collect()
    }
}
