//! JSON Schema 2020-12, for data and schemas that anybody may send: a check takes a bounded number of steps, whatever the schema
//! and the data, and so does the reading of a schema.
//!
//! A schema refers only to itself. The keywords of the core, applicator, unevaluated and validation vocabularies apply, but for
//! the dynamic references; every other keyword, `format` among them, is an annotation. Regular expressions are matched in linear
//! time, so they have no look-around and no back-references.

mod canonical;
mod check;
mod compile;
mod cycles;
mod keywords;
mod members;
mod pattern;
mod place;
mod references;
mod seen;

use std::collections::{HashMap, HashSet};

use serde_json::{Number, Value};

use super::Invalid;
use pattern::Pattern;

/// Most subschemas of a schema.
const MAX_NODES: usize = 5_000;
/// Most faults that are reported of a schema, or of data.
const MAX_FAULTS: usize = 20;
/// Most bytes of the texts that report faults.
const MAX_FAULT_BYTES: usize = 4 * 1024;

/// How much a check may do: one that has not ended by then is refused or goes on elsewhere. A step takes a tenth of a microsecond at most, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(u64);

impl Steps {
    /// What a check may take where nothing else may wait for it: about a millisecond.
    pub const QUICK: Self = Self(10_000);
    /// What a check may take at all.
    pub const MOST: Self = Self(2_000_000);
}

/// The check of data was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// It takes too many steps.
    #[error("checking it takes more than {} steps: use a simpler schema or smaller data", Steps::MOST.0)]
    Steps,
    /// Schema and data lead too deep.
    #[error("schema and data are nested too deeply to be checked")]
    Depth,
}

/// The index of a subschema.
type NodeId = usize;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// The first is the schema itself.
    nodes: Vec<Node>,
    /// What the references refer to.
    references: Vec<NodeId>,
    /// The memory that it takes, about.
    bytes: usize,
}

/// A subschema.
#[derive(Debug)]
enum Node {
    /// `true`
    Any,
    /// `false`
    Never,
    Rules {
        rules: Vec<Rule>,
        /// Whether it has to know what its other keywords have looked at.
        is_unevaluated: bool,
    },
}

/// One keyword, or some that belong together.
#[derive(Debug)]
enum Rule {
    Type(TypeSet),
    /// The canonical texts of the values.
    Enum {
        values: HashSet<Box<str>>,
        longest: usize,
    },
    MultipleOf(Number),
    Bound(Bound, Number),
    Size(Size, u64),
    Pattern(Pattern),
    UniqueItems,
    Required(Vec<Box<str>>),
    DependentRequired(Vec<(Box<str>, Vec<Box<str>>)>),
    /// An index into [`Schema::references`].
    Reference(usize),
    AllOf(Vec<NodeId>),
    AnyOf(Vec<NodeId>),
    OneOf(Vec<NodeId>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    DependentSchemas(Vec<(Box<str>, NodeId)>),
    Members {
        named: HashMap<Box<str>, NodeId>,
        patterns: Vec<(Pattern, NodeId)>,
        rest: Option<NodeId>,
    },
    MemberNames(NodeId),
    Items {
        first: Vec<NodeId>,
        rest: Option<NodeId>,
    },
    Contains {
        node: NodeId,
        min: u64,
        max: Option<u64>,
    },
    UnevaluatedMembers(NodeId),
    UnevaluatedItems(NodeId),
}

/// A bound of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// A bound of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    MinLength,
    MaxLength,
    MinItems,
    MaxItems,
    MinMembers,
    MaxMembers,
}

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct TypeSet(u8);

/// The types of JSON Schema, each with its bit and how a sentence calls it.
const TYPES: [(&str, u8, &str); 7] = [
    ("null", 1, "null"),
    ("boolean", 2, "a boolean"),
    ("object", 4, "an object"),
    ("array", 8, "an array"),
    ("number", 16, "a number"),
    ("string", 32, "a string"),
    ("integer", 64, "an integer"),
];

impl TypeSet {
    /// Returns the types that a value has: an integer is a number too.
    fn of(value: &Value) -> Self {
        Self(match value {
            Value::Null => 1,
            Value::Bool(_) => 2,
            Value::Object(_) => 4,
            Value::Array(_) => 8,
            Value::Number(number) if canonical::is_integer(number) => 16 | 64,
            Value::Number(_) => 16,
            Value::String(_) => 32,
        })
    }

    fn with(self, name: &str) -> Option<Self> {
        TYPES.iter().find(|(known, ..)| *known == name).map(|(_, bit, _)| Self(self.0 | bit))
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Names the types in a sentence.
    fn named(self) -> String {
        let names: Vec<_> = TYPES.iter().filter(|(_, bit, _)| self.0 & bit != 0).map(|(.., words)| *words).collect();
        names.join(" or ")
    }
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, with pointers into it.
    pub fn compile(text: &str) -> Result<Self, Vec<Invalid>> {
        let document: Value = serde_json::from_str(text).map_err(|error| vec![unreadable(&error, "schema")])?;
        let mut schema = compile::compile(&document)?;
        // Values, maps and vectors of short texts take this many times the text.
        schema.bytes = schema.bytes.saturating_add(text.len() * 24);
        Ok(schema)
    }

    /// Checks data, JSON text, and returns what breaks the schema, with pointers into the data: some of it, if that is much.
    ///
    /// # Errors
    /// [`Unfinished`] if it takes more than these steps.
    pub fn check(&self, data: &str, steps: Steps) -> Result<Vec<Invalid>, Unfinished> {
        match serde_json::from_str(data) {
            Ok(value) => check::check(self, &value, steps.0),
            Err(error) => Ok(vec![unreadable(&error, "value")]),
        }
    }

    /// Returns the bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::Never)
    }

    fn reference(&self, index: usize) -> NodeId {
        self.references.get(index).copied().unwrap_or(usize::MAX)
    }
}

/// Says why valid JSON cannot be read into memory: numbers and nesting of JSON have no bounds (RFC 8259 §9).
fn unreadable(error: &serde_json::Error, what: &str) -> Invalid {
    let text = error.to_string();
    let why = match &text {
        text if text.starts_with("recursion limit") => "it is nested more than 127 levels deep",
        text if text.starts_with("number out of range") => "it has a number beyond the range of a double",
        text if text.contains("surrogate") || text.contains("escape") => "it has an escape that is no character",
        _ => "it is not valid JSON",
    };
    Invalid::at("", format!("this {what} cannot be checked: {why}"))
}

#[cfg(test)]
mod tests;
