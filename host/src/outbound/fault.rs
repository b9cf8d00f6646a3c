//! Why a request failed, in words. The texts are shown to a webhook's owner: they name the phase, the host and the
//! cause, and never the URL's path or query, which may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::Url;

use super::guard::Refused;

/// Longest text, in bytes: a TLS error lists the names of the receiver's certificate, however many it made.
const MAX_TEXT_BYTES: usize = 512;

/// What went wrong before an answer was there.
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
}

impl<'a> Place<'a> {
    fn of(url: &'a Url) -> Self {
        Self { host: url.host_str().unwrap_or_default(), port: url.port_or_known_default().unwrap_or_default() }
    }
}

fn connecting(error: &reqwest::Error, Place { host, port }: &Place<'_>, connect_timeout: Duration) -> String {
    let io = find::<io::Error>(error);
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => format!("connection refused by {host}:{port}"),
        Some(io::ErrorKind::ConnectionReset) => format!("{host}:{port} reset the connection while connecting"),
        _ if error.is_timeout() => format!("no connection to {host}:{port} within {}", spoken(connect_timeout)),
        _ => match io {
            // An error of the system's carries its number; one without was made by the TLS library.
            Some(io) if io.raw_os_error().is_none() => format!("TLS: {io}"),
            _ => format!("could not connect to {host}:{port}: {}", cause(error)),
        },
    }
}

fn sending(error: &reqwest::Error) -> String {
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_incomplete_message() {
            return "the connection was closed before an answer".into();
        }
        if http.is_parse() {
            return format!("the answer is not HTTP: {}", cause(error));
        }
    }
    let broken = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
    ];
    match find::<io::Error>(error) {
        Some(io) if broken.contains(&io.kind()) => "the connection was reset before an answer".into(),
        _ => format!("the request failed: {}", cause(error)),
    }
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
