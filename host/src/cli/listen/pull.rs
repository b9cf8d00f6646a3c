//! `posthaste listen --pull`: fetches the events of a webhook and forwards them to a local port.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use url::{Host, Url};

use super::{ExpectedWebhook, show};
use crate::cli::Failure;
use crate::cli::plugin::api_headers;
use crate::outbound::{UnguardedAnswer, UnguardedClient, UnguardedRequest};

/// Bounds a request, including the wait of 30 s for an event.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before a request that failed is made again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The events of a webhook, and where they go.
pub(super) struct Forwarding {
    /// The URL of the events, without parameters of its own.
    events: Url,
    key: String,
    to: Option<Url>,
    expected: ExpectedWebhook,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Message>,
    next_cursor: String,
}

#[derive(Deserialize)]
struct Message {
    delivery_id: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    error: Option<String>,
}

/// Returns the URL of the events of a webhook, whose own URL this is.
fn events_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("--pull {text}: {error}"))?;
    let segments: Vec<_> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let is_webhook =
        matches!(&segments[..], [.., "webhooks", id] | [.., "webhooks", id, "events"] if id.starts_with("wh_"));
    if !is_webhook || !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "--pull {text}: give the URL of the webhook, such as http://127.0.0.1:8080/api/v1/webhooks/wh_…"
        ));
    }
    let has_events = segments.last() == Some(&"events");
    if let (false, Ok(mut path)) = (has_events, url.path_segments_mut()) {
        path.pop_if_empty().push("events");
    }
    Ok(url)
}

/// Checks that events are forwarded on this machine only.
fn local_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("--port-to {text}: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match is_local && url.scheme() == "http" {
        true => Ok(url),
        false => {
            Err(format!("--port-to {text}: events are forwarded to this machine only: http://127.0.0.1:PORT/PATH"))
        }
    }
}

impl Message {
    fn body(&self) -> Bytes {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => text.clone().into(),
            (None, Some(text)) => STANDARD.decode(text).unwrap_or_default().into(),
            (None, None) => Bytes::new(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let pair = |(name, value): (&String, &String)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        };
        self.headers.iter().filter_map(pair).collect()
    }
}

impl Forwarding {
    /// Checks the arguments: the URL of the webhook, the key, and where its events go.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(
        pull: &str,
        key: Option<String>,
        to: Option<&str>,
        expected: ExpectedWebhook,
    ) -> Result<Self, String> {
        let key = key.ok_or("--pull needs --key: an API key with the scope `webhooks`")?;
        Ok(Self { events: events_url(pull)?, key, to: to.map(local_url).transpose()?, expected })
    }

    /// Fetches one event after the other. Each is acknowledged once it was forwarded.
    ///
    /// # Errors
    /// The server refuses a request.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        eprintln!("waiting for events of {} until Ctrl-C", self.events);
        loop {
            // One at a time: the cursor of a page stands for all its events.
            let mut url = self.events.clone();
            url.query_pairs_mut().append_pair("limit", "1").append_pair("wait", "30s");
            let page = self.call(Method::GET, &url, Bytes::new()).await?;
            let page: Page = serde_json::from_slice(&page.body).map_err(|_| "the answer is no page of events")?;
            for message in &page.data {
                self.deliver(message).await;
            }
            let mut url = self.events.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.push("ack");
            }
            self.call(Method::POST, &url, json!({"cursor": page.next_cursor}).to_string().into()).await?;
        }
    }

    /// Makes a call, again and again while the server is unavailable.
    async fn call(&self, method: Method, url: &Url, body: Bytes) -> Result<UnguardedAnswer, Failure> {
        loop {
            let headers = api_headers(&self.key, "application/json")?;
            let request = UnguardedRequest { method: method.clone(), url: url.as_str(), headers, body: body.clone() };
            let why = match UnguardedClient::new(TIMEOUT).call(request, |_| ()).await {
                Ok(answer) if answer.status < 300 => return Ok(answer),
                Ok(answer) if answer.status == 429 || answer.status >= 500 => format!("answered {}", answer.status),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(format!("{url} answered {}: {text}", answer.status).into());
                }
                Err(error) => error,
            };
            eprintln!("{url}: {why}; trying again");
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Shows an event and forwards it, again and again until it is accepted.
    async fn deliver(&self, message: &Message) {
        if let Some(error) = &message.error {
            println!("{} NOT SENT: {}\n", message.delivery_id, error.escape_debug());
            return;
        }
        let (headers, body) = (message.headers(), message.body());
        let path = self.to.as_ref().map_or("/", Url::path);
        show(&self.expected, path, &headers, &body);
        let Some(to) = &self.to else { return };
        loop {
            let request = UnguardedRequest {
                method: Method::POST,
                url: to.as_str(),
                headers: headers.clone(),
                body: body.clone(),
            };
            let why = match UnguardedClient::new(TIMEOUT).call(request, |_| ()).await {
                Ok(answer) if (200..300).contains(&answer.status) => return,
                Ok(answer) => format!("answered {}", answer.status),
                Err(error) => error,
            };
            eprintln!("{to}: {why}; trying again");
            sleep(RETRY_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_by_the_url_of_the_webhook() {
        let webhook = "http://127.0.0.1:8080/api/v1/webhooks/wh_1";
        for (text, expected) in [
            (webhook.to_owned(), format!("{webhook}/events")),
            (format!("{webhook}/"), format!("{webhook}/events")),
            (format!("{webhook}/events"), format!("{webhook}/events")),
            (format!("{webhook}?company=acme"), format!("{webhook}/events?company=acme")),
        ] {
            assert_eq!(events_url(&text).unwrap().as_str(), expected);
        }
        for bad in ["wh_1", "http://127.0.0.1:8080", "ftp://a.test/webhooks/wh_1", "http://a.test/webhooks"] {
            assert!(events_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn events_are_forwarded_to_this_machine_only() {
        for good in ["http://127.0.0.1:8081/hook", "http://localhost:8081", "http://[::1]:8081/"] {
            assert!(local_url(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1/", "https://127.0.0.1/", "http://localhost.test/", "8081"] {
            assert!(local_url(bad).is_err(), "{bad}");
        }
    }
}
