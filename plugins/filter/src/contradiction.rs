//! Tests that exclude each other, so that a condition never holds.

use std::cmp::Ordering;

use crate::condition::{Condition, Parts};
use crate::operand::{Scalar, Scalars, Sortable};
use posthaste_pattern::Case;

/// Refuses a condition whose tests no value meets together.
///
/// # Errors
/// The text shows the tests.
pub(crate) fn check(condition: &Condition) -> Result<(), String> {
    let tests = &condition.parts;
    // Before every transform, and most conditions have one test.
    if tests.count() < 2 {
        return Ok(());
    }
    let is_missing = tests.exists == Some(false) && tests.need_a_value();
    if is_missing || no_given_value_fits(condition) || kinds_differ(tests) || is_empty_range(tests) {
        let shown = serde_json::to_string(condition).unwrap_or_default();
        return Err(format!("{shown} never holds: its tests exclude each other"));
    }
    Ok(())
}

/// Returns whether `is` or `one_of` give values of which none meets the other tests.
fn no_given_value_fits(condition: &Condition) -> bool {
    let tests = &condition.parts;
    // A value that equals the given one without case may be greater or less than it.
    let mut given = tests.is.iter().chain(tests.one_of.iter().flat_map(Scalars::iter)).peekable();
    given.peek().is_some() && tests.case() == Case::Kept && !given.any(|value| condition.tests_hold(&[value.json()]))
}

/// Returns whether the tests need values of different kinds.
fn kinds_differ(tests: &Parts) -> bool {
    let Parts { above, at_least, at_most, below, contains, matches, .. } = tests;
    let limits = [above, at_least, at_most, below];
    let has_kind = |value: &Scalar, example: &str| value.value(Case::Kept).has_kind_of(example);
    // A number, a string and a list.
    !["0", "\"\"", "[]"].into_iter().any(|example| {
        let contains_fits = |part: &Scalar| example == "[]" || (example == "\"\"" && has_kind(part, example));
        limits.into_iter().flatten().all(|limit| has_kind(limit.scalar(), example))
            && contains.as_ref().is_none_or(contains_fits)
            && (matches.is_none() || example == "\"\"")
    })
}

/// Returns whether the limits leave no value between them.
fn is_empty_range(tests: &Parts) -> bool {
    let Parts { above, at_least, at_most, below, .. } = tests;
    let excludes = |low: &Option<Sortable>, high: &Option<Sortable>, fits: fn(Ordering) -> bool| {
        let limits = low.as_ref().zip(high.as_ref());
        let order =
            limits.and_then(|(low, high)| low.scalar().value(Case::Kept).compare(&high.scalar().value(Case::Kept)));
        order.is_some_and(|order| !fits(order))
    };
    excludes(above, below, Ordering::is_lt)
        || excludes(above, at_most, Ordering::is_lt)
        || excludes(at_least, below, Ordering::is_lt)
        || excludes(at_least, at_most, Ordering::is_le)
}

#[cfg(test)]
mod tests {
    use crate::condition::Condition;

    fn refusal(tests: &str) -> Option<String> {
        let condition = format!(r#"{{"field": "/a", {tests}}}"#);
        serde_json::from_str::<Condition>(&condition).err().map(|error| error.to_string())
    }

    #[test]
    fn tests_that_exclude_each_other_are_refused() {
        for tests in [
            r#""at_least": 2, "at_most": 1.9"#,
            r#""at_least": 2, "below": 2.0"#,
            r#""above": 2, "at_most": 2"#,
            r#""above": "b", "below": "a""#,
            r#""above": 1, "below": "2""#,
            r#""matches": "a", "at_least": 1"#,
            r#""contains": 1, "matches": "a""#,
            r#""contains": "a", "below": 1"#,
            r#""contains": null, "below": "a""#,
            r#""is": 1, "exists": false"#,
            r#""matches": "a", "exists": false"#,
            r#""is": "ES", "is_not": "E\u0053""#,
            r#""is": 1, "one_of": [2, 3], "contains": "a""#,
            r#""one_of": ["a", "b"], "matches": "^c""#,
            r#""one_of": [1, 2], "above": 2"#,
            r#""is": true, "contains": true"#,
        ] {
            let text = refusal(tests).unwrap_or_default();
            assert!(text.contains("never holds: its tests exclude each other"), "{tests}: {text}");
        }
    }

    #[test]
    fn tests_that_a_value_meets_together_are_accepted() {
        for tests in [
            r#""at_least": 2, "at_most": 2.0"#,
            r#""above": 1, "below": 1.0000000000000000000001"#,
            r#""at_least": "a", "at_most": "b", "contains": "a", "matches": "a", "is_not": "a""#,
            r#""contains": 1, "is_not": 1"#,
            r#""exists": false, "is_not": 1"#,
            r#""exists": true, "is": 1"#,
            r#""one_of": ["a", "b"], "matches": "^b""#,
            r#""is": "ES", "above": "a", "ignore_case": true"#,
        ] {
            assert_eq!(refusal(tests), None, "{tests}");
        }
    }
}
