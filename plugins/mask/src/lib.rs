//! `mask`: replaces fields that a webhook must not send by a mask.
//!
//! ```json
//! {"fields": ["/bank_number", "/social_security_number"], "with": "***"}
//! ```
//!
//! `fields` are JSON Pointers (RFC 6901) into the event's data. The value there, which may be an object or a list, is replaced by
//! the string `with`, `***` by default. Every other byte stays as published, whatever JSON it is. If an object has a key twice,
//! both values are masked, however the keys are spelt. A field that an event does not have is not an error, but a warning in the
//! attempt's log names it; an event without any of the fields passes as it is.
//!
//! A pointer that its author would mean differently is refused with the config, because it would mask nothing: `*` in a name, `-`
//! and `[0]`, which other path languages have and JSON Pointers do not. To mask a member that is really called so, mask the object
//! that contains it.
//!
//! With the config above, `employees/employee/update`
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

use posthaste_plugin::json::{self, Pointer};
use posthaste_plugin::{Error, Event, Outcome, log};
use serde::Deserialize;

/// The fields to mask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fields; at least one.
    pub fields: Vec<Pointer>,
    /// The string that is sent in their place.
    #[serde(default = "default_mask")]
    pub with: String,
}

/// Fields that one warning names.
const MAX_NAMED: usize = 8;
/// Characters of a field in a warning; the host keeps 1 KiB of a line.
const MAX_NAMED_CHARS: usize = 80;

fn default_mask() -> String {
    "***".into()
}

/// Refuses a config that would mask nothing.
///
/// # Errors
/// If `fields` is empty, or a field is meant as a pattern.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.fields.is_empty() {
        return Err(
            "config: `fields` names no field, so nothing would be masked; name one, such as `/bank_number`".into()
        );
    }
    config.fields.iter().try_for_each(Pointer::check_lookup)
}

/// Masks the fields.
///
/// # Errors
/// If the event's data is not JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let masked = json::replace_each(&event.body, &config.fields, &config.with)?;
    if !masked.missing.is_empty() {
        log::warn(format!("not in the data, so not masked: {}", listed(&masked.missing)));
    }
    Ok(masked.text.map_or(Outcome::Pass, Outcome::replace))
}

/// Lists fields, cut to the length of a log line.
fn listed(fields: &[&Pointer]) -> String {
    let named = fields.iter().take(MAX_NAMED).map(|field| {
        let text = field.as_str();
        let cut = text.char_indices().nth(MAX_NAMED_CHARS).and_then(|(at, _)| text.get(..at));
        cut.map_or_else(|| format!("`{text}`"), |start| format!("`{start}…`"))
    });
    let mut list = named.collect::<Vec<_>>().join(", ");
    if let Some(others) = fields.len().checked_sub(MAX_NAMED).filter(|others| *others > 0) {
        list.push_str(&format!(" and {others} more"));
    }
    list
}

posthaste_plugin::export!(transform, check);
