//! The conditions of a config.

use std::cmp::Ordering;
use std::fmt;

use posthaste_plugin::Error;
use posthaste_plugin::json::Pointer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::number::Number;
use crate::value::Value;

/// A field and its tests. The tests have the order of their names, in which the reason of a dropped event shows them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    above: Option<Sortable>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    at_least: Option<Sortable>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    below: Option<Sortable>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    contains: Option<Scalar>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    pub(crate) field: Pointer,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    is: Option<Scalar>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    is_not: Option<Scalar>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    one_of: Option<Scalars>,
}

/// Reads a test that is given: `null` is a value like any other, and not a missing test.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Condition {
    /// Returns whether all tests hold for the field's value.
    pub(crate) fn holds(&self, found: Option<&str>) -> bool {
        let value = found.map(Value::of);
        let order = |want: &Scalar| value.as_ref()?.compare(&want.value());
        let is = |want: &Scalar| order(want) == Some(Ordering::Equal);
        let sorts = |want: &Option<Sortable>, fits: fn(Ordering) -> bool| {
            want.as_ref().is_none_or(|want| order(&want.0).is_some_and(fits))
        };
        self.is.as_ref().is_none_or(is)
            && self.is_not.as_ref().is_none_or(|want| !is(want))
            && self.one_of.as_ref().is_none_or(|list| list.0.iter().any(is))
            && sorts(&self.above, Ordering::is_gt)
            && sorts(&self.at_least, Ordering::is_ge)
            && sorts(&self.below, Ordering::is_lt)
            && self.contains.as_ref().is_none_or(|part| found.is_some_and(|found| part.is_in(found)))
            && self.exists.is_none_or(|exists| found.is_some() == exists)
    }

    /// Refuses a condition without a field or without a test.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.field.as_str().is_empty() {
            return Err("`field` is empty: name a field, as in `/country`".into());
        }
        let sorted = self.above.is_some() || self.at_least.is_some() || self.below.is_some();
        let equal = self.is.is_some() || self.is_not.is_some() || self.one_of.is_some();
        if sorted || equal || self.contains.is_some() || self.exists.is_some() {
            return Ok(());
        }
        Err(Error::new(format!("{} has no test; add one, such as `\"is\": \"ES\"`", serde_json::to_string(self)?)))
    }
}

/// A string, a number, `true`, `false` or `null`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
struct Scalar(Box<RawValue>);

impl Scalar {
    fn value(&self) -> Value<'_> {
        Value::of(self.0.get())
    }

    /// Returns whether this is an element of a list, or a part of a string.
    fn is_in(&self, found: &str) -> bool {
        let want = self.value();
        Value::of(found).contains(&want) || want.is_element_of(found)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = Self(Box::deserialize(deserializer)?);
        let json = scalar.0.get();
        let refused = match scalar.value() {
            Value::Nested => {
                "a list or an object cannot be compared: give a string, a number, `true`, `false` or `null`; \
                              `one_of` takes several of them"
            }
            Value::Number(_) if !Number::is_fit_for_config(json) => "the exponent of a number has at most nine digits",
            Value::Text(text) if std::str::from_utf8(&text).is_err() => {
                "the string has half a surrogate pair, which is no character"
            }
            _ => return Ok(scalar),
        };
        Err(de::Error::custom(refused))
    }
}

/// A number or a string.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
struct Sortable(Scalar);

impl<'de> Deserialize<'de> for Sortable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = Scalar::deserialize(deserializer)?;
        match scalar.value() {
            Value::Literal(literal) => {
                Err(de::Error::custom(format!("`{literal}` has no order: give a number or a string")))
            }
            _ => Ok(Self(scalar)),
        }
    }
}

/// At least one value.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
struct Scalars(Vec<Scalar>);

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ScalarsVisitor).map(Self)
    }
}

struct ScalarsVisitor;

impl<'de> Visitor<'de> for ScalarsVisitor {
    type Value = Vec<Scalar>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values, as in [\"ES\", \"PT\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(scalar) = seq.next_element()? {
            list.push(scalar);
        }
        if list.is_empty() { Err(de::Error::custom("the list is empty, so the test never holds")) } else { Ok(list) }
    }
}
