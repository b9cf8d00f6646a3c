//! Conversion of instants: milliseconds since 1970 in the code, RFC 3339 in UTC in the API.

use jiff::Timestamp;

/// The error text for an instant in another format.
pub const HOW_WRITTEN: &str = "an instant must be in RFC 3339 format, for example 2026-11-20T16:03:09Z";

/// Formats an instant as `2026-11-24T01:46:00.000Z`. Instants outside the years −9999 to 9999 become the nearest one
/// inside.
pub fn rfc3339(ms: i64) -> String {
    let stamp = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    stamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Parses an RFC 3339 instant with any offset to milliseconds since 1970.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_formatted_and_parsed() {
        assert_eq!(rfc3339(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.007+01:00"), Some(1_700_000_000_007));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn an_instant_out_of_range_is_shown_as_the_nearest() {
        assert!(rfc3339(i64::MAX).starts_with("9999-12-"), "{}", rfc3339(i64::MAX));
        assert!(rfc3339(i64::MIN).starts_with("-9999-01-"), "{}", rfc3339(i64::MIN));
    }
}
