//! Recomputes the bytes that a delivery sent, or would send: transforms are pure, so the log need not keep them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::attempt::{ChainStep, Outgoing, Prepared, Transformer};
use super::compiled_plugins::CompiledPlugins;
use crate::domain::delivery::Attempt;
use crate::domain::event::Event;
use crate::domain::plugin::{Digest, Outcome, RenderedMessage, owner};
use crate::domain::transform::OnError;
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

/// The parts of one of an attempt's `plugins` that name the version, the config and the outcome.
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
    /// The output of these runs, one after the other.
    Replaced(Vec<PluginRun>),
}

impl Previewer {
    /// The bytes that the last attempt with a result sent. If there is no such attempt: the bytes that the webhook would send
    /// as it stands.
    pub async fn preview(&self, event: Arc<Event>, attempts: &[Attempt], webhook: Option<&Webhook>) -> Preview {
        let last = attempts.iter().rev().find_map(|attempt| Some((attempt, recorded(attempt)?)));
        match (last, webhook) {
            (Some((attempt, Recorded::Original)), _) => Preview::Body(event.data.clone(), sent_type(attempt)),
            (Some((_, Recorded::Dropped)), _) => Preview::Dropped,
            (Some((attempt, Recorded::Replaced(runs))), _) => self.run_again(&event, &runs, attempt).await,
            (None, Some(webhook)) => self.of_webhook(event, webhook).await,
            (None, None) => Preview::NoWebhook,
        }
    }

    async fn run_again(&self, event: &Arc<Event>, runs: &[PluginRun], attempt: &Attempt) -> Preview {
        let mut steps = Vec::with_capacity(runs.len());
        for run in runs {
            match self.step(&event.company, run).await {
                Ok(step) => steps.push(step),
                Err(why) => return Preview::PluginFails(format!("plugin `{}`: {why}", run.name)),
            }
        }
        let sent = as_sent(event, attempt);
        match self.transformer.chain(sent.clone(), steps).await.prepared(&sent) {
            Prepared::Send(outgoing) => Preview::Body(outgoing.body, sent_type(attempt)),
            Prepared::Filtered => Preview::Dropped,
            Prepared::PluginFailed(why) | Prepared::HostFailed(why) => Preview::PluginFails(why),
        }
    }

    async fn step(&self, company: &str, run: &PluginRun) -> Result<ChainStep, String> {
        let digest = Digest::stored(run.digest.as_deref().ok_or("the attempt names no version")?);
        let plugin = self.plugins.get(owner(company, &run.name), &run.name, &digest).await?;
        let config = self.store.config(&Digest::stored(&run.config_digest)).await;
        let config = config.map_err(|error| error.to_string())?.ok_or("its config is no longer kept")?;
        Ok(ChainStep { name: run.name.clone(), plugin, config, on_error: OnError::Retry })
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
    if attempt.plugin.is_none() {
        return attempt.request_headers.as_ref().map(|_| Recorded::Original);
    }
    let runs = attempt.plugins().into_iter().map(|run| serde_json::from_str(run.get()));
    let runs: Vec<PluginRun> = runs.collect::<Result<_, _>>().ok()?;
    let last = runs.last()?;
    match (last.outcome.as_str(), last.on_error.as_deref()) {
        ("drop", _) | ("error", Some("drop")) => return Some(Recorded::Dropped),
        ("pass" | "replace", _) | ("error", Some("send_original")) => (),
        _ => return None,
    }
    // The others have sent on what they were given.
    let replaced: Vec<_> = runs.into_iter().filter(|run| run.outcome == "replace").collect();
    Some(if replaced.is_empty() { Recorded::Original } else { Recorded::Replaced(replaced) })
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

    fn run(outcome: &str, on_error: Option<&str>) -> serde_json::Value {
        json!({"name": "mask", "digest": "ab", "config_digest": "cd", "outcome": outcome, "on_error": on_error})
    }

    fn ran(outcome: &str, on_error: Option<&str>) -> Attempt {
        attempt(Some(run(outcome, on_error)), false)
    }

    fn ran_several(outcomes: &[(&str, Option<&str>)]) -> Option<Recorded> {
        let runs = outcomes.iter().map(|(outcome, on_error)| run(outcome, *on_error)).collect();
        recorded(&attempt(Some(runs), false))
    }

    #[test]
    fn an_attempt_with_several_transforms_sent_what_those_made_that_replaced() {
        let (replace, pass, error) = (("replace", None), ("pass", None), ("error", Some("send_original")));
        let Some(Recorded::Replaced(runs)) = ran_several(&[replace, pass, error, replace, pass]) else { panic!() };
        assert_eq!(runs.len(), 2);
        assert!(matches!(ran_several(&[pass, error]), Some(Recorded::Original)));
        assert!(matches!(ran_several(&[replace, ("drop", None)]), Some(Recorded::Dropped)));
        assert!(matches!(ran_several(&[replace, ("error", Some("drop"))]), Some(Recorded::Dropped)));
        assert!(ran_several(&[replace, ("error", Some("retry"))]).is_none());
    }

    #[test]
    fn an_attempt_tells_what_it_sent() {
        assert!(matches!(recorded(&attempt(None, true)), Some(Recorded::Original)));
        assert!(recorded(&attempt(None, false)).is_none(), "it sent nothing");
        assert!(matches!(recorded(&ran("pass", None)), Some(Recorded::Original)));
        assert!(matches!(recorded(&ran("drop", None)), Some(Recorded::Dropped)));
        assert!(matches!(recorded(&ran("replace", None)), Some(Recorded::Replaced(runs)) if runs[0].name == "mask"));
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
