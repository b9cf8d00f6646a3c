//! `envelope`: wraps the bare data in an envelope with the type and time of the event.
//!
//! Without a config, the envelope is the payload that Standard Webhooks recommends
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, "Payload structure"),
//! plus the event's id. `employee_created` with the data
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
//! `{"format": "cloudevents"}` makes a CloudEvent 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>): in the
//! structured mode of its HTTP binding (section 3.2), as `application/cloudevents+json`, or with `"mode": "binary"` as `ce-`
//! headers with the data as the body (section 3.1). `source`, a URI reference, is `/companies/` and the company by default. The event above is then sent as
//!
//! ```json
//! {"specversion":"1.0","id":"evt-52","source":"/companies/1","type":"employee_created","time":"2021-10-22T09:30:00.000Z","datacontenttype":"application/json","data":{"id": 52, "first_name": "Bob", "last_name": "Macri"}}
//! ```
//!
//! In each format, the data is byte for byte as published, and the time is that of the event.

mod cloud_event;

use posthaste_plugin::{Error, Event, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The choice of the envelope.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    format: Format,
    mode: Option<Mode>,
    source: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    #[default]
    StandardWebhooks,
    #[serde(rename = "cloudevents")]
    CloudEvents,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Structured,
    Binary,
}

#[derive(Serialize)]
struct StandardWebhook<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    data: &'a RawValue,
}

/// Wraps the data.
///
/// # Errors
/// If the event's data is not JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let source = || config.source.unwrap_or_else(|| cloud_event::default_source(&event.company));
    match (config.format, config.mode) {
        (Format::StandardWebhooks, _) => Outcome::json(&StandardWebhook {
            r#type: &event.event_type,
            id: &event.id,
            timestamp: &event.occurred_at,
            data: event.json()?,
        }),
        (Format::CloudEvents, Some(Mode::Binary)) => Ok(cloud_event::binary(&event, &source()).into()),
        (Format::CloudEvents, _) => Ok(cloud_event::structured(&event, &source())?.into()),
    }
}

/// Refuses settings of CloudEvents for another format, and a source that is not a URI reference.
///
/// # Errors
/// The text names the field.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.format == Format::StandardWebhooks && *config != Config::default() {
        return Err("config: `mode` and `source` need `\"format\": \"cloudevents\"`".into());
    }
    if config.source.as_deref().is_some_and(|source| !cloud_event::is_source(source)) {
        let what = "a URI reference of 1 to 1024 characters, such as `https://example.com/hr`";
        return Err(format!("config: `source` is {what}").into());
    }
    Ok(())
}

posthaste_plugin::export!(transform, check);
