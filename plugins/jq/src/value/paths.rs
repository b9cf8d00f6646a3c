//! Looks up, changes and deletes parts of values, as jq does: what is missing is `null`, and is created when it is assigned to.

use std::ops::Range;
use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::{Exn, ValT, ValX};

use super::{Failure, Members, Number, Value};

/// Most elements that an assignment beyond the end of a list may add.
const MAX_PADDING: usize = 1_000_000;

type Found = Result<Value, Failure>;
type Bounds<'v> = Range<Option<&'v Value>>;

fn cannot_index(value: &Value, index: &Value) -> Failure {
    match index {
        Value::Text(_) => Failure::str(format_args!("cannot index {} with {index}", value.described())),
        other => Failure::str(format_args!("cannot index {} with {}", value.described(), other.described())),
    }
}

fn cannot_iterate(value: &Value) -> Failure {
    Failure::str(format_args!("cannot iterate over {}", value.described()))
}

/// Returns the place of an index in a list: `Err` if it is before the first element.
fn place(index: &Number, len: usize) -> Result<usize, Failure> {
    let index = index.as_index().ok_or_else(|| Failure::str("an index is not a number"))?;
    let place = if index < 0 { i64::try_from(len).unwrap_or(i64::MAX).saturating_add(index) } else { index };
    usize::try_from(place).map_err(|_| Failure::str("out of bounds negative array index"))
}

/// Returns the places between two bounds of a list or text of `len` elements. As in jq, a bound with a fraction widens the slice.
fn places(bounds: Bounds<'_>, len: usize) -> Result<Range<usize>, Failure> {
    let bound = |bound: Option<&Value>, round: fn(f64) -> f64, missing: usize| match bound {
        None | Some(Value::Null) => Ok(missing),
        Some(Value::Number(number)) => {
            #[allow(clippy::cast_precision_loss)] // Of a list with 2^53 elements.
            let len = len as f64;
            let at = round(number.as_f64());
            let at = if at < 0.0 { at + len } else { at };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is within the list.
            Ok(if at.is_nan() { missing } else { at.clamp(0.0, len) as usize })
        }
        Some(other) => {
            Err(Failure::str(format_args!("a bound of a slice must be a number, not {}", other.described())))
        }
    };
    let start = bound(bounds.start, f64::floor, 0)?;
    let end = bound(bounds.end, f64::ceil, len)?;
    Ok(start..end.max(start))
}

/// Returns the bounds in an object such as `{"start": 1, "end": null}`, which stands for a slice in a path.
fn bounds(index: &Members) -> Bounds<'_> {
    index.get("start")..index.get("end")
}

/// Returns the part of a text between two places, which count characters.
fn part(text: &str, places: &Range<usize>) -> String {
    text.chars().skip(places.start).take(places.len()).collect()
}

/// Returns where one list occurs in another.
pub(crate) fn occurrences(list: &[Value], part: &[Value]) -> Value {
    if part.is_empty() {
        return Value::Null;
    }
    let matching = list.windows(part.len()).enumerate().filter(|(_, window)| *window == part);
    matching.map(|(index, _)| Value::from(index)).collect()
}

