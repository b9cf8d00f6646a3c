//! Disables a webhook, as `decision` decides (410, or 48 h of failures), and publishes the operational event
//! `posthaste.webhook.disabled`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::delivery::delivery_clock::DeliveryClock;
use crate::delivery::effect_runner::EffectRunner;
use crate::delivery::host_event::HostEvents;
use crate::delivery::queue::WebhookQueues;
use crate::delivery::webhook_lifecycle::WebhookLifecycle;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::store::{DisableReason, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// The type of the operational event.
const DISABLED: &str = "posthaste.webhook.disabled";

/// Disables webhooks.
pub(in crate::delivery) struct AutoDisable {
    pub(in crate::delivery) store: Arc<Store>,
    pub(in crate::delivery) queues: Arc<WebhookQueues>,
    pub(in crate::delivery) lifecycle: Arc<WebhookLifecycle>,
    pub(in crate::delivery) host_events: Arc<HostEvents>,
    pub(in crate::delivery) clock: Arc<DeliveryClock>,
    pub(in crate::delivery) effects: Arc<EffectRunner>,
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
        let now = self.clock.wall_ms();
        let subscriber = self.store.webhook_for(&webhook.company, DISABLED).await?;
        let subscriber = subscriber.filter(|subscriber| subscriber.id != webhook.id);
        let notice = subscriber.as_ref().map(|subscriber| {
            let data = notice_data(webhook, reason, now);
            self.host_events.event_for(subscriber, DISABLED, &data, now)
        });
        let disabled =
            self.store.disable_webhook(webhook, DisableReason { text: reason.to_owned(), at_ms: now }, notice).await?;
        if let (true, Some(subscriber)) = (disabled, subscriber)
            && subscriber.enabled
        {
            self.effects.apply(self.queues.spilled(&subscriber)).await;
        }
        Ok(disabled)
    }
}

fn notice_data(webhook: &Webhook, reason: &str, now_ms: i64) -> Value {
    json!({
        "webhook": {
            "id": webhook.id,
            "type": webhook.event_type,
            "target_url": webhook.target_url,
            "name": webhook.name,
        },
        "reason": reason,
        "failing_since": webhook.failing_since.map(rfc3339),
        "disabled_at": rfc3339(now_ms),
    })
}
