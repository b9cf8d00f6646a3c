//! A webhook that nobody can reach any more is disabled; its company's `posthaste.webhook.disabled` webhook is told.

use serde_json::json;

use super::Pipeline;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::store::{NewDelivery, StoreError};

/// The event that says so.
const DISABLED: &str = "posthaste.webhook.disabled";

impl Pipeline {
    /// Disables the webhook, unless it has been changed since it was read. What waits for it is parked.
    pub(super) async fn disable(&self, webhook: &Webhook, reason: &str) {
        match self.try_disable(webhook, reason).await {
            Ok(true) => {
                let (id, company) = (&webhook.id, &webhook.company);
                tracing::warn!(webhook = id, company, reason, "a webhook was disabled");
                self.webhook_changed(&Webhook { enabled: false, ..webhook.clone() });
            }
            Ok(false) => (),
            Err(error) => self.0.said.warn("disabling a webhook failed; the next attempt will", &error),
        }
    }

    async fn try_disable(&self, webhook: &Webhook, reason: &str) -> Result<bool, StoreError> {
        let now = self.0.time.of_day();
        let told = self.0.store.webhook_for(&webhook.company, DISABLED).await?;
        let told = told.filter(|told| told.id != webhook.id);
        let notice = told.as_ref().map(|told| self.notice(webhook, told, (reason, now)));
        let disabled = self.0.store.disable_webhook(webhook, (reason.to_owned(), now), notice).await?;
        if let (true, Some(told)) = (disabled, told)
            && told.enabled
        {
            self.0.lanes.parked(&told);
            self.0.wake_sweep.notify_one();
        }
        Ok(disabled)
    }

    fn notice(&self, webhook: &Webhook, told: &Webhook, (reason, now): (&str, i64)) -> NewDelivery {
        let data = json!({
            "webhook": {
                "id": webhook.id,
                "type": webhook.event_type,
                "target_url": webhook.target_url,
                "name": webhook.name,
            },
            "reason": reason,
            "failing_since": webhook.failing_since.map(rfc3339),
            "disabled_at": rfc3339(now),
        });
        self.own_event(told, (DISABLED, data), now)
    }
}
