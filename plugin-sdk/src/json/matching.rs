//! Locates the values of a JSON text that patterns select.

use std::cmp::Reverse;
use std::ops::Range;

use super::find::{Found, check, find_each, rests_of_patterns, span};
use super::level::length;
use super::strings::{characters, next_string};
use super::{KeyPattern, PointerPattern};
use crate::Error;

/// The values that patterns select, by [`find_matching`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching<'p> {
    /// The byte ranges of the values, in order and without overlaps: a value inside another selected value is not listed.
    pub ranges: Vec<Range<usize>>,
    /// The pointers that select no value and do not lead into a selected one.
    pub missing_pointers: Vec<&'p PointerPattern>,
    /// The names that no member has.
    pub missing_keys: Vec<&'p KeyPattern>,
}

/// Returns all values in `text` that one of the patterns selects: by the path to them, or by the name of the member that they are
/// the value of, wherever it is.
///
/// Names are compared after unescaping; half a surrogate pair in one is U+FFFD. If an object has a key more than once, all of these
/// members count, as for [`find`](super::find). The time is linear in the text, whatever its depth, for each name of the longest
/// pointer and each pattern.
///
/// ```
/// use posthaste_plugin::json::{self, KeyPattern, PointerPattern};
///
/// let text = r#"{"employees": [{"iban": "A"}, {"iban": "B", "api_token": ["C"]}]}"#;
/// let pointers = [PointerPattern::new("/employees/*/iban")?];
/// let keys = [KeyPattern::new("*_token")?, KeyPattern::new("salary")?];
/// let found = json::find_matching(text, &pointers, &keys)?;
/// let values: Vec<_> = found.ranges.iter().map(|range| &text[range.clone()]).collect();
/// assert_eq!(values, [r#""A""#, r#""B""#, r#"["C"]"#]);
/// assert_eq!(found.missing_keys, [&keys[1]]);
/// # Ok::<(), posthaste_plugin::Error>(())
/// ```
///
/// # Errors
/// If `text` is not JSON.
pub fn find_matching<'p>(
    text: &str,
    pointers: &'p [PointerPattern],
    keys: &'p [KeyPattern],
) -> Result<Matching<'p>, Error> {
    check(text)?;
    let by_key = find_keys(text, keys);
    let by_pointer = find_each(text, rests_of_patterns(pointers), &by_key.ranges);
    Ok(Matching {
        ranges: outermost(by_key.ranges, by_pointer.ranges),
        missing_pointers: missing(pointers, &by_pointer.is_missing),
        missing_keys: missing(keys, &by_key.is_missing),
    })
}

/// Returns the values of all members whose names match, as [`find_each`] returns those of pointers. `text` must be JSON.
fn find_keys(text: &str, keys: &[KeyPattern]) -> Found {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut is_missing = vec![true; keys.len()];
    let mut rest = if keys.is_empty() { "" } else { text };
    // In valid JSON, a string before a colon is a name. One pass over the text needs no stack, however deep it is.
    while let Some((_, string, after)) = next_string(rest) {
        rest = after;
        let Some(value) = after.trim_ascii_start().strip_prefix(':') else { continue };
        let name = characters(string);
        let mut is_selected = false;
        for (key, is_missing) in keys.iter().zip(&mut is_missing) {
            if key.matches(&name) {
                is_selected = true;
                *is_missing = false;
            }
        }
        let value = value.trim_ascii_start();
        let start = span(text, value).start;
        if is_selected && ranges.last().is_none_or(|outer| outer.end <= start) {
            ranges.push(start..start + length(value));
        }
    }
    Found { ranges, is_missing }
}

/// Merges the ranges of values; one inside another is left out.
fn outermost(mut ranges: Vec<Range<usize>>, others: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.extend(others);
    ranges.sort_unstable_by_key(|range| (range.start, Reverse(range.end)));
    let mut end = 0;
    ranges.retain(|range| {
        let is_outer = range.start >= end;
        end = end.max(range.end);
        is_outer
    });
    ranges
}

/// Returns the patterns that are missing.
pub(super) fn missing<'p, T>(patterns: &'p [T], is_missing: &[bool]) -> Vec<&'p T> {
    patterns.iter().zip(is_missing).filter_map(|(pattern, is_missing)| is_missing.then_some(pattern)).collect()
}

/// Replaces ranges of `text`, which are in order and without overlaps, each by the text beside it. A range beyond the text, or that
/// begins or ends inside a character, is left as it is.
///
/// ```
/// use posthaste_plugin::json;
///
/// let text = r#"{"a": "x", "b": 1}"#;
/// assert_eq!(json::edit_ranges(text, [(6..9, "2"), (16..17, "[]")]), r#"{"a": 2, "b": []}"#);
/// ```
pub fn edit_ranges<T: AsRef<str>>(text: &str, edits: impl IntoIterator<Item = (Range<usize>, T)>) -> String {
    let mut edited = String::with_capacity(text.len());
    let mut copied = 0;
    for (range, new) in edits {
        if let (Some(before), Some(_)) = (text.get(copied..range.start), text.get(range.clone())) {
            edited.push_str(before);
            edited.push_str(new.as_ref());
            copied = range.end;
        }
    }
    edited.push_str(text.get(copied..).unwrap_or_default());
    edited
}
