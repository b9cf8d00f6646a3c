//! Operational events: what the service tells a company about its own webhooks, deliveries, plugins and replays, on the webhooks
//! that subscribe to it.

use serde_json::{Value, json};

use super::delivery_selection::DeliverySelection;
use super::headers::shown_url;
use super::plugin::Digest;
use super::time::rfc3339;
use super::webhook::Webhook;

/// How the types of operational events begin.
pub const OPERATIONAL_PREFIX: &str = "posthaste.";

/// Something that happened to a company's objects. It has no secrets, and nothing of the data of the company's events.
#[derive(Clone, Copy)]
pub enum OperationalEvent<'e> {
    /// A webhook was made.
    WebhookCreated(&'e Webhook),
    /// A webhook was overwritten or changed, or its signing secret was rotated.
    WebhookUpdated(&'e Webhook),
    /// A webhook was removed.
    WebhookDeleted(&'e Webhook),
    /// A user enabled a webhook.
    WebhookEnabled(&'e Webhook),
    /// A user or the service disabled a webhook.
    WebhookDisabled {
        /// The webhook, as it was before.
        webhook: &'e Webhook,
        /// Why.
        reason: &'e str,
    },
    /// All attempts of a webhook have failed for some time.
    WebhookFailing {
        /// The webhook.
        webhook: &'e Webhook,
        /// The first failure, milliseconds since 1970.
        since_ms: i64,
        /// The error of the last one.
        error: &'e str,
    },
    /// An attempt of a webhook succeeded after it was announced as failing.
    WebhookRecovered(&'e Webhook),
    /// A delivery failed, and its schedule is used up.
    DeliveryExhausted(ExhaustedDelivery<'e>),
    /// Another version of a plugin became the active one.
    PluginActivated {
        /// The plugin.
        name: &'e str,
        /// The version.
        digest: &'e Digest,
        /// The version that was active before.
        previous: Option<&'e Digest>,
    },
    /// A plugin of a webhook failed on several attempts in a row.
    PluginFailing {
        /// The webhook.
        webhook: &'e Webhook,
        /// The plugin.
        name: &'e str,
        /// The version.
        digest: Option<&'e Digest>,
        /// The number of failures in a row.
        failures: u32,
        /// The last of them.
        error: &'e str,
    },
    /// All deliveries of a replay were sent.
    ReplayFinished(FinishedReplay<'e>),
}

/// A delivery whose schedule is used up.
#[derive(Clone, Copy)]
pub struct ExhaustedDelivery<'e> {
    /// Its webhook.
    pub webhook: &'e Webhook,
    /// Its id.
    pub id: &'e str,
    /// The id of its event.
    pub event_id: &'e str,
    /// The type of its event.
    pub event_type: &'e str,
    /// The number of attempts.
    pub attempt_count: u32,
    /// The error of the last one.
    pub error: &'e str,
    /// Its status code, if the receiver answered.
    pub status_code: Option<u16>,
    /// How many other deliveries were exhausted since the last such event, without an event of their own.
    pub omitted: u64,
}

/// A replay whose deliveries were all sent. As its request named them.
#[derive(Clone, Copy)]
pub struct FinishedReplay<'e> {
    /// Its id.
    pub id: &'e str,
    /// The conditions that its deliveries met.
    pub selection: &'e DeliverySelection,
    /// Whether it made the deliveries that the webhook of the selection did not have.
    pub missing: bool,
    /// The first instant, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The instant after the last one.
    pub until_ms: Option<i64>,
}

impl OperationalEvent<'_> {
    /// Returns its event type.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::WebhookCreated(_) => "posthaste.webhook.created",
            Self::WebhookUpdated(_) => "posthaste.webhook.updated",
            Self::WebhookDeleted(_) => "posthaste.webhook.deleted",
            Self::WebhookEnabled(_) => "posthaste.webhook.enabled",
            Self::WebhookDisabled { .. } => "posthaste.webhook.disabled",
            Self::WebhookFailing { .. } => "posthaste.webhook.failing",
            Self::WebhookRecovered(_) => "posthaste.webhook.recovered",
            Self::DeliveryExhausted(_) => "posthaste.delivery.exhausted",
            Self::PluginActivated { .. } => "posthaste.plugin.activated",
            Self::PluginFailing { .. } => "posthaste.plugin.failing",
            Self::ReplayFinished(_) => "posthaste.replay.finished",
        }
    }

    /// Returns whether a webhook that subscribes to its type gets it. None gets an event about itself. What is about the
    /// attempts of a webhook for operational events goes to nobody: it would lead to further attempts of such webhooks.
    pub fn goes_to(&self, subscriber: &Webhook) -> bool {
        let (webhook, is_about_attempts) = match self {
            Self::WebhookCreated(webhook)
            | Self::WebhookUpdated(webhook)
            | Self::WebhookDeleted(webhook)
            | Self::WebhookEnabled(webhook)
            | Self::WebhookDisabled { webhook, .. } => (webhook, false),
            Self::WebhookFailing { webhook, .. }
            | Self::WebhookRecovered(webhook)
            | Self::DeliveryExhausted(ExhaustedDelivery { webhook, .. })
            | Self::PluginFailing { webhook, .. } => (webhook, true),
            Self::PluginActivated { .. } | Self::ReplayFinished(_) => return true,
        };
        webhook.id != subscriber.id && !(is_about_attempts && webhook.event_type.starts_with(OPERATIONAL_PREFIX))
    }

    /// Returns its data; it happened at `now_ms`, milliseconds since 1970.
    pub fn data(&self, now_ms: i64) -> Value {
        let now = rfc3339(now_ms);
        let mut data = match self {
            Self::WebhookCreated(webhook)
            | Self::WebhookUpdated(webhook)
            | Self::WebhookDeleted(webhook)
            | Self::WebhookEnabled(webhook) => json!({"webhook": shown(webhook)}),
            Self::WebhookDisabled { webhook, reason } => json!({
                "webhook": shown(webhook),
                "reason": reason,
                "failing_since": webhook.failing_since.map(rfc3339),
                "disabled_at": now,
            }),
            Self::WebhookFailing { webhook, since_ms, error } => {
                json!({"webhook": shown(webhook), "failing_since": rfc3339(*since_ms), "last_error": error})
            }
            Self::WebhookRecovered(webhook) => {
                json!({"webhook": shown(webhook), "failing_since": webhook.failing_since.map(rfc3339)})
            }
            Self::DeliveryExhausted(delivery) => delivery.data(),
            Self::PluginActivated { name, digest, previous } => json!({"plugin": {
                "name": name,
                "digest": digest.as_str(),
                "previous_digest": previous.map(Digest::as_str),
            }}),
            Self::PluginFailing { webhook, name, digest, failures, error } => json!({
                "plugin": {"name": name, "digest": digest.map(Digest::as_str)},
                "webhook": shown(webhook),
                "failures": failures,
                "last_error": error,
            }),
            Self::ReplayFinished(replay) => replay.data(),
        };
        if let Some(members) = data.as_object_mut() {
            members.insert("type".into(), self.event_type().into());
            members.insert("occurred_at".into(), now.into());
        }
        data
    }
}

impl ExhaustedDelivery<'_> {
    fn data(&self) -> Value {
        json!({
            "delivery": {
                "id": self.id,
                "event_id": self.event_id,
                "type": self.event_type,
                "attempt_count": self.attempt_count,
                "last_error": self.error,
                "last_status_code": self.status_code,
            },
            "webhook": shown(self.webhook),
            "omitted": self.omitted,
        })
    }
}

