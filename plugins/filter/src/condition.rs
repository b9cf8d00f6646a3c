//! One condition: a field, and what has to be so of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use posthaste_plugin::Error;
use posthaste_plugin::json::Pointer;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Condition {
    field: Pointer,
    #[serde(flatten)]
    tests: BTreeMap<String, Value>,
}

impl Condition {
    pub(crate) fn holds(&self, data: &Value) -> bool {
        let found = data.pointer(self.field.as_str());
        self.tests.iter().all(|(test, want)| holds(test, want, found) == Some(true))
    }

    /// Refuses a condition without a test, and a test that is not in the table. `rule` is for the error's text.
    pub(crate) fn check(&self, rule: &str) -> Result<(), Error> {
        let at = format!("config: {rule}: `{}`", self.field.as_str());
        if self.tests.is_empty() {
            return Err(format!("{at}: say what has to be so of it, such as `\"is\": \"ES\"`").into());
        }
        match self.tests.iter().find(|(test, want)| holds(test, want, None).is_none()) {
            Some((test, want)) => Err(format!("{at}: there is no test `{test}`, or it does not go with {want}").into()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.field.as_str())?;
        self.tests.iter().try_for_each(|(test, want)| write!(f, " {test} {want}"))
    }
}

/// The table of tests. `None`: there is no such test, or it does not go with `want`.
fn holds(test: &str, want: &Value, found: Option<&Value>) -> Option<bool> {
    let is = |want| found.is_some_and(|found| same(found, want));
    let ordered = matches!(want, Value::Number(_) | Value::String(_));
    let order = found.and_then(|found| order(found, want));
    Some(match (test, want) {
        ("is", _) => is(want),
        ("is_not", _) => !is(want),
        ("one_of", Value::Array(list)) => list.iter().any(is),
        ("above", _) if ordered => order.is_some_and(Ordering::is_gt),
        ("at_least", _) if ordered => order.is_some_and(Ordering::is_ge),
        ("at_most", _) if ordered => order.is_some_and(Ordering::is_le),
        ("below", _) if ordered => order.is_some_and(Ordering::is_lt),
        ("starts_with", Value::String(start)) => {
            found.and_then(Value::as_str).is_some_and(|text| text.starts_with(start))
        }
        ("contains", _) => match found {
            Some(Value::String(text)) => want.as_str().is_some_and(|part| text.contains(part)),
            Some(Value::Array(list)) => list.iter().any(|value| same(value, want)),
            _ => false,
        },
        ("exists", Value::Bool(exists)) => found.is_some() == *exists,
        _ => return None,
    })
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || order(left, right) == Some(Ordering::Equal)
}

/// How two numbers or two strings compare; nothing else does.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i128(), right.as_i128()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        _ => None,
    }
}
