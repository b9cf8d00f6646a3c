//! The filters that are not defined in jq.

use std::rc::Rc;

use jaq_core::data::JustLut;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{Cv, RunPtr, ValT, ValXs};
use posthaste_plugin::log;

use crate::definitions::Needed;
use crate::reading;
use crate::value::{Failure, Number, Value, delete, not_a, occurrences};

type Data = JustLut<Value>;
type Found = Result<Value, Failure>;

/// Filters of jq that a pure function cannot have, and the reason or the replacement.
const LEFT_OUT: [(&str, &str); 15] = [
    ("now", "a transform has no clock: use `$event.occurred_at`"),
    ("localtime", "a transform has no time zone: use `gmtime`"),
    ("strflocaltime", "a transform has no time zone: use `strftime`"),
    ("env", "a transform has no environment: pass values as `vars`"),
    ("input", "there is one input, the event's data: `.`"),
    ("inputs", "there is one input, the event's data: `.`"),
    ("input_filename", "there is one input, the event's data: `.`"),
    ("input_line_number", "there is one input, the event's data: `.`"),
    ("halt", "use `empty` to drop the event, or `error(\"…\")` to fail the attempt"),
    ("halt_error", "use `error(\"…\")` to fail the attempt"),
    ("get_search_list", "a program cannot import modules"),
    ("modulemeta", "a program cannot import modules"),
    ("builtins", "the documentation lists the filters"),
    ("fromstream", "use `reduce` and `setpath`"),
    ("truncate_stream", "use `reduce` and `setpath`"),
];

/// jaq's own filters that this module replaces.
const REPLACED: [&str; 4] = ["debug_empty", "stderr_empty", "ltrimstr", "rtrimstr"];

/// Returns the native filters that a program needs.
pub(crate) fn natives(needed: &Needed<'_>) -> impl Iterator<Item = Fun<Data>> {
    let of_jaq = jaq_core::funs().chain(jaq_std::funs()).filter(|(name, ..)| !is_left_out(name));
    own().into_iter().map(run::<Data>).chain(of_jaq).filter(|(name, ..)| needed.has(name))
}

fn is_left_out(name: &str) -> bool {
    REPLACED.contains(&name) || LEFT_OUT.iter().any(|(left_out, _)| *left_out == name)
}

