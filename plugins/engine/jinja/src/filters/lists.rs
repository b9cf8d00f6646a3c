//! The filters for lists and objects.

use std::collections::BTreeSet;

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value, filters};

use crate::node::{Members, Node};
use crate::number::Numeric;
use crate::operators::{compare, equal};
use crate::output::{is_absent, refuse_absent, text};

pub(super) fn function(name: &str) -> Value {
    match name {
        "compact" => Value::from_function(compact),
        "groupby" => Value::from_function(group_by),
        "items" => Value::from_function(|object: &Value| Ok::<_, Error>(Value::from(pairs(object)?))),
        "join" => Value::from_function(join),
        "keys" => Value::from_function(|object: &Value| column(object, 0)),
        "map" => Value::from_function(map),
        "object" => Value::from_function(object),
        "sort" => Value::from_function(sort),
        "unique" => Value::from_function(unique),
        _ => Value::from_function(|object: &Value| column(object, 1)),
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

/// Returns the attribute of a value, such as `author.name`, or the value itself.
///
/// # Errors
/// If the value does not have it.
pub(super) fn attribute_of(value: &Value, attribute: Option<&str>) -> Result<Value, Error> {
    let Some(attribute) = attribute else { return Ok(value.clone()) };
    let found = look_into(value, attribute)?;
    if found.is_none() { Ok(found) } else { refuse_absent(&found).map(|()| found) }
}

fn look_into(value: &Value, path: &str) -> Result<Value, Error> {
    path.split('.').try_fold(value.clone(), |value, step| match step.parse::<usize>() {
        _ if value.is_undefined() || value.is_none() => Ok(Value::UNDEFINED),
        Ok(index) if value.kind() != ValueKind::Map => value.get_item_by_index(index),
        _ => value.get_attr(step),
    })
}

fn elements(list: &Value) -> Result<Vec<Value>, Error> {
    if list.as_str().is_some() {
        return Err(wrong("a list is needed here, and this is a text; `split` makes a list of it"));
    }
    list.try_iter()?.checked().collect()
}

fn join(state: &mut State, list: &Value, separator: Option<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<&str>>("attribute")?;
    kwargs.assert_all_used()?;
    let mut texts = Vec::new();
    for element in elements(list)? {
        let element = attribute_of(&element, attribute)?;
        texts.push(if element.as_str().is_some() { element } else { Value::from(text(&element)?.as_ref()) });
    }
    let separator = separator.as_ref().map(text).transpose()?.unwrap_or_default();
    Value::from_function(filters::join).call(state, &[Value::from(texts), Value::from(separator.as_ref())])
}

/// `map("upper")` applies a filter to each element, and `map(attribute="a.b", default=x)` takes an attribute of each.
fn map(state: &mut State, list: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    let kwargs =
        args.last().filter(|value| value.is_kwargs()).map(|value| Kwargs::try_from(value.clone())).transpose()?;
    let Some(attribute) = kwargs.as_ref().and_then(|kwargs| kwargs.get::<Option<Value>>("attribute").ok().flatten())
    else {
        let all: Vec<_> = std::iter::once(list.clone()).chain(args.iter().cloned()).collect();
        return Value::from_function(filters::map).call(state, &all);
    };
    let default = kwargs.as_ref().and_then(|kwargs| kwargs.get::<Option<Value>>("default").ok().flatten());
    let attribute = text(&attribute)?.into_owned();
    let mut mapped = Vec::new();
    for element in elements(list)? {
        let found = look_into(&element, &attribute)?;
        mapped.push(match &default {
            Some(default) if is_absent(&found) => default.clone(),
            None if !found.is_none() => refuse_absent(&found).map(|()| found)?,
            _ => found,
        });
    }
    Ok(Value::from(mapped))
}

fn sort(list: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<&str>>("attribute")?;
    let reverse = kwargs.get::<Option<bool>>("reverse")?.unwrap_or_default();
    let case_sensitive = kwargs.get::<Option<bool>>("case_sensitive")?.unwrap_or_default();
    kwargs.assert_all_used()?;
    let mut keyed = Vec::new();
    for element in elements(list)? {
        let key = attribute_of(&element, attribute)?;
        let folded = key.as_str().filter(|_| !case_sensitive).map(|key| Value::from(key.to_lowercase()));
        keyed.push((folded.unwrap_or(key), element));
    }
    // Numbers are of two kinds for the engine, and of one here: the order must be total.
    let kind = |value: &Value| if Numeric::of(value).is_some() { ValueKind::Number } else { value.kind() };
    let order = |one: &Value, two: &Value| compare(one, two).unwrap_or_else(|| kind(one).cmp(&kind(two)));
    keyed.sort_by(|(one, _), (two, _)| if reverse { order(two, one) } else { order(one, two) });
    Ok(keyed.into_iter().map(|(_, element)| element).collect())
}

fn unique(list: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<&str>>("attribute")?;
    kwargs.assert_all_used()?;
    let mut keys = BTreeSet::new();
    let mut kept = Vec::new();
    for element in elements(list)? {
        let key = attribute_of(&element, attribute)?;
        // Equal numbers have one spelling once they are divided by one.
        let key = Numeric::of(&key)
            .and_then(|number| number.decimal())
            .map_or_else(|| crate::output::json(&key, None), |decimal| Ok(decimal.shortest().to_string()))?;
        if keys.insert(key) {
            kept.push(element);
        }
    }
    Ok(Value::from(kept))
}

/// Groups the elements by an attribute, in the order of their first elements: pairs of the value and the list.
fn group_by(list: &Value, attribute: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<String>>("attribute")?.or(attribute);
    kwargs.assert_all_used()?;
    let attribute = attribute.ok_or_else(|| wrong("`groupby` takes the name of an attribute"))?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for element in elements(list)? {
        let key = attribute_of(&element, Some(&attribute))?;
        match groups.iter_mut().find(|(own, _)| equal(own, &key)) {
            Some((_, group)) => group.push(element),
            None => groups.push((key, vec![element])),
        }
    }
    Ok(groups.into_iter().map(|(key, group)| Value::from(vec![key, Value::from(group)])).collect())
}

/// Returns the members of an object as pairs.
fn pairs(object: &Value) -> Result<Vec<Value>, Error> {
    if let Some(node) = object.downcast_object_ref::<Node>() {
        return match object.kind() {
            ValueKind::Map => Ok(node
                .members()
                .into_iter()
                .map(|(name, value)| Value::from(vec![Value::from(name), value]))
                .collect()),
            _ => Err(wrong("an object is needed here, and this is a list")),
        };
    }
    if object.kind() != ValueKind::Map {
        return Err(wrong(format!("an object is needed here, and this is a {}", object.kind())));
    }
    let mut pairs = Vec::new();
    for key in elements(object)? {
        let value = object.get_item(&key)?;
        pairs.push(Value::from(vec![key, value]));
    }
    Ok(pairs)
}

fn column(object: &Value, index: usize) -> Result<Value, Error> {
    pairs(object)?.into_iter().map(|pair| pair.get_item_by_index(index)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// `object("name", "value")`: an object of the elements of a list, each of which has the name and the value of one member.
fn object(list: &Value, name: Option<String>, value: Option<String>) -> Result<Value, Error> {
    let (name, value) = (name.as_deref().unwrap_or("0"), value.as_deref().unwrap_or("1"));
    let mut members = Vec::new();
    let mut names = BTreeSet::new();
    for element in elements(list)? {
        let key = text(&attribute_of(&element, Some(name))?)?.into_owned();
        if !names.insert(key.clone()) {
            return Err(wrong(format!("two members are called `{key}`")));
        }
        members.push((key, attribute_of(&element, Some(value))?));
    }
    Ok(Value::from_object(Members(members)))
}

/// Leaves out the elements or members that are `null` or missing.
fn compact(value: &Value) -> Result<Value, Error> {
    let is_kept = |value: &Value| !is_absent(value);
    if value.kind() != ValueKind::Map {
        return Ok(elements(value)?.into_iter().filter(is_kept).collect());
    }
    let mut members = Vec::new();
    for pair in pairs(value)? {
        let (name, value) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        if is_kept(&value) {
            members.push((text(&name)?.into_owned(), value));
        }
    }
    Ok(Value::from_object(Members(members)))
}
