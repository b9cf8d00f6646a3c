//! What a delivery sent, or would send, made again: transforms are pure, so it need not be kept.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::Pipeline;
use super::lanes::Job;
use super::transform::{Outgoing, Prepared};
use crate::domain::delivery::Attempt;
use crate::domain::event::Event;
use crate::domain::plugin::{Digest, Outcome, Sent, owner};
use crate::domain::webhook::Webhook;

/// What is sent of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transformed {
    /// These bytes, of this content type.
    Body(Bytes, String),
    /// Nothing: the plugin drops the event.
    Nothing,
    /// The plugin fails, and so nothing is sent yet.
    Fails(String),
    /// It was not sent, and nobody subscribes to its type any more.
    Nobody,
}

/// The parts of an attempt's plugin object that say what it ran.
#[derive(Deserialize)]
struct Ran {
    name: String,
    digest: Option<String>,
    config_digest: String,
    outcome: String,
    on_error: Option<String>,
}

impl Pipeline {
    /// What the last attempt that came so far sent; without one, what the webhook as it stands would send.
    pub async fn transformed(&self, event: Arc<Event>, attempts: &[Attempt], webhook: Option<&Webhook>) -> Transformed {
        for attempt in attempts.iter().rev() {
            if let Some(done) = self.of_attempt(&event, attempt).await {
                return done;
            }
        }
        match webhook {
            Some(webhook) => self.of_webhook(event, webhook).await,
            None => Transformed::Nobody,
        }
    }

    /// `None`: the attempt got no further than the plugin's failure.
    async fn of_attempt(&self, event: &Arc<Event>, attempt: &Attempt) -> Option<Transformed> {
        let original = || Some(Transformed::Body(event.data.clone(), sent_type(attempt)));
        let Some(ran) = &attempt.plugin else {
            return attempt.request_headers.as_ref().and_then(|_| original());
        };
        let ran: Ran = serde_json::from_str(ran.get()).ok()?;
        match (ran.outcome.as_str(), ran.on_error.as_deref()) {
            ("pass", _) | ("error", Some("send_original")) => original(),
            ("drop", _) | ("error", Some("drop")) => Some(Transformed::Nothing),
            ("replace", _) => Some(self.rerun(event, &ran, attempt).await),
            _ => None,
        }
    }

    async fn rerun(&self, event: &Arc<Event>, ran: &Ran, attempt: &Attempt) -> Transformed {
        let made = async {
            let digest = Digest::stored(ran.digest.as_deref().ok_or("the attempt names no version")?);
            let owner = owner(&event.company, &ran.name);
            let plugin = self.0.plugins.get(owner, &ran.name, &digest).await?;
            let config = self.0.store.config(&Digest::stored(&ran.config_digest)).await;
            let config = config.map_err(|error| error.to_string())?.ok_or("its config is no longer kept")?;
            self.call(&plugin, event.clone(), config).await.result.map_err(|failure| failure.to_string())
        };
        match made.await {
            Ok(Outcome::Replace(message)) => Transformed::Body(message.body.into(), sent_type(attempt)),
            Ok(Outcome::Pass) => Transformed::Body(event.data.clone(), sent_type(attempt)),
            Ok(Outcome::Drop(_)) => Transformed::Nothing,
            Err(why) => Transformed::Fails(format!("plugin `{}`: {why}", ran.name)),
        }
    }

    async fn of_webhook(&self, event: Arc<Event>, webhook: &Webhook) -> Transformed {
        let asked = [&webhook.headers[..], &event.headers[..]];
        let kind = Sent::of(&Outcome::Pass, &event, &asked).map(|sent| sent.content_type).unwrap_or_default();
        let job = Job::fresh(String::new(), webhook, event);
        match self.transform(&job, webhook).await.0 {
            Prepared::Send(Outgoing { body, content_type, headers }) => {
                let own = headers.into_iter().rfind(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                Transformed::Body(body, content_type.or(own.map(|(_, kind)| kind)).unwrap_or(kind))
            }
            Prepared::Filtered => Transformed::Nothing,
            Prepared::Failed(why) | Prepared::Hindered(why) => Transformed::Fails(why),
        }
    }
}

/// The content type that an attempt had.
fn sent_type(attempt: &Attempt) -> String {
    #[derive(Deserialize)]
    struct Headers {
        #[serde(rename = "content-type")]
        content_type: Option<String>,
    }
    let headers = attempt.request_headers.as_ref().and_then(|raw| serde_json::from_str::<Headers>(raw.get()).ok());
    headers.and_then(|headers| headers.content_type).unwrap_or_else(|| "application/json".into())
}
