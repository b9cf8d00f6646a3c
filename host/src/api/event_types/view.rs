//! An event type as the API shows it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::event_type::EventType;
use crate::domain::time::rfc3339;

#[derive(Serialize)]
pub(in crate::api) struct EventTypeView {
    r#type: String,
    description: Option<String>,
    group: Option<String>,
    schema: Option<Box<RawValue>>,
    example: Option<Box<RawValue>>,
    deprecated: bool,
    validate: &'static str,
    created_at: String,
    updated_at: String,
}

impl From<EventType> for EventTypeView {
    fn from(event_type: EventType) -> Self {
        // Both were JSON when they were stored.
        let raw = |text: Box<str>| RawValue::from_string(text.into()).ok();
        Self {
            r#type: event_type.name,
            description: event_type.description,
            group: event_type.group,
            schema: event_type.schema.and_then(|schema| raw(schema.text)),
            example: event_type.example.and_then(raw),
            deprecated: event_type.deprecated,
            validate: event_type.validation.name(),
            created_at: rfc3339(event_type.created_at),
            updated_at: rfc3339(event_type.updated_at),
        }
    }
}
