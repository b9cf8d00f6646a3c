//! Reads the keywords that have no subschemas.

use std::collections::HashSet;

use serde_json::Value;

use super::pattern::Pattern;
use super::{Bound, Rule, Size, TypeSet, canonical};

/// The keywords that [`rule`] reads.
pub(super) const KNOWN: [&str; 21] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
    "uniqueItems",
    "required",
    "dependentRequired",
    "minContains",
    "maxContains",
    "$vocabulary",
];

/// Reads a number of things: a whole number, at least 0.
pub(super) fn count(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    number.as_u64().or_else(|| {
        let float = number.as_f64().filter(|float| canonical::is_integer(number) && *float >= 0.0)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, positive, and saturating")]
        Some(float as u64)
    })
}

/// Reads the rule of a keyword; `None`: it has none. `compiled` compiles a regular expression.
///
/// # Errors
/// What the keyword's value should be.
pub(super) fn rule(
    keyword: &str,
    value: &Value,
    compiled: &mut impl FnMut(&str) -> Result<Pattern, String>,
) -> Result<Option<Rule>, String> {
    let bound = |bound| match value.as_number() {
        Some(limit) => Ok(Some(Rule::Bound(bound, limit.clone()))),
        None => Err("this is a number".to_owned()),
    };
    let size = |size: Option<Size>| match count(value) {
        Some(limit) => Ok(size.map(|size| Rule::Size(size, limit))),
        None => Err("this is a whole number, at least 0".to_owned()),
    };
    match keyword {
        "type" => types(value).map(|types| Some(Rule::Type(types))),
        "enum" | "const" => values(keyword, value).map(Some),
        "multipleOf" => match value.as_number().filter(|number| number.as_f64().is_some_and(|float| float > 0.0)) {
            Some(number) => Ok(Some(Rule::MultipleOf(number.clone()))),
            None => Err("this is a number greater than 0".into()),
        },
        "minimum" => bound(Bound::Minimum),
        "maximum" => bound(Bound::Maximum),
        "exclusiveMinimum" => bound(Bound::ExclusiveMinimum),
        "exclusiveMaximum" => bound(Bound::ExclusiveMaximum),
        "minLength" => size(Some(Size::MinLength)),
        "maxLength" => size(Some(Size::MaxLength)),
        "minItems" => size(Some(Size::MinItems)),
        "maxItems" => size(Some(Size::MaxItems)),
        "minProperties" => size(Some(Size::MinMembers)),
        "maxProperties" => size(Some(Size::MaxMembers)),
        // `contains` reads them.
        "minContains" | "maxContains" => size(None),
        "pattern" => {
            let source = value.as_str().ok_or("this is a text: a regular expression")?;
            compiled(source).map(|pattern| Some(Rule::Pattern(pattern)))
        }
        "uniqueItems" => {
            let unique = value.as_bool().ok_or("this is `true` or `false`")?;
            Ok(unique.then_some(Rule::UniqueItems))
        }
        "required" => Ok(Some(Rule::Required(names(value).ok_or("this is an array of names")?))),
        "dependentRequired" => {
            let named = |(name, value): (&String, &Value)| Some((name.as_str().into(), names(value)?));
            let all = value.as_object().and_then(|members| members.iter().map(named).collect());
            Ok(Some(Rule::DependentRequired(all.ok_or("this is an object of arrays of names")?)))
        }
        "$vocabulary" => Err("vocabularies are not supported".into()),
        _ => Ok(None),
    }
}

fn types(value: &Value) -> Result<TypeSet, String> {
    let names: Vec<_> = match value {
        Value::Array(names) => names.iter().map(Value::as_str).collect(),
        value => vec![value.as_str()],
    };
    let all = names.iter().try_fold(TypeSet::default(), |all, name| name.and_then(|name| all.with(name)));
    all.filter(|all| *all != TypeSet::default()).ok_or_else(|| {
        "a type is one of null, boolean, object, array, number, string, integer, or an array of them".into()
    })
}

fn values(keyword: &str, value: &Value) -> Result<Rule, String> {
    let values: HashSet<Box<str>> = match (keyword, value) {
        ("const", value) => [canonical::text(value).into()].into(),
        (_, Value::Array(values)) => values.iter().map(|value| canonical::text(value).into()).collect(),
        _ => return Err("this is an array of values".into()),
    };
    let longest = values.iter().map(|text| text.len()).max().unwrap_or_default();
    Ok(Rule::Enum { values, longest })
}

fn names(value: &Value) -> Option<Vec<Box<str>>> {
    value.as_array()?.iter().map(|name| name.as_str().map(Into::into)).collect()
}
