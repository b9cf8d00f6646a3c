//! Numbers that keep their spelling, and exact decimal arithmetic.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value};

/// Digits after the point that a quotient gets at most before it is rounded to a double.
const MAX_QUOTIENT_SCALE: u32 = 20;

/// A number that is not a plain integer, as JSON spells it: `2.50`, `1e400`.
#[derive(Debug)]
pub(crate) struct Number(String);

impl Number {
    /// Returns the value of a JSON number: an integer of the engine, or its spelling.
    pub(crate) fn value(json: &str) -> Value {
        match json.parse::<i128>() {
            Ok(integer) if json != "-0" => i64::try_from(integer).map_or_else(|_| Value::from(integer), Value::from),
            _ => Value::from_object(Self(json.to_owned())),
        }
    }

    /// Returns the number as JSON.
    pub(crate) fn json(&self) -> &str {
        &self.0
    }
}

impl Object for Number {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        Numeric::read(&self.0).compare(&Numeric::Exact(Decimal { digits: 0, scale: 0 })) != Ordering::Equal
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(Numeric::read(&self.0).compare(&Numeric::read(&other.0)))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An exact decimal number: `digits` divided by ten to the power of `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: i128,
    scale: u32,
}

/// A number for arithmetic: exact as long as 38 digits hold it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numeric {
    Exact(Decimal),
    Double(f64),
}

/// The operators of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideDown,
    Remainder,
    Power,
}

impl Decimal {
    /// Reads a JSON number; `None` if 38 digits do not hold it.
    fn read(json: &str) -> Option<Self> {
        let (plain, exponent) = match json.split_once(['e', 'E']) {
            Some((plain, exponent)) => (plain, exponent.parse::<i32>().ok()?),
            None => (json, 0),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) if scale <= 60 => Some(Self { digits, scale }),
            Ok(_) => None,
            Err(_) => Some(Self { digits: digits.checked_mul(power_of_ten(scale.unsigned_abs())?)?, scale: 0 }),
        }
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.digits.checked_mul(power_of_ten(scale.checked_sub(self.scale)?)?)
    }

    /// Returns both numbers' digits at one scale.
    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.at_scale(scale)?, other.at_scale(scale)?, scale))
    }

    fn calculate(self, operation: Operation, other: Self) -> Option<Self> {
        let (one, two, scale) = self.aligned(other)?;
        let exact = |digits, scale| Some(Self { digits, scale });
        match operation {
            Operation::Add => exact(one.checked_add(two)?, scale),
            Operation::Subtract => exact(one.checked_sub(two)?, scale),
            Operation::Multiply => exact(self.digits.checked_mul(other.digits)?, self.scale + other.scale),
            Operation::Divide => quotient(one, two),
            Operation::DivideDown => exact(floor_quotient(one, two)?, 0),
            Operation::Remainder => exact(one.checked_sub(floor_quotient(one, two)?.checked_mul(two)?)?, scale),
            Operation::Power => {
                let exponent = u32::try_from(other.digits).ok().filter(|_| other.scale == 0)?;
                exact(self.digits.checked_pow(exponent)?, self.scale.checked_mul(exponent)?)
            }
        }
    }

    /// Rounds to this many digits after the point, halves away from zero.
    pub(crate) fn rounded(self, scale: u32, rounding: Rounding) -> Option<Self> {
        if scale >= self.scale {
            return Some(Self { digits: self.at_scale(scale)?, scale });
        }
        let unit = power_of_ten(self.scale - scale)?;
        let down = floor_quotient(self.digits, unit)?;
        let rest = self.digits - down * unit;
        let up = match rounding {
            Rounding::Down => false,
            Rounding::Up => rest > 0,
            Rounding::Half if self.digits < 0 => rest > unit - rest,
            Rounding::Half => rest >= unit - rest,
        };
        Some(Self { digits: down + i128::from(up), scale })
    }

    /// Removes zeros at the end of the fraction.
    pub(crate) fn shortest(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }
}

/// How a number is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Half,
    Up,
    Down,
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

fn floor_quotient(one: i128, two: i128) -> Option<i128> {
    let quotient = one.checked_div(two)?;
    Some(if one % two != 0 && (one < 0) != (two < 0) { quotient - 1 } else { quotient })
}

/// Divides exactly; `None` if the quotient has too many digits.
fn quotient(mut one: i128, two: i128) -> Option<Decimal> {
    for scale in 0..=MAX_QUOTIENT_SCALE {
        if one.checked_rem(two)? == 0 {
            return Some(Decimal { digits: one / two, scale });
        }
        one = one.checked_mul(10)?;
    }
    None
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::try_from(self.scale).unwrap_or_default();
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.digits.unsigned_abs(), width = scale + 1);
        match digits.split_at_checked(digits.len() - scale) {
            Some((whole, fraction)) if scale > 0 => write!(f, "{sign}{whole}.{fraction}"),
            _ => write!(f, "{sign}{digits}"),
        }
    }
}

impl Numeric {
    fn read(json: &str) -> Self {
        Decimal::read(json).map_or_else(|| Self::Double(json.parse().unwrap_or(f64::NAN)), Self::Exact)
    }

    /// Returns the number of a value; `None` if it is no number.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        if let Some(number) = value.downcast_object_ref::<Number>() {
            return Some(Self::read(&number.0));
        }
        if !value.is_number() {
            return None;
        }
        match i128::try_from(value.clone()) {
            Ok(digits) if value.is_integer() => Some(Self::Exact(Decimal { digits, scale: 0 })),
            _ => f64::try_from(value.clone()).ok().map(|double| Self::read(&double.to_string())),
        }
    }

    /// Reads a number from text, as JSON spells it.
    pub(crate) fn parse(text: &str) -> Option<Value> {
        let text = text.trim();
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_json = is_number && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        is_json.then(|| Number::value(text))
    }

    pub(crate) fn decimal(self) -> Option<Decimal> {
        match self {
            Self::Exact(decimal) => Some(decimal),
            Self::Double(double) => Decimal::read(&double.to_string()),
        }
    }

    pub(crate) fn double(self) -> f64 {
        match self {
            Self::Exact(decimal) => decimal.to_string().parse().unwrap_or(f64::NAN),
            Self::Double(double) => double,
        }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        if let (Self::Exact(one), Self::Exact(two)) = (self, other)
            && let Some((one, two, _)) = one.aligned(*two)
        {
            return one.cmp(&two);
        }
        self.double().total_cmp(&other.double())
    }

    /// Calculates exactly if 38 digits hold the result, and with doubles otherwise.
    pub(crate) fn calculate(self, operation: Operation, other: Self) -> Result<Value, Error> {
        let divides = matches!(operation, Operation::Divide | Operation::DivideDown | Operation::Remainder);
        if divides && other.double() == 0.0 {
            return Err(Error::new(ErrorKind::InvalidOperation, "division by zero"));
        }
        if let (Self::Exact(one), Self::Exact(two)) = (self, other)
            && let Some(exact) = one.calculate(operation, two)
        {
            return Ok(exact.into());
        }
        let (one, two) = (self.double(), other.double());
        Self::Double(match operation {
            Operation::Add => one + two,
            Operation::Subtract => one - two,
            Operation::Multiply => one * two,
            Operation::Divide => one / two,
            Operation::DivideDown => (one / two).floor(),
            Operation::Remainder => one - (one / two).floor() * two,
            Operation::Power => one.powf(two),
        })
        .checked()
    }

    fn checked(self) -> Result<Value, Error> {
        match self {
            Self::Exact(decimal) => Ok(decimal.into()),
            Self::Double(double) if double.is_finite() => Ok(Value::from(double)),
            Self::Double(_) => Err(Error::new(ErrorKind::InvalidOperation, "the result is too large for a number")),
        }
    }
}

impl From<Decimal> for Value {
    fn from(decimal: Decimal) -> Self {
        Number::value(&decimal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(one: &str, operation: Operation, two: &str) -> String {
        let numeric = |json| Numeric::of(&Number::value(json)).unwrap();
        match numeric(one).calculate(operation, numeric(two)) {
            Ok(value) => value.to_string(),
            Err(error) => error.detail().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn arithmetic_is_exact() {
        use Operation::{Add, Divide, DivideDown, Multiply, Power, Remainder, Subtract};
        for (one, operation, two, expected) in [
            ("0.1", Add, "0.2", "0.3"),
            ("2.50", Multiply, "3", "7.50"),
            ("1999", Divide, "100", "19.99"),
            ("1900", Divide, "100", "19"),
            ("10", Divide, "4", "2.5"),
            ("1", Divide, "3", "0.3333333333333333"),
            ("-7", DivideDown, "2", "-4"),
            ("-7", Remainder, "2", "1"),
            ("7.5", Remainder, "2", "1.5"),
            ("1.1", Power, "2", "1.21"),
            ("12345678901234567890.10", Subtract, "0.10", "12345678901234567890.00"),
            ("5e2", Add, "1", "501"),
            ("1", Divide, "0.0", "division by zero"),
            ("1e400", Multiply, "2", "the result is too large for a number"),
            ("-0.05", Add, "0", "-0.05"),
        ] {
            assert_eq!(result(one, operation, two), expected, "{one} {operation:?} {two}");
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        let compare = |one, two| Numeric::read(one).compare(&Numeric::read(two));
        assert_eq!(compare("1.0", "1"), Ordering::Equal);
        assert_eq!(compare("18446744073709551615", "18446744073709551614.9"), Ordering::Greater);
        assert_eq!(compare("-1e3", "2"), Ordering::Less);
        assert_eq!(compare("1e400", "1e39"), Ordering::Greater);
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let rounded =
            |json, scale, rounding| Decimal::read(json).unwrap().rounded(scale, rounding).unwrap().to_string();
        assert_eq!(rounded("2.345", 2, Rounding::Half), "2.35");
        assert_eq!(rounded("-2.345", 2, Rounding::Half), "-2.35");
        assert_eq!(rounded("-2.344", 2, Rounding::Half), "-2.34");
        assert_eq!(rounded("2.5", 2, Rounding::Half), "2.50");
        assert_eq!(rounded("2.1", 0, Rounding::Up), "3");
        assert_eq!(rounded("-2.1", 0, Rounding::Down), "-3");
    }
}
