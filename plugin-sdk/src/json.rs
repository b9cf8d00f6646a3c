//! Editing JSON text without touching the rest.
//!
//! Going through [`Value`](serde_json::Value) sorts keys, drops all but the last of equal keys and respells numbers.
//! [`find`] and [`replace`] work on the text itself instead:
//!
//! ```
//! use posthaste_plugin::json::{self, Pointer};
//!
//! let text = r#"{"salary": 5450000.00, "id": 7}"#;
//! let masked = json::replace(text, &[Pointer::new("/salary")?], "***")?;
//! assert_eq!(masked.as_deref(), Some(r#"{"salary": "***", "id": 7}"#));
//! # Ok::<(), posthaste_plugin::Error>(())
//! ```

mod find;
mod pointer;

use serde::Serialize;

pub use find::find;
pub use pointer::Pointer;

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
