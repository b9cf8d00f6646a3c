//! Reads the values that pointers name, without parsing any other.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Pointer;
use super::find::{PointerRest, enter, rests_of};
use super::level::children;
use super::strings::characters;
use crate::Error;

/// Returns for each pointer the value in `text` that it names, as JSON, if there is one. If an object has a name twice, the last
/// member counts, as for most readers.
///
/// All other values are only skipped: no depth of nesting, no number and no half of a surrogate pair (`"\ud800"`) in them is an
/// error.
///
/// ```
/// use posthaste_plugin::json::{self, Pointer};
///
/// let found = json::get(r#"{"id": 7, "total": 1e400}"#, &[Pointer::new("/id")?, Pointer::new("/name")?])?;
/// assert_eq!(found, [Some("7"), None]);
/// # Ok::<(), posthaste_plugin::Error>(())
/// ```
///
/// # Errors
/// If `text` is not JSON.
pub fn get<'t, 'p>(
    text: &'t str,
    pointers: impl IntoIterator<Item = &'p Pointer>,
) -> Result<Vec<Option<&'t str>>, Error> {
    let whole: &RawValue = serde_json::from_str(text)?;
    let rests = rests_of(pointers);
    let mut found = vec![None; rests.len()];
    // An explicit stack in place of recursion: the guest's stack is 64 KiB.
    let mut open = vec![(whole.get(), rests)];
    while let Some((value, rests)) = open.pop() {
        for ended in rests.iter().filter(|rest| rest.tokens.is_empty()) {
            if let Some(slot) = found.get_mut(ended.position) {
                *slot = Some(value);
            }
        }
        if rests.iter().any(|rest| !rest.tokens.is_empty()) {
            open.extend(named_children(value, &rests));
        }
    }
    Ok(found)
}

/// Returns the elements and members of `value` that the pointers name, each with these pointers; of equal names the last.
fn named_children<'t, 'p>(value: &'t str, rests: &[PointerRest<'p>]) -> Vec<(&'t str, Vec<PointerRest<'p>>)> {
    let mut named: Vec<(&str, Vec<PointerRest>)> = Vec::new();
    for (index, (name, child)) in children(value).enumerate() {
        let entered = enter(rests, name, index);
        if !entered.is_empty() {
            // At most one entry per pointer remains, however often a name occurs.
            named.retain_mut(|(_, earlier)| {
                earlier.retain(|rest| !entered.iter().any(|entered| entered.position == rest.position));
                !earlier.is_empty()
            });
            named.push((child, entered));
        }
    }
    named
}

/// Returns the elements of a list, each as JSON, without parsing them; none for any other value.
///
/// `json` must be valid JSON without spaces around it, as [`get`] returns it; for any other text the elements are unspecified.
///
/// ```
/// use posthaste_plugin::json;
///
/// assert_eq!(json::elements(r#"[1, "a,b", {"c": [2]}]"#).collect::<Vec<_>>(), ["1", r#""a,b""#, r#"{"c": [2]}"#]);
/// ```
pub fn elements(json: &str) -> impl Iterator<Item = &str> {
    children(json).filter_map(|(name, value)| name.is_none().then_some(value))
}

/// Returns the members of an object in their order, each with its unescaped name and its value as JSON, which is not parsed; none
/// for any other value. Equal names come more than once; half a surrogate pair in a name is U+FFFD.
///
/// `json` must be as for [`elements`].
///
/// ```
/// use posthaste_plugin::json;
///
/// let members: Vec<_> = json::members(r#"{"a\u0062": 2.50, "c": [1]}"#).collect();
/// assert_eq!(members, [("ab".into(), "2.50"), ("c".into(), "[1]")]);
/// ```
pub fn members(json: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    children(json).filter_map(|(name, value)| Some((characters(name?), value)))
}
