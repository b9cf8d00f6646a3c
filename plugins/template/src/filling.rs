//! Fills a template with an event's values.

use std::borrow::Cow;

use posthaste_plugin::json::{Document, text};
use posthaste_plugin::{Error, Event};
use serde_json::value::{RawValue, to_raw_value};

use crate::Escape;
use crate::part::{Name, Part, parts};

/// The values that placeholders are filled with.
pub(crate) struct Filling {
    pub(crate) event: Event,
    pub(crate) data: Document,
    pub(crate) escape: Option<Escape>,
}

impl Filling {
    /// Returns the JSON for a string of a JSON template; `None` if it has no placeholder.
    pub(crate) fn json(&mut self, template: &str) -> Result<Option<String>, Error> {
        if !template.contains("{{") {
            return Ok(None);
        }
        let parts = parts(template)?;
        if let [Part::Place(name, default)] = parts.as_slice() {
            match (self.value(name), default) {
                (Some(value), _) if self.is_sent_as_it_is(&value) => return Ok(Some(value.get().to_owned())),
                (None, None) => return Ok(Some("null".to_owned())),
                _ => {}
            }
        }
        Ok(Some(serde_json::to_string(&self.text(&parts))?))
    }

    /// Returns the text of a filled template.
    pub(crate) fn text(&mut self, parts: &[Part]) -> String {
        let mut filled = String::new();
        for part in parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place(name, default) => match self.value(name) {
                    Some(value) => filled.push_str(&self.escaped(text(&value))),
                    None => filled.push_str(default.unwrap_or_default()),
                },
            }
        }
        filled
    }

    /// Returns the value of a placeholder, if there is one; `null` counts as missing.
    fn value(&mut self, name: &Name) -> Option<Box<RawValue>> {
        let event = &self.event;
        let own = match name {
            Name::Data(pointer) => return self.data.get(pointer).filter(|value| value.get() != "null"),
            Name::Type => &event.event_type,
            Name::Id => &event.id,
            Name::Company => &event.company,
            Name::OccurredAt => &event.occurred_at,
        };
        to_raw_value(own).ok()
    }

    /// Returns whether a value that is a whole string of the template needs no escaping.
    fn is_sent_as_it_is(&self, value: &RawValue) -> bool {
        self.escape.is_none() || !value.get().starts_with(['"', '[', '{'])
    }

    fn escaped<'v>(&self, value: Cow<'v, str>) -> Cow<'v, str> {
        match self.escape {
            Some(Escape::Slack) if value.contains(['&', '<', '>']) => {
                Cow::Owned(value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
            }
            _ => value,
        }
    }
}
