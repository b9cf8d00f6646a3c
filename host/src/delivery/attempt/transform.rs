//! Runs the webhook's plugin on the event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::delivery::compiled_plugins::CompiledPlugins;
use crate::domain::event::Event;
use crate::domain::headers;
use crate::domain::plugin::{Digest, Failure, Message, Outcome, PluginCall, PluginRef, outcome_name_and_reason, owner};
use crate::domain::webhook::{OnError, Webhook};
use crate::metrics::Metrics;
use crate::sandbox::{Plugin, Sandbox};
use crate::shares::{Part, Share};
use crate::store::Store;

/// The body and the headers to send.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Outgoing {
    pub(in crate::delivery) body: Bytes,
    pub(in crate::delivery) content_type: Option<String>,
    pub(in crate::delivery) headers: Vec<(String, String)>,
}

impl Outgoing {
    fn original(event: &Event) -> Self {
        Self { body: event.data.clone(), content_type: None, headers: Vec::new() }
    }
}

/// The result of the transform.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Prepared {
    Send(Outgoing),
    Filtered,
    /// The plugin failed under the policy `retry`.
    PluginFailed(String),
    /// The host could not run the plugin. The event waits, whatever the policy is.
    HostFailed(String),
}

/// The call of a plugin, as the log and the recorder need it.
#[derive(Debug, Default)]
pub(in crate::delivery) struct PluginReport {
    /// The attempt's `plugin` object; `None`: the webhook has no plugin.
    pub(in crate::delivery) shown: Option<Box<RawValue>>,
    pub(in crate::delivery) result: PluginResult,
}

/// Whether a plugin worked, whatever the webhook says about failures.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum PluginResult {
    /// There is none, or the host could not call it.
    #[default]
    NotCalled,
    Worked,
    /// It failed, for this reason.
    Failed(String),
}

/// Runs plugins under the rules of the contract.
pub struct Transformer {
    plugins: Arc<CompiledPlugins>,
    sandbox: Sandbox,
    metrics: Arc<Metrics>,
    store: Arc<Store>,
    /// Memory of large configs.
    memory: Arc<Share>,
    /// Lower-case.
    challenge_header: String,
}

impl Transformer {
    /// `challenge_header` is the lower-case name of the header that a plugin may not set. Large configs take `memory`.
    pub(in crate::delivery) fn new(
        plugins: Arc<CompiledPlugins>,
        sandbox: Sandbox,
        metrics: Arc<Metrics>,
        challenge_header: String,
        memory: Arc<Share>,
    ) -> Self {
        let store = plugins.store.clone();
        Self { plugins, sandbox, metrics, store, memory, challenge_header }
    }

    /// Runs the webhook's plugin, if it has one.
    pub(in crate::delivery) async fn prepare(&self, event: &Arc<Event>, webhook: &Webhook) -> (Prepared, PluginReport) {
        let Some(reference) = &webhook.plugin else {
            return (Prepared::Send(Outgoing::original(event)), PluginReport::default());
        };
        let not_called = |text: &str| {
            let call = PluginCall::failed(Failure::Broke(text.to_owned()));
            let shown = report(&reference.name, webhook, OnError::Retry, &call);
            PluginReport { shown, result: PluginResult::NotCalled }
        };
        let plugin = match self.version_of(webhook, reference).await {
            Ok(plugin) => plugin,
            Err(text) => {
                let report = not_called(&text);
                return (Prepared::HostFailed(format!("plugin `{}`: {text}", reference.name)), report);
            }
        };
        let (config, memory) = match self.config(webhook).await {
            Ok(config) => config,
            Err(text) => {
                let report = not_called(&text);
                return (Prepared::HostFailed(text), report);
            }
        };
        let call = self.call(&plugin, event.clone(), config).await;
        drop(memory);
        self.metrics.transform_ended(&reference.name, call.duration, call.result.is_err());
        let shown = report(&reference.name, webhook, webhook.on_error, &call);
        let result = match &call.result {
            Ok(_) => PluginResult::Worked,
            Err(failure) => PluginResult::Failed(failure.to_string()),
        };
        let report = PluginReport { shown, result };
        (prepared(call.result, webhook.on_error, event, &reference.name), report)
    }

    /// The lower-case name of the header that carries a webhook's challenge.
    pub(in crate::delivery) fn challenge_header(&self) -> &str {
        &self.challenge_header
    }

    async fn version_of(&self, webhook: &Webhook, reference: &PluginRef) -> Result<Arc<Plugin>, String> {
        let digest = webhook.plugin_digest.as_ref().ok_or("it has no active version")?;
        let owner = owner(&webhook.company, &reference.name);
        self.plugins.get(owner, &reference.name, digest).await
    }

    /// Returns the config of a webhook's plugin, with its part of the memory if it is large. The part has to be given back before
    /// another is taken.
    ///
    /// # Errors
    /// It cannot be read now, in words.
    pub(in crate::delivery) async fn config(&self, webhook: &Webhook) -> Result<(Arc<str>, Option<Part>), String> {
        if let Some(text) = webhook.config.text() {
            return Ok((text.clone(), None));
        }
        let bytes = self.memory.obtainable(webhook.config.bytes() as u64);
        let memory = self.memory.take_patiently(&webhook.company, bytes).await.map_err(|full| full.to_string())?;
        let config =
            self.store.config_of(webhook).await.map_err(|error| format!("the config cannot be read: {error}"))?;
        Ok((config, Some(memory)))
    }

