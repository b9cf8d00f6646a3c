//! Whether the value at a place of a JSON text equals a scalar. The text is scanned once for each step of the pointer; nothing of it
//! is copied, and its depth does not matter.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Invalid;

/// Longest pointer, in bytes.
const MAX_POINTER_BYTES: usize = 1_024;
/// Most steps of a pointer.
const MAX_STEPS: usize = 64;
/// Longest text of the scalar, in bytes.
const MAX_SCALAR_BYTES: usize = 4_096;

/// A place in a JSON text (RFC 6901), and the scalar that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonCondition {
    pointer: String,
    /// JSON text.
    equals: String,
    steps: Vec<String>,
    scalar: Scalar,
}

/// A JSON value without parts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
}

impl JsonCondition {
    /// Checks a condition; `equals` is JSON text.
    ///
    /// # Errors
    /// The broken rule, at `/pointer` or `/equals`.
    pub fn new(pointer: &str, equals: &str) -> Result<Self, Invalid> {
        let steps = steps(pointer).map_err(|detail| Invalid::at("/pointer", detail))?;
        if equals.len() > MAX_SCALAR_BYTES {
            return Err(Invalid::at("/equals", format!("at most {MAX_SCALAR_BYTES} bytes")));
        }
        let detail = "a text, a number, true, false or null: objects and arrays are not compared";
        let scalar = Scalar::read(equals).ok_or_else(|| Invalid::at("/equals", detail))?;
        Ok(Self { pointer: pointer.to_owned(), equals: equals.to_owned(), steps, scalar })
    }

    /// Returns the pointer.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Returns the scalar, as JSON text.
    pub fn equals(&self) -> &str {
        &self.equals
    }

    /// Returns whether `data`, which is JSON text, has the scalar at this place. Numbers are compared exactly: 1, 1.0 and 1e0 are the
    /// same. Of members of one name, each counts.
    pub fn holds_in(&self, data: &str) -> bool {
        let mut found = vec![data];
        for step in &self.steps {
            found = found.iter().flat_map(|text| inside(text, step)).collect();
        }
        found.iter().any(|text| Scalar::read(text).as_ref() == Some(&self.scalar))
    }
}

fn steps(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.len() > MAX_POINTER_BYTES {
        return Err(format!("at most {MAX_POINTER_BYTES} bytes"));
    }
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let how = "a JSON pointer (RFC 6901) begins with `/`, and has `~` only in `~0` (for `~`) and `~1` (for `/`)";
    let Some(rest) = pointer.strip_prefix('/') else { return Err(how.into()) };
    let steps: Vec<_> = rest.split('/').collect();
    if steps.len() > MAX_STEPS {
        return Err(format!("at most {MAX_STEPS} steps"));
    }
    let is_escaped = |step: &&str| step.split('~').skip(1).all(|part| part.starts_with(['0', '1']));
    if !steps.iter().all(is_escaped) {
        return Err(how.into());
    }
    Ok(steps.into_iter().map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// Returns the values at one step into a JSON text: several, if members have the same name.
fn inside<'j>(text: &'j str, step: &str) -> Vec<&'j str> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = match text.trim_start().as_bytes().first() {
        Some(b'{') => deserializer.deserialize_map(Members(step)),
        Some(b'[') => match index(step) {
            Some(index) => deserializer.deserialize_seq(Item(index)),
            None => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    };
    found.unwrap_or_default()
}

/// Reads an index of an array: digits without a leading zero (RFC 6901 §4).
fn index(step: &str) -> Option<usize> {
    let is_plain = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| is_plain)
}

struct Members<'s>(&'s str);

impl<'j> Visitor<'j> for Members<'_> {
    type Value = Vec<&'j str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'j>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut found = Vec::new();
        while let Some(is_it) = members.next_key_seed(IsName(self.0))? {
            if is_it {
                found.push(members.next_value::<&RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares the name of a member without keeping it.
struct IsName<'s>(&'s str);

impl<'j> DeserializeSeed<'j> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct Item(usize);

impl<'j> Visitor<'j> for Item {
    type Value = Vec<&'j str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<S: SeqAccess<'j>>(self, mut items: S) -> Result<Self::Value, S::Error> {
        for _ in 0..self.0 {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(Vec::new());
            }
        }
        let found = items.next_element::<&RawValue>()?.map(RawValue::get);
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found.into_iter().collect())
    }
}

