//! The consequences of an input to the queues.

use super::QueuedDelivery;

/// What an input to the queues asks its caller to bring about. Dropping it unapplied stalls deliveries until the next
/// poll.
#[must_use]
#[derive(Debug, Default)]
pub(in crate::delivery) struct Effects {
    /// Start one worker. The scheduler already counts it as running.
    pub(in crate::delivery) start_worker: bool,
    /// Wake the fetcher: a queue has room for rows that may lie in the database.
    pub(in crate::delivery) wake_fetcher: bool,
    /// Deliveries that are no longer held in memory: write them back to the backlog, then report
    /// [`WebhookQueues::spilled`](super::WebhookQueues::spilled).
    pub(in crate::delivery) give_back: Vec<QueuedDelivery>,
}
