//! Numbers of a request's body that have a range.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A member of the body that should be a whole number. Every kind of value is read, so that the answer can say the range
/// whatever is wrong.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum WholeNumber {
    Number(i64),
    Other(IgnoredAny),
}

impl WholeNumber {
    /// Returns the number if it is in `range`.
    ///
    /// # Errors
    /// A text that says the range.
    pub(super) fn within(&self, range: RangeInclusive<u32>) -> Result<u32, String> {
        let number = match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Other(_) => None,
        };
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_the_range_is_said() {
        let within = |text: &str| serde_json::from_str::<WholeNumber>(text).unwrap().within(1..=9);
        assert_eq!((within("1"), within("9")), (Ok(1), Ok(9)));
        for bad in ["0", "10", "-1", "1.5", "99999999999999999999", "\"5\"", "true", "[1]", "{}"] {
            assert_eq!(within(bad), Err("a whole number from 1 to 9".into()), "{bad}");
        }
    }
}
