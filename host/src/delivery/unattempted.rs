//! The two ways in which a delivery leaves memory without an attempt.

use super::queue::QueuedDelivery;
use crate::domain::delivery::Status;
use crate::store::DeliveryUpdate;

/// Returns the delivery to the database, where it waits until its queue has room or its webhook is enabled.
pub(super) fn spilled(delivery: &QueuedDelivery) -> DeliveryUpdate {
    DeliveryUpdate {
        company: delivery.event.company().to_owned(),
        id: delivery.id.clone(),
        lease: delivery.lease.clone(),
        status: Status::Pending,
        attempt_count: delivery.attempt_count,
        attempt_base: delivery.attempt_base,
        due: None,
        finished_at: None,
        attempt: None,
    }
}

/// Ends the delivery because its webhook no longer exists; `now_ms` is milliseconds since 1970.
pub(super) fn cancelled(delivery: &QueuedDelivery, now_ms: i64) -> DeliveryUpdate {
    DeliveryUpdate { status: Status::Cancelled, finished_at: Some(now_ms), ..spilled(delivery) }
}
