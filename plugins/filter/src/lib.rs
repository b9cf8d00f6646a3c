//! `filter`: sends only events for which every condition of `keep` holds and no condition of `drop` holds.
//!
//! ```json
//! {
//!   "keep": [{"any": [{"field": "/country", "one_of": ["ES", "PT"]}, {"field": "/city", "is": "lyon", "ignore_case": true}]}],
//!   "drop": [{"field": "/emails/*", "matches": "@example\\.(com|org)$"}]
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
//! | `above`, `at_least`, `at_most`, `below` | is greater, greater or equal, less or equal, or less than this number, or this string by its characters, which works for dates |
//! | `contains` | is a string that contains this one, or a list with this value as an element |
//! | `matches` | is a string of which a part matches this regular expression |
//! | `exists` | exists (`true`) or is missing (`false`) |
//!
//! With `"ignore_case": true`, `is`, `is_not`, `one_of`, `contains` and `matches` do not tell upper and lower case apart.
//!
//! In place of a field and tests, a condition may have other conditions: `{"any": […]}` holds if at least one of them holds,
//! `{"all": […]}` if all do, and `{"not": …}` if that one does not. They may be eight deep.
//!
//! In `field`, `*` in place of a name stands for every element of a list and every member of an object. `exists` and `is_not` are
//! about all of these values together: `is_not` holds if none of them is the given one. The other tests hold if one of the values
//! meets all of them.
//!
//! Numbers compare exactly, however they are spelt: `1` is `1.0`, and `18446744073709551615` is not `18446744073709551614`. If an
//! object has a name twice, the last member counts. A field whose value has another type than the test's is not an error: the
//! test does not hold, except `is_not`. Lists and objects are equal to nothing. Fields that no condition names may hold any JSON,
//! however deep or large. A test with a value that it cannot compare, and tests that exclude each other, are refused with the
//! config.
//!
//! The reason of a dropped event is the deciding condition, such as
//! `keep: {"field":"/country","one_of":["ES","PT"]} does not hold`.

mod condition;
mod contradiction;
mod field;
mod number;
mod operand;
mod value;

use condition::{Condition, Found};
use posthaste_plugin::{Error, Event, Outcome, json};
use serde::Deserialize;

/// Conditions of a config, those within others among them.
const MAX_CONDITIONS: usize = 1_000;
/// Bytes of all compiled patterns of a config.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

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
    let mut heads = Vec::new();
    config.keep.iter().chain(&config.drop).for_each(|condition| condition.heads(&mut heads));
    heads.sort_unstable();
    heads.dedup();
    let values = json::get(&event.body, heads.iter().copied())?;
    let found: Found = heads.into_iter().zip(values).filter_map(|(head, value)| Some((head, value?))).collect();
    if let Some(condition) = config.keep.iter().find(|condition| !condition.holds(&found)) {
        return Ok(Outcome::drop(format!("keep: {} does not hold", serde_json::to_string(condition)?)));
    }
    match config.drop.iter().find(|condition| condition.holds(&found)) {
        Some(condition) => Ok(Outcome::drop(format!("drop: {}", serde_json::to_string(condition)?))),
        None => Ok(Outcome::Pass),
    }
}

/// Refuses a config without conditions, and one with too many.
///
/// # Errors
/// The text says what to change.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.keep.is_empty() && config.drop.is_empty() {
        return Err("config: list what to `keep` or what to `drop`".into());
    }
    let sizes = config.keep.iter().chain(&config.drop).map(Condition::size);
    let (conditions, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    if conditions > MAX_CONDITIONS {
        return Err(Error::new(format!(
            "config: {conditions} conditions; at most {MAX_CONDITIONS} are allowed: `one_of` takes many values"
        )));
    }
    if bytes > MAX_PATTERN_BYTES {
        return Err("config: the patterns of `matches` are too large together: use fewer or simpler ones".into());
    }
    Ok(())
}

posthaste_plugin::export!(transform, check);
