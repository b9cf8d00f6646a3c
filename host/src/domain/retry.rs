//! When a failed delivery is attempted again.

use std::time::{Duration, UNIX_EPOCH};

/// The waits between attempts: n waits make n+1 attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// Most waits in a schedule: what an operator could mean, and a bound for what is stored per delivery.
pub const MAX_WAITS: usize = 100;
/// Longest single wait.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A receiver that asks for more is heard as if it had asked for this much.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl Schedule {
    /// A schedule of these waits.
    ///
    /// # Errors
    /// More than [`MAX_WAITS`] waits, or one over seven days.
    pub fn new(waits: Vec<Duration>) -> Result<Self, String> {
        if waits.len() > MAX_WAITS {
            return Err(format!("{} waits; a retry schedule has at most {MAX_WAITS}", waits.len()));
        }
        if let Some(long) = waits.iter().find(|wait| **wait > MAX_WAIT) {
            return Err(format!("a wait of {} s; the longest is seven days", long.as_secs()));
        }
        Ok(Self(waits))
    }

    /// The wait after attempt `attempt` (the first is 1) has failed; `None` when it was the last.
    /// `unit` in `[0, 1)` is the random number that spreads it ±10 %.
    pub fn wait_after(&self, attempt: u32, unit: f64) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let factor = 0.9 + 0.2 * unit.clamp(0.0, 1.0);
        self.0.get(index).map(|wait| wait.mul_f64(factor))
    }

    /// How many attempts a delivery gets.
    pub fn attempts(&self) -> usize {
        self.0.len() + 1
    }
}

/// What a `Retry-After` header asks for (RFC 9110 §10.2.3), counted from `now_ms` (Unix time in milliseconds): seconds,
/// or a date in any of the three forms of §5.6.7. A date that has passed is no wait; over one hour counts as one hour.
/// `None` where the text is neither.
pub fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number that is too large fails here.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let wait = date.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(now);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `Sun, 06 Nov 1994 08:49:37 GMT`, the example of RFC 9110 §5.6.7.
    const EXAMPLE_MS: i64 = 784_111_777_000;

    #[test]
    fn retry_after_is_seconds_or_a_date_in_three_forms() {
        for (text, seconds) in [("0", 0), ("120", 120), (" 007\t", 7), ("3600", 3600), ("3601", 3600)] {
            assert_eq!(retry_after(text, EXAMPLE_MS), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(retry_after(&"9".repeat(60), 0), Some(MAX_RETRY_AFTER));
        let dates = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for date in dates {
            for (before, wait) in [(90_500, 90_500), (0, 0), (-1, 0), (i64::MIN / 2, 0), (3_600_001, 3_600_000)] {
                let expected = Some(Duration::from_millis(wait));
                assert_eq!(retry_after(date, EXAMPLE_MS - before), expected, "{date} {before}");
            }
            assert_eq!(retry_after(date, i64::MIN), Some(MAX_RETRY_AFTER), "{date}");
        }
    }

    #[test]
    fn a_retry_after_that_is_neither_says_nothing() {
        let bad = ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "１２", "soon", "5s", "120, 30", "Sun, 06 Nov 1994"];
        for text in bad {
            assert_eq!(retry_after(text, EXAMPLE_MS), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn retry_after_never_panics_and_never_exceeds_an_hour(text in "\\PC{0,64}", now: i64) {
            prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }

        #[test]
        fn any_date_is_the_time_from_now_to_it(now_s in 0_i64..4_102_444_800, ahead in -10_000_i64..10_000) {
            let at = u64::try_from((now_s + ahead).max(0)).unwrap();
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at));
            let expected = at.saturating_sub(now_s.unsigned_abs()).min(3600);
            prop_assert_eq!(retry_after(&text, now_s * 1000), Some(Duration::from_secs(expected)));
        }

        #[test]
        fn any_number_is_that_many_seconds(seconds: u64) {
            let expected = Duration::from_secs(seconds.min(3600));
            prop_assert_eq!(retry_after(&seconds.to_string(), 0), Some(expected));
        }
    }

    #[test]
    fn n_waits_make_n_plus_one_attempts_with_jitter_of_a_tenth() {
        let schedule = Schedule::new(vec![Duration::from_secs(5), Duration::from_secs(100)]).unwrap();
        assert_eq!(schedule.attempts(), 3);
        assert_eq!(schedule.wait_after(1, 0.5), Some(Duration::from_secs(5)));
        assert_eq!(schedule.wait_after(2, 0.0), Some(Duration::from_secs(90)));
        assert!(schedule.wait_after(2, 0.999_999).unwrap() <= Duration::from_secs(110));
        assert_eq!(schedule.wait_after(3, 0.5), None);
        assert_eq!(schedule.wait_after(0, 0.5), None);
    }

    #[test]
    fn absurd_schedules_are_refused() {
        assert!(Schedule::new(vec![Duration::from_secs(1); 101]).is_err());
        assert!(Schedule::new(vec![Duration::MAX]).is_err());
    }
}
