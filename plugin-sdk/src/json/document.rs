//! Moves values of a JSON text: takes, keeps and puts them by pointer.

use std::{fmt, mem};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Pointer;
use super::find::{PointerRest, enter, rests_of};
use super::level::{children, is_meant};
use crate::Error;

/// An editable JSON text, for changes that move values.
///
/// Only values on the path of a pointer are parsed. Every other value keeps its bytes when it moves: the spelling of numbers, the
/// order of members, the spaces inside. An object or array on the path of a pointer is written without spaces between its
/// members.
///
/// Pointers refer to the text as it was read: after the first element of an array is taken, the second keeps its index. If an
/// object has a name twice, the last member counts, as for most readers, and taking or putting removes the others.
///
/// ```
/// use posthaste_plugin::json::{Document, Pointer};
///
/// let mut data = Document::parse(r#"{"id": 52, "first_name": "Bob", "salary": 5450000.00}"#)?;
/// let name = data.take(&Pointer::new("/first_name")?).ok_or("no name")?;
/// data.put(&Pointer::new("/name/first")?, &name)?;
/// assert_eq!(data.to_string(), r#"{"id":52,"salary":5450000.00,"name":{"first":"Bob"}}"#);
/// # Ok::<(), posthaste_plugin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let root: &RawValue = serde_json::from_str(text)?;
        Ok(Self { root: Node::Raw(root.get().into()) })
    }

    /// Returns the value that the pointer names, if there is one.
    pub fn get(&mut self, pointer: &Pointer) -> Option<Box<RawValue>> {
        self.node(pointer.tokens())?.clone().into_value()
    }

    /// Removes and returns the value that the pointer names, if there is one.
    pub fn take(&mut self, pointer: &Pointer) -> Option<Box<RawValue>> {
        let Some((last, way)) = pointer.tokens().split_last() else {
            return mem::take(&mut self.root).into_value();
        };
        let taken: Vec<_> = self.node(way)?.named(last).map(mem::take).collect();
        taken.into_iter().next_back()?.into_value()
    }

    /// Keeps the values that one of the pointers names and removes all others. If they name no value, `{}` is left.
    pub fn keep(&mut self, pointers: &[Pointer]) {
        if !self.root.keep(&rests_of(pointers)) {
            self.root = Node::Open { is_object: true, children: Vec::new() };
        }
    }

    /// Puts `value`, as JSON, at the pointer, in place of the value that is there. Creates objects on the path that are missing or
    /// `null`.
    ///
    /// # Errors
    /// If another value is on the path, such as a string or an array without this element, or `value` has no JSON form.
    pub fn put<T: Serialize + ?Sized>(&mut self, pointer: &Pointer, value: &T) -> Result<(), Error> {
        let value = to_raw_value(value)?;
        let mut node = &mut self.root;
        for token in pointer.tokens() {
            node = node.place(token).ok_or_else(|| {
                let why = "is neither an object nor a list with such an element";
                Error::new(format!("nothing can be put at `{}`: what holds `{token}` {why}", pointer.as_str()))
            })?;
        }
        *node = Node::Raw(value.get().into());
        Ok(())
    }

    fn node(&mut self, tokens: &[String]) -> Option<&mut Node> {
        tokens.iter().try_fold(&mut self.root, |node, token| node.named(token).next_back())
    }
}

/// Writes the edited text; `null` if the whole document was taken.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.root.is_gone() { f.write_str("null") } else { self.root.fmt(f) }
    }
}

/// A member with its name, as JSON, or an element.
type NodeChild = (Option<String>, Node);

/// A value of a document. Open nodes are at most as deep as the longest pointer, so recursion is bounded.
#[derive(Debug, Clone, Default)]
enum Node {
    /// A value that no pointer has entered, as JSON.
    Raw(Box<str>),
    /// An object or an array, with its members or elements.
    Open { is_object: bool, children: Vec<NodeChild> },
    /// A removed value. It stays in the list, so that the elements after it keep their index.
    #[default]
    Gone,
}

impl Node {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    fn into_value(self) -> Option<Box<RawValue>> {
        match self {
            Self::Raw(raw) => RawValue::from_string(raw.into()).ok(),
            Self::Open { .. } => RawValue::from_string(self.to_string()).ok(),
            Self::Gone => None,
        }
    }

    /// Returns whether it is an object, and its children, which it parses on first use. `None` if it can have none.
    fn open(&mut self) -> Option<(bool, &mut Vec<NodeChild>)> {
        if let Self::Raw(raw) = self {
            let is_object = raw.starts_with('{');
            if !is_object && !raw.starts_with('[') {
                return None;
            }
            let children = children(raw).map(|(name, raw)| (name.map(str::to_owned), Self::Raw(raw.into()))).collect();
            *self = Self::Open { is_object, children };
        }
        match self {
            Self::Open { is_object, children } => Some((*is_object, children)),
            Self::Raw(_) | Self::Gone => None,
        }
    }

    /// Returns every child with this name or index.
    fn named(&mut self, token: &str) -> impl DoubleEndedIterator<Item = &mut Self> {
        let children = self.open().map_or(&mut [][..], |(_, children)| children);
        let meant =
            children.iter_mut().enumerate().filter(|(index, (name, _))| is_meant(name.as_deref(), *index, token));
        meant.map(|(_, (_, node))| node).filter(|node| !node.is_gone())
    }

    /// Returns the child with this name or index, and creates it if an object lacks it.
    fn place(&mut self, token: &str) -> Option<&mut Self> {
        if self.is_gone() || matches!(self, Self::Raw(raw) if &**raw == "null") {
            *self = Self::Open { is_object: true, children: Vec::new() };
        }
        let (is_object, children) = self.open()?;
        let mut place = None;
        for (index, (name, node)) in children.iter_mut().enumerate().rev() {
            // A removed member of an object is not revived: the new member becomes the last.
            if is_meant(name.as_deref(), index, token) && !(is_object && node.is_gone()) {
                match place {
                    None => place = Some(index),
                    Some(_) => *node = Self::Gone,
                }
            }
        }
        if place.is_none() && is_object {
            place = Some(children.len());
            children.push((Some(serde_json::to_string(token).ok()?), Self::Gone));
        }
        children.get_mut(place?).map(|(_, node)| node)
    }

    /// Keeps the values that the rests of the pointers name, and returns whether there are any.
    fn keep(&mut self, rests: &[PointerRest<'_>]) -> bool {
        if rests.is_empty() || self.is_gone() {
            *self = Self::Gone;
        } else if rests.iter().all(|rest| !rest.tokens.is_empty()) {
            let children = self.open().map_or(&mut [][..], |(_, children)| children);
            let mut kept = false;
            for (index, (name, node)) in children.iter_mut().enumerate() {
                kept |= node.keep(&enter(rests, name.as_deref(), index));
            }
            if !kept {
                *self = Self::Gone;
            }
        }
        !self.is_gone()
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_object, children) = match self {
            Self::Raw(raw) => return f.write_str(raw),
            Self::Open { is_object, children } => (*is_object, children),
            Self::Gone => return Ok(()),
        };
        f.write_str(if is_object { "{" } else { "[" })?;
        for (index, (name, node)) in children.iter().filter(|(_, node)| !node.is_gone()).enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            if let Some(name) = name {
                f.write_str(name)?;
                f.write_str(":")?;
            }
            node.fmt(f)?;
        }
        f.write_str(if is_object { "}" } else { "]" })
    }
}
