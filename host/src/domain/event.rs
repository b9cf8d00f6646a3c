//! Events, as their producers publish them.

use bytes::Bytes;

use super::Invalid;
use super::hops::{HOPS_HEADER, Hops};

/// An event as its producer published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The identifier: 1–128 of `[A-Za-z0-9_-]`. The receiver sees it as `webhook-id`.
    pub id: String,
    /// The event type, for example `employee_updated`.
    pub event_type: String,
    /// The company (tenant) to which the event belongs.
    pub company: String,
    /// The time at which it happened, in milliseconds since 1970.
    pub occurred_at: i64,
    /// Headers that the producer adds to the request, and the event's [`Hops`] if there are any.
    pub headers: Vec<(String, String)>,
    /// The event's data: JSON text, byte for byte as published. Always valid UTF-8.
    pub data: Bytes,
}

impl Event {
    /// Returns the data as text.
    pub fn data_text(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap_or_default()
    }

    /// Returns how many POSTs of this service led to the event. They are kept among its headers, where no producer can put
    /// them.
    pub fn hops(&self) -> Hops {
        let kept = self.headers.iter().find(|(name, _)| name == HOPS_HEADER);
        kept.map_or_else(Hops::default, |(_, number)| Hops::parse(number))
    }
}

/// The type of the event with which a company tests a webhook.
pub const PING: &str = "ping";

/// What the types of the service's own events begin with, except for [`PING`].
pub const HOST_PREFIX: &str = "posthaste.";

/// Returns whether only the service itself publishes events of this type.
pub fn is_host_type(event_type: &str) -> bool {
    event_type == PING || event_type.starts_with(HOST_PREFIX)
}

/// Checks an event type: 1–128 bytes of printable ASCII without spaces.
pub fn check_type(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("an event type must be 1 to 128 printable ASCII characters without spaces".into());
    }
    Ok(())
}

/// Checks the type of an event that a producer publishes: `ping` and `posthaste.…` are reserved for the service, and `*` for the
/// patterns of subscriptions.
pub fn check_published_type(text: &str) -> Result<(), Invalid> {
    check_type(text).map_err(|detail| Invalid::at("/type", detail))?;
    if text.contains('*') {
        let detail = "an event has one type: `*` stands only in the types of webhooks, for several";
        return Err(Invalid::at("/type", detail));
    }
    if is_host_type(text) {
        return Err(Invalid::at(
            "/type",
            format!("the event type `{text}` is reserved for the service; choose another name"),
        ));
    }
    Ok(())
}

/// Checks an event's id: 1–128 of `[A-Za-z0-9_-]`.
pub fn check_id(id: &str) -> Result<(), Invalid> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if id.is_empty() || id.len() > 128 || !id.bytes().all(fine) {
        return Err(Invalid::at("/id", "an event id must be 1 to 128 of A-Z a-z 0-9 _ -"));
    }
    Ok(())
}

/// Returns whether two JSON texts are the same but for insignificant whitespace (RFC 8259 §2): a producer that publishes an
/// event again may format it differently. Both texts must be valid JSON.
pub fn same_json(a: &[u8], b: &[u8]) -> bool {
    a == b || significant(a).eq(significant(b))
}

/// The bytes of a JSON text that are not whitespace between its tokens.
fn significant(json: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (mut in_string, mut escaped) = (false, false);
    json.iter().copied().filter(move |byte| {
        let keep = in_string || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => (),
        }
        keep
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_types_are_printable_and_not_reserved() {
        for fine in ["employee_updated", "employees/employee/update", "Employees::Events::EmployeeUpdated", "pinger"] {
            assert_eq!(check_published_type(fine), Ok(()), "{fine}");
        }
        for bad in ["", "a b", "é", "ping", "posthaste.webhook.disabled", &"x".repeat(129), "a\nb", "*", "a/*", "a*b"]
        {
            assert!(check_published_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn event_ids_have_1_to_128_allowed_characters() {
        assert_eq!(check_id("evt-1_A"), Ok(()));
        assert!(check_id("a.b").is_err() && check_id("").is_err() && check_id(&"a".repeat(129)).is_err());
    }

    #[test]
    fn whitespace_between_tokens_makes_no_other_event() {
        let event = br#"{"a": [1, "b \" c"], "d":null}"#;
        assert!(same_json(event, b"{\r\n\t\"a\":[1,\"b \\\" c\"],\"d\":null }"));
        for other in [&br#"{"a": [1, "b \"c"], "d":null}"#[..], br#"{"d":null, "a": [1, "b \" c"]}"#, b"{}", b""] {
            assert!(!same_json(event, other), "{}", String::from_utf8_lossy(other));
        }
        assert!(!same_json(b"1 ", b"10") && same_json(b" 1", b"1") && !same_json(br#""a ""#, br#""a""#));
        assert!(!same_json(br#"["\\", " "]"#, br#"["\\", ""]"#));
    }
}
