//! Target URLs, parsed and validated.

use std::fmt;
use std::net::IpAddr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use reqwest::Url;

/// Bounds a target URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Bounds a host name, in bytes (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 253;
/// Bounds one label of a host name, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// The URL scheme of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`: without encryption.
    Http,
    /// `https`: with TLS.
    Https,
}

/// The scheme and the port of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// The scheme.
    pub scheme: Scheme,
    /// The port of the URL, or the default port of its scheme.
    pub port: u16,
}

/// The parsed URL to which a webhook's events are POSTed. It is kept beside the webhook, so that an attempt need not
/// parse again. `Display` writes the normalised URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    /// The same, as hyper reads it.
    uri: Uri,
    /// The `Host` header of a request.
    host_header: HeaderValue,
    transport: Transport,
    literal: Option<IpAddr>,
}

impl Target {
    /// Parses an absolute http or https URL (WHATWG URL). A fragment is dropped, since HTTP never sends one.
    /// An IPv4 address in decimal, octal or hex, a full-width digit and an IDN are normalised.
    ///
    /// # Errors
    /// The text names the rule that the URL breaks and never repeats the URL, whose query may contain a secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("the URL has {} bytes; at most {MAX_URL_BYTES} are allowed", text.len()));
        }
        // The WHATWG parser drops tabs and line breaks: the stored URL would differ from the requested one.
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err("the URL contains a space or a control character; percent-encode it".into());
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Err("the URL is not absolute; it must begin with https://".into());
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("the URL has an unknown scheme; it must begin with https:// (or http://)".into()),
        };
        let mut url = Url::parse(text).map_err(|error| format!("the URL cannot be parsed: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL contains a user name or a password; send credentials in a header instead".into());
        }
        url.set_fragment(None);
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
        // hyper connects to the host that `http::Uri` finds in the same text: both parsers must find the same host.
        let uri: Uri = url.as_str().parse().map_err(|error| format!("the URL cannot be sent: {error}"))?;
        if uri.host() != Some(host) || uri.port_u16() != url.port() {
            return Err("the URL's host is ambiguous; write it in its simplest form".into());
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        if literal.is_none() {
            check_name(host)?;
        }
        let port = match url.port_or_known_default() {
            Some(port) if port != 0 => port,
            _ => return Err("the URL's port is 0, on which no server can listen".into()),
        };
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let host_header = HeaderValue::try_from(host).map_err(|error| format!("the URL cannot be sent: {error}"))?;
        Ok(Self { transport: Transport { scheme, port }, literal, url, uri, host_header })
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.transport.scheme
    }

    /// Returns the scheme and the port.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns the host: a name, or an address (an IPv6 one in brackets).
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns the address if the host is an IP literal.
    pub fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Returns the request target in origin form (RFC 9112 §3.2.1).
    pub(super) fn path_and_query(&self) -> PathAndQuery {
        self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }
}

/// Checks the limits of DNS names (RFC 1035 §2.3.4); a resolver's own error for a longer name is unclear.
fn check_name(host: &str) -> Result<(), String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("the URL's host has {} bytes; a name has at most {MAX_NAME_BYTES}", name.len()));
    }
    match name.split('.').map(str::len).find(|len| !(1..=MAX_LABEL_BYTES).contains(len)) {
        Some(0) => Err("the URL's host has an empty part between two dots".into()),
        Some(len) => Err(format!("a part of the URL's host has {len} bytes; at most {MAX_LABEL_BYTES} are allowed")),
        None => Ok(()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_must_be_absolute_http_without_credentials() {
        for (bad, why) in [
            ("hook.test/x", "not absolute"),
            ("/x", "not absolute"),
            ("https:hook.test", "not absolute"),
            ("ftp://hook.test/", "scheme"),
            ("file:///etc/passwd", "scheme"),
            (" https://hook.test/", "control character"),
            ("https://hook\n.test/", "control character"),
            ("https://", "cannot be parsed"),
            ("https://[::1", "cannot be parsed"),
            ("https://hook.test:99999/", "cannot be parsed"),
            ("https://u@hook.test/", "user name"),
            ("https://u:p@hook.test/", "user name"),
            ("https://:p@hook.test/", "user name"),
            ("https://{{host}}/", "cannot be"),
        ] {
            let error = Target::parse(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let long = format!("https://hook.test/{}", "x".repeat(MAX_URL_BYTES));
        assert!(Target::parse(&long).unwrap_err().contains("at most 2048"));
    }

    #[test]
    fn a_url_is_normalised_and_loses_its_fragment() {
        let target = Target::parse("HTTPS://Hook.Test:443/a?b=c#d").unwrap();
        assert_eq!(target.to_string(), "https://hook.test/a?b=c");
        assert_eq!((target.scheme(), target.host(), target.literal()), (Scheme::Https, "hook.test", None));
    }

    #[test]
    fn an_ip_literal_is_recognised_in_any_spelling() {
        for host in
            ["127.0.0.1", "127.0.0.1.", "2130706433", "0x7f.1", "0177.0.0.01", "127.1", "%3127.0.0.1", "１２７.0.0.1"]
        {
            let target = Target::parse(&format!("http://{host}:8080/")).unwrap();
            assert_eq!(target.literal(), Some(IpAddr::from([127, 0, 0, 1])), "{host}");
        }
        let target = Target::parse("https://[0:0:0:0:0:ffff:7f00:1]/").unwrap();
        assert_eq!(target.literal().map(|ip| ip.to_canonical()), Some(IpAddr::from([127, 0, 0, 1])));
    }
}
