//! JSON Patch (RFC 6902) between two values.
//!
//! Not a crate's, because both values come from plugins: the crates build the whole patch first, and a long member name
//! above a long list makes that thousands of times larger than the values.

use serde_json::{Value, json};

use crate::domain::json_pointer;

/// The patch from one value to another: subtrees are replaced as a whole, list elements are compared by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The first operations, in order, as many as fit.
    pub operations: Vec<Value>,
    /// Number of operations that did not fit.
    pub left_out: usize,
    room: usize,
}

impl Patch {
    /// Returns the operations that turn `before` into `after`, in at most `room` bytes of JSON.
    pub fn between(before: &Value, after: &Value, room: usize) -> Self {
        let mut patch = Self { operations: Vec::new(), left_out: 0, room };
        patch.walk(before, after, &mut String::new());
        patch
    }

    // serde_json bounds the depth of parsed JSON, and thereby this recursion.
    fn walk(&mut self, before: &Value, after: &Value, path: &mut String) {
        match (before, after) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in old {
                    at(path, name, |path| match new.get(name) {
                        Some(after) => self.walk(value, after, path),
                        None => self.push("remove", path, None),
                    });
                }
                for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                    at(path, name, |path| self.push("add", path, Some(value)));
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    at(path, &index.to_string(), |path| self.walk(old, new, path));
                }
                for _ in new.len()..old.len() {
                    // Each removal shifts the rest, so the index stays the same.
                    at(path, &new.len().to_string(), |path| self.push("remove", path, None));
                }
                for value in new.iter().skip(old.len()) {
                    at(path, "-", |path| self.push("add", path, Some(value)));
                }
            }
            _ if before == after => (),
            _ => self.push("replace", path, Some(after)),
        }
    }

    fn push(&mut self, op: &str, path: &str, value: Option<&Value>) {
        // Once one operation did not fit, no later one is added: operations are applied in order.
        let fits = self.left_out == 0 && path.len() < self.room;
        let operation = fits.then(|| match value {
            Some(value) => json!({"op": op, "path": path, "value": value}),
            None => json!({"op": op, "path": path}),
        });
        let bytes = operation.as_ref().map_or(usize::MAX, |operation| operation.to_string().len());
        match (operation, self.room.checked_sub(bytes)) {
            (Some(operation), Some(rest)) => {
                self.operations.push(operation);
                self.room = rest;
            }
            _ => self.left_out += 1,
        }
    }
}

/// Calls `then` with `path` extended by one reference token (RFC 6901).
fn at(path: &mut String, step: &str, then: impl FnOnce(&mut String)) {
    let before = path.len();
    path.push('/');
    path.push_str(&json_pointer::token(step));
    then(path);
    path.truncate(before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..4).prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let name = prop_oneof![Just("a"), Just("b/c"), Just("~"), Just("")].prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_the_patch_yields_the_other_value(before in json_value(), after in json_value()) {
            let patch = Patch::between(&before, &after, usize::MAX);
            let operations: json_patch::Patch = serde_json::from_value(patch.operations.into()).unwrap();
            let mut patched = before;
            json_patch::patch(&mut patched, &operations).unwrap();
            prop_assert_eq!((patched, patch.left_out), (after, 0));
        }
    }

    #[test]
    fn operations_that_do_not_fit_are_counted() {
        let (before, after) = (json!({"a": 1, "b": 1, "c": 1}), json!({"a": 2, "b": "x".repeat(200), "c": 2}));
        let patch = Patch::between(&before, &after, 100);
        assert_eq!((patch.operations.len(), patch.left_out), (1, 2));
        let name = "n".repeat(1 << 19);
        let patch = Patch::between(&json!({&name: vec![0; 5_000]}), &json!({&name: vec![1; 5_000]}), 16 << 10);
        assert_eq!((patch.operations.len(), patch.left_out), (0, 5_000));
    }
}
