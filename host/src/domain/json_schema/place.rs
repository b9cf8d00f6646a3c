//! Places in a document, as JSON pointers (RFC 6901), and the faults found there.

use super::{MAX_FAULT_BYTES, MAX_FAULTS};
use crate::domain::{Invalid, json_pointer};

/// Most bytes of a pointer that a fault repeats: a document may have names of any length.
const MAX_POINTER_BYTES: usize = 512;

/// A place in a document, linked to the one around it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    Root,
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// Returns the pointer; a very long one is cut off.
    pub(super) fn pointer(&self) -> String {
        let (mut steps, mut place) = (Vec::new(), self);
        loop {
            place = match place {
                Place::Root => break,
                Place::Member(outer, name) => {
                    steps.push(segment(name));
                    outer
                }
                Place::Item(outer, index) => {
                    steps.push(index.to_string());
                    outer
                }
            };
        }
        let mut pointer = String::new();
        for step in steps.iter().rev() {
            pointer.push('/');
            pointer.push_str(step);
        }
        clipped(&pointer, MAX_POINTER_BYTES)
    }
}

/// Writes a name as a segment of a pointer.
pub(super) fn segment(name: &str) -> String {
    json_pointer::token(&clipped(name, MAX_POINTER_BYTES))
}

/// Quotes a name in a sentence; a very long one is cut off.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", clipped(name, 64))
}

/// Returns at most this many bytes of a text.
pub(super) fn clipped(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// The faults of a document: as many as an answer may list.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Invalid>,
    bytes: usize,
}

impl Faults {
    /// Adds a fault, if there is room and it is new.
    pub(super) fn add(&mut self, pointer: String, detail: String) {
        let bytes = pointer.len() + detail.len();
        let fits = self.list.is_empty() || (self.list.len() < MAX_FAULTS && self.bytes + bytes <= MAX_FAULT_BYTES);
        let fault = Invalid::at(pointer, detail);
        if fits && !self.list.contains(&fault) {
            self.bytes += bytes;
            self.list.push(fault);
        }
    }

    /// Returns whether nothing more will be listed.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_FAULTS || self.bytes >= MAX_FAULT_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_list(self) -> Vec<Invalid> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_names_the_way_to_the_place() {
        let outer = Place::Member(&Place::Root, "a/b~c");
        assert_eq!(Place::Item(&outer, 7).pointer(), "/a~1b~0c/7");
        assert_eq!(Place::Root.pointer(), "");
        let long = "é".repeat(MAX_POINTER_BYTES);
        assert!(Place::Member(&Place::Root, &long).pointer().len() <= MAX_POINTER_BYTES + '…'.len_utf8());
    }

    #[test]
    fn faults_are_bounded_in_number_and_bytes() {
        let mut faults = Faults::default();
        (0..100).for_each(|number| faults.add(format!("/{}", number / 2), "x".into()));
        assert!(faults.is_full());
        assert_eq!(faults.into_list().len(), MAX_FAULTS);
        let mut faults = Faults::default();
        (0..100).for_each(|number| faults.add(format!("/{number}"), "x".repeat(1500)));
        assert_eq!(faults.into_list().len(), 2);
    }
}
