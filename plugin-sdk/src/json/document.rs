//! Moves values of a JSON text: takes, keeps and puts them by pointer.

use std::{fmt, mem};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::find::{PointerRest, enter, rests_of, rests_of_patterns};
use super::level::{children, is_meant};
use super::place::{Place, Step};
use super::{Pointer, PointerPattern, PointerTarget};
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
        self.get_at(&pointer.into())
    }

    /// Removes and returns the value that the pointer names, if there is one.
    pub fn take(&mut self, pointer: &Pointer) -> Option<Box<RawValue>> {
        self.take_at(&pointer.into())
    }

    /// Keeps the values that one of the pointers names and removes all others. If they name no value, `{}` is left.
    pub fn keep(&mut self, pointers: &[Pointer]) {
        self.keep_rests(&rests_of(pointers));
    }

    /// Keeps values as [`keep`](Self::keep) does, those that patterns select.
    pub fn keep_matching(&mut self, patterns: &[PointerPattern]) {
        self.keep_rests(&rests_of_patterns(patterns));
    }

    fn keep_rests(&mut self, rests: &[PointerRest]) {
        if !self.root.keep(rests) {
            self.root = Node::Open { is_object: true, children: Vec::new() };
        }
    }

    /// Puts `value`, as JSON, at the pointer, in place of the value that is there. Creates objects on the path that are missing or
    /// `null`. The name `-` puts it after the last element of a list (RFC 6901, section 4), and creates a list that is missing.
    ///
    /// # Errors
    /// If another value is on the path, such as a string or an array without this element, or `value` has no JSON form.
    pub fn put<T: Serialize + ?Sized>(&mut self, pointer: &Pointer, value: &T) -> Result<(), Error> {
        self.put_at(&pointer.into(), value)
    }

    /// Returns the places that a pattern selects: one for each element and member that its `*` stand for. What follows the last `*`
    /// need not exist. The places stay valid when values are taken and put.
    ///
    /// ```
    /// use posthaste_plugin::json::{Document, PointerPattern};
    ///
    /// let mut data = Document::parse(r#"{"employees": [{"name": "Ana"}, {"name": "Bob"}]}"#)?;
    /// for place in data.places(&PointerPattern::new("/employees/*/country")?) {
    ///     data.put_at(&place, "ES")?;
    /// }
    /// assert_eq!(data.to_string(), r#"{"employees":[{"name":"Ana","country":"ES"},{"name":"Bob","country":"ES"}]}"#);
    /// # Ok::<(), posthaste_plugin::Error>(())
    /// ```
    pub fn places(&mut self, pattern: &PointerPattern) -> Vec<Place> {
        self.expand(pattern.tokens(), pattern.as_str())
    }

    /// Returns the places of a target, as [`places`](Self::places) does.
    pub fn target_places(&mut self, target: &PointerTarget) -> Vec<Place> {
        self.expand(target.tokens(), target.as_str())
    }

    fn expand(&mut self, tokens: &[String], text: &str) -> Vec<Place> {
        let mut places = vec![Place::new(text)];
        let Some(last) = tokens.iter().rposition(|token| token == "*") else {
            places.iter_mut().for_each(|place| place.extend(tokens));
            return places;
        };
        for (at, token) in tokens.iter().enumerate() {
            if token != "*" {
                places.iter_mut().for_each(|place| place.extend(std::slice::from_ref(token)));
                continue;
            }
            let inside = |place: Place| {
                let positions = self.node(place.steps()).map(Node::positions).unwrap_or_default();
                positions.into_iter().map(move |position| place.clone().inside(position, at == last))
            };
            places = places.into_iter().flat_map(inside).collect();
        }
        places
    }

    /// Returns the value at a place, if there is one.
    pub fn get_at(&mut self, place: &Place) -> Option<Box<RawValue>> {
        self.node(place.steps())?.clone().into_value()
    }

    /// Returns the element or member that the last `*` of a place stands for.
    pub fn item_of(&mut self, place: &Place) -> Option<Box<RawValue>> {
        self.node(place.item()?)?.clone().into_value()
    }

    /// Removes and returns the value at a place, if there is one.
    pub fn take_at(&mut self, place: &Place) -> Option<Box<RawValue>> {
        let Some((last, way)) = place.steps().split_last() else {
            return mem::take(&mut self.root).into_value();
        };
        let taken: Vec<_> = self.node(way)?.named(last).map(mem::take).collect();
        taken.into_iter().next_back()?.into_value()
    }

    /// Puts `value`, as JSON, at a place, as [`put`](Self::put) does.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    pub fn put_at<T: Serialize + ?Sized>(&mut self, place: &Place, value: &T) -> Result<(), Error> {
        let value = to_raw_value(value)?;
        let mut node = &mut self.root;
        for step in place.steps() {
            node = node.place(step).ok_or_else(|| {
                let why = "is neither an object nor a list with such an element";
                Error::new(format!("nothing can be put at `{place}`: what holds `{step}` {why}"))
            })?;
        }
        *node = Node::Raw(value.get().into());
        Ok(())
    }

    fn node(&mut self, steps: &[Step]) -> Option<&mut Node> {
        steps.iter().try_fold(&mut self.root, |node, step| node.named(step).next_back())
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

    /// Returns the positions of the children that are there.
    fn positions(&mut self) -> Vec<usize> {
        let children = self.open().map_or(&mut [][..], |(_, children)| children);
        children.iter().enumerate().filter(|(_, (_, node))| !node.is_gone()).map(|(position, _)| position).collect()
    }

    /// Returns every child that a step leads to.
    fn named(&mut self, step: &Step) -> impl DoubleEndedIterator<Item = &mut Self> {
        let children = self.open().map_or(&mut [][..], |(_, children)| children);
        let meant = children.iter_mut().enumerate().filter(|(index, (name, _))| match step {
            Step::Name(token) => is_meant(name.as_deref(), *index, token),
            Step::Position(position) => index == position,
        });
        meant.map(|(_, (_, node))| node).filter(|node| !node.is_gone())
    }

    /// Returns the child that a step leads to, and creates it if an object lacks it.
    fn place(&mut self, step: &Step) -> Option<&mut Self> {
        let token = match step {
            Step::Name(token) => token,
            Step::Position(position) => return self.open()?.1.get_mut(*position).map(|(_, node)| node),
        };
        if self.is_gone() || matches!(self, Self::Raw(raw) if &**raw == "null") {
            *self = Self::Open { is_object: token != "-", children: Vec::new() };
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
        if place.is_none() && (is_object || token == "-") {
            place = Some(children.len());
            let name = is_object.then(|| serde_json::to_string(token)).transpose().ok()?;
            children.push((name, Self::Gone));
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
