//! Where in a JSON text the values lie that a set of pointers names.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Pointer;
use crate::Error;

/// What is left of a pointer on its way down.
type Rest<'p> = &'p [String];
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
    let mut reader = serde_json::Deserializer::from_str(value.get());
    match value.get().as_bytes().first() {
        Some(b'{') => reader.deserialize_map(Children(rests)),
        Some(b'[') => reader.deserialize_seq(Children(rests)),
        _ => Ok(Vec::new()),
    }
}

/// What is left of those pointers whose next token is `name`.
fn enter<'p>(rests: &[Rest<'p>], name: &[u8]) -> Vec<Rest<'p>> {
    let step = |rest: &Rest<'p>| rest.split_first().filter(|(token, _)| token.as_bytes() == name).map(|(_, rest)| rest);
    rests.iter().filter_map(step).collect()
}

struct Children<'r, 'p>(&'r [Rest<'p>]);

impl<'t, 'p> Visitor<'t> for Children<'_, 'p> {
    type Value = Vec<Open<'t, 'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut open = Vec::new();
        while let Some(rests) = map.next_key_seed(Key(self.0))? {
            if rests.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                open.push((map.next_value()?, rests));
            }
        }
        Ok(open)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut open = Vec::new();
        // Comparing the index as text is what rules out leading zeros, signs and `-` (RFC 6901, section 4).
        for index in 0_usize.. {
            let Some(value) = seq.next_element()? else { break };
            let rests = enter(self.0, index.to_string().as_bytes());
            if !rests.is_empty() {
                open.push((value, rests));
            }
        }
        Ok(open)
    }
}

/// Reads a key as what it leaves of the pointers. As bytes, because a key may hold a lone surrogate (`"\ud800"`), which
/// is JSON but no text.
struct Key<'r, 'p>(&'r [Rest<'p>]);

impl<'t, 'p> DeserializeSeed<'t> for Key<'_, 'p> {
    type Value = Vec<Rest<'p>>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'t, 'p> Visitor<'t> for Key<'_, 'p> {
    type Value = Vec<Rest<'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(enter(self.0, name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(enter(self.0, name.as_bytes()))
    }
}
