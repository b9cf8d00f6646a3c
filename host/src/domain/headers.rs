//! The headers that a webhook, an event or a plugin may set, and their precedence.

use super::hops::HOPS_HEADER;

/// Bounds the number of headers of one webhook, event or plugin call.
pub const MAX_COUNT: usize = 32;
/// Bounds the header names and values of one webhook, event or plugin call, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// Bounds a header name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The headers that only the host sets, or that belong to one connection (RFC 9110 §7.6.1).
const RESERVED: [&str; 17] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Checks one header of a webhook, an event or a plugin.
///
/// `challenge_header` is the configured name of the challenge header, in lower case.
///
/// # Errors
/// The text names the header and the rule that its name or value breaks.
pub fn check(name: &str, value: &str, challenge_header: &str) -> Result<(), String> {
    let shown: String = name.chars().take(MAX_NAME_BYTES).flat_map(char::escape_default).collect();
    let lower = name.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if lower.is_empty() || lower.len() > MAX_NAME_BYTES || !lower.bytes().all(allowed) {
        return Err(format!(
            "header `{shown}`: a name must be 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`"
        ));
    }
    if is_reserved(&lower, challenge_header) {
        return Err(format!("header `{shown}` is set by the host and cannot be set or removed"));
    }
    if value.len() > MAX_BYTES || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') || value.trim() != value {
        return Err(format!(
            "header `{shown}`: a value must be at most {MAX_BYTES} visible ASCII characters, with spaces only between them"
        ));
    }
    Ok(())
}

fn is_reserved(lower: &str, challenge_header: &str) -> bool {
    RESERVED.contains(&lower)
        || lower == HOPS_HEADER
        || lower == challenge_header
        || lower.starts_with("webhook-")
        || lower.starts_with("x-factorial-")
}

/// A rule that a list of headers breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// The header's index; `None` if the list as a whole breaks the rule.
    pub index: Option<usize>,
    /// The rule and how to keep it.
    pub detail: String,
}

/// Returns every rule that the headers of a webhook or an event break. If the list is too long, that alone is returned.
pub fn broken_rules(headers: &[(String, String)], challenge_header: &str) -> Vec<BrokenRule> {
    if let Err(detail) = check_size(headers) {
        return vec![BrokenRule { index: None, detail }];
    }
    let broken = headers.iter().enumerate().filter_map(|(index, (name, value))| {
        let earlier = headers.get(..index).unwrap_or_default();
        let checked = check(name, value, challenge_header)
            .and_then(|()| check_spelling(name, earlier))
            .and_then(|()| check_hidden(name, value));
        checked.err().map(|detail| BrokenRule { index: Some(index), detail })
    });
    broken.collect()
}

/// Checks all headers of one plugin call.
///
/// # Errors
/// As [`check`]; or there are too many headers or bytes in all.
pub fn check_all(headers: &[(String, String)], challenge_header: &str) -> Result<(), String> {
    check_size(headers)?;
    headers.iter().try_for_each(|(name, value)| check(name, value, challenge_header))
}

fn check_size(headers: &[(String, String)]) -> Result<(), String> {
    if headers.len() > MAX_COUNT {
        return Err(format!("{} headers; at most {MAX_COUNT} are allowed", headers.len()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_BYTES {
        return Err(format!("{bytes} bytes of headers; at most {MAX_BYTES} are allowed"));
    }
    Ok(())
}

/// Checks that no name occurs twice, in two spellings: which of the two values is sent would be a matter of chance.
fn check_spelling(name: &str, earlier: &[(String, String)]) -> Result<(), String> {
    match earlier.iter().find(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
        Some((earlier, _)) => Err(format!("header `{name}` is the same as `{earlier}`: send only one of the two")),
        None => Ok(()),
    }
}

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "***";

/// Returns whether a header of this name carries a credential, which only the receiver may see.
pub fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 7] =
        ["authorization", "proxy-authorization", "cookie", "set-cookie", "token", "secret", "x-api-key"];
    let is = |name: &[u8], expected: &str| {
        let folded = name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
        name.len() == expected.len() && folded.eq(expected.bytes())
    };
    let name = name.as_bytes();
    let ends_with = |end: &&str| {
        name.len().checked_sub(end.len()).and_then(|start| name.get(start..)).is_some_and(|rest| is(rest, end))
    };
    NAMES.iter().any(|known| is(name, known)) || ["-token", "-secret", "-key"].iter().any(ends_with)
}

/// Returns the value of a header as it is shown: [`HIDDEN`] if it is a credential.
pub fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_credential(name) { HIDDEN } else { value }
}

/// Returns a URL as it is shown: its query may hold a secret.
pub fn shown_url(url: &str) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(address, _)| format!("{address}?{HIDDEN}"))
}

/// Refuses a credential that somebody has read as [`HIDDEN`] and sends back: it would replace the real one.
fn check_hidden(name: &str, value: &str) -> Result<(), String> {
    if value == HIDDEN && is_credential(name) {
        return Err("`***` stands for the value, which is not shown; send the value itself, or no `headers`".into());
    }
    Ok(())
}

