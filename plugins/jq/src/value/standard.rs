//! What jaq's standard library asks of values.

use std::ops::Range;
use std::rc::Rc;

use super::{Failure, Number, Value};

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Self::List(list) => Ok(Rc::unwrap_or_clone(list).into_iter().collect()),
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Number(number) if number.as_integer().is_some())
    }

    fn as_isize(&self) -> Option<isize> {
        match self {
            Self::Number(number) => number.as_integer()?.try_into().ok(),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self::from_utf8_bytes(part.to_vec())
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::Text(String::from_utf8_lossy(bytes.as_ref()).into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<isize> for Value {
    fn from(integer: isize) -> Self {
        // No platform has an `isize` of more than 64 bits.
        Self::Number(Number::Integer(i64::try_from(integer).unwrap_or(i64::MAX)))
    }
}

impl From<usize> for Value {
    fn from(integer: usize) -> Self {
        Self::Number(Number::Integer(i64::try_from(integer).unwrap_or(i64::MAX)))
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Number(Number::Float(float))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// A slice in a path.
impl From<Range<Option<Value>>> for Value {
    fn from(bounds: Range<Option<Value>>) -> Self {
        let bound = |bound: Option<Self>| bound.unwrap_or(Self::Null);
        let bounds = [("start", bound(bounds.start)), ("end", bound(bounds.end))];
        Self::object(bounds.into_iter().map(|(name, bound)| (name.into(), bound)).collect())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(elements: I) -> Self {
        Self::list(elements.into_iter().collect())
    }
}

/// The error of a filter that needs another kind of value.
pub(crate) fn not_a(kind: &str, value: &Value) -> Failure {
    Failure::str(format_args!("{} is no {kind}", value.described()))
}
