//! `mask`: replaces fields that a webhook must not send by a mask.
//!
//! ```json
//! {"fields": ["/bank_number", "/social_security_number"], "with": "***"}
//! ```
//!
//! `fields` are JSON Pointers (RFC 6901) into the event's data. The value there, which may be an object or a list, is replaced by
//! the string `with`, `***` by default. A field that an event does not have is not an error. Every other byte stays as published,
//! and an event without any of the fields passes as it is. If an object has a key twice, both values are masked, however the
//! keys are spelt.
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
use posthaste_plugin::{Error, Event, Outcome};
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

fn default_mask() -> String {
    "***".into()
}

/// Refuses a config that would mask nothing.
///
/// # Errors
/// If `fields` is empty.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.fields.is_empty() {
        return Err(
            "config: `fields` names no field, so nothing would be masked; name one, such as `/bank_number`".into()
        );
    }
    Ok(())
}

/// Masks the fields.
///
/// # Errors
/// If the event's data is not JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let masked = json::replace(&event.body, &config.fields, &config.with)?;
    Ok(masked.map_or(Outcome::Pass, Outcome::replace))
}

posthaste_plugin::export!(transform, check);
