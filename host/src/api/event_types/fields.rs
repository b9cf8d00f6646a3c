//! The fields of an event type as a request sends them.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::Invalid;
use crate::domain::event_type::{EventType, MAX_JSON_BYTES, SchemaText, Validation, check_description, check_group};

/// The body of `PUT /event-types/{type}`. A field that is not sent, or null, gets its default.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventTypeFields {
    description: Option<String>,
    group: Option<String>,
    schema: Option<Box<RawValue>>,
    example: Option<Box<RawValue>>,
    deprecated: Option<bool>,
    validate: Option<String>,
}

/// Fields whose own rules hold; the schema itself is not checked yet.
pub(super) struct CheckedFields {
    fields: EventTypeFields,
    validation: Validation,
}

impl EventTypeFields {
    /// Checks the rules of the fields.
    ///
    /// # Errors
    /// Every broken rule.
    pub(super) fn checked(self) -> Result<CheckedFields, Vec<Invalid>> {
        let mut errors = Vec::new();
        let mut rule = |pointer: &str, result: Option<Result<(), String>>| {
            errors.extend(result.and_then(Result::err).map(|detail| Invalid::at(pointer, detail)));
        };
        rule("/description", self.description.as_deref().map(check_description));
        rule("/group", self.group.as_deref().map(check_group));
        rule("/schema", self.schema.as_deref().map(check_size));
        rule("/example", self.example.as_deref().map(check_size));
        let named = self.validate.as_deref().map(|name| {
            Validation::named(name)
                .ok_or_else(|| "what happens to invalid events: `off`, `warn` or `reject`".to_owned())
        });
        let validation = named.clone().and_then(Result::ok).unwrap_or_default();
        rule("/validate", named.map(|named| named.map(drop)));
        if validation != Validation::Off && self.schema.is_none() {
            rule("/validate", Some(Err("events can be checked only against a `schema`: send one".into())));
        }
        if errors.is_empty() { Ok(CheckedFields { fields: self, validation }) } else { Err(errors) }
    }
}

impl CheckedFields {
    /// Returns the type of this name; `now` is milliseconds since 1970.
    pub(super) fn event_type(self, company: String, name: String, now: i64) -> EventType {
        let Self { fields, validation } = self;
        EventType {
            company,
            name,
            description: fields.description,
            group: fields.group,
            schema: fields.schema.map(|raw| SchemaText::new(raw.get())),
            example: fields.example.map(|raw| raw.get().into()),
            deprecated: fields.deprecated.unwrap_or_default(),
            validation,
            created_at: now,
            updated_at: now,
        }
    }
}

fn check_size(raw: &RawValue) -> Result<(), String> {
    let bytes = raw.get().len();
    if bytes <= MAX_JSON_BYTES { Ok(()) } else { Err(format!("at most {MAX_JSON_BYTES} bytes; these are {bytes}")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(body: &Value) -> Vec<String> {
        let fields: EventTypeFields = serde_json::from_str(&body.to_string()).unwrap();
        fields.checked().err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_broken_rule_is_named() {
        let large = "x".repeat(MAX_JSON_BYTES);
        let all = json!({"description": "", "group": " ", "schema": large, "example": large, "validate": "always"});
        assert_eq!(faults(&all), ["/description", "/group", "/schema", "/example", "/validate"]);
        assert_eq!(faults(&json!({"validate": "warn"})), ["/validate"]);
        assert_eq!(faults(&json!({"validate": "off", "schema": null, "example": null, "deprecated": null})), [""; 0]);
        assert_eq!(faults(&json!({"validate": "reject", "schema": true})), [""; 0]);
    }

    #[test]
    fn what_is_not_sent_has_its_default() {
        let fields: EventTypeFields = serde_json::from_str("{}").unwrap();
        let plain = fields.checked().ok().unwrap().event_type("acme".into(), "t".into(), 7);
        assert_eq!((plain.validation, plain.deprecated, plain.created_at), (Validation::Off, false, 7));
        assert_eq!((plain.description, plain.group, plain.schema, plain.example), (None, None, None, None));
    }
}
