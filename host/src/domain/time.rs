//! Instants are milliseconds since 1970 inside and RFC 3339 in UTC outside.

use jiff::Timestamp;

/// What to tell whoever has written an instant in another way.
pub const HOW_WRITTEN: &str = "an instant is written as in RFC 3339, for example 2026-11-20T16:03:09Z";

/// `2026-11-24T01:46:00.000Z`. Instants outside the years 0–9999 are shown as the nearest that is inside.
pub fn rfc3339(ms: i64) -> String {
    let stamp = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    stamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Reads an RFC 3339 instant with any offset.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(rfc3339(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.007+01:00"), Some(1_700_000_000_007));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
