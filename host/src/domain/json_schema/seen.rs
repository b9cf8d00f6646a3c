//! What the keywords of a schema have looked at, for `unevaluatedItems` and `unevaluatedProperties` (JSON Schema core §11).

use std::collections::HashSet;

/// Members and items of one value.
#[derive(Debug, Default)]
pub(super) struct Seen<'v> {
    pub(super) members: HashSet<&'v str>,
    /// How many items from the first on.
    pub(super) first_items: usize,
    /// Items that `contains` has found.
    pub(super) items: HashSet<usize>,
}

impl<'v> Seen<'v> {
    /// Adds what another part of the schema has looked at, and returns how much that was.
    pub(super) fn add(&mut self, other: Seen<'v>) -> usize {
        let count = other.members.len() + other.items.len();
        self.members.extend(other.members);
        self.items.extend(other.items);
        self.first_items = self.first_items.max(other.first_items);
        count
    }

    pub(super) fn has_item(&self, index: usize) -> bool {
        index < self.first_items || self.items.contains(&index)
    }
}
