//! Where in a JSON text the values lie that a set of pointers names.

use std::ops::Range;

use serde_json::value::RawValue;

use super::Pointer;
use super::level::{children, is_meant};
use crate::Error;

/// What is left of a pointer on its way down.
pub(super) type Rest<'p> = &'p [String];
/// A value that pointers lead into, and what is left of each.
type Open<'t, 'p> = (&'t RawValue, Vec<Rest<'p>>);

/// The byte ranges of all values in `text` that one of the pointers names, in order, without overlaps: a value inside
/// another one that is named is not listed.
///
/// Names are compared after unescaping, so `/a` finds `{"\u0061": 1}`. Where an object has a key more than once, every
/// one of them is named, since receivers differ in which they take. A pointer that leads nowhere names nothing.
///
/// # Errors
/// `text` is no JSON.
pub fn find(text: &str, pointers: &[Pointer]) -> Result<Vec<Range<usize>>, Error> {
    let whole: &RawValue = serde_json::from_str(text)?;
    let mut found = Vec::new();
    // A list of what is open in place of recursion: the depth is the publisher's choice, the stack is 64 KiB.
    let mut open: Vec<Open> = vec![(whole, pointers.iter().map(Pointer::tokens).collect())];
    while let Some((value, rests)) = open.pop() {
        if rests.iter().any(|rest| rest.is_empty()) {
            found.push(span(text, value.get()));
        } else {
            // Reversed, so that what is found comes in the order of the text.
            open.extend(named_children(value, &rests)?.into_iter().rev());
        }
    }
    Ok(found)
}

/// Where `part`, which is borrowed from `text`, lies in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// The elements and members of `value` that a pointer goes on into.
fn named_children<'t, 'p>(value: &'t RawValue, rests: &[Rest<'p>]) -> Result<Vec<Open<'t, 'p>>, serde_json::Error> {
    let children = children(value)?.into_iter().enumerate();
    let entered = children.map(|(index, (name, value))| (value, enter(rests, name, index)));
    Ok(entered.filter(|(_, rests)| !rests.is_empty()).collect())
}

/// What is left of those pointers whose next token means the child of this name or index.
pub(super) fn enter<'p>(rests: &[Rest<'p>], name: Option<&str>, index: usize) -> Vec<Rest<'p>> {
    let firsts = rests.iter().filter_map(|rest| rest.split_first());
    firsts.filter(|(token, _)| is_meant(name, index, token)).map(|(_, rest)| rest).collect()
}
