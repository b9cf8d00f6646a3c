//! The timers of the queues that open later: those with a pace, and those whose receiver is probed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokio::time::Instant;

/// When closed queues open. An entry is in force while its queue has the same instant noted.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// A timer was set that ends before all others.
    brought_forward: bool,
}

impl Timers {
    /// Sets a timer.
    pub(super) fn set(&mut self, at: Instant, webhook_id: Arc<str>) {
        self.brought_forward |= self.heap.peek().is_none_or(|Reverse((next, _))| at < *next);
        self.heap.push(Reverse((at, webhook_id)));
    }

    /// Returns the timer that ends first.
    pub(super) fn first(&self) -> Option<(Instant, Arc<str>)> {
        self.heap.peek().map(|Reverse(timer)| timer.clone())
    }

    /// Removes the timer that ends first.
    pub(super) fn remove_first(&mut self) {
        self.heap.pop();
    }

    /// Returns whether a timer was set that ends before all others, since the last call.
    pub(super) fn take_brought_forward(&mut self) -> bool {
        std::mem::take(&mut self.brought_forward)
    }
}
