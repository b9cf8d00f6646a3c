//! Which headers a webhook, an event or a plugin may set, and which one wins.

/// Most headers that one plugin call may set.
pub const MAX_COUNT: usize = 32;
/// Most bytes of header names and values that one plugin call may set.
pub const MAX_BYTES: usize = 8 * 1024;

/// Headers that the host alone sets, or that belong to one connection (RFC 9110 §7.6.1).
const OWNED: [&str; 17] = [
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

/// Checks one header that somebody other than the host asks for.
///
/// `challenge_header` is the configured name of the challenge header, lower-case.
///
/// # Errors
/// Says what is wrong with the name or the value, naming the header.
pub fn check(name: &str, value: &str, challenge_header: &str) -> Result<(), String> {
    let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
    let lower = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if lower.is_empty() || lower.len() > 64 || !lower.bytes().all(token) {
        return Err(format!("header `{shown}`: a name is 1 to 64 letters, digits and hyphens"));
    }
    if is_owned(&lower, challenge_header) {
        return Err(format!("header `{shown}` is set by the host and cannot be set or removed"));
    }
    if value.len() > MAX_BYTES || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') || value.trim() != value {
        return Err(format!(
            "header `{shown}`: a value is at most {MAX_BYTES} visible ASCII characters, with spaces only inside"
        ));
    }
    Ok(())
}

fn is_owned(lower: &str, challenge_header: &str) -> bool {
    OWNED.contains(&lower)
        || lower == challenge_header
        || lower.starts_with("webhook-")
        || lower.starts_with("x-factorial-")
}

/// Checks the headers that one webhook, event or plugin call asks for, together.
///
/// # Errors
/// As [`check`], or that there are too many of them; the index says which header, where it was one.
pub fn check_all(headers: &[(String, String)], challenge_header: &str) -> Result<(), (Option<usize>, String)> {
    if headers.len() > MAX_COUNT {
        return Err((None, format!("{} headers; at most {MAX_COUNT} are allowed", headers.len())));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_BYTES {
        return Err((None, format!("{bytes} bytes of headers; at most {MAX_BYTES} are allowed")));
    }
    for (index, (name, value)) in headers.iter().enumerate() {
        check(name, value, challenge_header).map_err(|detail| (Some(index), detail))?;
    }
    Ok(())
}

/// Merges header lists in rising precedence; names come out lower-case and once each, in order of first appearance.
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
    fn the_hosts_own_headers_are_refused_in_any_case() {
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
        assert_eq!(check("X-Tenant", "55", "x-my-challenge"), Ok(()));
        assert_eq!(check("Content-Type", "text/plain; charset=utf-8", "x-my-challenge"), Ok(()));
    }

    #[test]
    fn injected_lines_and_odd_names_are_refused() {
        for (name, value) in [
            ("a", "b\r\nc: d"),
            ("a", "b\0"),
            ("", "x"),
            (":path", "/"),
            ("a b", "c"),
            ("a_b", "c"),
            ("é", "c"),
            ("a", "é"),
            ("a", " b"),
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
        assert!(check_all(&[pair("a", &"x".repeat(8192))], "c").is_err());
        assert_eq!(check_all(&[pair("a", "1"), pair("host", "x")], "c").map_err(|(index, _)| index), Err(Some(1)));
    }

    #[test]
    fn the_later_list_wins() {
        let (a, b, c) =
            ([pair("X-A", "1"), pair("x-b", "1")], [pair("x-a", "2")], [pair("X-B", "3"), pair("x-c", "3")]);
        let merged = merge([&a[..], &b[..], &c[..]]);
        assert_eq!(merged, [pair("x-a", "2"), pair("x-b", "3"), pair("x-c", "3")]);
    }
}
