//! Edits parts of a JSON text and leaves every other byte unchanged.
//!
//! A round trip through [`Value`](serde_json::Value) sorts keys, drops all but the last of equal keys and respells numbers.
//! This module works on the text itself instead: [`get`] reads values, [`find`], [`replace`] and [`replace_each`] change them in
//! place, a [`Document`] moves them, and [`edit_strings`] visits all strings of a text.
//!
//! ```
//! use posthaste_plugin::json::{self, Pointer};
//!
//! let text = r#"{"salary": 5450000.00, "id": 7}"#;
//! let masked = json::replace(text, &[Pointer::new("/salary")?], "***")?;
//! assert_eq!(masked.as_deref(), Some(r#"{"salary": "***", "id": 7}"#));
//! # Ok::<(), posthaste_plugin::Error>(())
//! ```

mod document;
mod find;
mod get;
mod level;
mod pointer;
mod strings;

use serde::Serialize;

pub use document::Document;
pub use find::find;
pub use get::{elements, get};
pub use pointer::Pointer;
pub use strings::{edit_strings, text};

use crate::Error;
use find::{Found, find_each};

/// The result of [`replace_each`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced<'p> {
    /// The edited text; `None` if the pointers name no value.
    pub text: Option<String>,
    /// The pointers that name no value and do not lead into a replaced one.
    pub missing: Vec<&'p Pointer>,
}

/// Replaces every value that one of the pointers names by `value`, as JSON, and leaves every other byte of `text` unchanged.
/// `None` if the pointers name no value. [`find`] says which values a pointer names.
///
/// # Errors
/// If `text` is not JSON, or `value` has no JSON form.
pub fn replace<T: Serialize + ?Sized>(text: &str, pointers: &[Pointer], value: &T) -> Result<Option<String>, Error> {
    Ok(replace_each(text, pointers, value)?.text)
}

/// Replaces values as [`replace`] does, and also returns the pointers without a value.
///
/// # Errors
/// See [`replace`].
pub fn replace_each<'p, T: Serialize + ?Sized>(
    text: &str,
    pointers: &'p [Pointer],
    value: &T,
) -> Result<Replaced<'p>, Error> {
    let Found { ranges, missing } = find_each(text, pointers)?;
    if ranges.is_empty() {
        return Ok(Replaced { text: None, missing });
    }
    let value = serde_json::to_string(value)?;
    let mut edited = String::with_capacity(text.len() + ranges.len() * value.len());
    let mut copied = 0;
    for range in ranges {
        edited.push_str(text.get(copied..range.start).unwrap_or_default());
        edited.push_str(&value);
        copied = range.end;
    }
    edited.push_str(text.get(copied..).unwrap_or_default());
    Ok(Replaced { text: Some(edited), missing })
}
