//! References within a schema: `#`, `#/a/pointer` and `#anchor`.

use std::collections::HashMap;

use serde_json::Value;

use super::NodeId;

/// The references of a schema, resolved in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct References<'d> {
    all: Vec<(NodeId, &'d str)>,
    targets: Vec<NodeId>,
    anchors: HashMap<&'d str, NodeId>,
}

impl<'d> References<'d> {
    /// Adds a reference of a subschema and returns its index.
    pub(super) fn add(&mut self, at: NodeId, reference: &'d str) -> usize {
        self.all.push((at, reference));
        self.all.len() - 1
    }

    /// Adds an anchor; returns false if there is one of this name.
    pub(super) fn add_anchor(&mut self, anchor: &'d str, id: NodeId) -> bool {
        self.anchors.insert(anchor, id).is_none()
    }

    /// Returns the next reference that is not resolved.
    pub(super) fn next(&self) -> Option<(NodeId, &'d str)> {
        self.all.get(self.targets.len()).copied()
    }

    /// Resolves the next reference.
    pub(super) fn resolved(&mut self, target: NodeId) {
        self.targets.push(target);
    }

    /// Returns the subschema whose anchor a reference names.
    pub(super) fn anchor(&self, reference: &str) -> Option<NodeId> {
        self.anchors.get(reference.strip_prefix('#')?).copied()
    }

    /// Returns what the references refer to.
    pub(super) fn targets(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.targets)
    }
}

/// Finds what a reference by a pointer names.
pub(super) fn find<'d>(document: &'d Value, reference: &str) -> Option<&'d Value> {
    document.pointer(&decoded(reference.strip_prefix('#')?)?)
}

/// Decodes the %-escapes of a fragment (RFC 3986 §2.1).
fn decoded(fragment: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(fragment.len()), fragment.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}
