//! The settings of a webhook that its queue depends on.

use std::time::Duration;

use super::memory::LEAST;
use crate::domain::rate_limit::RateLimit;
use crate::domain::webhook::Webhook;

/// How long a delivery of a rate-limited webhook waits in memory at the most.
const HELD_FOR: Duration = Duration::from_secs(300);

/// The settings of a webhook that its queue depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueSettings {
    /// Most attempts in flight.
    pub(super) slots: u32,
    /// Limit on the attempts begun in a time.
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) ordered: bool,
    /// Of several nodes, one alone sends to it.
    pub(super) single_owner: bool,
}

impl QueueSettings {
    pub(super) fn of(webhook: &Webhook) -> Self {
        Self {
            slots: webhook.max_in_flight.max(1),
            rate_limit: webhook.rate_limit,
            ordered: webhook.ordered,
            single_owner: webhook.needs_single_owner(),
        }
    }

    /// Returns how many deliveries the queue may hold if others may hold `limit`: those of a slow webhook would use up
    /// memory for hours.
    pub(super) fn limit(&self, limit: usize) -> usize {
        let soon = self.rate_limit.map(|rate| HELD_FOR.as_nanos() / rate.interval().as_nanos().max(1));
        soon.and_then(|soon| usize::try_from(soon).ok()).map_or(limit, |soon| limit.min(soon.max(LEAST)))
    }
}
