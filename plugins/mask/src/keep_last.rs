//! The end of a value that stays readable.

use posthaste_plugin::{Error, serde_json};
use serde::Deserialize;

/// Characters that may be kept: more would be most of an account number.
const MAX: usize = 8;

/// How many characters of a value are kept. A value that is not at least twice as long is not kept at all, so that no more than half
/// of a value is ever sent.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub struct KeepLast(usize);

impl TryFrom<i64> for KeepLast {
    type Error = Error;

    fn try_from(count: i64) -> Result<Self, Error> {
        let count = usize::try_from(count).ok().filter(|count| (1..=MAX).contains(count));
        count
            .map(Self)
            .ok_or_else(|| Error::new(format!("1 to {MAX} characters can be kept; to keep none, leave it out")))
    }
}

impl KeepLast {
    /// Returns the end of a value, which is given as JSON: the last characters (Unicode scalar values) of a string, or the last
    /// digits of a number as it is spelt, without its sign, point and exponent letter. Nothing of any other value, nor of a string
    /// with half a surrogate pair.
    pub(crate) fn of(self, value: &str) -> String {
        match value.bytes().next() {
            Some(b'"') => serde_json::from_str(value).map_or_else(|_| String::new(), |text: String| self.end(&text)),
            Some(b'-' | b'0'..=b'9') => self.end(&value.replace(|char: char| !char.is_ascii_digit(), "")),
            _ => String::new(),
        }
    }

    /// Returns the end of a text.
    pub(crate) fn end(self, text: &str) -> String {
        let Some(dropped) = text.chars().count().checked_sub(self.0).filter(|dropped| *dropped >= self.0) else {
            return String::new();
        };
        text.chars().skip(dropped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: i64, value: &str) -> String {
        KeepLast::try_from(count).unwrap().of(value)
    }

    #[test]
    fn at_most_half_of_a_value_is_kept() {
        for (count, value, expected) in [
            (4, r#""ES9121000418450200051332""#, "1332"),
            (4, r#""12345678""#, "5678"),
            (4, r#""1234567""#, ""),
            (1, r#""ab""#, "b"),
            (1, r#""a""#, ""),
            (8, r#""""#, ""),
            (2, r#""aéぃ😀""#, "ぃ😀"),
            (2, r#""ab\u00e9\ud83d\ude00""#, "é😀"),
            (2, r#""abcdef\ud83d""#, ""),
            (4, "281234567840", "7840"),
            (4, "-5450000.00", "0000"),
            (2, "-1.5", ""),
            (2, "-1.50e7", "07"),
            (2, "1e4", ""),
            (1, "true", ""),
            (1, "null", ""),
            (1, "[1234, 5678]", ""),
            (1, r#"{"a": "bcdefg"}"#, ""),
        ] {
            assert_eq!(kept(count, value), expected, "{count} of {value}");
        }
    }

    #[test]
    fn the_number_of_kept_characters_is_bounded() {
        for bad in [0, 9, -1, i64::MAX] {
            let text = KeepLast::try_from(bad).unwrap_err().to_string();
            assert!(text.contains("1 to 8"), "{text}");
        }
        for value in 0..40 {
            let value = "x".repeat(value);
            for count in 1..=8 {
                assert!(kept(count, &format!("\"{value}\"")).len() * 2 <= value.len());
            }
        }
    }
}
