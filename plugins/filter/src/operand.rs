//! The values that tests compare with.

use std::fmt;

use posthaste_pattern::Case;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::number::Number;
use crate::value::Value;

/// A string, a number, `true`, `false` or `null`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Scalar(Box<RawValue>);

impl Scalar {
    /// The value as JSON.
    pub(crate) fn json(&self) -> &str {
        self.0.get()
    }

    /// The value for comparisons.
    pub(crate) fn value(&self, case: Case) -> Value<'_> {
        Value::of(self.json()).in_case(case)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = Self(Box::deserialize(deserializer)?);
        let json = scalar.json();
        let refused = match scalar.value(Case::Kept) {
            Value::Nested => {
                "a list or an object cannot be compared: give a string, a number, `true`, `false` or `null`; `one_of` \
                 takes several of them, and `contains` and a `*` in `field` look into a list"
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
pub(crate) struct Sortable(Scalar);

impl<'de> Deserialize<'de> for Sortable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = Scalar::deserialize(deserializer)?;
        match scalar.value(Case::Kept) {
            Value::Literal(literal) => {
                Err(de::Error::custom(format!("`{literal}` has no order: give a number or a string")))
            }
            _ => Ok(Self(scalar)),
        }
    }
}

impl Sortable {
    /// The number or string.
    pub(crate) fn scalar(&self) -> &Scalar {
        &self.0
    }
}

/// At least one value.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Scalars(Vec<Scalar>);

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ScalarsVisitor).map(Self)
    }
}

impl Scalars {
    /// Returns the values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Scalar> {
        self.0.iter()
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
