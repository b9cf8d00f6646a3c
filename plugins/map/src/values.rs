//! `defaults`, `convert`, `lookup` and `set`.

use std::collections::BTreeMap;

use posthaste_jinja::{Conversion, JsonTemplate, Scope, below};
use posthaste_plugin::json::{Document, PointerPattern, text};
use posthaste_plugin::{Error, Event};
use serde_json::value::RawValue;

use crate::Config;
use crate::config::Lookup;

/// Puts the defaults of the fields that are missing or `null`.
///
/// # Errors
/// If a field lies inside a value that is neither an object nor a list.
pub(crate) fn fill_in(data: &mut Document, defaults: &BTreeMap<PointerPattern, Box<RawValue>>) -> Result<(), Error> {
    for (field, default) in defaults {
        for place in data.places(field) {
            if data.get_at(&place).is_none_or(|value| value.get() == "null") {
                data.put_at(&place, default)?;
            }
        }
    }
    Ok(())
}

/// Converts the fields that are there and not `null`.
///
/// # Errors
/// If a value cannot be converted; the text names the field.
pub(crate) fn convert(data: &mut Document, conversions: &BTreeMap<PointerPattern, String>) -> Result<(), Error> {
    for (field, name) in conversions {
        let conversion = conversion(field, name)?;
        for place in data.places(field) {
            let Some(value) = data.get_at(&place).filter(|value| value.get() != "null") else { continue };
            let named = |error| Error::new(format!("convert `{}`: {error}", field.as_str()));
            let converted = conversion.apply(value.get()).map_err(named)?;
            data.put_at(&place, &RawValue::from_string(converted)?)?;
        }
    }
    Ok(())
}

fn conversion(field: &PointerPattern, name: &str) -> Result<Conversion, Error> {
    Conversion::named(name).ok_or_else(|| {
        let known = Conversion::NAMES.map(|(name, _)| name).join(", ");
        Error::new(format!("config: convert `{}`: `{name}` is unknown; it is one of {known}", field.as_str()))
    })
}

/// Translates the fields.
///
/// # Errors
/// If a value is not in its table, which has no default; the text names the field.
pub(crate) fn look_up(data: &mut Document, lookups: &BTreeMap<PointerPattern, Lookup>) -> Result<(), Error> {
    for (field, Lookup { table, default }) in lookups {
        for place in data.places(field) {
            let value = data.get_at(&place).filter(|value| value.get() != "null");
            let key = value.as_ref().map(|value| text(value));
            let found = key.as_deref().and_then(|key| table.get(key)).or(default.as_ref());
            match (found, key) {
                (Some(found), _) => data.put_at(&place, found)?,
                (None, None) => {}
                (None, Some(key)) => {
                    let shown: String = key.chars().take(40).collect();
                    let why = format!("`{shown}` is not in the table; add it, or a `default`");
                    return Err(Error::new(format!("lookup `{}`: {why}", field.as_str())));
                }
            }
        }
    }
    Ok(())
}

/// Puts the values of `set`, whose templates have the variables of `std-template`, and `item`: the element that the last `*` stands for.
///
/// # Errors
/// If a template cannot be filled, or a target lies inside a value that is neither an object nor a list.
pub(crate) fn set(data: &mut Document, event: &Event, config: &Config) -> Result<(), Error> {
    let mut event_scope = None;
    for (target, value) in &config.set {
        let template = JsonTemplate::new(value.get());
        for place in data.target_places(target) {
            if template.is_constant() {
                data.put_at(&place, value)?;
                continue;
            }
            let vars = || config.vars.as_ref().map_or("{}", |vars| vars.get());
            let scope = event_scope.get_or_insert_with(|| Scope::new(event, vars()));
            let item = data.item_of(&place).map(|item| scope.with_json("item", item.get()));
            let filled = template.fill(item.as_ref().unwrap_or(scope), None, &below("/set", target.as_str()));
            let filled = filled.map_err(|fault| Error::new(fault.to_string()))?;
            // Without a value, it is `omit`.
            filled.map_or(Ok(()), |json| data.put_at(&place, &RawValue::from_string(json)?))?;
        }
    }
    Ok(())
}

/// Refuses an unknown conversion, and a malformed template.
///
/// # Errors
/// The text names the field, and the place in the template.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    config.convert.iter().try_for_each(|(field, name)| conversion(field, name).map(drop))?;
    if config.vars.as_ref().is_some_and(|vars| !vars.get().starts_with('{')) {
        return Err("config: `/vars` is an object".into());
    }
    config.set.iter().try_for_each(|(target, value)| {
        let fault = JsonTemplate::new(value.get()).check(&below("/set", target.as_str()));
        fault.map_err(|fault| Error::new(format!("config: {fault}")))
    })
}
