//! Why a request failed, in words. The texts are shown to a webhook's owner: they name the phase, the host and the
//! cause, and never the URL's path or query, which may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::Url;
use rustls::CertificateError;

use super::dial::Phase;
use super::guard::Refused;

/// Longest text, in bytes: a TLS error lists the names of the receiver's certificate, however many it made.
const MAX_TEXT_BYTES: usize = 512;
/// How a connection ends that the other side gave up.
const BROKEN: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// Why an attempt has no answer.
pub(super) struct Fault {
    pub(super) text: String,
    /// It went by a pooled connection that turned out to be closed.
    pub(super) stale: bool,
}

/// What went wrong before an answer was there.
pub(super) fn of_attempt(error: &reqwest::Error, url: &Url, (phase, connect_timeout): (Phase, Duration)) -> Fault {
    let text = if error.is_connect() && error.is_timeout() {
        late(url, phase, connect_timeout).text
    } else {
        describe(error, url, connect_timeout)
    };
    Fault { text, stale: phase == Phase::Pooled && is_closed(error) }
}

/// An attempt that was not answered within `time`.
pub(super) fn late(url: &Url, phase: Phase, time: Duration) -> Fault {
    let (Place { host, port, tls }, time) = (Place::of(url), spoken(time));
    let text = match phase {
        Phase::Resolving => format!("could not resolve {host}: no answer from DNS within {time}"),
        Phase::Connecting if tls => format!("no TLS connection to {host}:{port} within {time}"),
        Phase::Connecting => format!("no connection to {host}:{port} within {time}"),
        Phase::Connected | Phase::Pooled => format!("no answer within {time}"),
    };
    Fault { text: shorten(text), stale: false }
}

/// The same for a client that does not watch its requests.
pub(super) fn describe(error: &reqwest::Error, url: &Url, connect_timeout: Duration) -> String {
    let place = Place::of(url);
    let text = if let Some(refused) = find::<Refused>(error) {
        refused.to_string()
    } else if error.is_dns() {
        format!("could not resolve {}: {}", place.host, cause(error))
    } else if error.is_connect() {
        connecting(error, &place, connect_timeout)
    } else {
        sending(error)
    };
    shorten(text)
}

/// Why a client could not be built.
pub(super) fn describe_build(error: &reqwest::Error) -> String {
    let cause = cause(error);
    // rustls-platform-verifier gives no type to match.
    if cause.contains("No CA certificates") {
        return "this system has no CA certificates, so https:// targets cannot be verified: \
                install the package ca-certificates or set SSL_CERT_FILE to a file that holds some"
            .into();
    }
    format!("the HTTP client could not be built: {cause}")
}

/// A duration as people say it.
pub(super) fn spoken(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

struct Place<'a> {
    host: &'a str,
    port: u16,
    tls: bool,
}

impl<'a> Place<'a> {
    fn of(url: &'a Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default().unwrap_or_default(),
            tls: url.scheme() == "https",
        }
    }
}

fn connecting(error: &reqwest::Error, Place { host, port, tls }: &Place<'_>, connect_timeout: Duration) -> String {
    let io = find::<io::Error>(error).map(innermost);
    let from_tls = io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref());
    match (io.map(io::Error::kind), from_tls) {
        (_, Some(error)) => format!("TLS: {}", handshake(error)),
        (Some(io::ErrorKind::ConnectionRefused), _) => format!("connection refused by {host}:{port}"),
        (Some(io::ErrorKind::ConnectionReset), _) => format!("{host}:{port} reset the connection while connecting"),
        (Some(kind), _) if *tls && BROKEN.contains(&kind) => {
            format!("TLS: {host}:{port} closed the connection during the handshake")
        }
        _ if error.is_timeout() => format!("no connection to {host}:{port} within {}", spoken(connect_timeout)),
        _ => format!("could not connect to {host}:{port}: {}", cause(error)),
    }
}

/// The TLS layer puts the system's errors, and its own, inside of further ones, where the chain of sources does not lead.
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

fn sending(error: &reqwest::Error) -> String {
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

/// Whether the connection ended after it had been made and before an answer was read.
fn is_closed(error: &reqwest::Error) -> bool {
    let incomplete = find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message);
    let broken = find::<io::Error>(error).is_some_and(|io| BROKEN.contains(&io.kind()));
    !error.is_connect() && (incomplete || broken)
}

/// The errors below `error`, from the outermost to the cause. `error` itself is left out: its text holds the URL.
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
    fn durations_are_spoken() {
        assert_eq!(spoken(Duration::from_secs(15)), "15 s");
        assert_eq!(spoken(Duration::from_millis(1500)), "1500 ms");
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("é".repeat(400)), format!("{}…", "é".repeat(256)));
        assert_eq!(shorten("short".into()), "short");
    }
}
