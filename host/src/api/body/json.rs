//! Reads JSON objects. An object that breaks rules is answered with all of them, each with its place.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::api::plain_errors;
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::{Invalid, json_pointer};

/// Most characters of a key that an error repeats: a key may be as long as the body.
const MAX_KEY_CHARS: usize = 128;
/// Most characters of the JSON reader's message that an error repeats: it may quote as much as the body holds.
const MAX_DETAIL_CHARS: usize = 512;
/// Most members of an unexpected form that one answer lists: each costs another reading of the object.
const MAX_UNREADABLE: usize = 16;

/// Reads a JSON object.
///
/// # Errors
/// As [`checked`].
pub(in crate::api) fn json<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Problem> {
    checked(bytes, Ok)
}

/// Reads a JSON object and lets `check` check its rules.
///
/// # Errors
/// 400 if it is not JSON; 422 with every member that `T` does not expect and every rule that the others break.
pub(in crate::api) fn checked<'b, T: Deserialize<'b>, R>(
    bytes: &'b [u8],
    check: impl FnOnce(T) -> Result<R, Vec<Invalid>>,
) -> Result<R, Problem> {
    let malformed = |error: serde_json::Error| {
        Problem::new(ProblemKind::Malformed, plain_errors::malformed_json(bytes, &error.to_string()))
    };
    match serde_json::from_slice::<T>(bytes) {
        Ok(value) if is_object(bytes) => return check(value).map_err(Problem::invalid),
        Err(error) if error.classify() != Category::Data => return Err(malformed(error)),
        _ => (),
    }
    // serde stopped at the first broken rule; the rest may not be JSON, and what it skips may not be UTF-8.
    if std::str::from_utf8(bytes).is_err() {
        return Err(Problem::new(ProblemKind::Malformed, "the body is not JSON: it is not UTF-8"));
    }
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Err(error) => Err(malformed(error)),
        Ok(_) if !is_object(bytes) => Err(Invalid::at("", "the body is not a JSON object").into()),
        Ok(_) => Err(Problem::invalid(faults(bytes, check))),
    }
}

/// Reads an object within another, at `pointer`, as [`checked`] does.
///
/// # Errors
/// Every member that `T` does not expect and every rule that the others break.
pub(in crate::api) fn nested<'b, T: Deserialize<'b>, R>(
    raw: &'b RawValue,
    pointer: &str,
    check: impl FnOnce(T) -> Result<R, Vec<Invalid>>,
) -> Result<R, Vec<Invalid>> {
    let bytes = raw.get().as_bytes();
    let checked = match serde_json::from_slice::<T>(bytes) {
        _ if !is_object(bytes) => Err(vec![Invalid::at("", "this is not a JSON object")]),
        Ok(value) => check(value),
        Err(_) => Err(faults(bytes, check)),
    };
    checked.map_err(|faults| faults.into_iter().map(|fault| fault.below(pointer)).collect())
}

/// serde would read an array as the fields in their order.
fn is_object(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'{')
}

/// Reads an object that `T` does not expect again, each time without the member that stopped the reader, to find them all.
fn faults<'b, T: Deserialize<'b>, R>(
    bytes: &'b [u8],
    check: impl FnOnce(T) -> Result<R, Vec<Invalid>>,
) -> Vec<Invalid> {
    let mut faults = Vec::new();
    let Ok(Members(mut members)) = serde_json::from_slice(bytes) else { return vec![unexpected()] };
    let mut left_out: Vec<String> = Vec::new();
    // A member that was left out is not missing.
    let is_new = |fault: &Invalid, left_out: &[String]| !left_out.contains(&fault.pointer);
    while faults.len() < MAX_UNREADABLE {
        let Fault { invalid, member } = match read::<T>(&members) {
            Ok(value) => {
                let broken = check(value).err().unwrap_or_default();
                faults.extend(broken.into_iter().filter(|fault| is_new(fault, &left_out)));
                break;
            }
            Err(fault) => fault,
        };
        if member.is_none() && !is_new(&invalid, &left_out) {
            break;
        }
        faults.push(invalid);
        let Some(member) = member else { break };
        let (key, _) = members.remove(member);
        left_out.push(format!("/{}", escape_key(&key)));
    }
    if faults.is_empty() { vec![unexpected()] } else { faults }
}

fn unexpected() -> Invalid {
    Invalid::at("", "the body does not have the expected form")
}

/// The members of an object in their order, read no further.
struct Members<'b>(Vec<(String, &'b RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What stopped the reader.
struct Fault {
    invalid: Invalid,
    /// The index of the member that is at fault; `None` if one is missing.
    member: Option<usize>,
}

