//! The POST: bounded in time and in what it reads, never redirected, never by a proxy.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use reqwest::{Client, ClientBuilder, Response};
use tokio::time::{Instant, timeout_at};

use super::failure;
use super::guard::{Guard, Scheme, Target};

/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 16 * 1024;
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept for the next POST.
const IDLE: Duration = Duration::from_secs(90);

/// What came of a POST.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The answer's status, where one came.
    pub status: Option<u16>,
    /// Why none came.
    pub error: Option<String>,
    /// The answer's first 16 KiB.
    pub body: Vec<u8>,
}

/// Sends to targets. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    guard: Guard,
    /// One client per scheme: a resolver is not told the scheme that it resolves for, and the guard judges by it.
    http: Client,
    https: Client,
    attempt_timeout: Duration,
}

impl Outbound {
    /// A sender whose whole attempt takes at most `attempt_timeout`.
    ///
    /// # Errors
    /// The TLS set-up, in words for the operator.
    pub fn new(guard: Guard, attempt_timeout: Duration, idle_per_host: usize) -> Result<Self, String> {
        let client = |scheme| {
            builder(attempt_timeout).dns_resolver(guard.resolver(scheme)).pool_max_idle_per_host(idle_per_host).build()
        };
        let (http, https) = (client(Scheme::Http), client(Scheme::Https));
        let explain = |error| explain_setup(&error);
        Ok(Self { http: http.map_err(explain)?, https: https.map_err(explain)?, guard, attempt_timeout })
    }

    /// What judges targets.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// One POST. The status decides: an answer whose body stalls or breaks off is an answer.
    pub async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Sent {
        // No resolver is asked about an address: it was judged when the target was read, by the same guard.
        let client = match target.scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let until = Instant::now() + self.attempt_timeout;
        let sending = client.post(target.url.clone()).headers(headers).body(body).send();
        match timeout_at(until, sending).await {
            Ok(Ok(response)) => {
                let status = Some(response.status().as_u16());
                Sent { status, error: None, body: beginning(response, until).await }
            }
            Ok(Err(error)) => failed(failure::text(&error, self.attempt_timeout)),
            Err(_) => failed(format!("no answer within {} ms", self.attempt_timeout.as_millis())),
        }
    }
}

fn failed(error: String) -> Sent {
    Sent { status: None, error: Some(error), body: Vec::new() }
}

/// The answer's first bytes. A short answer is read to its end, so that its connection can be used again.
async fn beginning(mut response: Response, until: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER {
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(MAX_ANSWER);
    bytes
}

pub(super) fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(timeout.min(CONNECT))
        .pool_idle_timeout(IDLE)
}

pub(super) fn explain_setup(error: &reqwest::Error) -> String {
    let deepest = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
    let text = deepest.map_or_else(|| error.to_string(), ToString::to_string);
    format!("{text}; if no CA certificates were found, install the package ca-certificates or set SSL_CERT_FILE")
}
