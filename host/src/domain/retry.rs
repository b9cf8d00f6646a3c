//! The retry schedule, and `Retry-After`.

use std::time::{Duration, UNIX_EPOCH};

/// The waits between the attempts of a delivery: n waits allow n+1 attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// Bounds the waits of a schedule: above every useful value, and a limit to the attempts stored per delivery.
pub const MAX_WAITS: usize = 100;
/// Bounds a single wait.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bounds the wait that a receiver can request; a longer one counts as this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl Schedule {
    /// Creates a schedule of these waits.
    ///
    /// # Errors
    /// There are more than [`MAX_WAITS`] waits, or one is over seven days.
    pub fn new(waits: Vec<Duration>) -> Result<Self, String> {
        if waits.len() > MAX_WAITS {
            return Err(format!("the retry schedule has {} waits; at most {MAX_WAITS} are allowed", waits.len()));
        }
        if let Some(long) = waits.iter().find(|wait| **wait > MAX_WAIT) {
            return Err(format!("the retry schedule has a wait of {} s; at most 7 days are allowed", long.as_secs()));
        }
        Ok(Self(waits))
    }

    /// Returns the wait after attempt `attempt` (the first is 1) has failed; `None` if it was the last.
    /// `unit` is a random number in `[0, 1)`, which varies the wait by ±10 % (jitter).
    pub fn wait_after(&self, attempt: u32, unit: f64) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let factor = 0.9 + 0.2 * unit.clamp(0.0, 1.0);
        self.0.get(index).map(|wait| wait.mul_f64(factor))
    }

    /// Returns the sum of the waits, without jitter.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// Returns the number of attempts of a delivery.
    pub fn attempts(&self) -> usize {
        self.0.len() + 1
    }
}

/// Parses a `Retry-After` header (RFC 9110 §10.2.3): seconds, or a date in any of the three formats of §5.6.7. Returns
/// the wait from `now_ms`, in milliseconds since 1970: zero for a date in the past, one hour for anything longer, and
/// `None` if the text is neither.
pub fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Parsing a string of digits fails only if the number is too large.
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
    fn a_retry_after_that_is_neither_is_ignored() {
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
        fn a_date_means_the_time_until_it(now_s in 0_i64..4_102_444_800, ahead in -10_000_i64..10_000) {
            let at = u64::try_from((now_s + ahead).max(0)).unwrap();
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at));
            let expected = at.saturating_sub(now_s.unsigned_abs()).min(3600);
            prop_assert_eq!(retry_after(&text, now_s * 1000), Some(Duration::from_secs(expected)));
        }

        #[test]
        fn a_number_means_seconds(seconds: u64) {
            let expected = Duration::from_secs(seconds.min(3600));
            prop_assert_eq!(retry_after(&seconds.to_string(), 0), Some(expected));
        }
    }

    #[test]
    fn n_waits_allow_n_plus_one_attempts_with_jitter_of_a_tenth() {
        let schedule = Schedule::new(vec![Duration::from_secs(5), Duration::from_secs(100)]).unwrap();
        assert_eq!(schedule.attempts(), 3);
        assert_eq!(schedule.wait_after(1, 0.5), Some(Duration::from_secs(5)));
        assert_eq!(schedule.wait_after(2, 0.0), Some(Duration::from_secs(90)));
        assert_eq!(schedule.wait_after(2, 0.25), Some(Duration::from_secs(95)));
        let longest = schedule.wait_after(2, 0.999_999).unwrap();
        assert!(longest > Duration::from_millis(109_999) && longest <= Duration::from_secs(110), "{longest:?}");
        assert_eq!(schedule.wait_after(2, -3.0), Some(Duration::from_secs(90)));
        assert_eq!(schedule.wait_after(2, 7.0).map(|wait| wait.as_millis()), Some(110_000));
        assert_eq!(schedule.wait_after(3, 0.5), None);
        assert_eq!(schedule.wait_after(0, 0.5), None);
        assert_eq!(Schedule::new(Vec::new()).unwrap().attempts(), 1);
    }

    #[test]
    fn a_schedule_has_at_most_a_hundred_waits_of_seven_days() {
        let week = Duration::from_secs(604_800);
        assert_eq!(Schedule::new(vec![week; 100]).unwrap().attempts(), 101);
        let error = Schedule::new(vec![Duration::from_secs(1); 101]).unwrap_err();
        assert!(error.contains("101 waits; at most 100"), "{error}");
        let error = Schedule::new(vec![Duration::ZERO, week + Duration::from_nanos(1)]).unwrap_err();
        assert!(error.contains("a wait of 604800 s"), "{error}");
        assert!(Schedule::new(vec![Duration::MAX]).is_err());
    }
}
