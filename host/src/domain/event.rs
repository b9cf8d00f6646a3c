//! An event: something that happened inside, as its producer published it.

use bytes::Bytes;

use super::Invalid;

/// One event, as its producer published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 1–128 of `[A-Za-z0-9_-]`; the `webhook-id` that the receiver sees.
    pub id: String,
    /// For example `employee_updated`.
    pub event_type: String,
    /// The company (tenant) that the event belongs to.
    pub company: String,
    /// When it happened, milliseconds since 1970.
    pub occurred_at: i64,
    /// Headers that the producer asked to be sent along.
    pub headers: Vec<(String, String)>,
    /// The event's data: JSON text, byte for byte as published. Always valid UTF-8.
    pub data: Bytes,
}

impl Event {
    /// The data as text.
    pub fn data_text(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap_or_default()
    }
}

/// The type of the event that tries a webhook out.
pub const PING: &str = "ping";

/// Checks an event type: 1–128 bytes of printable ASCII without spaces.
pub fn check_type(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("an event type is 1 to 128 printable ASCII characters without spaces".into());
    }
    Ok(())
}

/// Checks the type of an event that a producer publishes: `ping` and `posthaste.*` are the host's own.
pub fn check_published_type(text: &str) -> Result<(), Invalid> {
    check_type(text).map_err(|detail| Invalid::at("/type", detail))?;
    if text == PING || text.starts_with("posthaste.") {
        return Err(Invalid::at(
            "/type",
            format!("`{text}` is one of the host's own event types; choose another name"),
        ));
    }
    Ok(())
}

/// Checks an event's id: 1–128 of `[A-Za-z0-9_-]`.
pub fn check_id(id: &str) -> Result<(), Invalid> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if id.is_empty() || id.len() > 128 || !id.bytes().all(fine) {
        return Err(Invalid::at("/id", "an event id is 1 to 128 of A-Z a-z 0-9 _ -"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_the_model_are_accepted() {
        for fine in ["employee_updated", "employees/employee/update", "Employees::Events::EmployeeUpdated", "pinger"] {
            assert_eq!(check_published_type(fine), Ok(()), "{fine}");
        }
        for bad in ["", "a b", "é", "ping", "posthaste.webhook.disabled", &"x".repeat(129), "a\nb"] {
            assert!(check_published_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(check_id("evt-1_A"), Ok(()));
        assert!(check_id("a.b").is_err() && check_id("").is_err() && check_id(&"a".repeat(129)).is_err());
    }
}
