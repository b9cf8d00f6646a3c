//! The client that POSTs to receivers. Neither the address nor the answer is trusted: a subscriber chooses one, the
//! receiver writes the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{Connection, Connector, MAX_CONNECT_TIMEOUT, Opening};
use super::fault::{self, RequestFault};
use super::guard::Guard;
use super::idle::{IdlePool, Origin};
use super::lookups::Lookups;
use super::resolve::{Resolver, SystemResolver};
use super::target::{Scheme, Target};
use super::tls::{Trust, Trusted};
use crate::domain::delivery_control::{DELIVERY_CONTROL_HEADER, DeliveryControl};
use crate::domain::tls::TlsSettings;
use crate::shares::{Resource, Shares};

/// Bounds the part of an answer's body that is read and kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Most headers of an answer that are kept.
const MAX_ANSWER_HEADERS: usize = 32;
/// Bounds the names and values of these, in bytes.
const MAX_ANSWER_HEADER_BYTES: usize = 8 * 1024;
/// Bounds the `Retry-After` value that is kept, in bytes: an HTTP date has 29.
const MAX_RETRY_AFTER_BYTES: usize = 64;
/// Bounds the configured attempt timeout: above every useful value, and low enough that adding it to an instant cannot
/// overflow.
const MAX_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bounds the time within which the closure of a stale idle connection becomes visible: one round trip.
const STALE_WITHIN: Duration = Duration::from_secs(1);
/// Bounds the time for an answer's body. The status is known by then, and it decides the attempt: a body that does not
/// end must not keep the webhook's slot.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bounds the time after an answer within which its connection can take the next request.
const REUSE_TIMEOUT: Duration = Duration::from_secs(1);

/// One POST.
#[derive(Debug)]
pub struct PostRequest<'a> {
    /// The company whose webhook it is for: companies share no connections.
    pub company: &'a str,
    /// The receiver.
    pub target: &'a Target,
    /// What the webhook says about the receiver's certificate. It needs a target with https.
    pub tls: Option<&'a TlsSettings>,
    /// The headers, without `host`, `accept` and `content-length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Bounds the attempt; `None`: the attempt timeout of the client.
    pub timeout: Option<Duration>,
}

/// The result of one POST. Exactly one of `status` and `error` is set: once a status has arrived it decides the
/// attempt, whether or not the body can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostResult {
    /// The status code of the receiver's answer.
    pub status: Option<u16>,
    /// The reason why there is no answer, as a text for the webhook's owner.
    pub error: Option<String>,
    /// The first [`MAX_ANSWER_BYTES`] of the answer's body, or the part of them that arrived in time.
    pub body: Vec<u8>,
    /// The first headers of the answer: at most 32, with at most 8 KiB.
    pub headers: HeaderMap,
    /// The answer's `Retry-After` header, unparsed.
    pub retry_after: Option<String>,
    /// What the answer asks for with `webhook-delivery`.
    pub control: Option<DeliveryControl>,
    /// Time from the call to the end of the answer.
    pub duration: Duration,
}

/// The settings of an [`Outbound`].
pub struct OutboundOptions {
    /// The addresses that may be reached.
    pub guard: Guard,
    /// The certificates that are trusted.
    pub trust: Trust,
    /// Bounds an attempt from the lookup to the end of the answer, unless the request names another limit.
    pub attempt_timeout: Duration,
    /// The age at which a connection serves no further request.
    pub connection_max_age: Duration,
    /// Most connections that are opened over IPv6 and IPv4 at once, with two sockets.
    pub second_sockets: usize,
}

/// Sends to webhook targets. The service has one instance, because it owns the idle connections.
pub struct Outbound {
    connector: Connector,
    trust: Arc<Trust>,
    idle: IdlePool,
    attempt_timeout: Duration,
}

/// The time limit of one attempt.
#[derive(Clone, Copy)]
struct AttemptLimit {
    timeout: Duration,
    deadline: Instant,
}

impl AttemptLimit {
    fn from(started: Instant, timeout: Duration) -> Self {
        Self { timeout, deadline: started + timeout }
    }
}

