//! The event types of a file.

use serde_json::{Map, Value};

/// A type of a file, and its fields as the API takes them; or why it has none.
#[derive(Debug)]
pub(super) struct TypeEntry {
    pub(super) name: String,
    pub(super) fields: Result<Map<String, Value>, String>,
}
