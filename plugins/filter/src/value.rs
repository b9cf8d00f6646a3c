//! JSON values as far as tests compare them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use posthaste_pattern::Case;
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

    /// Returns this value, or what stands for all that differ from it in case only.
    pub(crate) fn in_case(self, case: Case) -> Self {
        match self {
            Self::Text(text) if case == Case::Ignored => Self::Text(Cow::Owned(fold(&text))),
            _ => self,
        }
    }

    /// The characters of a string.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns whether a value can equal this one, without reading it: a list may have half a million elements.
    pub(crate) fn has_kind_of(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'"') => matches!(self, Self::Text(_)),
            Some(b'[' | b'{') => false,
            Some(b't' | b'f' | b'n') => matches!(self, Self::Literal(_)),
            _ => matches!(self, Self::Number(_)),
        }
    }

    /// Returns whether a list has an element that equals this value. No other value has elements.
    pub(crate) fn is_element_of(&self, list: &str, case: Case) -> bool {
        let mut alike = json::elements(list).filter(|element| self.has_kind_of(element));
        alike.any(|element| Value::of(element).in_case(case).compare(self) == Some(Ordering::Equal))
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

/// Folds the case of a text's characters, so that texts that differ in case only become equal.
fn fold(text: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            folded.extend_from_slice(fold_character(character).encode_utf8(&mut [0; 4]).as_bytes());
        }
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// Unicode's simple case folding (UAX #44, `Simple_Case_Folding`), by the mappings of the standard library: the upper case first,
/// because `ς` and `σ` have it in common. A mapping to several characters (`ß` to `SS`) is none.
fn fold_character(character: char) -> char {
    match character {
        _ if character.is_ascii() => character.to_ascii_lowercase(),
        // Its upper case is `I`, and yet it folds to itself.
        'ı' => character,
        _ => {
            let upper = only(character.to_uppercase()).unwrap_or(character);
            only(upper.to_lowercase()).unwrap_or(upper)
        }
    }
}

/// Returns the character of a mapping to one.
fn only(mut mapped: impl ExactSizeIterator<Item = char>) -> Option<char> {
    mapped.next().filter(|_| mapped.len() == 0)
}

/// Reads a JSON string, also one with half a surrogate pair.
fn bytes_of_string(json: &str) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    serde_json::Deserializer::from_str(json).deserialize_bytes(Bytes)
}

/// The bytes of a string or of a member's name.
pub(crate) struct Bytes;

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
    use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

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
    fn characters_fold_as_unicode_says() {
        // Unicode 15.1 joined these; they have no single upper case.
        let joined = ['\u{390}', '\u{3b0}', '\u{1fd3}', '\u{1fe3}', '\u{fb05}', '\u{fb06}'];
        // The standard library may know a newer version of Unicode than the oracle.
        let HirKind::Class(Class::Unicode(assigned)) = regex_syntax::parse(r"\P{Cn}").unwrap().into_kind() else {
            panic!()
        };
        let all = assigned.iter().flat_map(|range| range.start()..=range.end());
        for character in all.take_while(|character| *character < '\u{20000}').filter(|one| !joined.contains(one)) {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
            class.case_fold_simple();
            let fold = fold_character(character);
            let equal = class.iter().flat_map(|range| range.start()..=range.end());
            assert!(equal.map(fold_character).all(|other| other == fold), "{character:?}");
            let holds_fold = class.iter().any(|range| (range.start()..=range.end()).contains(&fold));
            assert!(holds_fold, "{character:?} {fold:?}");
        }
    }

    #[test]
    fn strings_compare_and_contain_without_case() {
        let value = |json| Value::of(json).in_case(Case::Ignored);
        assert_eq!(value(r#""NÚRIA""#).compare(&value(r#""n\u00faria""#)), Some(Ordering::Equal));
        assert_eq!(value(r#""ΣΑΣ\ud83d""#).compare(&value(r#""σας\ud83d""#)), Some(Ordering::Equal));
        assert_eq!(value("12").compare(&value("12.0")), Some(Ordering::Equal));
        assert!(value(r#""Calle de ÁVILA""#).contains(&value(r#""ávila""#)));
        assert!(value(r#""es""#).is_element_of(r#"[1, "fr", "ES"]"#, Case::Ignored));
        assert!(!Value::of(r#""es""#).is_element_of(r#"[1, "fr", "ES"]"#, Case::Kept));
        assert!(value(r#""STRASSE""#).compare(&value(r#""straße""#)) != Some(Ordering::Equal));
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
