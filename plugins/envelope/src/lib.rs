//! `envelope`: wraps the bare data in the payload that Standard Webhooks recommends
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, "Payload structure"),
//! with the event's id beside it.
//!
//! It has no config: none, `null` and `{}` are the same. `employee_created` with the data
//!
//! ```json
//! {"id": 52, "first_name": "Bob", "last_name": "Macri"}
//! ```
//!
//! is sent as
//!
//! ```json
//! {"type":"employee_created","id":"evt-52","timestamp":"2021-10-22T09:30:00.000Z","data":{"id": 52, "first_name": "Bob", "last_name": "Macri"}}
//! ```
//!
//! `data` is byte for byte what was published; `timestamp` is when the event happened.

use posthaste_plugin::{Error, Event, NoConfig, Outcome};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    data: &'a RawValue,
}

/// Wraps the data.
///
/// # Errors
/// The event's data is no JSON.
pub fn transform(event: Event, _config: NoConfig) -> Result<Outcome, Error> {
    Outcome::json(&Envelope {
        r#type: &event.event_type,
        id: &event.id,
        timestamp: &event.occurred_at,
        data: event.json()?,
    })
}

posthaste_plugin::export!(transform);
