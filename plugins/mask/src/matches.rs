//! Regular expressions for parts of texts.

use std::ops::Range;

use posthaste_pattern::PartPattern;
use serde::Deserialize;

/// A regular expression that is matched in a time linear in the text.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Expression(PartPattern);

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        PartPattern::compile(&source).map(Self)
    }
}

impl Expression {
    /// The memory that the compiled expression takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Returns the parts of a text that one of the expressions matches, in order. Parts that overlap are one part.
pub(crate) fn parts(text: &str, expressions: &[Expression]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    for expression in expressions {
        parts.extend(expression.0.finder().parts(text));
    }
    parts.sort_by_key(|part: &Range<usize>| part.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start < last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}
