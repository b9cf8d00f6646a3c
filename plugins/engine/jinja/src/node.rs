//! The values of a JSON text, which is read one level at a time: what no template looks at may be any JSON.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value};
use posthaste_plugin::json;

use crate::number::Number;

/// An object or a list of a JSON text.
#[derive(Debug)]
pub(crate) struct Node {
    text: Arc<str>,
    /// This value in the text.
    range: Range<usize>,
    /// The expression that names it, for messages.
    path: String,
    children: OnceLock<Vec<Child>>,
}

#[derive(Debug)]
struct Child {
    /// Empty for an element.
    name: Name,
    range: Range<usize>,
}

/// The name of a member, which is copied only if it has escapes.
#[derive(Debug)]
enum Name {
    Plain(Range<usize>),
    Unescaped(Box<str>),
}

/// Returns the value of a JSON text, which `path` names in messages.
pub(crate) fn value_of(text: &str, path: &str) -> Value {
    let text: Arc<str> = text.trim_ascii().into();
    let range = 0..text.len();
    value_at(&text, range, || path.to_owned())
}

fn value_at(text: &Arc<str>, range: Range<usize>, path: impl FnOnce() -> String) -> Value {
    let json = text.get(range.clone()).unwrap_or_default();
    match json.as_bytes().first() {
        Some(b'{' | b'[') => {
            Value::from_object(Node { text: Arc::clone(text), range, path: path(), children: OnceLock::new() })
        }
        Some(b'"') => Value::from(json::characters(json).as_ref()),
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') => Value::from(()),
        _ => Number::value(json),
    }
}

impl Node {
    /// Returns the JSON text of this value.
    pub(crate) fn json(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    fn is_object(&self) -> bool {
        self.json().starts_with('{')
    }

    fn children(&self) -> &[Child] {
        self.children.get_or_init(|| {
            let span = |part: &str| {
                let start = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
                start..start + part.len()
            };
            if !self.is_object() {
                let child = |json| Child { name: Name::Plain(0..0), range: span(json) };
                return json::elements(self.json()).map(child).collect();
            }
            let members = json::members(self.json()).map(|(name, json)| {
                let name = match name {
                    std::borrow::Cow::Borrowed(plain) => Name::Plain(span(plain)),
                    std::borrow::Cow::Owned(unescaped) => Name::Unescaped(unescaped.into()),
                };
                Child { name, range: span(json) }
            });
            members.collect()
        })
    }

    fn name<'n>(&'n self, child: &'n Child) -> &'n str {
        match &child.name {
            Name::Plain(range) => self.text.get(range.clone()).unwrap_or_default(),
            Name::Unescaped(name) => name,
        }
    }

    /// Returns the member with this name, of equal names the last, as most readers do.
    fn member(&self, name: &str) -> Option<Value> {
        let child =
            self.is_object().then(|| self.children().iter().rfind(|child| self.name(child) == name)).flatten()?;
        Some(value_at(&self.text, child.range.clone(), || format!("{}{}", self.path, step(name))))
    }

    fn element(&self, index: usize) -> Option<Value> {
        let child = self.children().get(index).filter(|_| !self.is_object())?;
        Some(value_at(&self.text, child.range.clone(), || format!("{}[{index}]", self.path)))
    }

    /// Returns the members of an object in their order, of equal names the last; nothing for a list.
    pub(crate) fn members(&self) -> Vec<(&str, Value)> {
        let mut members: Vec<(&str, &Child)> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        for child in self.children().iter().filter(|_| self.is_object()) {
            let name = self.name(child);
            let place = *places.entry(name).or_insert(members.len());
            match members.get_mut(place) {
                Some(earlier) => earlier.1 = child,
                None => members.push((name, child)),
            }
        }
        let value = |name: &str, child: &Child| {
            value_at(&self.text, child.range.clone(), || format!("{}{}", self.path, step(name)))
        };
        members.into_iter().map(|(name, child)| (name, value(name, child))).collect()
    }
}

impl Object for Node {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_object() { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_usize()) {
            (Some(name), _) => self.member(name),
            (None, Some(index)) if !self.is_object() => self.element(index),
            _ => self.member(&key.to_string()),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(self.member(key).unwrap_or_else(|| Missing::value(format!("{}{}", self.path, step(key)))))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.is_object() {
            Enumerator::Values(self.members().into_iter().map(|(name, _)| Value::from(name)).collect())
        } else {
            Enumerator::Seq(self.children().len())
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.children().len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json())
    }
}

/// Returns the expression that leads from a value to its member: `.name`, or `["a name"]`.
pub(crate) fn step(name: &str) -> String {
    let is_word = !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty();
    if is_word && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        format!(".{name}")
    } else {
        format!("[{name:?}]")
    }
}

/// Members in an order of their own: the engine's objects are sorted by name.
#[derive(Debug)]
pub(crate) struct Members(pub(crate) Vec<(String, Value)>);

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        self.0.iter().rfind(|(own, _)| own == name).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(&**name)).collect())
    }
}

/// What is not there: a template may test it and look into it, and give a default for it, but not use it.
#[derive(Debug)]
pub(crate) struct Missing {
    path: String,
}

impl Missing {
    pub(crate) fn value(path: String) -> Value {
        Value::from_object(Self { path })
    }

    pub(crate) fn error(&self) -> Error {
        missing(&self.path)
    }
}

/// Returns the error for a value that is not there.
pub(crate) fn missing(path: &str) -> Error {
    let short = path.strip_prefix("data.").unwrap_or(path);
    let first = short.split(['.', '[']).next().unwrap_or_default();
    let path = if ["data", "event", "omit", "vars"].contains(&first) { path } else { short };
    let of_event = match path {
        "type" | "id" | "company" | "occurred_at" | "headers" => {
            format!(" (the `{path}` of the event itself is `event.{path}`)")
        }
        _ => String::new(),
    };
    let instead = format!("write `{path} | default(\"…\")` if events may come without it");
    Error::new(ErrorKind::UndefinedError, format!("`{path}` is missing{of_event}; {instead}"))
}

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str().map_or_else(|| format!("[{key}]"), step);
        Some(Self::value(format!("{}{key}", self.path)))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(Self::value(format!("{}{}", self.path, step(key))))
    }

    /// A loop over it fails with the error.
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Iter(Box::new(std::iter::once(Value::from(self.error()))))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn custom_cmp(self: &Arc<Self>, _: &DynObject) -> Option<std::cmp::Ordering> {
        Some(std::cmp::Ordering::Equal)
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// `omit`: leaves out the member or the element whose whole value it is.
#[derive(Debug)]
pub(crate) struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