    /// Calls a plugin once, judged as for a delivery: a plugin that sets a protected header has failed. Nothing is sent or
    /// stored.
    pub async fn call(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> PluginCall<Outcome> {
        let call = self.sandbox.transform(plugin, event, config).await;
        check_headers(call, &self.challenge_header)
    }
}

fn check_headers(mut call: PluginCall<Outcome>, challenge_header: &str) -> PluginCall<Outcome> {
    if let Ok(Outcome::Replace(message)) = &call.result {
        let own = headers::check_all(&message.headers, challenge_header);
        let content_type = message.content_type.as_ref();
        let content_type = content_type.map_or(Ok(()), |text| headers::check("content-type", text, challenge_header));
        if let Err(detail) = own.and(content_type) {
            call.result = Err(Failure::Broke(detail));
        }
    }
    call
}

fn prepared(result: Result<Outcome, Failure>, policy: OnError, event: &Event, name: &str) -> Prepared {
    match result {
        Ok(Outcome::Pass) => Prepared::Send(Outgoing::original(event)),
        Ok(Outcome::Drop(_)) => Prepared::Filtered,
        Ok(Outcome::Replace(Message { body, content_type, headers })) => {
            Prepared::Send(Outgoing { body: body.into(), content_type, headers })
        }
        Err(failure) => match policy {
            OnError::Retry => Prepared::PluginFailed(format!("plugin `{name}`: {failure}")),
            OnError::SendOriginal => Prepared::Send(Outgoing::original(event)),
            OnError::Drop => Prepared::Filtered,
        },
    }
}

/// The contract's `plugin` object. If the outcome is an error, it also names the policy that was followed.
fn report(name: &str, webhook: &Webhook, policy: OnError, call: &PluginCall<Outcome>) -> Option<Box<RawValue>> {
    let (outcome, reason) = outcome_name_and_reason(&call.result);
    let mut report = json!({
        "name": name,
        "digest": webhook.plugin_digest.as_ref().map(Digest::as_str),
        "config_digest": webhook.config_digest.as_str(),
        "outcome": outcome,
        "reason": reason,
        "duration_us": call.duration_us(),
        "memory_bytes": call.memory_bytes,
        "logs": call.logs.shown(),
        "logs_dropped": call.logs.dropped,
    });
    if let (Err(_), Some(report)) = (&call.result, report.as_object_mut()) {
        report.insert("on_error".into(), policy.name().into());
    }
    to_raw_value(&report).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plugin::Logs;

    fn event() -> Event {
        Event {
            id: "evt_1".into(),
            event_type: "t".into(),
            company: "acme".into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: Bytes::from_static(b"{\"a\":1}"),
        }
    }

    fn replaced(headers: &[(&str, &str)], content_type: Option<&str>) -> Outcome {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Outcome::Replace(Message { body: "new".into(), content_type: content_type.map(str::to_owned), headers })
    }

    #[test]
    fn failing_plugin_follows_its_policy() {
        let failed = || Err(Failure::Broke("it trapped".into()));
        let original = Prepared::Send(Outgoing::original(&event()));
        let retry = Prepared::PluginFailed("plugin `mask`: it trapped".into());
        assert_eq!(prepared(failed(), OnError::Retry, &event(), "mask"), retry);
        assert_eq!(prepared(failed(), OnError::SendOriginal, &event(), "mask"), original);
        assert_eq!(prepared(failed(), OnError::Drop, &event(), "mask"), Prepared::Filtered);
    }

    #[test]
    fn outcome_decides_what_is_sent_whatever_the_policy() {
        for policy in [OnError::Retry, OnError::SendOriginal, OnError::Drop] {
            let original = Prepared::Send(Outgoing::original(&event()));
            assert_eq!(prepared(Ok(Outcome::Pass), policy, &event(), "mask"), original);
            let dropped = Ok(Outcome::Drop("not wanted".into()));
            assert_eq!(prepared(dropped, policy, &event(), "mask"), Prepared::Filtered);
            let outgoing = Outgoing {
                body: Bytes::from_static(b"new"),
                content_type: Some("text/plain".into()),
                headers: vec![("x-a".into(), "1".into())],
            };
            let outcome = Ok(replaced(&[("x-a", "1")], Some("text/plain")));
            assert_eq!(prepared(outcome, policy, &event(), "mask"), Prepared::Send(outgoing));
        }
    }

    #[test]
    fn plugin_that_sets_a_protected_header_has_failed() {
        let call = |outcome| PluginCall {
            result: Ok(outcome),
            logs: Logs::default(),
            duration: std::time::Duration::ZERO,
            memory_bytes: 0,
        };
        for fine in [replaced(&[("x-a", "1")], Some("text/plain")), Outcome::Pass] {
            assert!(check_headers(call(fine), "x-challenge").result.is_ok());
        }
        let bad = [
            replaced(&[("webhook-signature", "v1,x")], None),
            replaced(&[("x-challenge", "x")], None),
            replaced(&[], Some("text/plain\r\nx: y")),
        ];
        for bad in bad {
            assert!(matches!(check_headers(call(bad), "x-challenge").result, Err(Failure::Broke(_))));
        }
    }
}