impl FinishedReplay<'_> {
    fn data(&self) -> Value {
        json!({"replay": {
            "id": self.id,
            "type": joined(self.selection.types.iter().map(String::as_str)),
            "status": joined(self.selection.statuses.iter().map(|status| (*status).into())),
            "webhook": self.selection.webhook,
            "label": self.selection.label,
            "error": self.selection.error,
            "only": self.missing.then_some("missing"),
            "since": self.since_ms.map(rfc3339),
            "until": self.until_ms.map(rfc3339),
        }})
    }
}

/// Returns the names with commas between them; `None` if there are none.
fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    Some(names.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
}

/// A webhook as its owner recognises it.
fn shown(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "type": webhook.event_type,
        "label": webhook.label,
        "target_url": webhook.recipient.url().map(shown_url),
        "name": webhook.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::Recipient;

    fn webhook(id: &str, event_type: &str) -> Webhook {
        Webhook { event_type: event_type.into(), ..Webhook::sample("acme", id) }
    }

    fn exhausted(webhook: &Webhook) -> OperationalEvent<'_> {
        OperationalEvent::DeliveryExhausted(ExhaustedDelivery {
            webhook,
            id: "dlv_1",
            event_id: "evt_1",
            event_type: "t",
            attempt_count: 20,
            error: "the receiver answered 500",
            status_code: Some(500),
            omitted: 3,
        })
    }

    #[test]
    fn no_webhook_gets_an_event_about_itself() {
        let (one, other) = (webhook("wh_1", "posthaste.webhook.updated"), webhook("wh_2", "posthaste.webhook.updated"));
        for event in [
            OperationalEvent::WebhookCreated(&one),
            OperationalEvent::WebhookUpdated(&one),
            OperationalEvent::WebhookDeleted(&one),
            OperationalEvent::WebhookEnabled(&one),
            OperationalEvent::WebhookDisabled { webhook: &one, reason: "" },
        ] {
            assert!(event.goes_to(&other) && !event.goes_to(&one), "{}", event.event_type());
        }
    }

    #[test]
    fn failures_of_webhooks_for_operational_events_are_told_to_nobody() {
        let subscriber = webhook("wh_9", "posthaste.webhook.failing");
        for (event_type, expected) in [("t", true), ("posthaste.webhook.failing", false), ("posthaste.*", false)] {
            let webhook = webhook("wh_1", event_type);
            for event in [
                OperationalEvent::WebhookFailing { webhook: &webhook, since_ms: 0, error: "" },
                OperationalEvent::WebhookRecovered(&webhook),
                OperationalEvent::PluginFailing {
                    webhook: &webhook,
                    name: "mask",
                    digest: None,
                    failures: 5,
                    error: "",
                },
                exhausted(&webhook),
            ] {
                assert_eq!(event.goes_to(&subscriber), expected, "{} {event_type}", event.event_type());
            }
        }
    }

    #[test]
    fn data_names_type_and_time_and_hides_what_may_be_a_secret() {
        let webhook = Webhook {
            recipient: Recipient::Url("https://a.test/hook?key=s3cret".into()),
            challenge: Some("s3cret".into()),
            headers: vec![("authorization".into(), "s3cret".into())],
            config: r#"{"secret": "s3cret"}"#.into(),
            failing_since: Some(0),
            ..Webhook::sample("acme", "wh_1")
        };
        let digest = Digest::of(b"p");
        let selection = DeliverySelection::default();
        let replay =
            FinishedReplay { id: "rpl_1", selection: &selection, missing: false, since_ms: Some(0), until_ms: Some(1) };
        for event in [
            OperationalEvent::WebhookCreated(&webhook),
            OperationalEvent::WebhookDisabled { webhook: &webhook, reason: "410" },
            OperationalEvent::WebhookFailing { webhook: &webhook, since_ms: 0, error: "500" },
            OperationalEvent::WebhookRecovered(&webhook),
            exhausted(&webhook),
            OperationalEvent::PluginActivated { name: "mask", digest: &digest, previous: None },
            OperationalEvent::PluginFailing {
                webhook: &webhook,
                name: "mask",
                digest: None,
                failures: 5,
                error: "it trapped",
            },
            OperationalEvent::ReplayFinished(replay),
        ] {
            let data = event.data(0);
            assert_eq!(
                (data["type"].as_str(), &data["occurred_at"]),
                (Some(event.event_type()), &json!("1970-01-01T00:00:00.000Z"))
            );
            assert!(
                event.event_type().starts_with(OPERATIONAL_PREFIX) && !data.to_string().contains("s3cret"),
                "{data}"
            );
        }
    }
}
