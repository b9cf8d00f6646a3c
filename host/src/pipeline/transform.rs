//! What the webhook's plugin makes of the event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::Pipeline;
use super::lanes::Job;
use crate::domain::event::Event;
use crate::domain::headers;
use crate::domain::plugin::{Call, Digest, Failure, Message, Outcome, PluginRef, owner, told};
use crate::domain::webhook::{OnError, Webhook};
use crate::sandbox::Plugin;

/// What is to be sent.
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

impl Outgoing {
    fn original(event: &Event) -> Self {
        Self { body: event.data.clone(), content_type: None, headers: Vec::new() }
    }
}

/// What the transform leaves to be done.
pub(super) enum Prepared {
    Send(Outgoing),
    Filtered,
    /// The plugin failed, and the event waits.
    Failed(String),
    /// The host could not run it.
    Hindered(String),
}

impl Pipeline {
    /// Runs the webhook's plugin, if it has one; also answers the attempt's `plugin` object.
    pub(super) async fn transform(&self, job: &Job, webhook: &Webhook) -> (Prepared, Option<Box<RawValue>>) {
        let Some(reference) = &webhook.plugin else {
            return (Prepared::Send(Outgoing::original(&job.event)), None);
        };
        let plugin = match self.version_of(webhook, reference).await {
            Ok(plugin) => plugin,
            // Not the plugin's failure but the host's: the event waits, whatever is to be done on errors of the plugin.
            Err(text) => {
                let call = Call::failed(Failure::Broke(text.clone()));
                let report = report(&reference.name, (webhook, OnError::Retry), &call);
                return (Prepared::Hindered(format!("plugin `{}`: {text}", reference.name)), report);
            }
        };
        let policy = webhook.on_error;
        let call = self.call(&plugin, job.event.clone(), webhook.config.clone()).await;
        self.0.parts.metrics.transform_ended(&reference.name, call.duration, call.result.is_err());
        let report = report(&reference.name, (webhook, policy), &call);
        let prepared = match call.result {
            Ok(Outcome::Pass) => Prepared::Send(Outgoing::original(&job.event)),
            Ok(Outcome::Drop(_)) => Prepared::Filtered,
            Ok(Outcome::Replace(message)) => {
                let Message { body, content_type, headers } = message;
                Prepared::Send(Outgoing { body: body.into(), content_type, headers })
            }
            Err(failure) => on_error(policy, &job.event, format!("plugin `{}`: {failure}", reference.name)),
        };
        (prepared, report)
    }

    async fn version_of(&self, webhook: &Webhook, reference: &PluginRef) -> Result<Arc<Plugin>, String> {
        let digest = webhook.plugin_digest.as_ref().ok_or("it has no active version")?;
        let owner = owner(&webhook.company, &reference.name);
        self.0.plugins.get(owner, &reference.name, digest).await
    }

    /// One call of a plugin, judged as for a delivery: a plugin that asks for a header it may not set has failed.
    /// Nothing is sent or stored.
    pub async fn call(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> Call<Outcome> {
        let mut call = self.0.parts.sandbox.transform(plugin, event, config).await;
        if let Ok(Outcome::Replace(message)) = &call.result {
            let challenge = &self.0.parts.challenge_header;
            let own = headers::check_all(&message.headers, challenge).map_err(|(_, detail)| detail);
            let kind =
                message.content_type.as_ref().map_or(Ok(()), |kind| headers::check("content-type", kind, challenge));
            if let Err(detail) = own.and(kind) {
                call.result = Err(Failure::Broke(detail));
            }
        }
        call
    }
}

fn on_error(policy: OnError, event: &Event, error: String) -> Prepared {
    match policy {
        OnError::Retry => Prepared::Failed(error),
        OnError::SendOriginal => Prepared::Send(Outgoing::original(event)),
        OnError::Drop => Prepared::Filtered,
    }
}

/// The contract's object. Where the outcome is an error it also says which policy was followed.
fn report(name: &str, (webhook, policy): (&Webhook, OnError), call: &Call<Outcome>) -> Option<Box<RawValue>> {
    let (outcome, reason) = told(&call.result);
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