/// An answer, and the connection on which it arrives.
struct Exchange {
    response: Response<Incoming>,
    connection: Connection,
    origin: Origin,
}

impl Outbound {
    /// Creates a client that connects only to addresses that the guard allows and uses the system's resolver.
    ///
    /// # Errors
    /// Fails if the attempt timeout is zero or over one hour.
    pub fn new(options: OutboundOptions, shares: &Shares) -> Result<Self, String> {
        Self::with_resolver(options, Arc::new(SystemResolver), shares)
    }

    /// Creates a client like [`Outbound::new`], with another resolver.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_resolver(
        options: OutboundOptions,
        resolver: Arc<dyn Resolver>,
        shares: &Shares,
    ) -> Result<Self, String> {
        let OutboundOptions { guard, trust, attempt_timeout, connection_max_age, second_sockets } = options;
        if attempt_timeout.is_zero() || attempt_timeout > MAX_ATTEMPT_TIMEOUT {
            return Err("the attempt timeout must be more than 0 and at most one hour".into());
        }
        let lookups = Lookups::new(resolver, shares.of(Resource::DnsLookups).clone());
        let connector = Connector { guard, lookups, second_sockets: Semaphore::new(second_sockets) };
        let idle = IdlePool::new(shares.of(Resource::IdleConnections).clone(), connection_max_age);
        Ok(Self { connector, trust: Arc::new(trust), idle, attempt_timeout })
    }

    /// Returns the guard that checks targets.
    pub fn guard(&self) -> &Guard {
        &self.connector.guard
    }

    /// Checks the target URL of a company's new subscription: [`Guard::parse_target`], then the addresses of its name.
    ///
    /// # Errors
    /// As [`Guard::parse_target`]; or the name has only addresses that may not be reached.
    pub async fn check_target(&self, company: &str, url: &str) -> Result<Target, String> {
        let target = self.guard().parse_target(url)?;
        let lookup = self.connector.lookups.addresses(company, target.host());
        self.guard().check_resolved(&target, lookup).await?;
        Ok(target)
    }

    /// Closes the idle connections that a webhook of the company would use, so that its next request opens one to where the
    /// receiver is now.
    pub fn close_idle(&self, company: &str, target: &Target, tls: Option<&TlsSettings>) {
        let trust = (target.scheme() == Scheme::Https).then(|| self.trust.id(tls));
        self.idle.close(&Origin::of(company, target, trust));
    }

    /// Sends the request. A redirect counts as an answer and is not followed; no proxy is used.
    /// The request is sent a second time only if the idle connection turns out to have been closed by the receiver.
    pub async fn post(&self, post: PostRequest<'_>) -> PostResult {
        let started = Instant::now();
        let mut result = PostResult {
            status: None,
            error: None,
            body: Vec::new(),
            headers: HeaderMap::new(),
            retry_after: None,
            control: None,
            duration: Duration::ZERO,
        };
        let limit = AttemptLimit::from(started, post.timeout.unwrap_or(self.attempt_timeout));
        match self.send(&post, limit).await {
            Ok(Exchange { response, mut connection, origin }) => {
                let (head, mut body) = response.into_parts();
                result.status = Some(head.status.as_u16());
                result.retry_after = retry_after(&head.headers);
                result.control = delivery_control(&head.headers);
                result.headers = first_headers(&head.headers);
                // The map of a thousand headers takes 200 KiB, and the body may take a while.
                drop(head);
                let body_deadline = limit.deadline.min(Instant::now() + BODY_TIMEOUT);
                let read = timeout_at(body_deadline, read_body(&mut body, &mut result.body)).await;
                result.duration = started.elapsed();
                let reusable = read.is_ok_and(|is_whole| is_whole);
                if reusable && matches!(timeout(REUSE_TIMEOUT, connection.sender.ready()).await, Ok(Ok(()))) {
                    self.idle.put(origin, connection);
                }
            }
            Err(error) => {
                result.error = Some(error);
                result.duration = started.elapsed();
            }
        }
        result
    }

    /// Sends the request, a second time if a stale idle connection swallowed it, and returns the answer's head.
    async fn send(&self, post: &PostRequest<'_>, limit: AttemptLimit) -> Result<Exchange, String> {
        // The rules may have changed since the target was parsed, and an IP literal is never looked up.
        self.guard().check_literal(post.target)?;
        let trusted = self.trusted(post).await?;
        let origin = Origin::of(post.company, post.target, trusted.as_ref().map(|trusted| trusted.id.clone()));
        if let Some(idle) = self.idle.take(&origin) {
            let sent_at = Instant::now();
            match self.exchange((idle, &origin), request(post), limit).await {
                // The receiver closed an idle connection while the request was in flight. Sending it again over a new
                // connection is safe: delivery is at least once, and a receiver that did get the first copy recognises
                // the second by its `webhook-id`.
                Err(RequestFault { closed: true, .. }) if sent_at.elapsed() < STALE_WITHIN => (),
                answer => return answer.map_err(|fault| fault.text),
            }
        }
        let time = limit.timeout.min(MAX_CONNECT_TIMEOUT);
        let tls = trusted.map(|trusted| trusted.config);
        let PostRequest { company, target, .. } = *post;
        let opening = Opening { company, target, tls, time, deadline: limit.deadline };
        let connection = self.connector.connect(opening).await?;
        self.exchange((connection, &origin), request(post), limit).await.map_err(|fault| fault.text)
    }

    /// Returns the TLS settings of the connection; `None`: it has no TLS.
    async fn trusted(&self, post: &PostRequest<'_>) -> Result<Option<Trusted>, String> {
        match (post.target.scheme(), post.tls) {
            (Scheme::Https, own) => self.trust.settings(own).await.map(Some),
            (Scheme::Http, None) => Ok(None),
            // Sending in clear what only a receiver with a certain certificate may get would betray it.
            (Scheme::Http, Some(_)) => Err("the webhook has `tls`, but its target is not https://".into()),
        }
    }

    async fn exchange(
        &self,
        (mut connection, origin): (Connection, &Origin),
        request: Request<Full<Bytes>>,
        limit: AttemptLimit,
    ) -> Result<Exchange, RequestFault> {
        match timeout_at(limit.deadline, connection.sender.send_request(request)).await {
            Ok(Ok(response)) => Ok(Exchange { response, connection, origin: origin.clone() }),
            Ok(Err(error)) => Err(fault::request_failed(&error)),
            Err(_) => Err(RequestFault { text: fault::answer_timed_out(limit.timeout), closed: false }),
        }
    }
}

