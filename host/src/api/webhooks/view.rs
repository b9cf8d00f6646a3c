//! A webhook as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::tls::TlsField;
use crate::domain::headers;
use crate::domain::plugin_config::PluginConfig;
use crate::domain::policy::Policy;
use crate::domain::rate_limit::RateLimit;
use crate::domain::time::rfc3339;
use crate::domain::transform::TransformRef;
use crate::domain::webhook::{
    HealthState, MAX_INLINE_CHAIN_CONFIG_BYTES, MAX_INLINE_CONFIG_BYTES, Webhook, WebhookHealth,
};
use crate::outbound::sign;

#[derive(Serialize)]
struct PluginReferenceView {
    name: String,
    /// The version that runs; null if the plugin has no active version.
    digest: Option<String>,
}

/// One transform.
#[derive(Serialize)]
pub(in crate::api) struct TransformView {
    plugin: PluginReferenceView,
    /// As [`WebhookView::config`].
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_size: Option<usize>,
    on_error: &'static str,
}

impl TransformView {
    /// Shows the config if it has at most `most_bytes`.
    pub(in crate::api) fn new(transform: TransformRef<'_>, most_bytes: usize) -> Self {
        let (config, config_size) = shown_config(transform.config, most_bytes);
        let (name, digest) = (transform.plugin.name.clone(), transform.digest.map(ToString::to_string));
        Self { plugin: PluginReferenceView { name, digest }, config, config_size, on_error: transform.on_error.name() }
    }
}

/// Returns a config, or its size if it is larger than this.
fn shown_config(config: &PluginConfig, most_bytes: usize) -> (Option<Box<RawValue>>, Option<usize>) {
    match config.text().filter(|text| text.len() <= most_bytes) {
        Some(text) => (RawValue::from_string(text.to_string()).ok(), None),
        None => (None, Some(config.bytes())),
    }
}

#[derive(Serialize)]
pub(in crate::api) struct WebhookView {
    id: String,
    company: String,
    r#type: String,
    label: Option<String>,
    delivery: &'static str,
    target_url: Option<String>,
    challenge: Option<String>,
    name: Option<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    plugin: Option<PluginReferenceView>,
    /// Absent if it is large: then `config_size` has its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_size: Option<usize>,
    /// Null if there are several transforms.
    on_error: Option<&'static str>,
    transforms: Vec<TransformView>,
    /// The names of the policies that run for events that it may get; null if they cannot be read now.
    policies: Option<Vec<String>>,
    headers: BTreeMap<String, String>,
    tls: Option<TlsField>,
    max_in_flight: u32,
    rate_limit: Option<Value>,
    ordered: bool,
    timeout: Option<String>,
    keep_payload: &'static str,
    api_version: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

#[derive(Serialize)]
struct HealthView {
    state: &'static str,
    failing_since: Option<String>,
    last_error: Option<String>,
    last_success_at: Option<String>,
    /// At most 10,000, in a list 1,000: there may be more.
    waiting: u64,
    oldest_waiting_at: Option<String>,
}

impl From<WebhookHealth> for HealthView {
    fn from(health: WebhookHealth) -> Self {
        let (state, failing_since) = match health.state() {
            HealthState::Healthy => ("healthy", None),
            HealthState::Failing(since) => ("failing", Some(since)),
            HealthState::Unknown => ("unknown", None),
        };
        Self {
            state,
            failing_since: failing_since.map(rfc3339),
            last_error: health.last_error,
            last_success_at: health.last_success_at.map(rfc3339),
            waiting: health.waiting,
            oldest_waiting_at: health.oldest_waiting.map(rfc3339),
        }
    }
}

/// Hides the values of credentials: a key that may only read must not learn them.
fn shown_header((name, value): (String, String)) -> (String, String) {
    let value = headers::shown(&name, &value).to_owned();
    (name, value)
}

/// Returns the limit as it was given: a text or a number.
fn shown_rate(rate: RateLimit) -> Value {
    rate.text().map_or_else(|| rate.number().into(), Value::from)
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let is_chain = webhook.has_several_transforms();
        let most_bytes = if is_chain { MAX_INLINE_CHAIN_CONFIG_BYTES } else { MAX_INLINE_CONFIG_BYTES };
        let transforms = webhook.transforms().map(|transform| TransformView::new(transform, most_bytes)).collect();
        let (config, config_size) = shown_config(&webhook.config, MAX_INLINE_CONFIG_BYTES);
        let digest = webhook.plugin_digest.map(|digest| digest.to_string());
        Self {
            id: webhook.id,
            company: webhook.company,
            r#type: webhook.event_type,
            label: webhook.label,
            delivery: webhook.recipient.name(),
            target_url: webhook.recipient.url().map(str::to_owned),
            challenge: webhook.challenge,
            name: webhook.name,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            plugin: webhook.plugin.map(|plugin| PluginReferenceView { name: plugin.name, digest }),
            config,
            config_size,
            on_error: (!is_chain).then(|| webhook.on_error.name()),
            transforms,
            policies: None,
            headers: webhook.headers.into_iter().map(shown_header).collect(),
            tls: webhook.tls.as_deref().map(Into::into),
            max_in_flight: webhook.max_in_flight,
            rate_limit: webhook.rate_limit.map(shown_rate),
            ordered: webhook.ordered,
            timeout: webhook.timeout.map(|timeout| timeout.text().to_owned()),
            keep_payload: webhook.keep_payload.name(),
            api_version: webhook.api_version,
            created_at: rfc3339(webhook.created_at),
            updated_at: rfc3339(webhook.updated_at),
            health: None,
            signing_secret: None,
        }
    }
}

impl WebhookView {
    /// Shows the webhook with its health.
    pub(super) fn with_health(webhook: Webhook, health: WebhookHealth) -> Self {
        Self { health: Some(health.into()), ..webhook.into() }
    }

    /// Shows which of these policies of its company, if they could be read, run for it.
    pub(super) fn with_policies(self, policies: Option<&[Policy]>) -> Self {
        let concerned = |policy: &&Policy| policy.concerns(&self.r#type);
        let names = |all: &[Policy]| all.iter().filter(concerned).map(|policy| policy.name.clone()).collect();
        Self { policies: policies.map(names), ..self }
    }

    /// Shows the signing secret too: only in the answer to the request that made it.
    pub(super) fn with_secret(self, secret: &[u8]) -> Self {
        Self { signing_secret: Some(sign::show_secret(secret)), ..self }
    }
}
