//! `mask`: puts a mask in the place of the fields that a webhook must not send.
//!
//! ```json
//! {"fields": ["/bank_number", "/social_security_number"], "with": "***"}
//! ```
//!
//! `fields` are JSON Pointers (RFC 6901) into the event's data. Whatever stands there, an object or a list too, is
//! replaced by the string `with`, `***` by default. A field that an event does not have is no error. Every other byte
//! stays as published, and where nothing is masked the event passes as it is. Where an object has a key twice, both are
//! masked, however they are spelt.
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

/// What to mask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fields; at least one.
    pub fields: Vec<Pointer>,
    /// What is sent in their place.
    #[serde(default = "default_mask")]
    pub with: String,
}

fn default_mask() -> String {
    "***".into()
}

/// Refuses a config that would mask nothing.
///
/// # Errors
/// `fields` is empty.
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
/// The event's data is no JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let masked = json::replace(&event.body, &config.fields, &config.with)?;
    Ok(masked.map_or(Outcome::Pass, Outcome::replace))
}

posthaste_plugin::export!(transform, check);
