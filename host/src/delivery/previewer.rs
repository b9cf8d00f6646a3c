//! Recomputes the bytes that a delivery sent, or would send: transforms are pure, so the log need not keep them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::attempt::{Outgoing, Prepared, Transformer};
use super::compiled_plugins::CompiledPlugins;
use crate::domain::delivery::Attempt;
use crate::domain::event::Event;
use crate::domain::plugin::{Digest, Outcome, RenderedMessage, owner};
use crate::domain::webhook::Webhook;
use crate::store::Store;

/// What a delivery sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// These bytes, of this content type.
    Body(Bytes, String),
    /// Nothing: the plugin drops the event.
    Dropped,
    /// Nothing yet: the plugin fails with this text.
    PluginFails(String),
    /// Nothing was sent, and the company has no webhook for the type any more.
    NoWebhook,
}

/// The parts of an attempt's `plugin` object that name the version, the config and the outcome.
#[derive(Deserialize)]
struct PluginRun {
    name: String,
    digest: Option<String>,
    config_digest: String,
    outcome: String,
    on_error: Option<String>,
}

/// Recomputes bodies.
pub struct Previewer {
    pub(super) store: Arc<Store>,
    pub(super) plugins: Arc<CompiledPlugins>,
    pub(super) transformer: Arc<Transformer>,
}

/// The part of a preview that an attempt alone decides.
enum Recorded {
    /// The event's own data.
    Original,
    Dropped,
    /// The output of this run.
    Replaced(PluginRun),
}

impl Previewer {
    /// The bytes that the last attempt with a result sent. If there is no such attempt: the bytes that the webhook would send
    /// as it stands.
    pub async fn preview(&self, event: Arc<Event>, attempts: &[Attempt], webhook: Option<&Webhook>) -> Preview {
        let last = attempts.iter().rev().find_map(|attempt| Some((attempt, recorded(attempt)?)));
        match (last, webhook) {
            (Some((attempt, Recorded::Original)), _) => Preview::Body(event.data.clone(), sent_type(attempt)),
            (Some((_, Recorded::Dropped)), _) => Preview::Dropped,
            (Some((attempt, Recorded::Replaced(run))), _) => self.run_again(&event, &run, attempt).await,
            (None, Some(webhook)) => self.of_webhook(event, webhook).await,
            (None, None) => Preview::NoWebhook,
        }
    }

    async fn run_again(&self, event: &Arc<Event>, run: &PluginRun, attempt: &Attempt) -> Preview {
        let outcome = async {
            let digest = Digest::stored(run.digest.as_deref().ok_or("the attempt names no version")?);
            let owner = owner(&event.company, &run.name);
            let plugin = self.plugins.get(owner, &run.name, &digest).await?;
            let config = self.store.config(&Digest::stored(&run.config_digest)).await;
            let config = config.map_err(|error| error.to_string())?.ok_or("its config is no longer kept")?;
            let call = self.transformer.call(&plugin, as_sent(event, attempt), config).await;
            call.result.map_err(|failure| failure.to_string())
        };
        match outcome.await {
            Ok(Outcome::Replace(message)) => Preview::Body(message.body.into(), sent_type(attempt)),
            Ok(Outcome::Pass) => Preview::Body(event.data.clone(), sent_type(attempt)),
            Ok(Outcome::Drop(_)) => Preview::Dropped,
            Err(why) => Preview::PluginFails(format!("plugin `{}`: {why}", run.name)),
        }
    }

