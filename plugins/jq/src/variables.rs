//! The variables of a program.

use std::collections::BTreeMap;

use posthaste_plugin::{Error, Event};
use serde_json::value::RawValue;

use crate::reading;
use crate::value::{Members, Value};

/// The variables that every program has, in the order in which they are passed.
pub(crate) const OF_EVERY_PROGRAM: [&str; 2] = ["$event", "$vars"];

/// Reads the `vars` of a config: each becomes a variable, whose name begins with `$`.
///
/// # Errors
/// If a name is not that of a variable, or belongs to Posthaste.
pub(crate) fn read(vars: BTreeMap<String, Box<RawValue>>) -> Result<Vec<(String, Value)>, Error> {
    let read = |(name, value): (String, Box<RawValue>)| {
        check_name(&name)?;
        Ok((format!("${name}"), reading::value(value.get())?))
    };
    vars.into_iter().map(read).collect()
}

fn check_name(name: &str) -> Result<(), Error> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        let rule = "ASCII letters, digits and `_`, and does not begin with a digit";
        return Err(format!("`vars`: `{name}` cannot be `${name}`: the name of a variable has {rule}").into());
    }
    if matches!(name, "event" | "vars" | "ENV" | "__loc__") {
        return Err(format!("`vars`: `{name}` has a meaning already: choose another name").into());
    }
    Ok(())
}

/// Returns `$vars`.
pub(crate) fn all(vars: &[(String, Value)]) -> Value {
    let entry = |(name, value): &(String, Value)| (name.strip_prefix('$').unwrap_or(name).into(), value.clone());
    Value::object(vars.iter().map(entry).collect())
}

/// Returns `$event`.
pub(crate) fn event(event: &Event) -> Value {
    let headers: Members =
        event.headers.iter().map(|(name, value)| (name.as_str().into(), Value::text(value))).collect();
    let entries = [
        ("id", Value::text(&event.id)),
        ("type", Value::text(&event.event_type)),
        ("company", Value::text(&event.company)),
        ("occurred_at", Value::text(&event.occurred_at)),
        ("headers", Value::object(headers)),
    ];
    Value::object(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Says which variables there are.
pub(crate) fn undefined(name: &str) -> String {
    match name {
        "$ENV" => "there is no `$ENV`: a transform has no environment; pass values as `vars`".to_owned(),
        _ => format!("there is no variable `{name}`: there are `$event`, `$vars` and those in `vars`"),
    }
}
