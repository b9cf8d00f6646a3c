//! The client that POSTs to receivers: addresses that a stranger chose, answers that a stranger writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method};
use reqwest::{Client, ClientBuilder, Request, Response};
use tokio::time::{Instant, timeout_at};
use tower::util::MapFutureLayer;

use super::dial::{self, Dial};
use super::fault::{self, Fault};
use super::guard::Guard;
use super::resolve::{Guarded, Resolver, SystemResolver};
use super::target::{Scheme, Target};

/// As much of an answer's body is read and kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Longest `Retry-After` that is kept: an HTTP date has 29 bytes.
const MAX_RETRY_AFTER_BYTES: usize = 64;
/// A bound for what an operator could mean, and for the sum of a clock and it.
const MAX_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest that connecting may take, TLS and DNS included.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the idle time-out of common servers and firewalls no pooled connection is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a busy HTTP/2 connection is asked whether it lives, and how long it may take to say so. A timed-out
/// attempt closes only its stream: without this a dead connection would fail every later attempt as well.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a pooled connection that the receiver had closed shows it: one round trip.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// One attempt's end. Either `status` or `error` is there: the status decides, whatever becomes of the body after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The receiver's answer.
    pub status: Option<u16>,
    /// Why there was none, readable.
    pub error: Option<String>,
    /// The answer's first [`MAX_ANSWER_BYTES`], or what came of them in time.
    pub body: Vec<u8>,
    /// The header `Retry-After`, as sent.
    pub retry_after: Option<String>,
    /// From the call to the end of the answer.
    pub duration: Duration,
}

/// Sends to targets. One for the whole service: it holds the pooled connections.
pub struct Outbound {
    guard: Arc<Guard>,
    resolver: Arc<dyn Resolver>,
    // A resolver is not told for which scheme it resolves, and the scheme decides: so one client for each.
    http: Client,
    https: Client,
    attempt_timeout: Duration,
    connect_timeout: Duration,
}

impl Outbound {
    /// A client that reaches what `guard` lets it, with the system's resolver. `attempt_timeout` bounds an attempt
    /// from the lookup to the end of the answer; `max_idle_per_host` connections are kept for the next event.
    ///
    /// # Errors
    /// `attempt_timeout` is zero or over an hour, or the system has no CA certificates.
    pub fn new(guard: Guard, attempt_timeout: Duration, max_idle_per_host: usize) -> Result<Self, String> {
        Self::with_resolver(guard, Arc::new(SystemResolver::default()), attempt_timeout, max_idle_per_host)
    }

    /// As [`Outbound::new`], with another resolver.
    ///
    /// # Errors
    /// Those of [`Outbound::new`].
    pub fn with_resolver(
        guard: Guard,
        resolver: Arc<dyn Resolver>,
        attempt_timeout: Duration,
        max_idle_per_host: usize,
    ) -> Result<Self, String> {
        if attempt_timeout.is_zero() || attempt_timeout > MAX_ATTEMPT_TIMEOUT {
            return Err("an attempt's time-out is more than nothing and at most one hour".into());
        }
        let guard = Arc::new(guard);
        let connect_timeout = attempt_timeout.min(MAX_CONNECT_TIMEOUT);
        let client = |scheme| {
            let guarded = Guarded { guard: Arc::clone(&guard), resolver: Arc::clone(&resolver), scheme };
            builder(scheme, connect_timeout)
                .no_proxy()
                .connector_layer(MapFutureLayer::new(dial::connecting))
                .dns_resolver(guarded)
                .pool_max_idle_per_host(max_idle_per_host)
                .build()
                .map_err(|error| fault::describe_build(&error))
        };
        let (http, https) = (client(Scheme::Http)?, client(Scheme::Https)?);
        Ok(Self { http, https, guard, resolver, attempt_timeout, connect_timeout })
    }

    /// The rules by which targets are judged.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Judges a URL that someone subscribes: [`Guard::parse_target`], then [`Guard::check_resolved`].
    ///
    /// # Errors
    /// Those of the two.
    pub async fn check_target(&self, url: &str) -> Result<Target, String> {
        let target = self.guard.parse_target(url)?;
        self.guard.check_resolved(&target, &*self.resolver).await?;
        Ok(target)
    }

    /// POSTs `body` to `target` with these headers, once. Redirects are answers like any other, no proxy is used.
    pub async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Sent {
        let started = Instant::now();
        let mut sent =
            Sent { status: None, error: None, body: Vec::new(), retry_after: None, duration: Duration::ZERO };
        match self.answer(target, headers, body, started + self.attempt_timeout).await {
            Ok(response) => {
                sent.status = Some(response.status().as_u16());
                sent.retry_after = retry_after(response.headers());
                // Out of time or broken off: the status is known, and it decides.
                let _ = timeout_at(started + self.attempt_timeout, read(response, &mut sent.body)).await;
            }
            Err(error) => sent.error = Some(error),
        }
        sent.duration = started.elapsed();
        sent
    }

    async fn answer(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, String> {
        // The rules may have changed since the target was parsed, and an address is connected to without a lookup.
        self.guard.check_literal(target)?;
        let mut request = Request::new(Method::POST, target.url().clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let again = request.try_clone();
        let sent_at = Instant::now();
        match (self.exchange(target, request, deadline).await, again) {
            // The receiver closed an idle connection while the request was on its way to it. Once more, by another:
            // delivery is at least once, and `webhook-id` tells a receiver that had got it after all.
            (Err(Fault { stale: true, .. }), Some(again)) if sent_at.elapsed() < STALE_WITHIN => {
                self.exchange(target, again, deadline).await
            }
            (answer, _) => answer,
        }
        .map_err(|fault| fault.text)
    }

    async fn exchange(&self, target: &Target, request: Request, deadline: Instant) -> Result<Response, Fault> {
        let client = match target.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let dial = Dial::new(target.way().port);
        let answer = dial.watch(timeout_at(deadline, client.execute(request))).await;
        let phase = dial.phase();
        match answer {
            Ok(answer) => {
                answer.map_err(|error| fault::of_attempt(&error, target.url(), (phase, self.connect_timeout)))
            }
            Err(_) => Err(fault::late(target.url(), phase, self.attempt_timeout)),
        }
    }
}

/// What all clients have in common.
pub(super) fn builder(scheme: Scheme, connect_timeout: Duration) -> ClientBuilder {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT);
    match scheme {
        // No roots to load, and none to miss where there are none.
        Scheme::Http => builder.tls_certs_only([]),
        Scheme::Https => builder.https_only(true),
    }
}

/// Reads on to the body's end, so that its connection can be used again, or to [`MAX_ANSWER_BYTES`].
async fn read(mut response: Response, kept: &mut Vec<u8>) {
    while let Ok(Some(mut chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES.saturating_sub(kept.len());
        let too_long = chunk.len() > room;
        chunk.truncate(room);
        kept.extend_from_slice(&chunk);
        if too_long {
            return;
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    (value.len() <= MAX_RETRY_AFTER_BYTES).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
