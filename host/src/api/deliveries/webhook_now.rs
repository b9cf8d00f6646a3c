//! The webhook that a delivery would be sent to now.

use std::sync::Arc;

use crate::domain::delivery::DeliveryRecord;
use crate::domain::webhook::Webhook;
use crate::store::{Store, StoreError};

/// Returns the delivery's own webhook. If that no longer exists, or if the delivery is a test, which its webhook is not for: the
/// webhook of the same label that subscribes to its type now.
pub(super) async fn webhook_now(store: &Store, delivery: &DeliveryRecord) -> Result<Option<Arc<Webhook>>, StoreError> {
    let own = store.webhook_of(&delivery.company, &delivery.webhook).await?;
    match own.filter(|webhook| webhook.matches(&delivery.event_type)) {
        Some(own) => Ok(Some(own)),
        None => store.successor(&delivery.company, &delivery.event_type, delivery.label.as_deref()).await,
    }
}
