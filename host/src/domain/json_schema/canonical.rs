//! Equality of JSON values, and the order of numbers: 1 and 1.0 are the same.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Returns the value as an integer, if it is a whole number within the range.
fn integer(number: &Number) -> Option<i128> {
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    exact.or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e36)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is a whole number within the range of i128")]
        Some(float as i128)
    })
}

/// Returns whether the number is whole.
pub(super) fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// Compares two numbers.
pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    match integer(a).zip(integer(b)) {
        Some((a, b)) => a.cmp(&b),
        None => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// Returns whether a number is a multiple of another, which is greater than 0.
pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    if let Some((number, of)) = integer(number).zip(integer(of)) {
        return of == 0 || number % of == 0;
    }
    let (number, of) = (number.as_f64().unwrap_or_default(), of.as_f64().unwrap_or(1.0));
    let quotient = number / of;
    if !quotient.is_finite() {
        return number % of == 0.0;
    }
    // Decimal fractions are not exact: 0.3 is no exact multiple of 0.1.
    (quotient - quotient.round()).abs() <= quotient.abs().max(1.0) * 1e-12
}

/// Writes a value so that equal ones have equal texts, for as long as `go_on` allows, with the least number of bytes that the text
/// will have, and the number of values that are looked at next. Returns false if it did not.
pub(super) fn write<E>(
    value: &Value,
    to: &mut String,
    go_on: &mut impl FnMut(usize, usize) -> Result<bool, E>,
) -> Result<bool, E> {
    // A member takes five bytes at least: `"0":0,`.
    let (inside, least) = match value {
        Value::Array(items) => (items.len(), 2),
        Value::Object(members) => (members.len(), 5),
        _ => (0, 0),
    };
    if !go_on(to.len() + inside * least, inside + 1)? {
        return Ok(false);
    }
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(true) => to.push_str("true"),
        Value::Bool(false) => to.push_str("false"),
        Value::Number(number) => {
            let _ = match integer(number) {
                Some(integer) => write!(to, "{integer}"),
                None => write!(to, "{number}"),
            };
        }
        // The length in front makes the text unambiguous without escapes.
        Value::String(text) => {
            let _ = write!(to, "\"{}\"{text}", text.len());
        }
        Value::Array(items) => {
            to.push('[');
            for item in items {
                if !write(item, to, go_on)? {
                    return Ok(false);
                }
                to.push(',');
            }
            to.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            to.push('{');
            for (name, member) in members {
                let _ = write!(to, "\"{}\"{name}:", name.len());
                if !write(member, to, go_on)? {
                    return Ok(false);
                }
                to.push(',');
            }
            to.push('}');
        }
    }
    Ok(true)
}

/// Returns the whole canonical text of a value.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    let _ = write(value, &mut text, &mut |_, _| Ok::<_, std::convert::Infallible>(true));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn equal_values_have_equal_texts_and_others_do_not() {
        for (a, b) in [
            (json!(1), json!(1.0)),
            (json!(0), json!(-0.0)),
            (json!({"a": [1e3], "b": 2}), json!({"b": 2.0, "a": [1000]})),
        ] {
            assert_eq!(text(&a), text(&b));
        }
        let different = [
            json!(null),
            json!(false),
            json!(0),
            json!("0"),
            json!([0]),
            json!([[0]]),
            json!([]),
            json!({}),
            json!("null"),
            json!([1, 2]),
            json!([12]),
            json!(["1,"]),
            json!({"a": 0}),
            json!({"a": false}),
            json!("a"),
            json!(0.5),
        ];
        for (index, a) in different.iter().enumerate() {
            assert!(different.iter().skip(index + 1).all(|b| text(a) != text(b)), "{a}");
        }
        assert_eq!(text(&json!(1e19)), text(&json!(10_000_000_000_000_000_000_u64)));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(compare(&number("1"), &number("1.0")), Ordering::Equal);
        assert_eq!(compare(&number("9007199254740993"), &number("9007199254740992")), Ordering::Greater);
        assert_eq!(compare(&number("-0.5"), &number("0")), Ordering::Less);
        for (value, of, expected) in [
            ("10", "5", true),
            ("7", "5", false),
            ("4.5", "1.5", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("1e308", "0.123456789", false),
            ("0", "0.1", true),
            ("0.3", "0.1", true),
        ] {
            assert_eq!(is_multiple(&number(value), &number(of)), expected, "{value} {of}");
        }
    }
}