/// Merges header lists in ascending precedence. Each name occurs once, in lower case, in the order of first appearance.
pub fn merge<'a>(lists: impl IntoIterator<Item = &'a [(String, String)]>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in lists.into_iter().flatten() {
        let lower = name.to_ascii_lowercase();
        match merged.iter_mut().find(|(known, _)| *known == lower) {
            Some(slot) => slot.1.clone_from(value),
            None => merged.push((lower, value.clone())),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn reserved_headers_are_refused_in_any_case() {
        for name in [
            "Webhook-Id",
            "WEBHOOK-SIGNATURE",
            "x-factorial-wh-challenge",
            "X-Factorial-Other",
            "Host",
            "content-length",
            "Content-Encoding",
            "transfer-encoding",
            "X-My-Challenge",
            "user-agent",
            "Connection",
        ] {
            assert!(check(name, "x", "x-my-challenge").is_err(), "{name}");
        }
        for name in RESERVED {
            assert!(check(name, "x", "x-my-challenge").unwrap_err().contains("set by the host"), "{name}");
        }
        assert_eq!(check("X-Tenant", "55", "x-my-challenge"), Ok(()));
        assert_eq!(check("x-wh-challenge", "x", "x-my-challenge"), Ok(()));
        assert_eq!(check("Content-Type", "text/plain; charset=utf-8", "x-my-challenge"), Ok(()));
    }

    #[test]
    fn names_and_values_may_be_as_long_as_the_limits() {
        assert_eq!(check(&"a".repeat(64), "x", "c"), Ok(()));
        assert!(check(&"a".repeat(65), "x", "c").unwrap_err().contains("1 to 64"));
        assert_eq!(check("a", &"x".repeat(8192), "c"), Ok(()));
        assert!(check("a", &"x".repeat(8193), "c").unwrap_err().contains("at most 8192"));
        assert_eq!(
            (check("a-1", "", "c"), check("API_KEY", "x", "c"), check("x.y", "x", "c")),
            (Ok(()), Ok(()), Ok(()))
        );
    }

    #[test]
    fn the_error_shows_the_name_escaped_and_shortened() {
        let error = check(&format!("\n{}", "b".repeat(100)), "x", "c").unwrap_err();
        assert!(error.starts_with(&format!("header `\\n{}`: a name", "b".repeat(63))), "{error}");
    }

    #[test]
    fn injected_lines_and_invalid_names_are_refused() {
        for (name, value) in [
            ("a", "b\r\nc: d"),
            ("a", "b\0"),
            ("", "x"),
            (":path", "/"),
            ("a b", "c"),
            ("a/b", "c"),
            ("é", "c"),
            ("a", "é"),
            ("a", " b"),
            ("a", "b "),
            ("a\n", "b"),
        ] {
            assert!(check(name, value, "c").is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn counts_and_sizes_are_bounded() {
        let many: Vec<_> = (0..33).map(|n| pair(&format!("a{n}"), "x")).collect();
        assert!(check_all(&many, "c").is_err());
        assert!(check_all(&many[..32], "c").is_ok());
        assert_eq!(check_all(&many, "c").unwrap_err(), "33 headers; at most 32 are allowed");
        let detail = check_all(&[pair("a", &"x".repeat(8192))], "c").unwrap_err();
        assert_eq!(detail, "8193 bytes of headers; at most 8192 are allowed");
        assert_eq!(broken_rules(&many, "c").iter().map(|rule| rule.index).collect::<Vec<_>>(), [None]);
        assert_eq!(check_all(&[pair("a", &"x".repeat(8191))], "c"), Ok(()));
        let halves = [pair("a", &"x".repeat(4095)), pair("b", &"x".repeat(4096))];
        assert!(check_all(&halves, "c").is_err() && check_all(&halves[..1], "c").is_ok());
        assert!(check_all(&[pair("a", "1"), pair("host", "x")], "c").unwrap_err().contains("`host`"));
    }

    #[test]
    fn values_of_credentials_are_hidden() {
        for name in
            ["Authorization", "x-api-key", "X_API_KEY", "cookie", "my-token", "x-hub-secret", "Proxy-Authorization"]
        {
            assert_eq!(shown(name, "s3cret"), HIDDEN, "{name}");
        }
        for name in ["x-tenant", "tokenizer", "x-key-id", "webhook-signature", "content-type"] {
            assert_eq!(shown(name, "v"), "v", "{name}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(shown_url("https://a.test/hook"), "https://a.test/hook");
        assert_eq!(shown_url("https://a.test/hook?k=s3cret?x"), "https://a.test/hook?***");
    }

    #[test]
    fn two_spellings_of_one_name_are_refused() {
        assert_eq!(broken_rules(&[pair("x-a", "1"), pair("x-b", "1")], "c"), []);
        let broken = broken_rules(&[pair("X-A", "1"), pair("x-b", "1"), pair("x-a", "2")], "c");
        let detail = "header `x-a` is the same as `X-A`: send only one of the two".to_owned();
        assert_eq!(broken, [BrokenRule { index: Some(2), detail }]);
    }

    #[test]
    fn every_broken_rule_is_found() {
        let broken = broken_rules(&[pair("host", "x"), pair("x-a", "1"), pair("x-key", "***"), pair("X-A", "2")], "c");
        assert_eq!(broken.iter().map(|rule| rule.index).collect::<Vec<_>>(), [Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn the_later_list_wins() {
        let (a, b, c) =
            ([pair("X-A", "1"), pair("x-b", "1")], [pair("x-a", "2")], [pair("X-B", "3"), pair("x-c", "3")]);
        let merged = merge([&a[..], &b[..], &c[..]]);
        assert_eq!(merged, [pair("x-a", "2"), pair("x-b", "3"), pair("x-c", "3")]);
    }
}
