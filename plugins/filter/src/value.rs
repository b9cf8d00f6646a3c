//! JSON values as far as tests compare them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use posthaste_plugin::json;
use serde::de::{Deserializer, Error, Visitor};

use crate::number::Number;

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value<'t> {
    /// The characters in UTF-8. Half a surrogate pair, which is no character, has three bytes that UTF-8 excludes.
    Text(Cow<'t, [u8]>),
    Number(Number<'t>),
    /// `true`, `false` or `null`.
    Literal(&'t str),
    /// A list or an object.
    Nested,
}

impl<'t> Value<'t> {
    pub(crate) fn of(json: &'t str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => Self::Text(bytes_of_string(json).unwrap_or(Cow::Borrowed(json.as_bytes()))),
            Some(b'[' | b'{') => Self::Nested,
            Some(b't' | b'f' | b'n') => Self::Literal(json),
            _ => Self::Number(Number::of(json)),
        }
    }

    /// Returns whether a value can equal this one, without reading it: a list may have half a million elements.
    fn has_kind_of(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'"') => matches!(self, Self::Text(_)),
            Some(b'[' | b'{') => false,
            Some(b't' | b'f' | b'n') => matches!(self, Self::Literal(_)),
            _ => matches!(self, Self::Number(_)),
        }
    }

    /// Returns whether a list has an element that equals this value. No other value has elements.
    pub(crate) fn is_element_of(&self, list: &str) -> bool {
        let mut alike = json::elements(list).filter(|element| self.has_kind_of(element));
        alike.any(|element| Value::of(element).compare(self) == Some(Ordering::Equal))
    }

    /// Compares two numbers exactly, or two strings by their characters. Of other values only equal ones compare; lists and
    /// objects never do.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(text), Self::Text(other)) => Some(text.cmp(other)),
            (Self::Number(number), Self::Number(other)) => Some(number.compare(*other)),
            (Self::Literal(literal), Self::Literal(other)) => (literal == other).then_some(Ordering::Equal),
            _ => None,
        }
    }

    /// Returns whether this is a string that contains the other one.
    pub(crate) fn contains(&self, part: &Self) -> bool {
        let (Self::Text(text), Self::Text(part)) = (self, part) else { return false };
        let Ok(part) = std::str::from_utf8(part) else { return false };
        // The part has whole characters only, so it lies between two halves of surrogate pairs.
        part.is_empty() || text.utf8_chunks().any(|chunk| chunk.valid().contains(part))
    }
}

/// Reads a JSON string, also one with half a surrogate pair.
fn bytes_of_string(json: &str) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    serde_json::Deserializer::from_str(json).deserialize_bytes(Bytes)
}

struct Bytes;

impl<'t> Visitor<'t> for Bytes {
    type Value = Cow<'t, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'t [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(left: &str, right: &str) -> Option<Ordering> {
        Value::of(left).compare(&Value::of(right))
    }

    #[test]
    fn strings_compare_by_their_characters_however_spelt() {
        assert_eq!(compare(r#""N\u00faria""#, r#""Núria""#), Some(Ordering::Equal));
        assert_eq!(compare(r#""\ud83d\ude00""#, r#""😀""#), Some(Ordering::Equal));
        assert_eq!(compare(r#""2026-12-01""#, r#""2027-01-01""#), Some(Ordering::Less));
        assert_eq!(compare(r#""a\ud83d""#, r#""a""#), Some(Ordering::Greater));
        assert_eq!(compare(r#""\ud83d""#, r#""\ud83e""#), Some(Ordering::Less));
        assert_eq!(compare(r#""\ud83d""#, "\"\u{fffd}\""), Some(Ordering::Less));
    }

    #[test]
    fn values_of_different_kinds_and_nested_values_do_not_compare() {
        for (left, right) in
            [("1", r#""1""#), ("true", "false"), ("null", "0"), ("[1]", "[1]"), ("{}", "{}"), ("null", "false")]
        {
            assert_eq!(compare(left, right), None, "{left} {right}");
        }
        for same in ["true", "false", "null"] {
            assert_eq!(compare(same, same), Some(Ordering::Equal));
        }
    }

    #[test]
    fn a_string_contains_parts_also_beside_half_a_character() {
        let contains = |text: &str, part: &str| Value::of(text).contains(&Value::of(part));
        assert!(contains(r#""cut \ud83d here""#, r#"" here""#) && contains(r#""cut \ud83d""#, r#""cut ""#));
        assert!(contains(r#""""#, r#""""#) && contains(r#""😀""#, r#""\ud83d\ude00""#));
        assert!(
            !contains(r#""a\ud83d""#, "\"\u{fffd}\"")
                && !contains(r#""a\ud83db""#, r#""ab""#)
                && !contains("12", r#""1""#)
        );
    }
}