fn request(post: &PostRequest<'_>) -> Request<Full<Bytes>> {
    let PostRequest { target, headers, body, .. } = post;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path_and_query().into();
    let all = request.headers_mut();
    // With `content-length`, which hyper adds.
    all.reserve(headers.len() + 3);
    all.insert(HOST, target.host_header().clone());
    all.insert(ACCEPT, HeaderValue::from_static("*/*"));
    all.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    request
}

/// Reads the body into `kept`, at most [`MAX_ANSWER_BYTES`] of it. Returns whether that was all.
async fn read_body(body: &mut Incoming, kept: &mut Vec<u8>) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let Ok(data) = frame.into_data() else { continue };
        let room = MAX_ANSWER_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            return false;
        }
    }
    true
}

/// Copies the first headers: a part of the head would keep all of it.
fn first_headers(headers: &HeaderMap) -> HeaderMap {
    let mut bytes = 0;
    let fit = headers.iter().take(MAX_ANSWER_HEADERS).take_while(|(name, value)| {
        bytes += name.as_str().len() + value.len();
        bytes <= MAX_ANSWER_HEADER_BYTES
    });
    let mut first = HeaderMap::new();
    for (name, value) in fit {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            first.append(name, value);
        }
    }
    first
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    (value.len() <= MAX_RETRY_AFTER_BYTES).then(|| value.to_owned())
}

fn delivery_control(headers: &HeaderMap) -> Option<DeliveryControl> {
    DeliveryControl::of_values(headers.get_all(DELIVERY_CONTROL_HEADER).iter().map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests;
