//! Why a POST got no answer, in words that name the phase and not the URL.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use super::guard::Forbidden;

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// A readable text for what the client says.
pub(super) fn text(error: &reqwest::Error, timeout: Duration) -> String {
    let chain = || causes(error);
    if let Some(forbidden) = chain().find_map(|error| error.downcast_ref::<Forbidden>()) {
        return forbidden.to_string();
    }
    if error.is_timeout() {
        let phase = if error.is_connect() { "no connection" } else { "no answer" };
        return format!("{phase} within {} ms", timeout.as_millis());
    }
    let io = chain().filter_map(|error| error.downcast_ref::<std::io::Error>()).last();
    let deepest = chain().last().map(ToString::to_string).unwrap_or_default();
    let texts: Vec<_> = chain().map(ToString::to_string).collect();
    if texts.iter().any(|text| text.contains("dns error")) {
        return format!("the host's name does not resolve: {deepest}");
    }
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "the connection was refused".into(),
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
            "the connection was reset before an answer came".into()
        }
        Some(ErrorKind::TimedOut) => "the connection timed out".into(),
        Some(ErrorKind::InvalidData) => format!("TLS: {deepest}"),
        _ if error.is_connect() => format!("no connection: {deepest}"),
        _ if texts.iter().any(|text| text.contains("before message completed")) => {
            "the connection was closed before an answer came".into()
        }
        _ => format!("no usable answer: {deepest}"),
    }
}
