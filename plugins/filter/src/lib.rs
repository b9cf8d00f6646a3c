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
//! | test | holds if the field |
//! | --- | --- |
//! | `is`, `is_not` | is, or is not, this value: a string, a number, `true`, `false` or `null`. A missing field is no value, not even `null` |
//! | `one_of` | is one of the values of this list, which is not empty |
//! | `above`, `at_least`, `below` | is greater than, not less than, or less than this number, or this string by its characters, which works for dates |
//! | `contains` | is a string that contains this one, or a list with this value as an element |
//! | `exists` | exists (`true`) or is missing (`false`) |
//!
//! Numbers compare exactly, however they are spelt: `1` is `1.0`, and `18446744073709551615` is not `18446744073709551614`. If an
//! object has a name twice, the last member counts. A field whose value has another type than the test's is not an error: the
//! test does not hold, except `is_not`. Lists and objects are equal to nothing. Fields that no condition names may hold any JSON,
//! however deep or large. A test with a value that it cannot compare is refused with the config.
//!
//! The reason of a dropped event is the deciding condition. With the config above an `employees/employee/update` with
//! `"country": "ES", "active": true, "email": "nuria@example.org"` is sent; one with `"country": "FR"` is dropped:
//! `keep: {"field":"/country","one_of":["ES","PT"]} does not hold`.

mod condition;
mod number;
mod value;

use condition::Condition;
use posthaste_plugin::{Error, Event, Outcome, json};
use serde::Deserialize;

/// The conditions for sending an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    keep: Vec<Condition>,
    drop: Vec<Condition>,
}

/// Drops the event unless `keep` and `drop` let it pass.
///
/// # Errors
/// If the event's data is not JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let conditions = || config.keep.iter().chain(&config.drop);
    let found = json::get(&event.body, conditions().map(|condition| &condition.field))?;
    let mut held = conditions().zip(found).map(|(condition, found)| (condition, condition.holds(found)));
    let missed = held.by_ref().take(config.keep.len()).find(|(_, holds)| !holds);
    if let Some((condition, _)) = missed {
        return Ok(Outcome::drop(format!("keep: {} does not hold", serde_json::to_string(condition)?)));
    }
    match held.find(|(_, holds)| *holds) {
        Some((condition, _)) => Ok(Outcome::drop(format!("drop: {}", serde_json::to_string(condition)?))),
        None => Ok(Outcome::Pass),
    }
}

/// Refuses a config without conditions, and invalid conditions.
///
/// # Errors
/// The text names the condition.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.keep.is_empty() && config.drop.is_empty() {
        return Err("config: list what to `keep` or what to `drop`".into());
    }
    for (rule, conditions) in [("keep", &config.keep), ("drop", &config.drop)] {
        for (index, condition) in conditions.iter().enumerate() {
            condition.field.check_lookup()?;
            condition.check().map_err(|error| Error::new(format!("config: {rule}[{index}]: {error}")))?;
        }
    }
    Ok(())
}

posthaste_plugin::export!(transform, check);
