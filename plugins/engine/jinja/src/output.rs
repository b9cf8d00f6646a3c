//! Writes values: as text, and as JSON.

use std::borrow::Cow;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};

use crate::escape::Escape;
use crate::node::{Missing, Node, Omit};
use crate::number::Number;

/// Lists and objects within each other that a template can make, or that are escaped. Bounded because writing them recurses, and the
/// guest's stack is small.
const MAX_DEPTH: usize = 64;

/// Fails if a value is missing or `null`.
pub(crate) fn refuse_absent(value: &Value) -> Result<(), Error> {
    let refused = |what: &str| Err(Error::new(ErrorKind::UndefinedError, what.to_owned()));
    match value.downcast_object_ref::<Missing>() {
        Some(missing) => Err(missing.error()),
        None if value.is_undefined() => {
            refused("this value is missing; write `| default(\"…\")` after it if events may come without it")
        }
        None if value.is_none() => {
            refused("this value is `null`; write `| default(\"…\")` after it if that is possible")
        }
        None if value.downcast_object_ref::<Omit>().is_some() => {
            refused("`omit` must be the whole value of a member or an element in `json`")
        }
        None => Ok(()),
    }
}

/// Returns whether a value is missing or `null`.
pub(crate) fn is_absent(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.downcast_object_ref::<Missing>().is_some()
}

/// Returns a value as text: the characters of a string, and the JSON of any other value.
///
/// # Errors
/// If the value is missing or `null`, or has no JSON form.
pub(crate) fn text(value: &Value) -> Result<Cow<'_, str>, Error> {
    refuse_absent(value)?;
    match value.as_str() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => json(value, None).map(Cow::Owned),
    }
}

/// Writes a value into a text, escaped as the template demands, unless it is marked as safe.
pub(crate) fn emit(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let text = text(value)?;
    let escape = Escape::of_mode(state.auto_escape()).filter(|_| !value.is_safe());
    let text = escape.map_or(Cow::Borrowed(&*text), |escape| escape.apply(&text));
    out.write_str(&text).map_err(Error::from)
}

/// Returns a value as JSON. What comes from the event keeps its bytes, unless its strings are escaped.
///
/// # Errors
/// If the value, or one in it, is missing or has no JSON form.
pub(crate) fn json(value: &Value, escape: Option<Escape>) -> Result<String, Error> {
    let mut json = String::new();
    write(&mut json, value, escape, 0)?;
    Ok(json)
}

fn write(json: &mut String, value: &Value, escape: Option<Escape>, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        let why = format!("lists and objects are more than {MAX_DEPTH} deep");
        return Err(Error::new(ErrorKind::InvalidOperation, why));
    }
    if value.is_none() {
        json.push_str("null");
        return Ok(());
    }
    refuse_absent(value)?;
    if let Some(number) = value.downcast_object_ref::<Number>() {
        json.push_str(number.json());
        return Ok(());
    }
    if let Some(node) = value.downcast_object_ref::<Node>() {
        return match escape {
            None => {
                json.push_str(node.json());
                Ok(())
            }
            Some(_) if node.json().starts_with('{') => {
                members(json, node.members().into_iter().map(|(name, value)| (name.to_owned(), value)), escape, depth)
            }
            Some(_) => elements(json, value, escape, depth),
        };
    }
    match value.kind() {
        ValueKind::Bool => json.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(json, value)?,
        ValueKind::String | ValueKind::Bytes => {
            let text = value.to_string();
            let escape = escape.filter(|_| !value.is_safe());
            string(json, &escape.map_or(Cow::Borrowed(&*text), |escape| escape.apply(&text)));
        }
        ValueKind::Seq | ValueKind::Iterable => elements(json, value, escape, depth)?,
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                pairs.push((text(&key)?.into_owned(), value.get_item(&key)?));
            }
            members(json, pairs.into_iter(), escape, depth)?;
        }
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("a {kind} cannot be sent"))),
    }
    Ok(())
}

fn write_number(json: &mut String, value: &Value) -> Result<(), Error> {
    let double = (!value.is_integer()).then(|| f64::try_from(value.clone()).ok()).flatten();
    match double.map(serde_json::Number::from_f64) {
        None => json.push_str(&value.to_string()),
        Some(Some(number)) => json.push_str(&number.to_string()),
        Some(None) => return Err(Error::new(ErrorKind::InvalidOperation, "the result is too large for a number")),
    }
    Ok(())
}

fn elements(json: &mut String, list: &Value, escape: Option<Escape>, depth: usize) -> Result<(), Error> {
    json.push('[');
    let mut is_first = true;
    for element in list.try_iter()?.checked() {
        let element = element?;
        if element.downcast_object_ref::<Omit>().is_none() {
            if !std::mem::take(&mut is_first) {
                json.push(',');
            }
            write(json, &element, escape, depth + 1)?;
        }
    }
    json.push(']');
    Ok(())
}

fn members(
    json: &mut String,
    members: impl Iterator<Item = (String, Value)>,
    escape: Option<Escape>,
    depth: usize,
) -> Result<(), Error> {
    json.push('{');
    let mut is_first = true;
    for (name, value) in members {
        if value.downcast_object_ref::<Omit>().is_none() {
            if !std::mem::take(&mut is_first) {
                json.push(',');
            }
            string(json, &name);
            json.push(':');
            write(json, &value, escape, depth + 1)?;
        }
    }
    json.push('}');
    Ok(())
}

/// Writes a string as JSON.
pub(crate) fn string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\u{1f}' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => json.push(c),
        }
    }
    json.push('"');
}
