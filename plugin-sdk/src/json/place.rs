//! Places in a document: where a pattern leads in this one.

use std::fmt;
use std::sync::Arc;

use super::Pointer;

/// A place in a [`Document`](super::Document): one of those that a pattern selects, by
/// [`Document::places`](super::Document::places). It also leads to a member whose name no pointer can spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    steps: Vec<Step>,
    /// The number of steps to the element that the last `*` stands for.
    item: Option<usize>,
    /// The pattern.
    text: Arc<str>,
}

/// A step to a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The member with this name, or the element with this index.
    Name(String),
    /// The child at this position, whatever its name.
    Position(usize),
}

impl Place {
    pub(super) fn new(text: &str) -> Self {
        Self { steps: Vec::new(), item: None, text: text.into() }
    }

    pub(super) fn extend(&mut self, tokens: &[String]) {
        self.steps.extend(tokens.iter().cloned().map(Step::Name));
    }

    /// Returns the place of a child, which may be the one that the last `*` stands for.
    pub(super) fn inside(mut self, position: usize, is_item: bool) -> Self {
        self.steps.push(Step::Position(position));
        self.item = is_item.then_some(self.steps.len());
        self
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn item(&self) -> Option<&[Step]> {
        self.steps.get(..self.item?)
    }

    /// Returns the place that has these names after the element that the last `*` stands for, in place of its own.
    ///
    /// ```
    /// use posthaste_plugin::json::{Document, PointerPattern};
    ///
    /// let mut data = Document::parse(r#"[{"a": 1}, {"a": 2}]"#)?;
    /// for place in data.places(&PointerPattern::new("/*/a")?) {
    ///     let value = data.take_at(&place);
    ///     data.put_at(&place.beside(&["b".to_owned()]), &value)?;
    /// }
    /// assert_eq!(data.to_string(), r#"[{"b":1},{"b":2}]"#);
    /// # Ok::<(), posthaste_plugin::Error>(())
    /// ```
    #[must_use]
    pub fn beside(&self, names: &[String]) -> Self {
        let mut place = Self { steps: self.item().unwrap_or_default().to_vec(), ..self.clone() };
        place.extend(names);
        place
    }
}

impl From<&Pointer> for Place {
    fn from(pointer: &Pointer) -> Self {
        let mut place = Self::new(pointer.as_str());
        place.extend(pointer.tokens());
        place
    }
}

/// Writes the pattern.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Position(position) => position.fmt(f),
        }
    }
}
