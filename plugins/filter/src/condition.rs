//! The conditions of a config.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use posthaste_pattern::{Case, Matcher, Pattern};
use posthaste_plugin::json::Pointer;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use crate::contradiction;
use crate::field::Field;
use crate::operand::{Scalar, Scalars, Sortable};
use crate::value::Value;

/// Conditions within each other. Bounded because reading and judging them recurse, and the guest's stack is 64 KiB.
const MAX_DEPTH: usize = 8;

/// The tests, for texts.
const TESTS: &str =
    "`above`, `at_least`, `at_most`, `below`, `contains`, `exists`, `is`, `is_not`, `matches` and `one_of`";

/// The values that the heads of fields name.
pub(crate) type Found<'f> = BTreeMap<&'f Pointer, &'f str>;

/// A condition that can hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Parts")]
pub(crate) struct Condition {
    pub(crate) parts: Parts,
    /// That of `matches`.
    pattern: Option<Pattern>,
}

/// The parts of a condition as a config has them: a field and its tests, or other conditions. They have the order of their
/// names, in which the reason of a dropped event shows them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parts {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) above: Option<Sortable>,
    #[serde(deserialize_with = "nested", skip_serializing_if = "Option::is_none")]
    all: Option<Vec<Condition>>,
    #[serde(deserialize_with = "nested", skip_serializing_if = "Option::is_none")]
    any: Option<Vec<Condition>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<Sortable>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<Sortable>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) below: Option<Sortable>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) contains: Option<Scalar>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) exists: Option<bool>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    field: Option<Field>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    ignore_case: Option<bool>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) is: Option<Scalar>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    is_not: Option<Scalar>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) matches: Option<String>,
    #[serde(deserialize_with = "nested", skip_serializing_if = "Option::is_none")]
    not: Option<Box<Condition>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) one_of: Option<Scalars>,
}

/// Reads a part that is given: `null` is a value like any other, and not a missing part.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

thread_local! {
    /// The conditions around the one that is being read. Not an argument, because serde's derived code passes none on.
    static DEPTH: Cell<usize> = const { Cell::new(1) };
}

/// Reads conditions within a condition.
fn nested<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let depth = DEPTH.get();
    if depth == MAX_DEPTH {
        return Err(Error::custom(format!("conditions are nested more than {MAX_DEPTH} deep")));
    }
    DEPTH.set(depth + 1);
    let read = given(deserializer);
    DEPTH.set(depth);
    read
}

impl Condition {
    /// Returns the conditions within this one.
    fn within(&self) -> impl Iterator<Item = &Self> {
        let Parts { all, any, not, .. } = &self.parts;
        [all, any].into_iter().flatten().flatten().chain(not.as_deref())
    }

