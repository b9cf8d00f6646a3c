//! One adapter for each compatible track of the WIT package; all of them convert to the same domain types.

pub(super) mod v0_1;
