//! The POST: headers, signature, and what the answer means.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use lru::LruCache;
use serde_json::value::{RawValue, to_raw_value};

use super::Pipeline;
use super::lanes::Job;
use super::record::{Came, Ending};
use super::transform::Outgoing;
use crate::domain::webhook::Webhook;
use crate::domain::{headers, retry};
use crate::outbound::{Target, sign};

const AGENT: &str = concat!("posthaste/", env!("CARGO_PKG_VERSION"));
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_TYPE: HeaderName = HeaderName::from_static("webhook-event-type");

/// Parsed target URLs, by their text.
pub(super) struct Targets(Mutex<LruCache<String, Arc<Target>>>);

impl Default for Targets {
    fn default() -> Self {
        const KEPT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Pipeline {
    fn target(&self, url: &str) -> Result<Arc<Target>, String> {
        let mut kept = self.0.targets.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = kept.get(url) {
            return Ok(target.clone());
        }
        let target = Arc::new(self.0.parts.outbound.guard().parse_target(url)?);
        kept.put(url.to_owned(), target.clone());
        Ok(target)
    }

    /// Signs and POSTs what the transform left.
    pub(super) async fn send(&self, job: &Job, webhook: &Webhook, outgoing: Outgoing, now: i64) -> Ending {
        let target = match self.target(&webhook.target_url) {
            Ok(target) => target,
            Err(error) => return Ending::failed(error),
        };
        let headers = match self.headers(job, webhook, &outgoing, now / 1000) {
            Ok(headers) => headers,
            Err(error) => return Ending::failed(error),
        };
        let request_headers = shown(&headers);
        let sent = self.0.parts.outbound.post(&target, headers, outgoing.body).await;
        let retry_after = sent.retry_after.as_deref().and_then(|text| retry::retry_after(text, self.0.time.of_day()));
        let (came, error) = match sent.status {
            Some(200..300) => (Came::Delivered, None),
            Some(status) => {
                (Came::Refused { gone: status == 410, retry_after }, Some(format!("the receiver answered {status}")))
            }
            None => (Came::Silent, sent.error),
        };
        Ending {
            status_code: sent.status,
            error,
            plugin_failed: false,
            // PostgreSQL's TEXT has no NUL.
            response_body: sent.status.map(|_| String::from_utf8_lossy(&sent.body).replace('\0', "\u{fffd}")),
            request_headers,
            ..Ending::new(came)
        }
    }

    /// All headers of one POST: the host's own, and those asked for, in rising precedence.
    fn headers(&self, job: &Job, webhook: &Webhook, outgoing: &Outgoing, timestamp: i64) -> Result<HeaderMap, String> {
        let event = &job.event;
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot stand in a header"));
        let mut map = HeaderMap::with_capacity(12);
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        map.insert(ID, value(&event.id)?);
        map.insert(TIMESTAMP, HeaderValue::from(timestamp));
        let secrets = webhook.signing_secrets(timestamp);
        let signatures: Vec<_> =
            secrets.map(|secret| sign::sign(secret, &event.id, timestamp, &outgoing.body)).collect();
        map.insert(SIGNATURE, value(&signatures.join(" "))?);
        map.insert(EVENT_TYPE, value(&event.event_type)?);
        if let Some(challenge) = &webhook.challenge {
            let name = HeaderName::from_bytes(self.0.parts.challenge_header.as_bytes());
            map.insert(name.map_err(|_| "the challenge header's name is not one")?, value(challenge)?);
        }
        for (name, text) in headers::merge([&webhook.headers[..], &event.headers[..], &outgoing.headers[..]]) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
            map.insert(name, value(&text)?);
        }
        if let Some(kind) = &outgoing.content_type {
            map.insert(CONTENT_TYPE, value(kind)?);
        }
        Ok(map)
    }
}

/// The headers as a JSON object, for the log.
fn shown(headers: &HeaderMap) -> Option<Box<RawValue>> {
    struct Shown<'h>(&'h HeaderMap);
    impl serde::Serialize for Shown<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer
                .collect_map(self.0.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())))
        }
    }
    to_raw_value(&Shown(headers)).ok()
}
