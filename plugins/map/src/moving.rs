//! `pick`, `remove` and `move`.

use std::cmp::Reverse;

use posthaste_plugin::Error;
use posthaste_plugin::json::{Document, Place, PointerTarget};

use crate::Config;

/// The name that stands for any element or member.
const ANY: &str = "*";

/// Moves and removes fields.
///
/// # Errors
/// If a target lies inside a value that is neither an object nor a list.
pub(crate) fn apply(data: &mut Document, config: &Config) -> Result<(), Error> {
    let moved = config.r#move.iter().map(|(from, to)| (from, Some(to)));
    let mut leaving: Vec<_> = config.remove.iter().map(|field| (field, None)).chain(moved).collect();
    leaving.sort_by_key(|(field, _)| Reverse(field.tokens().len()));
    let mut taken = Vec::new();
    for (field, to) in leaving {
        for place in data.places(field) {
            let value = data.take_at(&place);
            taken.extend(to.zip(value).map(|(to, value)| (place, to, value)));
        }
    }
    if let Some(pick) = &config.pick {
        data.keep_matching(pick);
    }
    for (from, to, value) in taken {
        match target(data, &from, to) {
            Some(place) => data.put_at(&place, &value)?,
            None => return Err(Error::new(format!("nothing can be moved to `{}`", to.as_str()))),
        }
    }
    Ok(())
}

/// Returns the place to which a value moves: in the element that it comes from, if the pointers have a `*`.
fn target(data: &mut Document, from: &Place, to: &PointerTarget) -> Option<Place> {
    match to.tokens().iter().rposition(|token| token == ANY) {
        Some(last) => Some(from.beside(to.tokens().get(last + 1..).unwrap_or_default())),
        None => data.target_places(to).pop(),
    }
}

/// Refuses parts that contradict each other, and a move from one element to another.
///
/// # Errors
/// The text names the parts.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    let picked: Vec<_> = config.pick.iter().flatten().map(|field| ("pick", field.as_str(), field.tokens())).collect();
    let removed: Vec<_> = config.remove.iter().map(|field| ("remove", field.as_str(), field.tokens())).collect();
    let moved: Vec<_> = config.r#move.keys().map(|field| ("move", field.as_str(), field.tokens())).collect();
    let targets = config.r#move.values().map(|target| ("move to", target.as_str(), target.tokens()));
    let set = config.set.keys().map(|target| ("set", target.as_str(), target.tokens()));
    let targets: Vec<_> = targets.chain(set).collect();
    let does_something = config.pick.is_some()
        || !(removed.is_empty() && targets.is_empty() && config.defaults.is_empty())
        || !(config.convert.is_empty() && config.lookup.is_empty())
        || config.drop_nulls;
    if !does_something {
        return Err("config: say what to `pick`, `remove`, `move`, `convert`, `lookup` or `set`, or give `defaults` or `drop_nulls`".into());
    }
    for (from, to) in &config.r#move {
        let head = |tokens: &[String]| {
            tokens.iter().rposition(|token| token == ANY).map(|last| tokens.get(..last).map(<[_]>::to_vec))
        };
        if head(from.tokens()) != head(to.tokens()) {
            let (from, to) = (from.as_str(), to.as_str());
            let why = "a value moves within its element, as in `/lines/*/sku` to `/lines/*/article/id`: both are the same up to the last `*`";
            return Err(Error::new(format!("config: move `{from}` to `{to}`: {why}")));
        }
    }
    clash(&targets, &targets, covers)?;
    clash(&removed, &picked, covers)?;
    clash(&removed, &moved, |one, other| one.len() == other.len() && covers(one, other))?;
    clash(&moved, &picked, |moved, picked| moved != picked && covers(moved, picked))
}

type Field<'a> = (&'static str, &'a str, &'a [String]);

/// Returns whether the second pointer names the field of the first, or one inside it. Two values may be put after the last element.
fn covers(one: &[String], other: &[String]) -> bool {
    one.len() <= other.len() && one.iter().zip(other).all(|(one, other)| (one == other && one != "-") || one == ANY)
}

/// Refuses two fields if one excludes the other.
fn clash(ones: &[Field], others: &[Field], excludes: fn(&[String], &[String]) -> bool) -> Result<(), Error> {
    let pairs = ones.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    let mut clashing = pairs.filter(|(one, other)| !std::ptr::eq(*one, *other) && excludes(one.2, other.2));
    clashing.next().map_or(Ok(()), |((part, one, _), (other_part, other, _))| {
        let why = "the second is the same field or inside it";
        Err(format!("config: {part} `{one}` and {other_part} `{other}` contradict each other: {why}").into())
    })
}
