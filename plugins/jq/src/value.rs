//! The values that a program computes with.
//!
//! They are our own and not jaq's: as in jq, and unlike in jaq, a missing member can be assigned to (`.a.b = 1`), a number that a
//! calculation gives is written without a decimal point if it is an integer, and a division by zero is an error.

mod arithmetic;
mod number;
mod paths;
mod standard;

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::rc::Rc;

use indexmap::IndexMap;

pub(crate) use number::Number;
pub(crate) use paths::{delete, occurrences};
pub(crate) use standard::not_a;

/// Why a program fails.
pub(crate) type Failure = jaq_core::Error<Value>;

/// The members of an object, in the order in which they were added. The hash has no random key, because a transform has no
/// randomness; members whose names collide cost the event's own time.
pub(crate) type Members = IndexMap<Rc<str>, Value, foldhash::fast::FixedState>;

/// Characters of a value that an error shows.
const SHOWN_CHARS: usize = 40;

/// A JSON value.
#[derive(Debug, Clone, Default)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    List(Rc<Vec<Value>>),
    Object(Rc<Members>),
}

impl Value {
    /// Returns the name that jq's `type` has for this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Returns the kind and the beginning of the value, for an error.
    pub(crate) fn described(&self) -> String {
        if matches!(self, Self::Null) {
            return "null".to_owned();
        }
        let mut json = Shown(String::new());
        let cut = if write!(json, "{self}").is_err() { "…" } else { "" };
        format!("{} ({}{cut})", self.kind(), json.0)
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn list(elements: Vec<Self>) -> Self {
        Self::List(Rc::new(elements))
    }

    pub(crate) fn object(members: Members) -> Self {
        Self::Object(Rc::new(members))
    }

    /// Returns whether JSON has every number of the value.
    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Self::Number(number) => number.is_finite(),
            Self::List(list) => list.iter().all(Self::is_finite),
            Self::Object(members) => members.values().all(Self::is_finite),
            _ => true,
        }
    }

    /// Returns whether a value is the very one that was read, and not only equal to it.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(one), Self::List(other)) => Rc::ptr_eq(one, other),
            (Self::Object(one), Self::Object(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The place of this kind of value in jq's order of all values.
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(false) => 1,
            Self::Bool(true) => 2,
            Self::Number(_) => 3,
            Self::Text(_) => 4,
            Self::List(_) => 5,
            Self::Object(_) => 6,
        }
    }
}

/// The beginning of a text: more than it holds is an error, so that nothing long is written only to be cut.
struct Shown(String);

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.chars().count() == SHOWN_CHARS {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::List(one), Self::List(other)) => one.cmp(other),
            (Self::Object(one), Self::Object(other)) => {
                let (names, other_names) = (sorted_names(one), sorted_names(other));
                let values = names.iter().map(|name| one.get(*name)).cmp(names.iter().map(|name| other.get(*name)));
                names.cmp(&other_names).then(values)
            }
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }
}

fn sorted_names(members: &Members) -> Vec<&Rc<str>> {
    let mut names: Vec<_> = members.keys().collect();
    names.sort_unstable();
    names
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            (one, other) => one.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

/// Writes JSON without white space.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write_text(text, f),
            Self::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    f.write_char(if index == 0 { '[' } else { ',' })?;
                    element.fmt(f)?;
                }
                f.write_str(if elements.is_empty() { "[]" } else { "]" })
            }
            Self::Object(members) => {
                for (index, (name, member)) in members.iter().enumerate() {
                    f.write_char(if index == 0 { '{' } else { ',' })?;
                    write_text(name, f)?;
                    f.write_char(':')?;
                    member.fmt(f)?;
                }
                f.write_str(if members.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

fn write_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        f.write_char('"')?;
        f.write_str(text)?;
        return f.write_char('"');
    }
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}
