//! `map`: picks, removes, renames and moves fields, and adds constant fields.
//!
//! ```json
//! {
//!   "pick": ["/id", "/email"],
//!   "move": {"/first_name": "/name/first", "/last_name": "/name/last"},
//!   "set": {"/source": "factorial"}
//! }
//! ```
//!
//! At least one of these is required. All fields are JSON Pointers (RFC 6901) into the event's data as published:
//!
//! | | |
//! | --- | --- |
//! | `pick` | only these fields, and the fields of `move`, are sent; without it, all are |
//! | `remove` | these fields are not sent |
//! | `move` | the value at the first pointer is sent at the second; a new name in the same object renames the field |
//! | `set` | this JSON is sent at this pointer |
//!
//! A field that an event does not have is not an error: it is missing in the result too. A field to pick, remove or move that is
//! written as a pattern (`*`, `-`, `[0]`) is refused, because JSON Pointers have none. A value that is moved or set replaces the
//! existing one; objects on the path that are missing or `null` are created, and any other value on the path fails the attempt.
//! A field inside another one may be removed or moved together with it: the inner one is taken first. Values keep their bytes,
//! including `2.50` and `12345678901234567890123`. With the config above, `employee_created`
//!
//! ```json
//! {"id": 52, "first_name": "Bob", "last_name": "Macri", "email": "bob.macri@example.com", "invited_on": "2021-10-22"}
//! ```
//!
//! is sent as
//!
//! ```json
//! {"id":52,"email":"bob.macri@example.com","name":{"first":"Bob","last":"Macri"},"source":"factorial"}
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;

use posthaste_plugin::json::{Document, Pointer};
use posthaste_plugin::{Error, Event, Outcome};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields to send, and their new pointers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pick: Option<Vec<Pointer>>,
    remove: Vec<Pointer>,
    r#move: BTreeMap<Pointer, Pointer>,
    set: BTreeMap<Pointer, Box<RawValue>>,
}

/// Rearranges the data.
///
/// # Errors
/// If a target lies inside a value that is neither an object nor a list.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let mut data = Document::parse(&event.body)?;
    let mut leaving: Vec<_> = config.remove.iter().chain(config.r#move.keys()).collect();
    leaving.sort_by_key(|field| Reverse(field.tokens().len()));
    let taken: Vec<_> = leaving.into_iter().map(|field| (config.r#move.get(field), data.take(field))).collect();
    if let Some(pick) = &config.pick {
        data.keep(pick);
    }
    for (to, value) in taken {
        if let (Some(to), Some(value)) = (to, value) {
            data.put(to, &value)?;
        }
    }
    for (to, value) in &config.set {
        data.put(to, value)?;
    }
    Ok(Outcome::replace(data.to_string()))
}

/// Refuses a config that does nothing, one with parts that contradict each other, and a field that is meant as a pattern.
///
/// # Errors
/// The text names the parts.
pub fn check(config: &Config) -> Result<(), Error> {
    let named = |part: &'static str| move |field| (part, field);
    let picked: Vec<_> = config.pick.iter().flatten().map(named("pick")).collect();
    let removed: Vec<_> = config.remove.iter().map(named("remove")).collect();
    let moved: Vec<_> = config.r#move.keys().map(named("move")).collect();
    let targets = config.r#move.values().map(named("move to")).chain(config.set.keys().map(named("set")));
    let targets: Vec<_> = targets.collect();
    if config.pick.is_none() && removed.is_empty() && targets.is_empty() {
        return Err("config: say what to `pick`, `remove`, `move` or `set`".into());
    }
    picked.iter().chain(&removed).chain(&moved).try_for_each(|(_, field)| field.check_lookup())?;
    clash(&targets, &targets, Pointer::contains)?;
    clash(&removed, &picked, Pointer::contains)?;
    clash(&removed, &moved, Pointer::eq)?;
    clash(&moved, &picked, |moved, picked| moved != picked && moved.contains(picked))
}

type Field<'a> = (&'static str, &'a Pointer);

/// Refuses two fields if one excludes the other.
fn clash(ones: &[Field], others: &[Field], excludes: fn(&Pointer, &Pointer) -> bool) -> Result<(), Error> {
    let pairs = ones.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    let mut clashing = pairs.filter(|(one, other)| !std::ptr::eq(*one, *other) && excludes(one.1, other.1));
    clashing.next().map_or(Ok(()), |((part, one), (other_part, other))| {
        let (one, other) = (one.as_str(), other.as_str());
        let why = "the second is the same field or inside it";
        Err(format!("config: {part} `{one}` and {other_part} `{other}` contradict each other: {why}").into())
    })
}

posthaste_plugin::export!(transform, check);
