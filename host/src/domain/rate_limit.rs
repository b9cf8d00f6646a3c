//! The rate limit of a webhook.

use std::time::Duration;

/// Most attempts in one unit of time.
const MAX_ATTEMPTS: u32 = 100_000;
/// The rule that a rate limit breaks.
const RULE: &str = "a rate limit is a whole number of attempts per second from 1 to 100000, or a text such as `10/s`, `30/min` \
                    or `5/h`";

/// A unit of time that a rate limit names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

impl RateUnit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

/// Most attempts that begin in a unit of time, evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// From 1 to [`MAX_ATTEMPTS`].
    attempts: u32,
    /// `None`: given as a number, which is per second.
    unit: Option<RateUnit>,
}

impl RateLimit {
    /// Returns a limit of so many attempts per second.
    ///
    /// # Errors
    /// The rule, for people.
    pub fn per_second(attempts: u64) -> Result<Self, String> {
        let attempts = u32::try_from(attempts).ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
        Ok(Self { attempts: attempts.ok_or(RULE)?, unit: None })
    }

    /// Parses a limit such as `10/s`, `30/min` or `5/h`.
    ///
    /// # Errors
    /// The rule, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (attempts, unit) = text.split_once('/').ok_or(RULE)?;
        let unit = RateUnit::ALL.into_iter().find(|known| known.name() == unit).ok_or(RULE)?;
        let attempts = Self::per_second(attempts.parse().map_err(|_| RULE)?)?.attempts;
        // Other spellings (`+5/h`, `05/h`) are refused, so that the limit is shown as given.
        Some(Self { attempts, unit: Some(unit) })
            .filter(|limit| limit.text().as_deref() == Some(text))
            .ok_or(RULE.into())
    }

    /// Returns the limit of a stored webhook: `number` is as from [`RateLimit::number`], `text` as from [`RateLimit::text`]. A text
    /// that does not belong to the number is older than it.
    pub fn stored(number: i64, text: Option<&str>) -> Self {
        let named = text.and_then(|text| Self::parse(text).ok()).filter(|named| i64::from(named.number()) == number);
        let attempts = u32::try_from(number).unwrap_or(MAX_ATTEMPTS).clamp(1, MAX_ATTEMPTS);
        named.unwrap_or(Self { attempts, unit: None })
    }

    /// Returns the text as given; `None`: it was given as a number.
    pub fn text(self) -> Option<String> {
        self.unit.map(|unit| format!("{}/{}", self.attempts, unit.name()))
    }

    /// Returns the whole number of attempts per second that comes closest from below, at least 1.
    pub fn number(self) -> u32 {
        (self.attempts / self.unit_seconds()).max(1)
    }

    /// Returns the time between the beginnings of two attempts.
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.unit_seconds().into()) / self.attempts.max(1)
    }

    fn unit_seconds(self) -> u32 {
        self.unit.map_or(1, RateUnit::seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_a_number_or_a_number_of_attempts_in_a_unit() {
        for (text, interval, number) in [
            ("10/s", Duration::from_millis(100), 10),
            ("30/min", Duration::from_secs(2), 1),
            ("90/min", Duration::from_nanos(666_666_666), 1),
            ("600/min", Duration::from_millis(100), 10),
            ("5/h", Duration::from_secs(720), 1),
            ("100000/s", Duration::from_micros(10), 100_000),
        ] {
            let limit = RateLimit::parse(text).unwrap();
            assert_eq!((limit.interval(), limit.number(), limit.text().as_deref()), (interval, number, Some(text)));
        }
        let plain = RateLimit::per_second(4).unwrap();
        assert_eq!((plain.interval(), plain.number(), plain.text()), (Duration::from_millis(250), 4, None));
        for bad in ["", "5", "0/s", "100001/s", "5/d", "5/ h", "+5/h", "05/h", "1.5/min", "-1/s", "/h", "5/h/h"] {
            assert!(RateLimit::parse(bad).unwrap_err().contains("`30/min`"), "{bad}");
        }
        assert!(RateLimit::per_second(0).is_err() && RateLimit::per_second(100_001).is_err());
    }

    #[test]
    fn a_stored_number_decides_if_its_text_is_older() {
        let named = RateLimit::parse("600/min").unwrap();
        assert_eq!(RateLimit::stored(10, Some("600/min")), named);
        assert_eq!(RateLimit::stored(9, Some("600/min")), RateLimit::per_second(9).unwrap());
        assert_eq!(RateLimit::stored(9, None), RateLimit::per_second(9).unwrap());
        assert_eq!(RateLimit::stored(0, Some("x")), RateLimit::per_second(1).unwrap());
    }
}
