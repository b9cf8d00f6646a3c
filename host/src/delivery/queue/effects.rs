//! The consequences of an input to the queues.

use super::QueuedDelivery;

/// The actions that the caller of an input has to take. If one is not taken, deliveries stall until the next poll.
#[must_use]
#[derive(Debug, Default)]
pub(in crate::delivery) struct Effects {
    /// Start one worker. It already counts as running.
    pub(in crate::delivery) start_worker: bool,
    /// Wake the fetcher: a queue has room for rows that may lie in the database.
    pub(in crate::delivery) wake_fetcher: bool,
    /// Spill these deliveries, which are no longer in memory, and then report them with
    /// [`WebhookQueues::spilled`](super::WebhookQueues::spilled).
    pub(in crate::delivery) give_back: Vec<QueuedDelivery>,
}
