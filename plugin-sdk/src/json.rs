//! Editing JSON text without touching the rest.
//!
//! Going through [`Value`](serde_json::Value) sorts keys, drops all but the last of equal keys and respells numbers.
//! What is here works on the text itself instead: [`find`] and [`replace`] change values where they stand, a [`Document`]
//! moves them about, and [`edit_strings`] goes through all strings of a text.
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

/// Puts `value`, as JSON, in the place of every value that one of the pointers names, and leaves every other byte of
/// `text` as it is. `None` where nothing is named. Which values are meant is told at [`find`].
///
/// # Errors
/// `text` is no JSON, or `value` has no JSON form.
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
