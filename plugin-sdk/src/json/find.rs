//! Locates the values of a JSON text that a set of pointers names.

use std::ops::Range;

use serde_json::value::RawValue;

use super::Pointer;
use super::level::{children, is_meant};
use crate::Error;

/// A pointer on its way down.
#[derive(Clone, Copy)]
pub(super) struct PointerRest<'p> {
    /// Its position among all pointers.
    pub(super) position: usize,
    /// Its remaining tokens.
    pub(super) tokens: &'p [String],
}

/// A value on the path of pointers, and the rest of each pointer.
type PathValue<'t, 'p> = (&'t str, Vec<PointerRest<'p>>);

/// Returns the byte ranges of all values in `text` that one of the pointers names, in order and without overlaps: a value inside
/// another named value is not listed.
///
/// Names are compared after unescaping, so `/a` finds `{"\u0061": 1}`. If an object has a key more than once, a pointer names all
/// of these members, because receivers differ in which one they read. A pointer to a missing value names nothing.
///
/// # Errors
/// If `text` is not JSON.
pub fn find(text: &str, pointers: &[Pointer]) -> Result<Vec<Range<usize>>, Error> {
    Ok(find_each(text, pointers)?.ranges)
}

/// The values that a set of pointers names.
pub(super) struct Found<'p> {
    /// As [`find`] returns them.
    pub(super) ranges: Vec<Range<usize>>,
    /// The pointers that name no value and do not lead into a named one.
    pub(super) missing: Vec<&'p Pointer>,
}

/// Returns what [`find`] does, and the pointers without a value.
pub(super) fn find_each<'p>(text: &str, pointers: &'p [Pointer]) -> Result<Found<'p>, Error> {
    let whole: &RawValue = serde_json::from_str(text)?;
    let mut ranges = Vec::new();
    let mut missing: Vec<_> = pointers.iter().map(Some).collect();
    // An explicit stack in place of recursion: the publisher chooses the depth, and the guest's stack is 64 KiB.
    let mut open: Vec<PathValue> = vec![(whole.get(), rests_of(pointers))];
    while let Some((value, rests)) = open.pop() {
        if rests.iter().any(|rest| rest.tokens.is_empty()) {
            ranges.push(span(text, value));
            for rest in rests {
                missing.get_mut(rest.position).map(Option::take);
            }
        } else {
            // Reversed, so that the ranges come in the order of the text.
            open.extend(named_children(value, &rests).into_iter().rev());
        }
    }
    Ok(Found { ranges, missing: missing.into_iter().flatten().collect() })
}

/// Returns the range of `part` in `text`, from which it is borrowed.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// Returns the elements and members of `value` on the path of a pointer.
fn named_children<'t, 'p>(value: &'t str, rests: &[PointerRest<'p>]) -> Vec<PathValue<'t, 'p>> {
    let children = children(value).enumerate();
    let entered = children.map(|(index, (name, value))| (value, enter(rests, name, index)));
    entered.filter(|(_, rests)| !rests.is_empty()).collect()
}

/// Returns the pointers before their first token.
pub(super) fn rests_of<'p>(pointers: impl IntoIterator<Item = &'p Pointer>) -> Vec<PointerRest<'p>> {
    let tokens = pointers.into_iter().map(Pointer::tokens).enumerate();
    tokens.map(|(position, tokens)| PointerRest { position, tokens }).collect()
}

/// Returns the rests of those pointers whose next token names the child with this name or index.
pub(super) fn enter<'p>(rests: &[PointerRest<'p>], name: Option<&str>, index: usize) -> Vec<PointerRest<'p>> {
    let firsts = rests.iter().filter_map(|rest| Some((rest.position, rest.tokens.split_first()?)));
    let meant = firsts.filter(|(_, (token, _))| is_meant(name, index, token));
    meant.map(|(position, (_, tokens))| PointerRest { position, tokens }).collect()
}