fn read<'b, T: Deserialize<'b>>(members: &[(String, &'b RawValue)]) -> Result<T, Fault> {
    let pairs = members.iter().map(|(key, value)| (key.as_str(), *value));
    let reader = MapDeserializer::<_, serde_json::Error>::new(pairs);
    serde_path_to_error::deserialize::<_, T>(reader).map_err(|error| fault(members, &error))
}

fn fault(members: &[(String, &RawValue)], error: &serde_path_to_error::Error<serde_json::Error>) -> Fault {
    use serde_path_to_error::Segment;
    let (mut pointer, mut member) = (String::new(), None);
    for segment in error.path() {
        match segment {
            Segment::Map { key } => {
                if pointer.is_empty() {
                    member = members.iter().position(|(name, _)| name == key);
                }
                pointer.push_str(&format!("/{}", escape_key(key)));
            }
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Enum { .. } | Segment::Unknown => (),
        }
    }
    let text = error.inner().to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(detail, _)| detail);
    let named = |start| text.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix('`'));
    if let Some(field) = named("missing field `") {
        pointer.push_str(&format!("/{field}"));
    }
    if let Some(field) = named("duplicate field `") {
        member = members.iter().rposition(|(name, _)| name == field);
        return Fault { invalid: Invalid::at(format!("/{field}"), "this field is sent twice"), member };
    }
    Fault { invalid: Invalid::at(pointer, clip(&plain_errors::broken_rule(text), MAX_DETAIL_CHARS)), member }
}

/// Writes a key as a segment of a JSON pointer (RFC 6901 §3), and shortens a very long one.
pub(in crate::api) fn escape_key(key: &str) -> String {
    json_pointer::token(&clip(key, MAX_KEY_CHARS))
}

fn clip(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample<'b> {
        #[serde(rename = "list")]
        _list: Vec<u8>,
        number: Option<u8>,
        #[serde(borrow)]
        raw: Option<&'b RawValue>,
    }

    fn pointers(problem: &Problem) -> Vec<String> {
        let errors = problem.object()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_error_in_json_points_to_its_place() {
        for (text, kind, pointer) in [
            ("{", ProblemKind::Malformed, Value::Null),
            (r#"{"list": "x", "#, ProblemKind::Malformed, Value::Null),
            ("[[1]]", ProblemKind::Rule, "".into()),
            ("{}", ProblemKind::Rule, "/list".into()),
            (r#"{"list": [1, 256]}"#, ProblemKind::Rule, "/list/1".into()),
            (r#"{"list": [], "a/b~c": 1}"#, ProblemKind::Rule, "/a~1b~0c".into()),
            (r#"{"list": [], "list": []}"#, ProblemKind::Rule, "/list".into()),
        ] {
            let problem = json::<Sample>(text.as_bytes()).unwrap_err();
            assert_eq!((problem.kind(), &problem.object()["errors"][0]["pointer"]), (kind, &pointer), "{text}");
        }
        assert!(json::<Sample>(br#" {"list": [1]}"#).is_ok());
        for skipped in
            [&b"{\"list\": [], \"a\": \"\xff\"}"[..], b"{\"list\": \"x\", \"a\": \"\xff\"}", b"{\"\xff\": 1}"]
        {
            assert_eq!(json::<Sample>(skipped).unwrap_err().kind(), ProblemKind::Malformed);
        }
    }

    #[test]
    fn every_fault_of_an_object_is_listed_once() {
        let check = |sample: Sample| -> Result<(), Vec<Invalid>> {
            let zero = (sample.number == Some(0)).then(|| Invalid::at("/number", "not 0"));
            let raw = sample.raw.map(|_| Invalid::at("/raw", "not this"));
            let missing = Invalid::at("/other", "missing");
            Err(zero.into_iter().chain(raw).chain([missing]).collect())
        };
        for (text, expected) in [
            (r#"{"list": [], "number": 0, "raw": 1}"#, &["/number", "/raw", "/other"][..]),
            (r#"{"a": 1, "list": [], "number": 0, "b": 2}"#, &["/a", "/b", "/number", "/other"]),
            (r#"{"number": "x", "other": 1, "list": [], "raw": 1}"#, &["/number", "/other", "/raw"]),
            (r#"{"a": 1, "list": "x", "number": 0}"#, &["/a", "/list"]),
            (r#"{"a": 1}"#, &["/a", "/list"]),
            (r#"{"list": [], "number": 1, "number": 0}"#, &["/number", "/other"]),
        ] {
            assert_eq!(pointers(&checked(text.as_bytes(), check).unwrap_err()), expected, "{text}");
        }
        let many: String = (0..100).map(|number| format!("\"k{number}\": 1, ")).collect();
        let problem = checked(format!("{{{many}\"list\": []}}").as_bytes(), check).unwrap_err();
        assert_eq!(pointers(&problem).len(), MAX_UNREADABLE);
    }

    #[test]
    fn an_object_within_another_is_read_by_the_same_rules() {
        let read = |text: &str| {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            let read = nested(&raw, "/event", |_: Sample| Ok(()));
            read.err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert!(read(r#"{"list": []}"#).is_empty());
        assert_eq!(read(r#"{"list": [7, -1], "a": 1}"#), ["/event/list/1", "/event/a"]);
        assert_eq!((read("[[]]"), read("7")), (vec!["/event".to_owned()], vec!["/event".to_owned()]));
    }

    #[test]
    fn a_long_key_is_shortened_in_a_pointer() {
        assert_eq!(escape_key(&"é".repeat(MAX_KEY_CHARS)), "é".repeat(MAX_KEY_CHARS));
        assert_eq!(escape_key(&"é".repeat(MAX_KEY_CHARS + 1)), format!("{}…", "é".repeat(MAX_KEY_CHARS)));
    }
}
