//! The config.

use std::collections::BTreeMap;

use posthaste_plugin::json::{PointerPattern, PointerTarget};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields to send, and their new pointers and values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub(crate) pick: Option<Vec<PointerPattern>>,
    pub(crate) remove: Vec<PointerPattern>,
    pub(crate) r#move: BTreeMap<PointerPattern, PointerTarget>,
    pub(crate) defaults: BTreeMap<PointerPattern, Box<RawValue>>,
    pub(crate) convert: BTreeMap<PointerPattern, String>,
    pub(crate) lookup: BTreeMap<PointerPattern, Lookup>,
    pub(crate) set: BTreeMap<PointerTarget, Box<RawValue>>,
    pub(crate) drop_nulls: bool,
    /// The variable `vars` of the templates in `set`.
    pub(crate) vars: Option<Box<RawValue>>,
}

/// A table that translates values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    /// By the characters of a string, and the JSON of any other value.
    pub(crate) table: BTreeMap<String, Box<RawValue>>,
    /// For values that are not in the table, and if the field is missing or `null`.
    pub(crate) default: Option<Box<RawValue>>,
}
