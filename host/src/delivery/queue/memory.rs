//! The deliveries in memory and the bounds on them.

use std::collections::HashSet;

use super::QueuedDelivery;
use crate::domain::id;
use crate::domain::waiting::WaitingCount;

/// Deliveries that one queue holds while memory is ample.
pub(super) const BUFFER: usize = 1024;
/// The same if more than half of [`MEMORY`] is used.
const SCARCE: usize = 64;
/// The same if all of it is: enough to keep an attempt going, so that queues with a backlog do not take the memory that
/// others need to deliver at all.
pub(super) const LEAST: usize = 4;
/// Most memory that all deliveries together take, in bytes. Beyond it they take only [`LEAST`] per queue.
const MEMORY: usize = 8 << 20;

/// The deliveries in memory, queued or in flight. A lease that runs out is no reason to queue one of them a second time.
#[derive(Debug, Default)]
pub(super) struct HeldDeliveries {
    ids: HashSet<String>,
    bytes: usize,
}

impl HeldDeliveries {
    /// Returns whether a delivery is in memory.
    pub(super) fn contains(&self, delivery_id: &str) -> bool {
        self.ids.contains(delivery_id)
    }

    /// Counts a delivery that enters memory.
    pub(super) fn insert(&mut self, delivery: &QueuedDelivery) {
        if self.ids.insert(delivery.id.clone()) {
            self.bytes += delivery.size();
        }
    }

    /// Counts a delivery that leaves memory.
    pub(super) fn remove(&mut self, delivery: &QueuedDelivery) {
        if self.ids.remove(&delivery.id) {
            self.bytes = self.bytes.saturating_sub(delivery.size());
        }
    }

    /// Returns how many there are, and when the oldest was accepted.
    pub(super) fn count(&self) -> WaitingCount {
        let oldest = self.ids.iter().min().and_then(|id| id::made_at(id));
        WaitingCount { count: i64::try_from(self.ids.len()).unwrap_or(i64::MAX), oldest }
    }

    /// Returns how many deliveries a queue may hold now.
    pub(super) fn queue_limit(&self) -> usize {
        match self.bytes {
            bytes if bytes < MEMORY / 2 => BUFFER,
            bytes if bytes < MEMORY => SCARCE,
            _ => LEAST,
        }
    }

    /// Returns whether nothing is held.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.bytes == 0
    }
}