    async fn of_webhook(&self, event: Arc<Event>, webhook: &Webhook) -> Preview {
        let asked = [&webhook.headers[..], &event.headers[..]];
        let own_type =
            RenderedMessage::of(&Outcome::Pass, &event, &asked).map(|sent| sent.content_type).unwrap_or_default();
        match self.transformer.prepare(&event, webhook).await.0 {
            Prepared::Send(Outgoing { body, content_type, headers }) => {
                let header = headers.into_iter().rfind(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                Preview::Body(body, content_type.or(header.map(|(_, text)| text)).unwrap_or(own_type))
            }
            Prepared::Filtered => Preview::Dropped,
            Prepared::PluginFailed(why) | Prepared::HostFailed(why) => Preview::PluginFails(why),
        }
    }
}

/// `None`: the attempt ended with the plugin's failure, or before it.
fn recorded(attempt: &Attempt) -> Option<Recorded> {
    let Some(plugin) = &attempt.plugin else {
        return attempt.request_headers.as_ref().map(|_| Recorded::Original);
    };
    let run: PluginRun = serde_json::from_str(plugin.get()).ok()?;
    match (run.outcome.as_str(), run.on_error.as_deref()) {
        ("pass", _) | ("error", Some("send_original")) => Some(Recorded::Original),
        ("drop", _) | ("error", Some("drop")) => Some(Recorded::Dropped),
        ("replace", _) => Some(Recorded::Replaced(run)),
        _ => None,
    }
}

/// The headers of an attempt that a preview depends on.
#[derive(Deserialize, Default)]
struct SentHeaders {
    #[serde(rename = "content-type")]
    content_type: Option<String>,
    #[serde(rename = "webhook-event-type")]
    event_type: Option<String>,
}

impl SentHeaders {
    fn of(attempt: &Attempt) -> Self {
        let headers = attempt.request_headers.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        headers.unwrap_or_default()
    }
}

/// The content type of the attempt.
fn sent_type(attempt: &Attempt) -> String {
    SentHeaders::of(attempt).content_type.unwrap_or_else(|| "application/json".into())
}

/// The event with the type that the attempt sent it as: the log has the event of a test as a `ping`.
fn as_sent(event: &Arc<Event>, attempt: &Attempt) -> Arc<Event> {
    match SentHeaders::of(attempt).event_type {
        Some(event_type) if event_type != event.event_type => Arc::new(Event { event_type, ..(**event).clone() }),
        _ => event.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn attempt(plugin: Option<serde_json::Value>, sent: bool) -> Attempt {
        Attempt {
            number: 1,
            started_at: 0,
            duration_ms: 0,
            status_code: None,
            error: None,
            response_body: None,
            url: None,
            response_headers: None,
            request_headers: sent.then(|| to_raw_value(&json!({"content-type": "text/csv"})).unwrap()),
            plugin: plugin.map(|plugin| to_raw_value(&plugin).unwrap()),
        }
    }

    fn ran(outcome: &str, on_error: Option<&str>) -> Attempt {
        let plugin = json!({
            "name": "mask", "digest": "ab", "config_digest": "cd", "outcome": outcome, "on_error": on_error,
        });
        attempt(Some(plugin), false)
    }

    #[test]
    fn an_attempt_tells_what_it_sent() {
        assert!(matches!(recorded(&attempt(None, true)), Some(Recorded::Original)));
        assert!(recorded(&attempt(None, false)).is_none(), "it sent nothing");
        assert!(matches!(recorded(&ran("pass", None)), Some(Recorded::Original)));
        assert!(matches!(recorded(&ran("drop", None)), Some(Recorded::Dropped)));
        assert!(matches!(recorded(&ran("replace", None)), Some(Recorded::Replaced(run)) if run.name == "mask"));
        assert!(matches!(recorded(&ran("error", Some("send_original"))), Some(Recorded::Original)));
        assert!(matches!(recorded(&ran("error", Some("drop"))), Some(Recorded::Dropped)));
        assert!(recorded(&ran("error", Some("retry"))).is_none(), "it is tried again");
    }

    #[test]
    fn content_type_is_the_one_that_was_sent() {
        assert_eq!(sent_type(&attempt(None, true)), "text/csv");
        assert_eq!(sent_type(&attempt(None, false)), "application/json");
    }
}
