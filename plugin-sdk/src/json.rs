//! Edits parts of a JSON text and leaves every other byte unchanged.
//!
//! A round trip through [`Value`](serde_json::Value) sorts keys, drops all but the last of equal keys and respells numbers.
//! This module works on the text itself instead: [`get`] reads values, [`find`], [`replace`] and [`replace_each`] change them in
//! place, a [`Document`] moves them, and [`edit_strings`] visits all strings of a text. [`find_matching`] finds values by pointers with
//! wildcards and by the names of members.
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
mod matching;
mod misread;
mod pattern;
mod place;
mod pointer;
mod strings;

use serde::Serialize;

pub use document::Document;
pub use find::find;
pub use get::{elements, get, members};
pub use matching::{Matching, edit_ranges, find_matching};
pub use pattern::{KeyPattern, PointerPattern, PointerTarget};
pub use place::Place;
pub use pointer::Pointer;
pub use strings::{characters, edit_strings, find_strings, text, without_nulls};

use crate::Error;
use find::{Found, check, find_each, rests_of};

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
    check(text)?;
    let Found { ranges, is_missing } = find_each(text, rests_of(pointers), &[]);
    let missing = matching::missing(pointers, &is_missing);
    if ranges.is_empty() {
        return Ok(Replaced { text: None, missing });
    }
    let value = serde_json::to_string(value)?;
    Ok(Replaced { text: Some(edit_ranges(text, ranges.into_iter().map(|range| (range, &value)))), missing })
}
