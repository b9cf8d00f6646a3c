//! `filter`: sends only events for which every condition of `keep` holds and no condition of `drop` holds.
//!
//! ```json
//! {
//!   "keep": [{"field": "/country", "one_of": ["ES", "PT"]}, {"field": "/active", "is": true}],
//!   "drop": [{"field": "/email", "contains": "@example.com"}]
//! }
//! ```
//!
//! At least one of `keep` and `drop` is required. A condition names a `field` of the event's data with a JSON Pointer (RFC 6901)
//! and has one or more tests, all of which must hold:
//!
//! | | holds if the field |
//! | --- | --- |
//! | `is`, `is_not` | is, or is not, this value; `1` is `1.0`; a missing field is no value, not even `null` |
//! | `one_of` | is one of the values of this list |
//! | `above`, `at_least`, `below` | compares so with this number, or with this string by its characters, which works for dates |
//! | `contains` | is a string that contains this one, or a list that contains this value |
//! | `exists` | exists (`true`) or is missing (`false`) |
//!
//! A value of another type is not an error: the condition does not hold. The reason of a dropped event is the deciding
//! condition. With the config above an `employees/employee/update` with `"country": "ES", "active": true, "email":
//! "nuria@example.org"` is sent; one with `"country": "FR"` is dropped: `keep: {"field":"/country","one_of":["ES","PT"]} does not hold`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use posthaste_plugin::{Error, Event, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};

type Condition = BTreeMap<String, Value>;

/// The conditions for sending an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    keep: Vec<Condition>,
    drop: Vec<Condition>,
}

/// Returns whether a condition holds. `None` if it is not a valid condition.
fn holds(condition: &Condition, data: &Value) -> Option<bool> {
    let field = condition.get("field")?.as_str().filter(|field| field.starts_with('/') && condition.len() > 1)?;
    let mut tests = condition.iter().filter(|(name, _)| *name != "field");
    tests.try_fold(true, |all, (test, want)| Some(test_holds(test, want, data.pointer(field))? && all))
}

/// Evaluates one test. `None` if there is no such test, or it does not accept `want`.
fn test_holds(test: &str, want: &Value, found: Option<&Value>) -> Option<bool> {
    let is = |want: &Value| found.is_some_and(|found| found == want || order(found, want) == Some(Ordering::Equal));
    let order = found.and_then(|found| order(found, want));
    Some(match (test, want, found) {
        ("is", ..) => is(want),
        ("is_not", ..) => !is(want),
        ("one_of", Value::Array(list), _) => list.iter().any(is),
        ("above", Value::Number(_) | Value::String(_), _) => order.is_some_and(Ordering::is_gt),
        ("at_least", Value::Number(_) | Value::String(_), _) => order.is_some_and(Ordering::is_ge),
        ("below", Value::Number(_) | Value::String(_), _) => order.is_some_and(Ordering::is_lt),
        ("contains", _, Some(Value::String(text))) => want.as_str().is_some_and(|part| text.contains(part)),
        ("contains", _, found) => found.and_then(Value::as_array).is_some_and(|list| list.contains(want)),
        ("exists", Value::Bool(exists), _) => found.is_some() == *exists,
        _ => return None,
    })
}

/// Compares two numbers or two strings; no other values have an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ if left.is_i64() && right.is_i64() => Some(left.as_i64().cmp(&right.as_i64())),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// Drops the event unless `keep` and `drop` let it pass.
///
/// # Errors
/// If the event's data is nested more than 128 levels deep.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let data = event.value()?;
    let missed = config.keep.iter().find(|condition| holds(condition, &data) != Some(true));
    let hit = config.drop.iter().find(|condition| holds(condition, &data) == Some(true));
    let reason = missed.map(|condition| format!("keep: {} does not hold", json!(condition)));
    let reason = reason.or_else(|| hit.map(|condition| format!("drop: {}", json!(condition))));
    Ok(reason.map_or(Outcome::Pass, Outcome::drop))
}

/// Refuses a config without conditions, and invalid conditions.
///
/// # Errors
/// The text shows the condition.
pub fn check(config: &Config) -> Result<(), Error> {
    let mut conditions = config.keep.iter().chain(&config.drop).peekable();
    conditions.peek().ok_or("config: list what to `keep` or what to `drop`")?;
    conditions.find(|condition| holds(condition, &Value::Null).is_none()).map_or(Ok(()), |bad| {
        let how = "a condition has a `field`, a JSON Pointer, and a test such as \"is\" with a value that goes with it";
        Err(format!("config: {} is no condition: {how}", json!(bad)).into())
    })
}

posthaste_plugin::export!(transform, check);