impl ValT for Value {
    fn from_num(json: &str) -> Found {
        Ok(Self::Number(Number::read(json)))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(entries: I) -> Found {
        let entry = |(name, member): (Self, Self)| match name {
            Self::Text(name) => Ok((name, member)),
            other => Err(Failure::str(format_args!("object keys must be strings, not {}", other.described()))),
        };
        entries.into_iter().map(entry).collect::<Result<_, _>>().map(Self::object)
    }

    fn key_values(self) -> Box<dyn Iterator<Item = Result<(Self, Self), Failure>>> {
        match self {
            Self::List(list) => {
                let entries = Rc::unwrap_or_clone(list).into_iter().enumerate();
                Box::new(entries.map(|(index, element)| Ok((Self::from(index), element))))
            }
            Self::Object(members) => {
                let entries = Rc::unwrap_or_clone(members).into_iter();
                Box::new(entries.map(|(name, member)| Ok((Self::Text(name), member))))
            }
            other => Box::new(std::iter::once(Err(cannot_iterate(&other)))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = Found>> {
        match self {
            Self::List(list) => Box::new(Rc::unwrap_or_clone(list).into_iter().map(Ok)),
            Self::Object(members) => Box::new(Rc::unwrap_or_clone(members).into_values().map(Ok)),
            other => Box::new(std::iter::once(Err(cannot_iterate(&other)))),
        }
    }

    fn index(self, index: &Self) -> Found {
        Ok(match (&self, index) {
            (Self::Null, Self::Null | Self::Number(_) | Self::Text(_) | Self::Object(_)) => Self::Null,
            (Self::Object(members), Self::Text(name)) => members.get(name).cloned().unwrap_or(Self::Null),
            (Self::List(list), Self::Number(index)) => {
                place(index, list.len()).ok().and_then(|place| list.get(place).cloned()).unwrap_or(Self::Null)
            }
            (Self::List(list), Self::List(part)) => occurrences(list, part),
            (Self::List(_) | Self::Text(_), Self::Object(slice)) => return self.range(bounds(slice)),
            _ => return Err(cannot_index(&self, index)),
        })
    }

    fn range(self, bounds: Bounds<'_>) -> Found {
        match &self {
            Self::Null => Ok(Self::Null),
            Self::Text(text) => {
                let places = places(bounds, text.chars().count())?;
                Ok(Self::Text(part(text, &places).into()))
            }
            Self::List(list) => {
                let places = places(bounds, list.len())?;
                Ok(list.iter().skip(places.start).take(places.len()).cloned().collect())
            }
            other => Err(Failure::str(format_args!("cannot take a slice of {}", other.described()))),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match self {
            Self::List(list) => {
                let changed = Rc::unwrap_or_clone(list).into_iter().filter_map(|element| change(element).next());
                changed.collect::<Result<_, _>>()
            }
            Self::Object(members) => {
                let members = Rc::unwrap_or_clone(members).into_iter();
                let changed =
                    members.filter_map(|(name, member)| Some(change(member).next()?.map(|member| (name, member))));
                changed.collect::<Result<_, _>>().map(Self::object)
            }
            other => opt.fail(other, |other| Exn::from(cannot_iterate(&other))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match (self, index) {
            (Self::Null, Self::Text(name)) => change_member(Rc::default(), name, change),
            (Self::Object(members), Self::Text(name)) => change_member(members, name, change),
            (Self::Null, Self::Number(index)) => change_element(Rc::default(), index, opt, change),
            (Self::List(list), Self::Number(index)) => change_element(list, index, opt, change),
            (value @ (Self::Null | Self::List(_) | Self::Text(_)), Self::Object(slice)) => {
                value.map_range(bounds(slice), opt, change)
            }
            (value, index) => opt.fail(value, |value| Exn::from(cannot_index(&value, index))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        bounds: Bounds<'_>,
        opt: Opt,
        change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let (mut list, was_null) = match self {
            Self::List(list) => (list, false),
            Self::Null => (Rc::default(), true),
            other => {
                let fails = |other: Self| {
                    Exn::from(Failure::str(format_args!("cannot change a slice of {}", other.described())))
                };
                return opt.fail(other, fails);
            }
        };
        let places = match places(bounds, list.len()) {
            Ok(places) => places,
            Err(failure) => return opt.fail(Self::List(list), |_| Exn::from(failure)),
        };
        let slice =
            if was_null { Self::Null } else { list.iter().skip(places.start).take(places.len()).cloned().collect() };
        let elements = match change(slice).next().transpose()? {
            None => Rc::default(),
            Some(Self::List(elements)) => elements,
            Some(other) => {
                let text = format!("a slice of an array can only become another array, not {}", other.described());
                return Err(Exn::from(Failure::str(text)));
            }
        };
        drop(Rc::make_mut(&mut list).splice(places, elements.iter().cloned()));
        Ok(Self::List(list))
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        match self {
            text @ Self::Text(_) => text,
            other => Self::from(other.to_string()),
        }
    }
}

fn change_member<'a, I: Iterator<Item = ValX<'a, Value>>>(
    mut members: Rc<Members>,
    name: &Rc<str>,
    change: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let changed = Rc::make_mut(&mut members);
    match changed.get_mut(name) {
        Some(member) => match change(std::mem::take(member)).next().transpose()? {
            Some(value) => *member = value,
            None => drop(changed.shift_remove(name)),
        },
        None => {
            if let Some(value) = change(Value::Null).next().transpose()? {
                changed.insert(name.clone(), value);
            }
        }
    }
    Ok(Value::Object(members))
}

fn change_element<'a, I: Iterator<Item = ValX<'a, Value>>>(
    mut list: Rc<Vec<Value>>,
    index: &Number,
    opt: Opt,
    change: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let place = match place(index, list.len()) {
        Ok(place) if place <= list.len().saturating_add(MAX_PADDING) => place,
        Ok(_) => return opt.fail(Value::List(list), |_| Exn::from(Failure::str("the array index is too large"))),
        Err(failure) => return opt.fail(Value::List(list), |_| Exn::from(failure)),
    };
    let changed = Rc::make_mut(&mut list);
    match changed.get_mut(place) {
        Some(element) => match change(std::mem::take(element)).next().transpose()? {
            Some(value) => *element = value,
            None => drop(changed.remove(place)),
        },
        None => {
            if let Some(value) = change(Value::Null).next().transpose()? {
                changed.resize(place, Value::Null);
                changed.push(value);
            }
        }
    }
    Ok(Value::List(list))
}

/// Deletes the part of a value that a path leads to, if there is one.
///
/// # Errors
/// If the path leads through a value that cannot have such a part.
pub(crate) fn delete(value: &mut Value, path: &[Value]) -> Result<(), Failure> {
    let Some((index, rest)) = path.split_first() else {
        *value = Value::Null;
        return Ok(());
    };
    let is_last = rest.is_empty();
    match (&mut *value, index) {
        (Value::Null, _) => Ok(()),
        (Value::Object(members), Value::Text(name)) if is_last => {
            Rc::make_mut(members).shift_remove(name);
            Ok(())
        }
        (Value::Object(members), Value::Text(name)) => {
            Rc::make_mut(members).get_mut(name).map_or(Ok(()), |member| delete(member, rest))
        }
        (Value::List(list), Value::Number(index)) => {
            let place = place(index, list.len()).ok().filter(|place| *place < list.len());
            match place {
                Some(place) if is_last => drop(Rc::make_mut(list).remove(place)),
                Some(place) => {
                    return Rc::make_mut(list).get_mut(place).map_or(Ok(()), |element| delete(element, rest));
                }
                None => {}
            }
            Ok(())
        }
        (Value::List(list), Value::Object(slice)) if is_last => {
            let places = places(bounds(slice), list.len())?;
            drop(Rc::make_mut(list).drain(places));
            Ok(())
        }
        (value, index) => Err(Failure::str(format_args!(
            "cannot delete {} of {}",
            if let Value::Text(_) = index { index.to_string() } else { index.described() },
            value.described()
        ))),
    }
}
