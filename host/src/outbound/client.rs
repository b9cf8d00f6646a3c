//! The client that POSTs to receivers. Neither the address nor the answer is trusted: a subscriber chooses one, the
//! receiver writes the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method};
use reqwest::{Client, ClientBuilder, Request, Response};
use tokio::time::{Instant, timeout_at};
use tower::util::MapFutureLayer;

use super::dial::{self, DialProgress};
use super::fault::{self, RequestFault};
use super::guard::Guard;
use super::guarded_resolver::GuardedResolver;
use super::resolve::{Resolver, SystemResolver};
use super::target::{Scheme, Target};

/// Bounds the part of an answer's body that is read and kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Bounds the `Retry-After` value that is kept, in bytes: an HTTP date has 29.
const MAX_RETRY_AFTER_BYTES: usize = 64;
/// Bounds the configured attempt timeout: above every useful value, and low enough that adding it to an instant cannot
/// overflow.
const MAX_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bounds connection setup: DNS, TCP and TLS together.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Closes an idle pooled connection before common servers and firewalls drop it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Interval of the HTTP/2 PING frames on a busy connection. A timed-out attempt closes only its stream: without pings,
/// a dead connection would fail every later attempt as well.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Closes an HTTP/2 connection that does not answer a PING within this time.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds the time within which the closure of a stale pooled connection becomes visible: one round trip.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// The result of one POST. Exactly one of `status` and `error` is set: once a status has arrived it decides the
/// attempt, whether or not the body can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostResult {
    /// The status code of the receiver's answer.
    pub status: Option<u16>,
    /// The reason why there is no answer, as a text for the webhook's owner.
    pub error: Option<String>,
    /// The first [`MAX_ANSWER_BYTES`] of the answer's body, or the part of them that arrived before the timeout.
    pub body: Vec<u8>,
    /// The answer's `Retry-After` header, unparsed.
    pub retry_after: Option<String>,
    /// Time from the call to the end of the answer.
    pub duration: Duration,
}

/// Sends to webhook targets. The service has one instance, because it owns the connection pools.
pub struct Outbound {
    guard: Arc<Guard>,
    resolver: Arc<dyn Resolver>,
    // reqwest does not tell a resolver the scheme, and the guard's decision depends on it: hence one client for each.
    http: Client,
    https: Client,
    attempt_timeout: Duration,
    connect_timeout: Duration,
}

impl Outbound {
    /// Creates a client that connects only to addresses that `guard` allows and uses the system's resolver.
    /// `attempt_timeout` bounds an attempt from the lookup to the end of the answer; up to `max_idle_per_host`
    /// connections to a host stay open while idle.
    ///
    /// # Errors
    /// Fails if `attempt_timeout` is zero or over one hour, or if the system has no CA certificates.
    pub fn new(guard: Guard, attempt_timeout: Duration, max_idle_per_host: usize) -> Result<Self, String> {
        Self::with_resolver(guard, Arc::new(SystemResolver::default()), attempt_timeout, max_idle_per_host)
    }

    /// Creates a client like [`Outbound::new`], with another resolver.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_resolver(
        guard: Guard,
        resolver: Arc<dyn Resolver>,
        attempt_timeout: Duration,
        max_idle_per_host: usize,
    ) -> Result<Self, String> {
        if attempt_timeout.is_zero() || attempt_timeout > MAX_ATTEMPT_TIMEOUT {
            return Err("the attempt timeout must be more than 0 and at most one hour".into());
        }
        let guard = Arc::new(guard);
        let connect_timeout = attempt_timeout.min(MAX_CONNECT_TIMEOUT);
        let client = |scheme| {
            let guarded = GuardedResolver { guard: Arc::clone(&guard), resolver: Arc::clone(&resolver), scheme };
            builder(scheme, connect_timeout)
                .no_proxy()
                .connector_layer(MapFutureLayer::new(dial::track_connect))
                .dns_resolver(guarded)
                .pool_max_idle_per_host(max_idle_per_host)
                .build()
                .map_err(|error| fault::describe_build(&error))
        };
        let (http, https) = (client(Scheme::Http)?, client(Scheme::Https)?);
        Ok(Self { http, https, guard, resolver, attempt_timeout, connect_timeout })
    }

    /// Returns the guard that checks targets.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Checks the target URL of a new subscription: [`Guard::parse_target`], then [`Guard::check_resolved`].
    ///
    /// # Errors
    /// As these two.
    pub async fn check_target(&self, url: &str) -> Result<Target, String> {
        let target = self.guard.parse_target(url)?;
        self.guard.check_resolved(&target, &*self.resolver).await?;
        Ok(target)
    }

    /// POSTs `body` to `target` with `headers`. A redirect counts as an answer and is not followed; no proxy is used.
    /// The request is sent a second time only if the pooled connection turns out to have been closed by the receiver.
    pub async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> PostResult {
        let started = Instant::now();
        let mut result =
            PostResult { status: None, error: None, body: Vec::new(), retry_after: None, duration: Duration::ZERO };
        match self.send(target, headers, body, started + self.attempt_timeout).await {
            Ok(response) => {
                result.status = Some(response.status().as_u16());
                result.retry_after = retry_after(response.headers());
                // A timeout or an aborted body does not matter: the status is known, and it decides.
                let _ = timeout_at(started + self.attempt_timeout, read_body(response, &mut result.body)).await;
            }
            Err(error) => result.error = Some(error),
        }
        result.duration = started.elapsed();
        result
    }

    /// Sends the request, a second time if a stale pooled connection swallowed it, and returns the answer's head.
    async fn send(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, String> {
        // The rules may have changed since the target was parsed, and an IP literal never reaches the resolver.
        self.guard.check_literal(target)?;
        let mut request = Request::new(Method::POST, target.url().clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let copy = request.try_clone();
        let sent_at = Instant::now();
        match (self.exchange(target, request, deadline).await, copy) {
            // The receiver closed an idle connection while the request was in flight. Sending it again over another
            // connection is safe: delivery is at least once, and a receiver that did get the first copy recognises
            // the second by its `webhook-id`.
            (Err(RequestFault { stale: true, .. }), Some(copy)) if sent_at.elapsed() < STALE_WITHIN => {
                self.exchange(target, copy, deadline).await
            }
            (answer, _) => answer,
        }
        .map_err(|fault| fault.text)
    }

    async fn exchange(&self, target: &Target, request: Request, deadline: Instant) -> Result<Response, RequestFault> {
        let client = match target.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let dial = DialProgress::new(target.transport().port);
        let answer = dial.track(timeout_at(deadline, client.execute(request))).await;
        let phase = dial.phase();
        match answer {
            Ok(answer) => {
                answer.map_err(|error| fault::attempt_failed(&error, target.url(), phase, self.connect_timeout))
            }
            Err(_) => Err(fault::timed_out(target.url(), phase, self.attempt_timeout)),
        }
    }
}

/// Returns the settings that all clients share.
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
        // Plain HTTP must also work on a system without CA certificates.
        Scheme::Http => builder.tls_certs_only([]),
        Scheme::Https => builder.https_only(true),
    }
}

/// Reads to the end of the body, so that the pool can reuse the connection, or to [`MAX_ANSWER_BYTES`].
async fn read_body(mut response: Response, kept: &mut Vec<u8>) {
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
