//! The time limit of one webhook's attempts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::time::duration;

/// The limits that a webhook may have.
const RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// Most bytes of the text: a duration can be written at any length.
const MAX_BYTES: usize = 32;

/// The time limit of one attempt, as a webhook sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptTimeout {
    text: String,
    time: Duration,
}

impl AttemptTimeout {
    /// Parses a duration from `1s` to `60s`.
    ///
    /// # Errors
    /// The rule, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let time = Some(text).filter(|text| text.len() <= MAX_BYTES).and_then(|text| duration(text).ok());
        let time = time.filter(|time| RANGE.contains(time));
        let time =
            time.ok_or("a timeout is a text with a duration from `1s` to `60s`, for example `30s` or `1500ms`")?;
        Ok(Self { text: text.to_owned(), time })
    }

    /// Returns the text as given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the duration.
    pub fn time(&self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_from_one_second_to_sixty() {
        for (text, ms) in [("1s", 1_000), ("1500ms", 1_500), ("60s", 60_000), ("1m", 60_000)] {
            let timeout = AttemptTimeout::parse(text).unwrap();
            assert_eq!((timeout.text(), timeout.time()), (text, Duration::from_millis(ms)));
        }
        let long = format!("{}1s", "0".repeat(MAX_BYTES));
        for bad in ["", "30", "999ms", "60001ms", "61s", "-5s", "soon", "1d", &long] {
            assert!(AttemptTimeout::parse(bad).unwrap_err().contains("from `1s` to `60s`"), "{bad}");
        }
    }
}
