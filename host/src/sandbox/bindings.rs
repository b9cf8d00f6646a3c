//! Adapters, one for each track of compatible versions of the WIT package. Each converts to the same domain types.

pub(super) mod v0_1;
