//! The variables of a template.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use posthaste_plugin::Event;

use crate::node::{Members, Missing, Omit, step, value_of};

/// The functions that a template can call; a member of the data with such a name is `data.range`.
pub(crate) const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];

/// The variables of a template: the members of the data by name, `data`, `event`, `vars` and `omit`, and those of the loops around
/// it. A loop's variable comes first, then the four, then the data, so that no event can replace what a template relies on.
#[derive(Debug, Clone)]
pub struct Scope {
    data: Value,
    event: Value,
    vars: Value,
    locals: Vec<(String, Value)>,
}

impl Scope {
    /// Returns the variables for an event, and the JSON text of `vars`.
    pub fn new(event: &Event, vars: &str) -> Self {
        let attributes = Attributes {
            id: event.id.clone(),
            event_type: event.event_type.clone(),
            company: event.company.clone(),
            occurred_at: event.occurred_at.clone(),
            headers: event.headers.clone(),
        };
        Self {
            data: value_of(&event.body, "data"),
            event: Value::from_object(attributes),
            vars: value_of(vars, "vars"),
            locals: Vec::new(),
        }
    }

    /// Returns these variables and another one, a JSON text, which comes before them.
    #[must_use]
    pub fn with_json(&self, name: &str, json: &str) -> Self {
        self.with(name, value_of(json, name))
    }

    pub(crate) fn with(&self, name: &str, value: Value) -> Self {
        let mut scope = self.clone();
        scope.locals.push((name.to_owned(), value));
        scope
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        if let Some((_, local)) = self.locals.iter().rfind(|(own, _)| own == name) {
            return Some(local.clone());
        }
        match name {
            "data" => Some(self.data.clone()),
            "event" => Some(self.event.clone()),
            "vars" => Some(self.vars.clone()),
            "omit" => Some(Value::from_object(Omit)),
            _ if FUNCTIONS.contains(&name) => None,
            _ => {
                let member = self.data.as_object().and_then(|data| data.get_value(&Value::from(name)));
                Some(member.unwrap_or_else(|| Missing::value(name.to_owned())))
            }
        }
    }
}

/// The variable `event`.
struct Attributes {
    id: String,
    event_type: String,
    company: String,
    occurred_at: String,
    headers: Vec<(String, String)>,
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event")
    }
}

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        key.as_str().and_then(|name| self.get_value_by_str(name))
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        Some(match name {
            "id" => Value::from(&*self.id),
            "type" => Value::from(&*self.event_type),
            "company" => Value::from(&*self.company),
            "occurred_at" => Value::from(&*self.occurred_at),
            "headers" => {
                let headers =
                    self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), Value::from(&**value)));
                Value::from_object(Members(headers.collect()))
            }
            _ => Missing::value(format!("event{}", step(name))),
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["id", "type", "company", "occurred_at", "headers"])
    }
}
