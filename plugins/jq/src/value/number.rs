//! Numbers: one that is only moved keeps its spelling.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

/// From here on, a number that was calculated is written with an exponent, as in jq.
const EXPONENT_FROM: f64 = 1e17;

/// A number.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    Integer(i64),
    /// The result of a calculation.
    Float(f64),
    /// The JSON of a number that is no `i64`, or would be written in another way.
    Spelt(Rc<str>),
}

impl Number {
    /// Reads the JSON of a number.
    pub(crate) fn read(json: &str) -> Self {
        match json.parse() {
            Ok(integer) if json != "-0" => Self::Integer(integer),
            _ => Self::Spelt(json.into()),
        }
    }

    /// Returns the nearest double: infinite if the number is beyond all doubles.
    pub(crate) fn as_f64(&self) -> f64 {
        match self {
            #[allow(clippy::cast_precision_loss)] // jq calculates with doubles.
            Self::Integer(integer) => *integer as f64,
            Self::Float(float) => *float,
            Self::Spelt(json) => json.parse().unwrap_or(f64::NAN),
        }
    }

    /// Returns the number if it is an integer of at most 128 bits, whatever its spelling.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(i128::from(*integer)),
            Self::Float(float) => exact_integer(*float),
            Self::Spelt(json) => json.parse().ok().or_else(|| exact_integer(self.as_f64())),
        }
    }

    /// Returns the number as an index, rounded down as jq does.
    pub(crate) fn as_index(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            other => {
                let float = other.as_f64().floor();
                #[allow(clippy::cast_possible_truncation)] // It saturates.
                (!float.is_nan()).then_some(float as i64)
            }
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Self::Float(float) => float.is_finite(),
            _ => true,
        }
    }
}

/// Returns the integer that a double stands for, if it is one that doubles count exactly.
fn exact_integer(float: f64) -> Option<i128> {
    #[allow(clippy::cast_possible_truncation)] // The range is checked.
    (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i128)
}

impl Ord for Number {
    /// Integers compare exactly, all other numbers as doubles. NaN is less than every number, as in jq.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.as_integer(), other.as_integer()) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => {
                let (one, other) = (self.as_f64(), other.as_f64());
                one.partial_cmp(&other).unwrap_or(if one.is_nan() { Ordering::Less } else { Ordering::Greater })
            }
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// Writes JSON. A double that JSON does not have is `null`, or the largest that there is, as in jq.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Spelt(json) => f.write_str(json),
            Self::Float(float) if float.is_nan() => f.write_str("null"),
            Self::Float(float) if float.is_infinite() => write!(f, "{:e}", f64::MAX.copysign(*float)),
            Self::Float(float) if float.abs() < EXPONENT_FROM && (float.abs() >= 1e-5 || *float == 0.0) => {
                write!(f, "{float}")
            }
            Self::Float(float) => write!(f, "{float:e}"),
        }
    }
}
