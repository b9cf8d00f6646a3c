//! `mask`: replaces values that a webhook must not send by a mask.
//!
//! ```json
//! {"fields": ["/bank_number", "/dependents/*/iban"], "keys": ["*_token"], "with": "***", "missing": "fail", "keep_last": 4, "matches": ["[^@ ]+@"]}
//! ```
//!
//! At least one of `fields`, `keys` and `matches` selects what is masked. A value may be an object or a list.
//!
//! * `fields` are JSON Pointers (RFC 6901), in which the name `*` stands for any element of a list and any member of an object.
//! * `keys` are names of members, wherever in the data they are. `*` in a name stands for any characters. Case matters.
//! * `matches` are regular expressions in the syntax of the crate `regex`. Of the strings that are not masked as a whole, the
//!   parts that match are masked. Parts that overlap are one part. Names are not searched.
//!
//! A selected value is replaced by the string `with`, `***` by default. Every other byte stays as published, whatever JSON it is. If
//! an object has a key twice, both values are masked, however the keys are spelt.
//!
//! With `keep_last`, the last characters of a string follow the mask, or the last digits of a number; no more than half of the value:
//! a shorter one is masked as a whole, like any other value.
//!
//! A field or key that masks nothing is not an error, but a warning in the attempt's log names it; an event without any of them
//! passes as it is. With `"missing": "fail"`, it fails the attempt, so that nothing is sent.
//!
//! A pointer that its author would mean differently is refused with the config, because it would mask nothing: `*` as a part of a
//! name, `-` and `[0]`, which other path languages have and JSON Pointers do not. To mask a member that is really called so, mask
//! the object that contains it.
//!
//! With `{"fields": ["/bank_number", "/social_security_number"]}`, `employees/employee/update`
//!
//! ```json
//! {"id": "4182", "bank_number": "ES9121000418450200051332", "social_security_number": "281234567840", "city": "Barcelona"}
//! ```
//!
//! is sent as
//!
//! ```json
//! {"id": "4182", "bank_number": "***", "social_security_number": "***", "city": "Barcelona"}
//! ```

mod config;
mod edits;
mod keep_last;
mod matches;

use posthaste_plugin::json::{self, Matching};
use posthaste_plugin::{Error, Event, Outcome, log};

pub use config::{Config, Missing, check};
pub use keep_last::KeepLast;
pub use matches::Expression;

/// Fields and keys that one text names.
const MAX_NAMED: usize = 8;
/// Characters of each in a text; the host keeps 1 KiB of a line.
const MAX_NAMED_CHARS: usize = 80;

/// Masks the values.
///
/// # Errors
/// If the event's data is not JSON, or a field or a key masks nothing and the config does not ignore that.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let found = json::find_matching(&event.body, &config.fields, &config.keys)?;
    let missing = missing(&found);
    match config.missing {
        Missing::Fail if !missing.is_empty() => {
            let list = listed(&missing);
            return Err(Error::new(format!("not in the data, and `missing` is `fail`, so nothing is sent: {list}")));
        }
        Missing::Ignore if !missing.is_empty() => {
            log::warn(format!("not in the data, so not masked: {}", listed(&missing)));
        }
        Missing::Ignore | Missing::Fail => {}
    }
    let edits = config.edits(&event.body, found.ranges)?;
    if edits.is_empty() {
        return Ok(Outcome::Pass);
    }
    Ok(Outcome::replace(json::edit_ranges(&event.body, edits)))
}

/// Returns the fields and keys that mask nothing, each after what it is.
fn missing<'p>(found: &Matching<'p>) -> Vec<(&'static str, &'p str)> {
    let fields = found.missing_pointers.iter().map(|field| ("", field.as_str()));
    fields.chain(found.missing_keys.iter().map(|key| ("key ", key.as_str()))).collect()
}

/// Lists fields and keys, cut to the length of a log line.
fn listed(missing: &[(&str, &str)]) -> String {
    let named = missing.iter().take(MAX_NAMED).map(|(what, text)| {
        let cut = text.char_indices().nth(MAX_NAMED_CHARS).and_then(|(at, _)| text.get(..at));
        cut.map_or_else(|| format!("{what}`{text}`"), |start| format!("{what}`{start}…`"))
    });
    let mut list = named.collect::<Vec<_>>().join(", ");
    if let Some(others) = missing.len().checked_sub(MAX_NAMED).filter(|others| *others > 0) {
        list.push_str(&format!(" and {others} more"));
    }
    list
}

posthaste_plugin::export!(transform, check);