fn own() -> [Filter<RunPtr<Data>>; 16] {
    [
        ("bsearch", v(1), |cv| unary(cv, |list, value| bsearch(&list, &value))),
        ("contains", v(1), |cv| unary(cv, |whole, part| contains(&whole, &part).map(Value::Bool))),
        ("debug_empty", v(0), debug),
        ("delpaths", v(1), |cv| unary(cv, |value, paths| delpaths(value, &paths))),
        ("fromjson", v(0), |cv| bome(fromjson(&cv.1))),
        ("has", v(1), |cv| unary(cv, |value, key| has(&value, &key))),
        ("indices", v(1), |cv| unary(cv, |value, part| indices(value, &part))),
        ("infinite", v(0), |_| bome(Ok(Value::from(f64::INFINITY)))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("ltrimstr", v(1), |cv| unary(cv, |text, part| Ok(trimmed(text, &part, |text, part| text.strip_prefix(part))))),
        ("nan", v(0), |_| bome(Ok(Value::from(f64::NAN)))),
        ("parse_number", v(0), |cv| bome(parse_number(&cv.1))),
        ("rtrimstr", v(1), |cv| unary(cv, |text, part| Ok(trimmed(text, &part, |text, part| text.strip_suffix(part))))),
        ("stderr_empty", v(0), stderr),
        ("tojson", v(0), |cv| bome(Ok(Value::from(cv.1.to_string())))),
        ("tostring", v(0), |cv| bome(Ok(cv.1.into_string()))),
    ]
}

fn debug(cv: Cv<'_, Data>) -> ValXs<'_, Value> {
    log::debug(cv.1.to_string());
    Box::new(std::iter::empty())
}

fn stderr(cv: Cv<'_, Data>) -> ValXs<'_, Value> {
    match &cv.1 {
        Value::Text(text) => log::info(text),
        other => log::info(other.to_string()),
    }
    Box::new(std::iter::empty())
}

fn bsearch(list: &Value, value: &Value) -> Found {
    let Value::List(list) = list else { return Err(not_a("array", list)) };
    let place = list.binary_search(value);
    Ok(place.map_or_else(
        |place| Value::Number(Number::Integer(-1 - i64::try_from(place).unwrap_or(i64::MAX - 1))),
        Value::from,
    ))
}

fn contains(whole: &Value, part: &Value) -> Result<bool, Failure> {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => Ok(whole.contains(&**part)),
        (Value::List(whole), Value::List(parts)) => {
            let has = |part: &Value| whole.iter().any(|element| contains(element, part).unwrap_or(false));
            Ok(parts.iter().all(has))
        }
        (Value::Object(whole), Value::Object(parts)) => {
            let has = |(name, part): (&Rc<str>, &Value)| {
                whole.get(name).is_some_and(|member| contains(member, part).unwrap_or(false))
            };
            Ok(parts.iter().all(has))
        }
        (whole, part) if whole.kind() == part.kind() => Ok(whole == part),
        (whole, part) => {
            let text = format!("{} and {} cannot have their containment checked", whole.described(), part.described());
            Err(Failure::str(text))
        }
    }
}

fn delpaths(mut value: Value, paths: &Value) -> Found {
    let Value::List(paths) = paths else { return Err(Failure::str("paths must be specified as an array")) };
    let mut paths: Vec<_> = paths.iter().collect();
    // The last first, so that no deletion moves what another path leads to.
    paths.sort_unstable_by(|one, other| other.cmp(one));
    for path in paths {
        let Value::List(path) = path else { return Err(Failure::str("a path must be specified as an array")) };
        delete(&mut value, path)?;
    }
    Ok(value)
}

fn fromjson(value: &Value) -> Found {
    let Value::Text(json) = value else { return Err(not_a("string", value)) };
    let cannot = || Failure::str(format_args!("{} cannot be parsed as JSON", value.described()));
    serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|_| cannot())?;
    reading::value(json).map_err(|_| cannot())
}

fn has(value: &Value, key: &Value) -> Found {
    match (value, key) {
        (Value::Object(members), Value::Text(name)) => Ok(Value::Bool(members.contains_key(name))),
        (Value::List(list), Value::Number(index)) => {
            let place = index.as_index().and_then(|index| usize::try_from(index).ok());
            Ok(Value::Bool(place.is_some_and(|place| place < list.len())))
        }
        _ => Err(Failure::str(format_args!("cannot check whether {} has {key}", value.described()))),
    }
}

fn indices(value: Value, part: &Value) -> Found {
    match (&value, part) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Text(text), Value::Text(part)) if part.is_empty() => Ok(Value::Null),
        (Value::Text(text), Value::Text(part)) => {
            let places = text.char_indices().enumerate();
            let found = places.filter(|(_, (at, _))| text.get(*at..).is_some_and(|rest| rest.starts_with(&**part)));
            Ok(found.map(|(index, _)| Value::from(index)).collect())
        }
        (Value::List(list), Value::List(part)) => Ok(occurrences(list, part)),
        (Value::List(list), part) => Ok(occurrences(list, std::slice::from_ref(part))),
        _ => value.index(part),
    }
}

fn length(value: Value) -> Found {
    match value {
        Value::Null => Ok(Value::from(0_usize)),
        Value::Bool(_) => Err(Failure::str(format_args!("{} has no length", value.described()))),
        Value::Number(number) if number.as_f64() < 0.0 => -Value::Number(number),
        number @ Value::Number(_) => Ok(number),
        Value::Text(text) => Ok(Value::from(text.chars().count())),
        Value::List(list) => Ok(Value::from(list.len())),
        Value::Object(members) => Ok(Value::from(members.len())),
    }
}

fn trimmed(text: Value, part: &Value, strip: for<'t> fn(&'t str, &str) -> Option<&'t str>) -> Value {
    let (Value::Text(whole), Value::Text(part)) = (&text, part) else { return text };
    strip(whole, part).map_or_else(|| text.clone(), Value::text)
}

fn parse_number(value: &Value) -> Found {
    let Value::Text(text) = value else { return Err(not_a("string", value)) };
    let trimmed = text.trim();
    match serde_json::from_str::<serde_json::Number>(trimmed) {
        Ok(_) => Ok(Value::Number(Number::read(trimmed))),
        // JSON, in digits that a double cannot hold.
        Err(error) if error.to_string().starts_with("number out of range") => Ok(Value::Number(Number::read(trimmed))),
        Err(_) => Err(Failure::str(format_args!("{} cannot be parsed as a number", value.described()))),
    }
}

/// Says what to use instead of a filter that there is not.
pub(crate) fn undefined(name: &str, arity: usize) -> String {
    match LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
        Some((_, instead)) => format!("there is no `{name}`: {instead}"),
        None if arity == 0 => format!("there is no filter `{name}`"),
        None if arity == 1 => format!("there is no filter `{name}` with one argument"),
        None => format!("there is no filter `{name}` with {arity} arguments"),
    }
}