    /// Adds the pointers whose values the condition needs.
    pub(crate) fn heads<'c>(&'c self, heads: &mut Vec<&'c Pointer>) {
        heads.extend(self.parts.field.as_ref().map(Field::head));
        self.within().for_each(|condition| condition.heads(heads));
    }

    /// Returns the number of conditions, this one among them, and the bytes of their compiled patterns.
    pub(crate) fn size(&self) -> (usize, usize) {
        let own = (1, self.pattern.as_ref().map_or(0, Pattern::bytes));
        self.within().map(Self::size).fold(own, |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// Returns whether the condition holds for these values.
    pub(crate) fn holds(&self, found: &Found) -> bool {
        let Parts { all, any, not, field, .. } = &self.parts;
        all.as_ref().is_none_or(|all| all.iter().all(|condition| condition.holds(found)))
            && any.as_ref().is_none_or(|any| any.iter().any(|condition| condition.holds(found)))
            && not.as_ref().is_none_or(|condition| !condition.holds(found))
            && field.as_ref().is_none_or(|field| self.tests_hold(&field.values(found.get(field.head()).copied())))
    }

    /// Returns whether the tests hold for the values of the field: `exists` and `is_not` for all of them together, the other
    /// tests for one that meets all of these.
    pub(crate) fn tests_hold(&self, values: &[&str]) -> bool {
        let Parts { exists, is_not, .. } = &self.parts;
        let case = self.parts.case();
        let is = |want: &Scalar| {
            let want = want.value(case);
            values.iter().any(|json| Value::of(json).in_case(case).compare(&want) == Some(Ordering::Equal))
        };
        let mut matcher = self.pattern.as_ref().map(Pattern::matcher);
        exists.is_none_or(|exists| exists != values.is_empty())
            && !is_not.as_ref().is_some_and(is)
            && (!self.parts.need_a_value() || values.iter().any(|json| self.is_met_by(json, matcher.as_mut())))
    }

    fn is_met_by(&self, json: &str, matcher: Option<&mut Matcher>) -> bool {
        let Parts { above, at_least, at_most, below, contains, is, one_of, .. } = &self.parts;
        let case = self.parts.case();
        let exact = Value::of(json);
        let value = exact.clone().in_case(case);
        let equals = |want: &Scalar| value.compare(&want.value(case)) == Some(Ordering::Equal);
        let has = |part: &Scalar| {
            let part = part.value(case);
            value.contains(&part) || part.is_element_of(json, case)
        };
        let sorts = |want: &Option<Sortable>, fits: fn(Ordering) -> bool| {
            want.as_ref().is_none_or(|want| exact.compare(&want.scalar().value(Case::Kept)).is_some_and(fits))
        };
        is.as_ref().is_none_or(equals)
            && one_of.as_ref().is_none_or(|list| list.iter().any(equals))
            && sorts(above, Ordering::is_gt)
            && sorts(at_least, Ordering::is_ge)
            && sorts(at_most, Ordering::is_le)
            && sorts(below, Ordering::is_lt)
            && contains.as_ref().is_none_or(has)
            && matcher.is_none_or(|matcher| exact.text().is_some_and(|text| matcher.is_match(text)))
    }
}

impl Parts {
    pub(crate) fn case(&self) -> Case {
        if self.ignore_case == Some(true) { Case::Ignored } else { Case::Kept }
    }

    /// Returns whether a test is given that no missing field meets.
    pub(crate) fn need_a_value(&self) -> bool {
        self.count_of_value() > 0
    }

    /// Returns the number of tests.
    pub(crate) fn count(&self) -> usize {
        self.count_of_value() + usize::from(self.exists.is_some()) + usize::from(self.is_not.is_some())
    }

    /// Returns the number of tests that no missing field meets.
    fn count_of_value(&self) -> usize {
        let sorted = [&self.above, &self.at_least, &self.at_most, &self.below].into_iter().flatten().count();
        let scalars = [&self.contains, &self.is].into_iter().flatten().count();
        sorted + scalars + usize::from(self.one_of.is_some()) + usize::from(self.matches.is_some())
    }

    /// Returns whether a test is given for which case matters.
    fn have_text(&self) -> bool {
        let single = [&self.contains, &self.is, &self.is_not].into_iter().flatten();
        let mut values = single.chain(self.one_of.iter().flat_map(Scalars::iter));
        self.matches.is_some() || values.any(|value| value.value(Case::Kept).text().is_some())
    }

    /// Refuses parts that are no condition.
    fn check(&self) -> Result<(), String> {
        let lists = [("all", &self.all, "always"), ("any", &self.any, "never")];
        for (name, list, result) in lists {
            if list.as_ref().is_some_and(Vec::is_empty) {
                return Err(format!("the list of `{name}` is empty, so that it {result} holds"));
            }
        }
        let nested = lists.iter().filter(|(_, list, _)| list.is_some()).count() + usize::from(self.not.is_some());
        let has_own = self.field.is_some() || self.ignore_case.is_some() || self.count() > 0;
        let shown = || serde_json::to_string(self).unwrap_or_default();
        match &self.field {
            _ if nested + usize::from(has_own) > 1 => Err(format!(
                "{} mixes kinds: a condition is either a `field` with tests, or one of `all`, `any` and `not`; `all` takes \
                 a list of conditions that must all hold",
                shown()
            )),
            _ if nested == 1 => Ok(()),
            None => {
                Err("missing field `field`: a condition is a `field` with tests, or one of `all`, `any` and `not`"
                    .into())
            }
            Some(_) if self.count() == 0 => Err(format!("{} has no test; the tests are {TESTS}", shown())),
            Some(_) if self.case() == Case::Ignored && !self.have_text() => Err(format!(
                "{}: `ignore_case` needs `contains`, `is`, `is_not` or `one_of` with a string, or `matches`",
                shown()
            )),
            Some(_) => Ok(()),
        }
    }
}

impl TryFrom<Parts> for Condition {
    type Error = String;

    fn try_from(parts: Parts) -> Result<Self, String> {
        parts.check()?;
        let pattern = parts
            .matches
            .as_ref()
            .map(|source| Pattern::compile(source, parts.case()))
            .transpose()
            .map_err(|text| format!("`matches`: {text}"))?;
        let condition = Self { parts, pattern };
        contradiction::check(&condition)?;
        Ok(condition)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts.serialize(serializer)
    }
}
