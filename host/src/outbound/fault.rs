//! Error texts of failed requests. A webhook's owner sees them: they name the phase, the host and the cause, and never
//! the URL's path or query, which may contain a secret.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use reqwest::Url;

use super::tls;

/// Bounds an error text, in bytes: it may quote what the other side says.
const MAX_TEXT_BYTES: usize = 512;
/// The error kinds of a connection that the peer closed.
const CLOSED_BY_PEER: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// The reason why a request that went to an open connection has no answer.
pub(super) struct RequestFault {
    pub(super) text: String,
    /// The connection was closed before an answer arrived.
    pub(super) closed: bool,
}

/// The part of a URL that an error text may show.
pub(super) struct TargetAddress<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl<'a> TargetAddress<'a> {
    /// Returns the address in the URL.
    pub(super) fn of(url: &'a Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default().unwrap_or_default(),
            tls: url.scheme() == "https",
        }
    }
}

/// Describes a failed lookup of a name.
pub(super) fn lookup_failed(host: &str, cause: &dyn Display) -> String {
    shorten(format!("could not resolve {host}: {cause}"))
}

/// Describes a lookup that took longer than `time`.
pub(super) fn lookup_timed_out(address: &TargetAddress<'_>, time: Duration) -> String {
    format!("could not resolve {}: no answer from DNS within {}", address.host, human_duration(time))
}

/// Describes a connection that was not established within `time`.
pub(super) fn connect_timed_out(TargetAddress { host, port, tls }: &TargetAddress<'_>, time: Duration) -> String {
    let (kind, time) = (if *tls { "TLS connection" } else { "connection" }, human_duration(time));
    format!("no {kind} to {host}:{port} within {time}")
}

/// Describes a request that got no answer within `time`.
pub(super) fn answer_timed_out(time: Duration) -> String {
    format!("no answer within {}", human_duration(time))
}

/// Describes an error of the unguarded client.
pub(super) fn describe(error: &reqwest::Error, url: &Url, connect_timeout: Duration) -> String {
    let address = TargetAddress::of(url);
    // The error's own text contains the URL.
    match error.source() {
        Some(source) if error.is_dns() => lookup_failed(address.host, &cause(source)),
        Some(source) if error.is_connect() => connect_failed(source, &address, connect_timeout),
        Some(source) => request_failed(source).text,
        None => "the request failed".into(),
    }
}

/// Describes why the unguarded client could not be built.
pub(super) fn describe_build(error: &reqwest::Error) -> String {
    let cause = error.source().map_or_else(|| "unknown cause".into(), cause);
    format!("the HTTP client could not be built: {cause}")
}

/// Formats a duration as `15 s` or `1500 ms`.
pub(super) fn human_duration(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

/// Describes an error of the TCP connection or of the TLS handshake.
pub(super) fn connect_failed(
    error: &(dyn Error + 'static),
    address: &TargetAddress<'_>,
    connect_timeout: Duration,
) -> String {
    let TargetAddress { host, port, tls } = address;
    let io = find::<io::Error>(error).map(innermost);
    shorten(match (io.map(io::Error::kind), io.and_then(from_tls)) {
        (_, Some(error)) => format!("TLS: {}", tls::describe(error)),
        (Some(io::ErrorKind::ConnectionRefused), _) => format!("connection refused by {host}:{port}"),
        (Some(io::ErrorKind::ConnectionReset), _) => format!("{host}:{port} reset the connection while connecting"),
        (Some(kind), _) if *tls && CLOSED_BY_PEER.contains(&kind) => {
            format!("TLS: {host}:{port} closed the connection during the handshake")
        }
        (Some(io::ErrorKind::TimedOut), _) => connect_timed_out(address, connect_timeout),
        _ => format!("could not connect to {host}:{port}: {}", cause(error)),
    })
}

/// Returns the innermost I/O error: the TLS layer nests the system's errors, and its own, inside `io::Error` values that
/// the chain of sources does not reach.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

/// Returns the error of the TLS layer that an I/O error wraps.
fn from_tls(io: &io::Error) -> Option<&rustls::Error> {
    io.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Describes an error that occurred on an open connection, before an answer arrived.
pub(super) fn request_failed(error: &(dyn Error + 'static)) -> RequestFault {
    let http = find::<hyper::Error>(error);
    let is = |check: fn(&hyper::Error) -> bool| http.is_some_and(check);
    let io = find::<io::Error>(error).map(innermost);
    let reset = io.is_some_and(|io| CLOSED_BY_PEER.contains(&io.kind()));
    let hung_up =
        is(hyper::Error::is_incomplete_message) || is(hyper::Error::is_canceled) || is(hyper::Error::is_closed);
    let text = match io.and_then(from_tls) {
        // With TLS 1.3, a receiver judges the client only after the handshake.
        Some(error) => format!("TLS: {}", tls::describe(error)),
        None if reset => "the connection was reset before an answer".into(),
        None if hung_up => "the connection was closed before an answer".into(),
        None if is(hyper::Error::is_parse_too_large) => "the head of the answer is too large".into(),
        None if is(hyper::Error::is_parse) => format!("the answer is not HTTP: {}", cause(error)),
        None => format!("the request failed: {}", cause(error)),
    };
    RequestFault { text: shorten(text), closed: reset || hung_up }
}

/// Returns the error and those below it, from the outermost to the cause.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn cause(error: &(dyn Error + 'static)) -> String {
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
