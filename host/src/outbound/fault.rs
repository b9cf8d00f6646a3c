//! Error texts of failed requests. A webhook's owner sees them: they name the phase, the host and the cause, and never
//! the URL's path or query, which may contain a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::Url;
use rustls::CertificateError;

use super::dial::DialPhase;
use super::guard::RefusedAddress;

/// Bounds an error text, in bytes: a TLS error lists all names of the receiver's certificate, which may be many.
const MAX_TEXT_BYTES: usize = 512;
/// The error kinds of a connection that the peer closed.
const CLOSED_BY_PEER: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// The reason why an attempt has no answer.
pub(super) struct RequestFault {
    pub(super) text: String,
    /// The request used a pooled connection that the receiver had closed.
    pub(super) stale: bool,
}

/// Describes an error that occurred before an answer arrived.
pub(super) fn attempt_failed(
    error: &reqwest::Error,
    url: &Url,
    phase: DialPhase,
    connect_timeout: Duration,
) -> RequestFault {
    let text = if error.is_connect() && error.is_timeout() {
        timed_out(url, phase, connect_timeout).text
    } else {
        describe(error, url, connect_timeout)
    };
    RequestFault { text, stale: phase == DialPhase::Pooled && is_closed(error) }
}

/// Describes an attempt that got no answer within `time`.
pub(super) fn timed_out(url: &Url, phase: DialPhase, time: Duration) -> RequestFault {
    let (TargetAddress { host, port, tls }, time) = (TargetAddress::of(url), human_duration(time));
    let text = match phase {
        DialPhase::Resolving => format!("could not resolve {host}: no answer from DNS within {time}"),
        DialPhase::Connecting if tls => format!("no TLS connection to {host}:{port} within {time}"),
        DialPhase::Connecting => format!("no connection to {host}:{port} within {time}"),
        DialPhase::Connected | DialPhase::Pooled => format!("no answer within {time}"),
    };
    RequestFault { text: shorten(text), stale: false }
}

/// Describes an error of a client that does not track connection phases.
pub(super) fn describe(error: &reqwest::Error, url: &Url, connect_timeout: Duration) -> String {
    let address = TargetAddress::of(url);
    let text = if let Some(refused) = find::<RefusedAddress>(error) {
        refused.to_string()
    } else if error.is_dns() {
        format!("could not resolve {}: {}", address.host, cause(error))
    } else if error.is_connect() {
        connect_failed(error, &address, connect_timeout)
    } else {
        request_failed(error)
    };
    shorten(text)
}

/// Describes why a client could not be built.
pub(super) fn describe_build(error: &reqwest::Error) -> String {
    let cause = cause(error);
    // rustls-platform-verifier gives no type to match.
    if cause.contains("No CA certificates") {
        return "this system has no CA certificates, so https:// targets cannot be verified: \
                install the package ca-certificates, or set SSL_CERT_FILE to a file with CA certificates"
            .into();
    }
    format!("the HTTP client could not be built: {cause}")
}

/// Formats a duration as `15 s` or `1500 ms`.
pub(super) fn human_duration(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

struct TargetAddress<'a> {
    host: &'a str,
    port: u16,
    tls: bool,
}

impl<'a> TargetAddress<'a> {
    fn of(url: &'a Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default().unwrap_or_default(),
            tls: url.scheme() == "https",
        }
    }
}

fn connect_failed(
    error: &reqwest::Error,
    TargetAddress { host, port, tls }: &TargetAddress<'_>,
    connect_timeout: Duration,
) -> String {
    let io = find::<io::Error>(error).map(innermost);
    let from_tls = io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref());
    match (io.map(io::Error::kind), from_tls) {
        (_, Some(error)) => format!("TLS: {}", handshake(error)),
        (Some(io::ErrorKind::ConnectionRefused), _) => format!("connection refused by {host}:{port}"),
        (Some(io::ErrorKind::ConnectionReset), _) => format!("{host}:{port} reset the connection while connecting"),
        (Some(kind), _) if *tls && CLOSED_BY_PEER.contains(&kind) => {
            format!("TLS: {host}:{port} closed the connection during the handshake")
        }
        _ if error.is_timeout() => format!("no connection to {host}:{port} within {}", human_duration(connect_timeout)),
        _ => format!("could not connect to {host}:{port}: {}", cause(error)),
    }
}

/// Returns the innermost I/O error: the TLS layer nests the system's errors, and its own, inside `io::Error` values that
/// the chain of sources does not reach.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

fn handshake(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => format!("the receiver does not speak TLS on this port ({error})"),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate is not signed by an authority that this system trusts".into()
        }
        _ => error.to_string(),
    }
}

fn request_failed(error: &reqwest::Error) -> String {
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_incomplete_message() {
            return "the connection was closed before an answer".into();
        }
        if http.is_parse_too_large() {
            return "the head of the answer is too large".into();
        }
        if http.is_parse() {
            return format!("the answer is not HTTP: {}", cause(error));
        }
    }
    if is_closed(error) {
        return "the connection was reset before an answer".into();
    }
    format!("the request failed: {}", cause(error))
}

/// Returns whether an established connection ended before an answer was read.
fn is_closed(error: &reqwest::Error) -> bool {
    let incomplete = find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message);
    let broken = find::<io::Error>(error).is_some_and(|io| CLOSED_BY_PEER.contains(&io.kind()));
    !error.is_connect() && (incomplete || broken)
}

/// Returns the errors below `error`, from the outermost to the cause. `error` itself is omitted: its text contains the
/// URL.
fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn cause(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(|| "unknown cause".into(), ToString::to_string)
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_seconds_or_milliseconds() {
        assert_eq!(human_duration(Duration::from_secs(15)), "15 s");
        assert_eq!(human_duration(Duration::from_millis(1500)), "1500 ms");
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("é".repeat(400)), format!("{}…", "é".repeat(256)));
        assert_eq!(shorten("short".into()), "short");
    }
}
