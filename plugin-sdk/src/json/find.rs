//! Locates the values of a JSON text that a set of pointers names.

use std::ops::Range;

use serde_json::value::RawValue;

use super::Pointer;
use super::level::{children, is_meant};
use crate::Error;

/// The remaining tokens of a pointer on its way down.
pub(super) type PointerRest<'p> = &'p [String];
/// A value on the path of pointers, and the rest of each pointer.
type PathValue<'t, 'p> = (&'t RawValue, Vec<PointerRest<'p>>);

/// Returns the byte ranges of all values in `text` that one of the pointers names, in order and without overlaps: a value inside
/// another named value is not listed.
///
/// Names are compared after unescaping, so `/a` finds `{"\u0061": 1}`. If an object has a key more than once, a pointer names all
/// of these members, because receivers differ in which one they read. A pointer to a missing value names nothing.
///
/// # Errors
/// If `text` is not JSON.
pub fn find(text: &str, pointers: &[Pointer]) -> Result<Vec<Range<usize>>, Error> {
    let whole: &RawValue = serde_json::from_str(text)?;
    let mut found = Vec::new();
    // An explicit stack in place of recursion: the publisher chooses the depth, and the guest's stack is 64 KiB.
    let mut open: Vec<PathValue> = vec![(whole, pointers.iter().map(Pointer::tokens).collect())];
    while let Some((value, rests)) = open.pop() {
        if rests.iter().any(|rest| rest.is_empty()) {
            found.push(span(text, value.get()));
        } else {
            // Reversed, so that the ranges come in the order of the text.
            open.extend(named_children(value, &rests)?.into_iter().rev());
        }
    }
    Ok(found)
}

/// Returns the range of `part` in `text`, from which it is borrowed.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// Returns the elements and members of `value` on the path of a pointer.
fn named_children<'t, 'p>(
    value: &'t RawValue,
    rests: &[PointerRest<'p>],
) -> Result<Vec<PathValue<'t, 'p>>, serde_json::Error> {
    let children = children(value)?.into_iter().enumerate();
    let entered = children.map(|(index, (name, value))| (value, enter(rests, name, index)));
    Ok(entered.filter(|(_, rests)| !rests.is_empty()).collect())
}

/// Returns the rests of those pointers whose next token names the child with this name or index.
pub(super) fn enter<'p>(rests: &[PointerRest<'p>], name: Option<&str>, index: usize) -> Vec<PointerRest<'p>> {
    let firsts = rests.iter().filter_map(|rest| rest.split_first());
    firsts.filter(|(token, _)| is_meant(name, index, token)).map(|(_, rest)| rest).collect()
}
