//! Edits parts of a JSON text and leaves every other byte unchanged.
//!
//! A round trip through [`Value`](serde_json::Value) sorts keys, drops all but the last of equal keys and respells numbers.
//! This module works on the text itself instead: [`find`] and [`replace`] change values in place, a [`Document`] moves them, and
//! [`edit_strings`] visits all strings of a text.
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
mod level;
mod pointer;
mod strings;

use serde::Serialize;

pub use document::Document;
pub use find::find;
pub use pointer::Pointer;
pub use strings::{edit_strings, text};

use crate::Error;

/// Replaces every value that one of the pointers names by `value`, as JSON, and leaves every other byte of `text` unchanged.
/// `None` if the pointers name no value. [`find`] says which values a pointer names.
///
/// # Errors
/// If `text` is not JSON, or `value` has no JSON form.
pub fn replace<T: Serialize + ?Sized>(text: &str, pointers: &[Pointer], value: &T) -> Result<Option<String>, Error> {
    let found = find(text, pointers)?;
    if found.is_empty() {
        return Ok(None);
    }
    let value = serde_json::to_string(value)?;
    let mut edited = String::with_capacity(text.len() + found.len() * value.len());
    let mut copied = 0;
    for span in found {
        edited.push_str(text.get(copied..span.start).unwrap_or_default());
        edited.push_str(&value);
        copied = span.end;
    }
    edited.push_str(text.get(copied..).unwrap_or_default());
    Ok(Some(edited))
}
