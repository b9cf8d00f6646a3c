//! jq's operators.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use super::{Failure, Members, Number, Value};

/// Bytes of a text that a repetition may give.
const MAX_REPEATED_BYTES: usize = 8 * 1024 * 1024;

type Found = Result<Value, Failure>;

fn cannot(one: &Value, other: &Value, be: &str) -> Found {
    Err(Failure::str(format_args!("{} and {} cannot be {be}", one.described(), other.described())))
}

/// Calculates exactly with integers of 64 bits, and with doubles otherwise.
fn calculate(
    one: &Number,
    other: &Number,
    exactly: fn(i64, i64) -> Option<i64>,
    roughly: fn(f64, f64) -> f64,
) -> Value {
    let exact = match (one, other) {
        (Number::Integer(one), Number::Integer(other)) => exactly(*one, *other),
        _ => None,
    };
    Value::Number(exact.map_or_else(|| Number::Float(roughly(one.as_f64(), other.as_f64())), Number::Integer))
}

impl Add for Value {
    type Output = Found;

    fn add(self, other: Self) -> Found {
        Ok(match (self, other) {
            (Self::Null, value) | (value, Self::Null) => value,
            (Self::Number(one), Self::Number(other)) => calculate(&one, &other, i64::checked_add, f64::add),
            (Self::Text(one), Self::Text(other)) => Self::Text([&*one, &*other].concat().into()),
            (Self::List(mut one), Self::List(other)) => {
                Rc::make_mut(&mut one).extend(other.iter().cloned());
                Self::List(one)
            }
            (Self::Object(mut one), Self::Object(other)) => {
                let added = other.iter().map(|(name, member)| (name.clone(), member.clone()));
                Rc::make_mut(&mut one).extend(added);
                Self::Object(one)
            }
            (one, other) => return cannot(&one, &other, "added"),
        })
    }
}

impl Sub for Value {
    type Output = Found;

    fn sub(self, other: Self) -> Found {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Ok(calculate(&one, &other, i64::checked_sub, f64::sub)),
            (Self::List(one), Self::List(other)) => {
                Ok(one.iter().filter(|element| !other.contains(element)).cloned().collect())
            }
            (one, other) => cannot(&one, &other, "subtracted"),
        }
    }
}

impl Mul for Value {
    type Output = Found;

    fn mul(self, other: Self) -> Found {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Ok(calculate(&one, &other, i64::checked_mul, f64::mul)),
            (Self::Text(text), Self::Number(times)) | (Self::Number(times), Self::Text(text)) => {
                repeated(&text, times.as_f64())
            }
            (Self::Object(one), Self::Object(other)) => Ok(Self::Object(merged(one, &other))),
            (one, other) => cannot(&one, &other, "multiplied"),
        }
    }
}

fn repeated(text: &str, times: f64) -> Found {
    if times.is_nan() || times <= 0.0 {
        return Ok(Value::Null);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
    let times = times.max(1.0) as usize;
    if text.len().saturating_mul(times) > MAX_REPEATED_BYTES {
        return Err(Failure::str("the repeated string is too long"));
    }
    Ok(Value::Text(text.repeat(times).into()))
}

fn merged(mut one: Rc<Members>, other: &Members) -> Rc<Members> {
    let members = Rc::make_mut(&mut one);
    for (name, added) in other {
        let member = match (members.get_mut(name).map(std::mem::take), added) {
            (Some(Value::Object(old)), Value::Object(added)) => Value::Object(merged(old, added)),
            _ => added.clone(),
        };
        members.insert(name.clone(), member);
    }
    one
}

impl Div for Value {
    type Output = Found;

    fn div(self, other: Self) -> Found {
        match (self, other) {
            (one @ Self::Number(_), other @ Self::Number(_)) if is_zero(&other) => {
                cannot(&one, &other, "divided because the divisor is zero")
            }
            (Self::Number(one), Self::Number(other)) => {
                let exactly =
                    |one: i64, other: i64| one.checked_div(other).filter(|_| one.checked_rem(other) == Some(0));
                Ok(calculate(&one, &other, exactly, f64::div))
            }
            (Self::Text(text), Self::Text(separator)) => Ok(split(&text, &separator)),
            (one, other) => cannot(&one, &other, "divided"),
        }
    }
}

fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Number(number) if number.as_f64() == 0.0)
}

fn split(text: &str, separator: &str) -> Value {
    match (text, separator) {
        ("", _) => Value::list(Vec::new()),
        (_, "") => text.chars().map(|character| Value::from(character.to_string())).collect(),
        _ => text.split(separator).map(Value::text).collect(),
    }
}

impl Rem for Value {
    type Output = Found;

    /// As in jq, both numbers lose their fractions first, and the result has the sign of the first.
    fn rem(self, other: Self) -> Found {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => {
                if one.as_f64().is_nan() || other.as_f64().is_nan() {
                    return Ok(Self::Number(Number::Float(f64::NAN)));
                }
                match truncated(&one).checked_rem(truncated(&other)) {
                    Some(rest) => Ok(Self::Number(Number::Integer(rest))),
                    // The smallest integer by -1.
                    None if truncated(&other) != 0 => Ok(Self::Number(Number::Integer(0))),
                    None => {
                        let be = "divided (remainder) because the divisor is zero";
                        cannot(&Self::Number(one), &Self::Number(other), be)
                    }
                }
            }
            (one, other) => cannot(&one, &other, "divided (remainder)"),
        }
    }
}

fn truncated(number: &Number) -> i64 {
    match number {
        Number::Integer(integer) => *integer,
        #[allow(clippy::cast_possible_truncation)] // It saturates.
        other => other.as_f64() as i64,
    }
}

impl Neg for Value {
    type Output = Found;

    fn neg(self) -> Found {
        match self {
            Self::Number(Number::Integer(integer)) if integer != 0 && integer != i64::MIN => {
                Ok(Self::Number(Number::Integer(-integer)))
            }
            Self::Number(Number::Spelt(json)) => Ok(Self::Number(Number::Spelt(match json.strip_prefix('-') {
                Some(positive) => positive.into(),
                None => format!("-{json}").into(),
            }))),
            Self::Number(number) => Ok(Self::Number(Number::Float(-number.as_f64()))),
            other => Err(Failure::str(format_args!("{} cannot be negated", other.described()))),
        }
    }
}
