//! A subscription as Factorial's later API shows it.

use serde::Serialize;

use crate::domain::webhook::Webhook;

/// Fields without a value are absent: the models of the SDKs have no null.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::api) struct SubscriptionView {
    id: String,
    target_url: String,
    r#type: String,
    company_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    enabled: bool,
    api_version: String,
}

impl SubscriptionView {
    /// `version` is that of the request, which stands for the one of a webhook that has none.
    pub(super) fn new(webhook: Webhook, version: &str) -> Self {
        Self {
            id: webhook.id,
            // The models of the SDKs need one.
            target_url: webhook.recipient.url().unwrap_or_default().to_owned(),
            r#type: webhook.event_type,
            company_id: webhook.company,
            name: webhook.name,
            challenge: webhook.challenge,
            enabled: webhook.enabled,
            api_version: webhook.api_version.unwrap_or_else(|| version.to_owned()),
        }
    }
}
