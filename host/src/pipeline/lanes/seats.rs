//! Which webhooks this node delivers, and whether it may deliver at all, where several nodes serve one database.
//!
//! A webhook that is ordered, has a pace or has few slots has one owner among the nodes, so that its limits hold over all
//! of them: only the node that has its *seat* holds anything of it in memory and sends it. What other nodes accept for it
//! they park. The slots of every other webhook are divided among the nodes.
//!
//! A node that the others may take for dead is *fenced*: it begins no attempts.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Job, Lanes, Refill};
use crate::domain::webhook::Webhook;

/// How a lane's webhook is shared among the nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// How many nodes there are; `None`: never more than this one.
    nodes: Option<u32>,
    /// Whether this node has the seat.
    pub(super) seat: bool,
}

impl Share {
    /// Whether there may be other nodes.
    pub(super) fn is_shared(self) -> bool {
        self.nodes.is_some()
    }

    /// This node's part of a webhook's slots.
    pub(super) fn part(self, slots: u32) -> u32 {
        self.nodes.map_or(slots, |nodes| (slots / nodes.max(1)).max(1))
    }
}

/// What this node knows of itself among the others. By default there are none, ever.
#[derive(Debug, Default)]
pub(super) struct Seats {
    nodes: Option<u32>,
    /// The webhooks whose seat it has: kept apart from their lanes, which are forgotten when nothing waits in them.
    ours: HashSet<Arc<str>>,
    /// Counts how often it has lost all of them.
    term: u64,
    /// From then on it begins no attempts.
    fence: Option<Instant>,
}

impl Seats {
    pub(super) fn share(&self, webhook: &str) -> Share {
        Share { nodes: self.nodes, seat: self.ours.contains(webhook) }
    }

    pub(super) fn term(&self) -> u64 {
        self.term
    }

    pub(super) fn is_fenced(&self, now: Instant) -> bool {
        self.fence.is_some_and(|fence| now >= fence)
    }
}

impl Lanes {
    /// Several nodes may serve the database; there are `count` of them now, this one among them. True: start a worker.
    pub(in crate::pipeline) fn nodes(&self, count: u32) -> bool {
        self.change(|state, now| {
            if state.seats.nodes.replace(count) != Some(count) {
                state.for_each_lane(now, |lane| lane.share.nodes = Some(count));
            }
            state.starts_worker(now)
        })
    }

    /// No attempt begins at `fence` or later, until this is said again: the others may take this node for dead by the time
    /// that it would end. True: start a worker.
    pub(in crate::pipeline) fn fence(&self, fence: Instant) -> bool {
        self.change(|state, now| {
            if state.seats.is_fenced(now) {
                // Nothing could be served meanwhile: it has not been waiting since before.
                let waiting = state.lanes.values_mut().filter_map(|lane| lane.servable_since.as_mut());
                waiting.for_each(|since| *since = now);
            }
            state.seats.fence = Some(fence);
            state.starts_worker(now)
        })
    }

    /// Whether no attempts may begin now.
    pub(in crate::pipeline) fn is_fenced(&self) -> bool {
        self.lock().seats.is_fenced((self.now)())
    }

    /// Whether this node may deliver for the webhook, as far as it knows.
    pub(in crate::pipeline) fn answers_for(&self, webhook: &Webhook) -> bool {
        self.lock().lane(webhook).is_ours()
    }

    /// The seat that a refill asked for is ours.
    pub(in crate::pipeline) fn seated(&self, refill: &Refill) {
        let mut state = self.lock();
        if state.seats.term != refill.term {
            return;
        }
        state.seats.ours.insert(refill.webhook.clone());
        if let Some(lane) = state.lanes.get_mut(&refill.webhook) {
            lane.share.seat = true;
        }
    }

    /// Another node has the seat that a refill asked for: what waits in the lane is given back, to be parked. That ends the
    /// refill.
    pub(in crate::pipeline) fn refused(&self, refill: &Refill) -> Vec<Job> {
        self.change(|state, now| {
            let Some(lane) = state.lanes.get_mut(&refill.webhook) else {
                return Vec::new();
            };
            lane.refilling = false;
            let jobs = if lane.is_ours() { Vec::new() } else { lane.take_all() };
            // Once they are parked the other node has to be told of them.
            lane.parked |= !jobs.is_empty();
            for job in &jobs {
                state.let_go(job);
            }
            state.settle(&refill.webhook, now);
            jobs
        })
    }

    /// Others have taken this node for dead, and what it had in memory: it forgets that it had any seats, and gives back what
    /// waits in its lanes. What is in flight ends by itself.
    pub(in crate::pipeline) fn lose_all(&self) -> Vec<Job> {
        self.change(|state, now| {
            state.seats.ours.clear();
            state.seats.term += 1;
            let mut lost = Vec::new();
            for lane in state.lanes.values_mut() {
                lane.lose_seat();
                (lane.parked, lane.replayed) = (false, false);
                lost.append(&mut lane.take_all());
            }
            for job in &lost {
                state.let_go(job);
            }
            state.for_each_lane(now, |_| ());
            lost
        })
    }

    /// The webhook is no more, nor is its seat.
    pub(in crate::pipeline) fn removed(&self, webhook: &str) {
        let mut state = self.lock();
        state.seats.ours.remove(webhook);
        if let Some(lane) = state.lanes.get_mut(webhook) {
            lane.lose_seat();
        }
    }

    /// Another node has parked something for this webhook, or has it wait for a replay. True: it is this node's to fetch.
    pub(in crate::pipeline) fn told(&self, webhook: &Webhook) -> bool {
        let mut state = self.lock();
        // Most that is told is for others, who have lanes for it.
        if !state.lanes.contains_key(webhook.id.as_str()) && !state.seats.share(&webhook.id).seat {
            return false;
        }
        let lane = state.lane(webhook);
        let ours = lane.is_ours();
        lane.parked |= ours;
        lane.replayed |= ours;
        ours
    }

    /// Whether somebody has changed the webhook since its lane began by it, or began anew.
    pub(in crate::pipeline) fn is_behind(&self, webhook: &Webhook) -> bool {
        self.lock().lanes.get(webhook.id.as_str()).is_some_and(|lane| lane.anew_at != webhook.updated_at)
    }

    /// The webhooks with lanes for this company and type, whichever of them is there still.
    pub(in crate::pipeline) fn of_type(&self, company: &str, event_type: &str) -> Vec<Arc<str>> {
        let state = self.lock();
        let same = state.lanes.iter().filter(|(_, lane)| *lane.company == *company && lane.event_type == event_type);
        same.map(|(webhook, _)| webhook.clone()).collect()
    }
}
