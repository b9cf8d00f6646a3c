//! The POST: headers, signature, and the outcome that the answer stands for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use lru::LruCache;
use serde_json::value::{RawValue, to_raw_value};

use super::outgoing::Outgoing;
use super::report::{AttemptOutcome, AttemptReport, Rejection};
use super::response_text::response_text;
use crate::delivery::delivery_clock::DeliveryClock;
use crate::domain::attempt_timeout::AttemptTimeout;
use crate::domain::event::Event;
use crate::domain::hops::HOPS_HEADER;
use crate::domain::webhook::Webhook;
use crate::domain::{headers, retry};
use crate::outbound::{Outbound, PostRequest, Target, sign};

const AGENT: &str = concat!("posthaste/", env!("CARGO_PKG_VERSION"));
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_TYPE: HeaderName = HeaderName::from_static("webhook-event-type");
const HOPS: HeaderName = HeaderName::from_static(HOPS_HEADER);
/// Parsed target URLs in memory.
const TARGETS_KEPT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Signs and POSTs.
pub(in crate::delivery) struct Sender {
    outbound: Arc<Outbound>,
    clock: Arc<DeliveryClock>,
    /// Lower-case.
    challenge_header: String,
    /// Parsed target URLs, by their text.
    targets: Mutex<LruCache<String, Arc<Target>>>,
}

impl Sender {
    /// `challenge_header` is the lower-case name of the header that carries a webhook's challenge.
    pub(in crate::delivery) fn new(
        outbound: Arc<Outbound>,
        clock: Arc<DeliveryClock>,
        challenge_header: String,
    ) -> Self {
        Self { outbound, clock, challenge_header, targets: Mutex::new(LruCache::new(TARGETS_KEPT)) }
    }

    fn target(&self, url: &str) -> Result<Arc<Target>, String> {
        let mut kept = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = kept.get(url) {
            return Ok(target.clone());
        }
        let target = Arc::new(self.outbound.guard().parse_target(url)?);
        kept.put(url.to_owned(), target.clone());
        Ok(target)
    }

    /// Signs and POSTs the result of the transform at `now_ms`, milliseconds since 1970.
    pub(super) async fn send(
        &self,
        event: &Event,
        webhook: &Webhook,
        outgoing: Outgoing,
        now_ms: i64,
    ) -> AttemptReport {
        let Some(url) = webhook.recipient.url() else {
            return AttemptReport::rejected("this webhook has no target: its events wait for their consumer".into());
        };
        let target = match self.target(url) {
            Ok(target) => target,
            Err(error) => return AttemptReport::rejected(error),
        };
        let headers = match request_headers(event, webhook, &outgoing, now_ms / 1000, &self.challenge_header) {
            Ok(headers) => headers,
            Err(error) => return AttemptReport::rejected(error),
        };
        let request_headers = sent_headers_json(&headers);
        let (company, tls) = (&event.company, webhook.tls.as_deref());
        let timeout = webhook.timeout.as_ref().map(AttemptTimeout::time);
        let post = PostRequest { company, target: &target, tls, headers, body: outgoing.body, timeout };
        let sent = self.outbound.post(post).await;
        let asked = sent.retry_after.as_deref();
        let retry_after = asked.and_then(|text| retry::retry_after(text, self.clock.wall_ms()));
        let outcome = match sent.status {
            Some(508) if sent.headers.contains_key(HOPS) => {
                AttemptOutcome::Rejected { rejection: Rejection::Loop, retry_after: None }
            }
            Some(status) => AttemptOutcome::of_answer(status, sent.control, retry_after),
            None => AttemptOutcome::NoResponse,
        };
        let error = match sent.status {
            Some(status) => outcome.error(status),
            None => sent.error,
        };
        AttemptReport {
            status_code: sent.status,
            error,
            response_body: sent.status.map(|_| response_text(&sent.headers, &sent.body)),
            // A key that only reads deliveries must not learn what the query holds.
            url: Some(headers::shown_url(url)),
            request_headers,
            response_headers: sent.status.and_then(|_| headers_json(answer_headers(&sent.headers))),
            ..AttemptReport::new(outcome)
        }
    }
}

/// The headers of an answer, as text. PostgreSQL's TEXT has no NUL, and neither has a header.
fn answer_headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
}

/// All headers of one POST: the host's own, and those that webhook, event and plugin set, in rising precedence.
/// `timestamp` is in seconds since 1970.
pub(in crate::delivery) fn request_headers(
    event: &Event,
    webhook: &Webhook,
    outgoing: &Outgoing,
    timestamp: i64,
    challenge_header: &str,
) -> Result<HeaderMap, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot stand in a header"));
    let mut map = HeaderMap::with_capacity(12);
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    map.insert(ID, value(&event.id)?);
    map.insert(TIMESTAMP, HeaderValue::from(timestamp));
    let secrets = webhook.signing_secrets(timestamp);
    let signatures: Vec<_> = secrets.map(|secret| sign::sign(secret, &event.id, timestamp, &outgoing.body)).collect();
    map.insert(SIGNATURE, value(&signatures.join(" "))?);
    map.insert(EVENT_TYPE, value(&event.event_type)?);
    if let Some(challenge) = &webhook.challenge {
        let name = HeaderName::from_bytes(challenge_header.as_bytes());
        map.insert(name.map_err(|_| "the challenge header's name is not a header name")?, value(challenge)?);
    }
    for (name, text) in headers::merge([&webhook.headers[..], &event.headers[..], &outgoing.headers[..]]) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
        map.insert(name, value(&text)?);
    }
    map.insert(HOPS, value(&event.hops().next().to_string())?);
    if let Some(content_type) = &outgoing.content_type {
        map.insert(CONTENT_TYPE, value(content_type)?);
    }
    Ok(map)
}

/// The headers as a JSON object, for the log: values that are credentials are not shown, and of a name that occurs twice
/// the values are joined (RFC 9110 §5.3).
fn headers_json<'h>(headers: impl IntoIterator<Item = (&'h str, Cow<'h, str>)>) -> Option<Box<RawValue>> {
    let mut shown: BTreeMap<&str, Cow<'h, str>> = BTreeMap::new();
    for (name, value) in headers {
        let value = if headers::is_credential(name) { Cow::Borrowed(headers::HIDDEN) } else { value };
        match shown.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert(value)),
            Entry::Occupied(mut earlier) => *earlier.get_mut() = format!("{}, {value}", earlier.get()).into(),
        }
    }
    to_raw_value(&shown).ok()
}

fn sent_headers_json(headers: &HeaderMap) -> Option<Box<RawValue>> {
    headers_json(headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_shows_no_credentials_and_joins_repeated_names() {
        let headers = [("x-a", "1"), ("authorization", "Bearer s3cret"), ("x-a", "2"), ("my-token", "s3cret")];
        let shown = headers_json(headers.map(|(name, value)| (name, value.into()))).unwrap();
        assert_eq!(shown.get(), r#"{"authorization":"***","my-token":"***","x-a":"1, 2"}"#);
    }
}
