//! Disables a webhook, as `decision` decides, and publishes the operational event about it.

use std::sync::Arc;

use crate::delivery::delivery_clock::DeliveryClock;
use crate::delivery::operational_events::{Notice, OperationalEvents};
use crate::delivery::webhook_lifecycle::WebhookLifecycle;
use crate::domain::operational_event::OperationalEvent;
use crate::domain::webhook::Webhook;
use crate::store::{DisableReason, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Disables webhooks.
pub(in crate::delivery) struct AutoDisable {
    pub(in crate::delivery) store: Arc<Store>,
    pub(in crate::delivery) lifecycle: Arc<WebhookLifecycle>,
    pub(in crate::delivery) operational_events: Arc<OperationalEvents>,
    pub(in crate::delivery) clock: Arc<DeliveryClock>,
    pub(in crate::delivery) log: ThrottledLog,
}

impl AutoDisable {
    /// Disables the webhook, unless somebody has changed it since it was read. Its waiting deliveries are spilled.
    pub(super) async fn disable(&self, webhook: &Webhook, reason: &str) {
        match self.try_disable(webhook, reason).await {
            Ok(true) => {
                let (id, company) = (&webhook.id, &webhook.company);
                tracing::warn!(webhook = id, company, reason, "a webhook was disabled");
                self.lifecycle.changed(&Webhook { enabled: false, ..webhook.clone() });
            }
            Ok(false) => (),
            Err(error) => self.log.warn("disabling a webhook failed; the next attempt tries again", &error),
        }
    }

    async fn try_disable(&self, webhook: &Webhook, reason: &str) -> Result<bool, StoreError> {
        let event = OperationalEvent::WebhookDisabled { webhook, reason };
        let notice = self.operational_events.prepare(&webhook.company, &event).await?;
        let reason = DisableReason { text: reason.to_owned(), at_ms: self.clock.wall_ms() };
        let disabled = self.store.disable_webhook(webhook, reason, notice.as_ref().map(Notice::row)).await?;
        if let (true, Some(notice)) = (disabled, notice) {
            self.operational_events.stored(&notice);
        }
        Ok(disabled)
    }
}
