//! Conversion of instants: milliseconds since 1970 in the code, RFC 3339 in UTC in the API; and of durations.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

use super::Invalid;

// Not `jiff::Timestamp`: its last instant is 26 hours before the end of the year 9999, which people write for "never".
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// The error text for an instant in another format.
pub const HOW_WRITTEN: &str = "an instant must be in RFC 3339 format, for example 2026-11-20T16:03:09Z";

/// Formats an instant as `2026-11-24T01:46:00.000Z`. Instants outside the years −9999 to 9999 become the nearest one
/// inside.
pub fn rfc3339(ms: i64) -> String {
    let instant = EPOCH.checked_add(SignedDuration::from_millis(ms));
    let instant = instant.unwrap_or(if ms < 0 { DateTime::MIN } else { DateTime::MAX });
    instant.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Parses an RFC 3339 instant with any offset to milliseconds since 1970. A space may stand for the `T` (RFC 3339 §5.6).
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok().filter(|pieces| pieces.time_zone_annotation().is_none())?;
    let offset = pieces.to_numeric_offset()?;
    let since_epoch = DateTime::from_parts(pieces.date(), pieces.time()?).duration_since(EPOCH);
    let ms = since_epoch.checked_sub(SignedDuration::from_secs(offset.seconds().into()))?.as_millis();
    i64::try_from(ms).ok()
}

/// Reads an instant at this place in a request body, as milliseconds since 1970.
///
/// # Errors
/// It is written in another format.
pub fn instant(pointer: &str, text: &str) -> Result<i64, Invalid> {
    parse_rfc3339(text).ok_or_else(|| Invalid::at(pointer, HOW_WRITTEN))
}

/// Parses a duration such as `300ms`, `5s`, `1h30m` or `30d`.
///
/// # Errors
/// The text describes the format of durations.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write 300ms, 5s, 1h30m or 30d");
    let span: SignedDuration = match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => SignedDuration::from_hours(i64::from(days) * 24),
        _ => text.parse().map_err(|_| bad())?,
    };
    Duration::try_from(span).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_formatted_and_parsed() {
        assert_eq!(rfc3339(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.007+01:00"), Some(1_700_000_000_007));
        assert_eq!(parse_rfc3339("2023-11-14 23:13:20.007+01:00"), Some(1_700_000_000_007));
        for text in ["9999-12-31T23:59:59.999Z", "1583-01-01T00:00:00.000Z", "0000-01-01T00:00:00.000Z"] {
            assert_eq!(rfc3339(parse_rfc3339(text).unwrap()), text);
        }
        for bad in ["yesterday", "2023-11-14", "2023-11-14T22:13:20", "2023-02-30T00:00:00Z", "22:13:20Z", ""] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn an_instant_out_of_range_is_shown_as_the_nearest() {
        assert!(rfc3339(i64::MAX).starts_with("9999-12-"), "{}", rfc3339(i64::MAX));
        assert!(rfc3339(i64::MIN).starts_with("-9999-01-"), "{}", rfc3339(i64::MIN));
    }
}
