//! Locates the values of a JSON text that a set of pointers names.

use std::iter::Enumerate;
use std::ops::Range;

use serde_json::value::RawValue;

use super::level::{Children, children, is_meant};
use super::{Pointer, PointerPattern};
use crate::Error;

/// A pointer on its way down.
#[derive(Clone, Copy)]
pub(super) struct PointerRest<'p> {
    /// Its position among all pointers.
    pub(super) position: usize,
    /// Its remaining tokens.
    pub(super) tokens: &'p [String],
    /// Whether the token `*` stands for any child, as in a pattern.
    pub(super) has_wildcards: bool,
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
    check(text)?;
    Ok(find_each(text, rests_of(pointers), &[]).ranges)
}

/// The values that a set of pointers names.
pub(super) struct Found {
    /// As [`find`] returns them.
    pub(super) ranges: Vec<Range<usize>>,
    /// By the position of each pointer, whether it names no value and does not lead into a named one.
    pub(super) is_missing: Vec<bool>,
}

/// Refuses a text that is not JSON.
pub(super) fn check(text: &str) -> Result<(), Error> {
    serde_json::from_str::<&RawValue>(text)?;
    Ok(())
}

/// Returns what [`find`] does, and the pointers without a value. `text` must be JSON. The values in the ranges `named`, which are in
/// order and without overlaps, are named already: they are not listed, and a pointer that leads to or into one is not without a
/// value.
pub(super) fn find_each(text: &str, rests: Vec<PointerRest<'_>>, named: &[Range<usize>]) -> Found {
    let mut ranges = Vec::new();
    let mut is_missing = vec![true; rests.len()];
    // An explicit stack in place of recursion: the guest's stack is 64 KiB. It is at most as deep as the longest pointer.
    let mut open: Vec<Level> = Vec::new();
    let mut next = Some((text.trim_ascii(), rests));
    while let Some((value, rests)) = next {
        let range = span(text, value);
        let is_named = contains(named, range.start);
        if is_named || rests.iter().any(|rest| rest.tokens.is_empty()) {
            ranges.extend((!is_named).then_some(range));
            for rest in rests {
                if let Some(is_missing) = is_missing.get_mut(rest.position) {
                    *is_missing = false;
                }
            }
        } else if !rests.is_empty() {
            open.push(Level { children: children(value).enumerate(), rests });
        }
        next = next_named(&mut open);
    }
    Found { ranges, is_missing }
}

/// A value that pointers enter: its children that are still to be visited, and the pointers.
struct Level<'t, 'p> {
    children: Enumerate<Children<'t>>,
    rests: Vec<PointerRest<'p>>,
}

/// Returns the next element or member on the path of a pointer, in the order of the text.
fn next_named<'t, 'p>(open: &mut Vec<Level<'t, 'p>>) -> Option<PathValue<'t, 'p>> {
    while let Some(Level { children, rests }) = open.last_mut() {
        for (index, (name, value)) in children {
            let rests = enter(rests, name, index);
            if !rests.is_empty() {
                return Some((value, rests));
            }
        }
        open.pop();
    }
    None
}

/// Returns whether one of the ranges, which are in order and without overlaps, contains the position.
fn contains(ranges: &[Range<usize>], position: usize) -> bool {
    let after = ranges.partition_point(|range| range.end <= position);
    ranges.get(after).is_some_and(|range| range.contains(&position))
}

/// Returns the range of `part` in `text`, from which it is borrowed.
pub(super) fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// Returns the pointers before their first token.
pub(super) fn rests_of<'p>(pointers: impl IntoIterator<Item = &'p Pointer>) -> Vec<PointerRest<'p>> {
    let tokens = pointers.into_iter().map(Pointer::tokens).enumerate();
    tokens.map(|(position, tokens)| PointerRest { position, tokens, has_wildcards: false }).collect()
}

/// Returns the patterns before their first token.
pub(super) fn rests_of_patterns(patterns: &[PointerPattern]) -> Vec<PointerRest<'_>> {
    let tokens = patterns.iter().map(PointerPattern::tokens).enumerate();
    tokens.map(|(position, tokens)| PointerRest { position, tokens, has_wildcards: true }).collect()
}

/// Returns the rests of those pointers whose next token names the child with this name or index.
pub(super) fn enter<'p>(rests: &[PointerRest<'p>], name: Option<&str>, index: usize) -> Vec<PointerRest<'p>> {
    let firsts = rests.iter().filter_map(|rest| Some((rest, rest.tokens.split_first()?)));
    let meant =
        firsts.filter(|(rest, (token, _))| (rest.has_wildcards && *token == "*") || is_meant(name, index, token));
    meant.map(|(rest, (_, tokens))| PointerRest { tokens, ..*rest }).collect()
}
