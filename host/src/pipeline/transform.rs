//! What the webhook's plugin makes of the event.

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::Pipeline;
use super::lanes::Job;
use crate::domain::event::Event;
use crate::domain::headers;
use crate::domain::plugin::{Call, Digest, Failure, Message, Outcome};
use crate::domain::webhook::{OnError, Webhook};

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
    Failed(String),
}

impl Pipeline {
    /// Runs the webhook's plugin, if it has one; also answers the attempt's `plugin` object.
    pub(super) async fn transform(&self, job: &Job, webhook: &Webhook) -> (Prepared, Option<Box<RawValue>>) {
        let Some(reference) = &webhook.plugin else {
            return (Prepared::Send(Outgoing::original(&job.event)), None);
        };
        let Some(digest) = &webhook.plugin_digest else {
            let text = format!("plugin `{}` has no active version", reference.name);
            return (on_error(webhook, &job.event, text), None);
        };
        let plugin = match self.0.plugins.get(&webhook.company, &reference.name, digest).await {
            Ok(plugin) => plugin,
            // Not the plugin's failure but the host's: the event waits, whatever is to be done on errors of the plugin.
            Err(text) => return (Prepared::Failed(format!("plugin `{}`: {text}", reference.name)), None),
        };
        let call = self.0.parts.sandbox.transform(&plugin, job.event.clone(), webhook.config.clone()).await;
        let call = self.check_headers(call);
        let report = report(&reference.name, digest, webhook, &call);
        let prepared = match call.result {
            Ok(Outcome::Pass) => Prepared::Send(Outgoing::original(&job.event)),
            Ok(Outcome::Drop(_)) => Prepared::Filtered,
            Ok(Outcome::Replace(message)) => {
                let Message { body, content_type, headers } = message;
                Prepared::Send(Outgoing { body: body.into(), content_type, headers })
            }
            Err(failure) => on_error(webhook, &job.event, format!("plugin `{}`: {failure}", reference.name)),
        };
        (prepared, report)
    }

    /// A plugin that asks for a header it may not set has failed.
    fn check_headers(&self, mut call: Call<Outcome>) -> Call<Outcome> {
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

fn on_error(webhook: &Webhook, event: &Event, error: String) -> Prepared {
    match webhook.on_error {
        OnError::Retry => Prepared::Failed(error),
        OnError::SendOriginal => Prepared::Send(Outgoing::original(event)),
        OnError::Drop => Prepared::Filtered,
    }
}

fn report(name: &str, digest: &Digest, webhook: &Webhook, call: &Call<Outcome>) -> Option<Box<RawValue>> {
    let (outcome, reason) = match &call.result {
        Ok(Outcome::Pass) => ("pass", None),
        Ok(Outcome::Replace(_)) => ("replace", None),
        Ok(Outcome::Drop(reason)) => ("drop", Some(reason.clone())),
        Err(failure) => ("error", Some(failure.to_string())),
    };
    let line = |line: &crate::domain::plugin::LogLine| json!({"level": line.level.name(), "message": line.message});
    let logs: Vec<_> = call.logs.lines.iter().map(line).collect();
    to_raw_value(&json!({
        "name": name,
        "digest": digest.as_str(),
        "config_digest": webhook.config_digest.as_str(),
        "outcome": outcome,
        "reason": reason,
        "duration_us": u64::try_from(call.duration.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": call.memory_bytes,
        "logs": logs,
        "logs_dropped": call.logs.dropped,
    }))
    .ok()
}