impl Scalar {
    /// Reads a JSON text; `None` if it is an object or an array.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        match text.as_bytes().first()? {
            b'n' => Some(Self::Null),
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            b'"' => serde_json::from_str::<Cow<str>>(text).ok().map(|text| Self::Text(text.into_owned())),
            b'-' | b'0'..=b'9' => Decimal::read(text).map(Self::Number),
            _ => None,
        }
    }
}

/// A decimal number as JSON writes it, of any size: equal numbers are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at its ends; empty for 0.
    digits: String,
    /// The power of ten by which the digits, as a whole number, are multiplied.
    exponent: i128,
}

impl Decimal {
    /// Reads a number of JSON; `None` if its exponent is beyond any use.
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = i128::try_from(digits.len() - significant.len()).ok()?;
        let exponent = i128::from(exponent) - i128::try_from(fraction.len()).ok()? + zeros;
        Some(Self { negative, digits: significant.into(), exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pointer: &str, equals: &str, data: &str) -> bool {
        JsonCondition::new(pointer, equals).unwrap().holds_in(data)
    }

    #[test]
    fn value_is_found_by_its_pointer() {
        let data = r#" {"a/b": {"m~n": [true, {"": "x"}, "\u00e9"]}, "~1": 3, "k": {"k": null}} "#;
        for (pointer, equals) in [
            ("/a~1b/m~0n/0", "true"),
            ("/a~1b/m~0n/1/", "\"x\""),
            ("/a~1b/m~0n/2", "\"é\""),
            ("/~01", "3"),
            ("/k/k", "null"),
        ] {
            assert!(holds(pointer, equals, data), "{pointer}");
        }
        for (pointer, equals) in [
            ("", "null"),
            ("/k", "null"),
            ("/k/k/k", "null"),
            ("/a~1b/m~0n/01", "true"),
            ("/a~1b/m~0n/-", "true"),
            ("/a~1b/m~0n/+0", "true"),
            ("/a~1b/m~0n/9", "null"),
            ("/~01/0", "3"),
            ("/nowhere", "null"),
        ] {
            assert!(!holds(pointer, equals, data), "{pointer}");
        }
        assert!(
            holds("", "7", "7") && holds("/a", "2", r#"{"a": 1, "a": 2}"#) && holds("/a", "1", r#"{"a": 1, "a": 2}"#)
        );
        assert!(holds("/a", "1", r#"{"\u0061": 1}"#), "an escaped name");
        let deep = format!("{{\"deep\": {}{}, \"a\": 1}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(holds("/a", "1", &deep));
    }

    #[test]
    fn scalars_are_compared_as_json_and_numbers_exactly() {
        for (a, b) in [("1", "1.0"), ("100", "1e2"), ("0.5", "5E-1"), ("-0", "0"), ("-1.50", "-15e-1"), ("0e9", "0.00")]
        {
            assert!(holds("", a, b) && holds("", b, a), "{a} {b}");
        }
        assert!(holds("", "\"a\\u0062\"", "\"ab\"") && holds("", " 1 ", "1"));
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000000001"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("0", "false"),
            ("null", "\"\""),
            ("10", "1"),
            ("1e400", "1e401"),
        ] {
            assert!(!holds("", a, b), "{a} {b}");
        }
        assert!(holds("", "1e400", "10e399"));
    }

    #[test]
    fn broken_conditions_are_refused_where_they_are_broken() {
        let refused = |pointer: &str, equals: &str| JsonCondition::new(pointer, equals).unwrap_err().pointer;
        for pointer in ["a", "/~", "/~2", "/a~", &format!("/{}", "x".repeat(1_024)), &"/a".repeat(65)] {
            assert_eq!(refused(pointer, "1"), "/pointer", "{pointer}");
        }
        for equals in ["{}", "[1]", &format!("\"{}\"", "x".repeat(4_096)), "1e99999999999999999999"] {
            assert_eq!(refused("/a", equals), "/equals", "{equals}");
        }
    }
}
