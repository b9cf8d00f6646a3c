//! The filters for numbers, which calculate exactly.

use std::cmp::Ordering;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use super::lists::attribute_of;
use crate::number::{Decimal, Numeric, Operation, Rounding};
use crate::operators::compare;
use crate::output::{is_absent, text};

pub(super) fn function(name: &str) -> Value {
    match name {
        "abs" => Value::from_function(abs),
        "decimals" => Value::from_function(decimals),
        "float" => Value::from_function(float),
        "int" => Value::from_function(int),
        "max" => Value::from_function(|list: &Value, kwargs: Kwargs| extreme(list, &kwargs, Ordering::Greater)),
        "min" => Value::from_function(|list: &Value, kwargs: Kwargs| extreme(list, &kwargs, Ordering::Less)),
        "round" => Value::from_function(round),
        _ => Value::from_function(sum),
    }
}

fn no_number(value: &Value) -> Error {
    let shown: String = text(value).map(|text| text.chars().take(40).collect()).unwrap_or_default();
    Error::new(ErrorKind::InvalidOperation, format!("`{shown}` is no number"))
}

/// Returns the number of a value, or of a text that spells one.
fn number(value: &Value) -> Result<Numeric, Error> {
    let parsed = value.as_str().and_then(Numeric::parse);
    Numeric::of(parsed.as_ref().unwrap_or(value)).ok_or_else(|| no_number(value))
}

fn decimal(value: &Value) -> Result<Decimal, Error> {
    number(value)?.decimal().ok_or_else(|| {
        let why = "the number has too many digits for exact arithmetic, which has 38";
        Error::new(ErrorKind::InvalidOperation, why)
    })
}

fn rounded(value: &Value, places: u32, rounding: Rounding) -> Result<Decimal, Error> {
    decimal(value)?.rounded(places, rounding).ok_or_else(|| no_number(value))
}

fn abs(value: &Value) -> Result<Value, Error> {
    let number = number(value)?;
    let zero = Value::from(0);
    match compare(value, &zero) {
        Some(Ordering::Less) => {
            Numeric::of(&zero).ok_or_else(|| no_number(value))?.calculate(Operation::Subtract, number)
        }
        _ => Ok(value.clone()),
    }
}

/// `decimals(n)`: exactly `n` digits after the point, halves rounded away from zero.
fn decimals(value: &Value, places: Option<u32>) -> Result<Value, Error> {
    rounded(value, places.unwrap_or(2), Rounding::Half).map(Value::from)
}

fn round(value: &Value, places: Option<u32>, kwargs: Kwargs) -> Result<Value, Error> {
    let rounding = match kwargs.get::<Option<&str>>("method")? {
        None | Some("common") => Rounding::Half,
        Some("ceil") => Rounding::Up,
        Some("floor") => Rounding::Down,
        Some(_) => {
            let why = "the `method` of `round` is \"common\", \"ceil\" or \"floor\"";
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
    };
    let places = kwargs.get::<Option<u32>>("precision")?.or(places).unwrap_or_default();
    kwargs.assert_all_used()?;
    rounded(value, places, rounding).map(|rounded| rounded.shortest().into())
}

fn float(value: &Value, default: Option<Value>) -> Result<Value, Error> {
    match (value.as_str().and_then(Numeric::parse), Numeric::of(value), default) {
        (Some(number), ..) => Ok(number),
        (None, Some(_), _) => Ok(value.clone()),
        (None, None, Some(default)) => Ok(default),
        (None, None, None) => Err(no_number(value)),
    }
}

fn int(value: &Value, default: Option<Value>) -> Result<Value, Error> {
    if value.kind() == minijinja::value::ValueKind::Bool {
        return Ok(Value::from(i64::from(value.is_true())));
    }
    let truncated = decimal(value).and_then(|decimal| {
        let is_negative = decimal.to_string().starts_with('-');
        let rounding = if is_negative { Rounding::Up } else { Rounding::Down };
        decimal.rounded(0, rounding).ok_or_else(|| no_number(value))
    });
    match (truncated, default) {
        (Ok(decimal), _) => Ok(decimal.into()),
        (Err(_), Some(default)) => Ok(default),
        (Err(error), None) => Err(error),
    }
}

fn extreme(list: &Value, kwargs: &Kwargs, wanted: Ordering) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<&str>>("attribute")?;
    kwargs.assert_all_used()?;
    let mut found: Option<(Value, Value)> = None;
    for element in list.try_iter()?.checked() {
        let element = element?;
        let key = attribute_of(&element, attribute)?;
        let is_better = match &found {
            None => true,
            Some((best, _)) => compare(&key, best).is_some_and(|order| order == wanted),
        };
        if is_better && !is_absent(&key) {
            found = Some((key, element));
        }
    }
    Ok(found.map_or(Value::UNDEFINED, |(_, element)| element))
}

/// `sum(attribute, start)`: exact; elements that are `null` are left out.
fn sum(list: &Value, attribute: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let attribute = kwargs.get::<Option<String>>("attribute")?.or(attribute);
    let mut sum = kwargs.get::<Option<Value>>("start")?.unwrap_or_else(|| Value::from(0));
    kwargs.assert_all_used()?;
    for element in list.try_iter()?.checked() {
        let element = attribute_of(&element?, attribute.as_deref())?;
        if !element.is_none() {
            sum = number(&sum)?.calculate(Operation::Add, number(&element)?)?;
        }
    }
    Ok(sum)
}
