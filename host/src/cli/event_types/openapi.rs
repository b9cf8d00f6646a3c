//! The webhooks of an OpenAPI document (3.1; 3.0 with `x-webhooks`) as event types.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::entry::TypeEntry;
use crate::domain::event_type::{MAX_DESCRIPTION_BYTES, MAX_GROUP_CHARS};

/// Most schemas that one type refers to.
const MAX_DEFINITIONS: usize = 1_000;
/// Most references that lead from one to the next.
const MAX_HOPS: usize = 16;
/// Keywords of a schema whose values are data.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// Keywords of a schema whose values are objects of schemas.
const MAPS: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Returns the types of a document.
///
/// # Errors
/// It has no webhooks.
pub(super) fn types(document: &Value) -> Result<Vec<TypeEntry>, String> {
    let mut found = Vec::new();
    for member in ["webhooks", "x-webhooks"] {
        for (name, item) in document.get(member).and_then(Value::as_object).into_iter().flatten() {
            found.push(TypeEntry { name: name.clone(), fields: fields(document, item) });
        }
    }
    if found.is_empty() { Err("this OpenAPI document has no `webhooks`".into()) } else { Ok(found) }
}

fn fields(document: &Value, item: &Value) -> Result<Map<String, Value>, String> {
    let item = resolved(document, item)?;
    let methods = ["post", "put", "patch", "get", "delete"];
    let operation = methods.iter().find_map(|method| item.get(method)).ok_or("it has no operation, such as `post`")?;
    let mut fields = Map::new();
    let text = |name: &str| {
        let text = operation.get(name).or_else(|| item.get(name)).and_then(Value::as_str).map(str::trim);
        text.filter(|text| !text.is_empty())
    };
    if let Some(description) = text("description").or_else(|| text("summary")) {
        fields.insert("description".into(), visible(description, MAX_DESCRIPTION_BYTES).into());
    }
    let tag = operation.get("tags").and_then(|tags| tags.get(0)).and_then(Value::as_str);
    if let Some(tag) = tag {
        let tag: String = tag.chars().filter(|c| !c.is_control()).take(MAX_GROUP_CHARS).collect();
        let tag = tag.trim();
        if !tag.is_empty() {
            fields.insert("group".into(), tag.into());
        }
    }
    if operation.get("deprecated") == Some(&Value::Bool(true)) {
        fields.insert("deprecated".into(), true.into());
    }
    let Some(body) = operation.get("requestBody") else { return Ok(fields) };
    let Some(content) = resolved(document, body)?.get("content").and_then(|all| all.get("application/json")) else {
        return Ok(fields);
    };
    if let Some(schema) = content.get("schema") {
        fields.insert("schema".into(), Bundle::new(document).whole(schema)?);
    }
    if let Some(example) = example(document, content)? {
        fields.insert("example".into(), example);
    }
    Ok(fields)
}

/// Returns the example of a media type, or the first of its examples.
fn example(document: &Value, content: &Value) -> Result<Option<Value>, String> {
    if let Some(example) = content.get("example") {
        return Ok(Some(example.clone()));
    }
    let first = content.get("examples").and_then(Value::as_object).and_then(|examples| examples.values().next());
    let Some(first) = first else { return Ok(None) };
    Ok(resolved(document, first)?.get("value").cloned())
}

/// Follows the references of an object that is not a schema.
fn resolved<'d>(document: &'d Value, object: &'d Value) -> Result<&'d Value, String> {
    let mut object = object;
    for _ in 0..MAX_HOPS {
        match object.get("$ref").and_then(Value::as_str) {
            None => return Ok(object),
            Some(reference) => object = target(document, reference)?,
        }
    }
    Err("its references lead in a circle".into())
}

fn target<'d>(document: &'d Value, reference: &str) -> Result<&'d Value, String> {
    let pointer = reference.strip_prefix('#').ok_or_else(|| format!("`{reference}` is not in this document"))?;
    // The names of components need no %-escapes; those of paths have `/` as `~1`.
    let pointer = pointer.replace("%7B", "{").replace("%7D", "}").replace("%20", " ");
    document.pointer(&pointer).ok_or_else(|| format!("there is nothing at `{reference}`"))
}

/// Returns a text without control characters, and not longer than this.
fn visible(text: &str, bytes: usize) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')).collect();
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default().to_owned()
}

/// A schema that is being copied with all that it refers to.
struct Bundle<'d> {
    document: &'d Value,
    /// 3.0 has a schema language of its own.
    is_3_0: bool,
    /// The names of the copies, by what refers to them.
    names: HashMap<String, String>,
    waiting: Vec<(String, &'d Value)>,
}

impl<'d> Bundle<'d> {
    fn new(document: &'d Value) -> Self {
        let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
        Self { document, is_3_0: version.starts_with("3.0"), names: HashMap::new(), waiting: Vec::new() }
    }

    /// Returns the schema with `$defs` for what it refers to.
    fn whole(mut self, schema: &Value) -> Result<Value, String> {
        let mut whole = self.copied(schema, false)?;
        let mut definitions = Map::new();
        while let Some((name, target)) = self.waiting.pop() {
            let copied = self.copied(target, false)?;
            definitions.insert(name, copied);
        }
        if definitions.is_empty() {
            return Ok(whole);
        }
        if let Some(members) = whole.as_object_mut() {
            // Nothing refers to its own `$defs` by now: they are among the copies.
            members.insert("$defs".into(), definitions.into());
        }
        Ok(whole)
    }

    /// Copies a schema, or with `is_map` an object of schemas.
    fn copied(&mut self, value: &Value, is_map: bool) -> Result<Value, String> {
        let members = match value {
            Value::Array(items) => {
                return items.iter().map(|item| self.copied(item, false)).collect::<Result<_, _>>().map(Value::Array);
            }
            Value::Object(members) => members,
            other => return Ok(other.clone()),
        };
        let mut copy = Map::new();
        for (name, member) in members {
            let member = match member {
                member if is_map => self.copied(member, false)?,
                Value::String(reference) if name == "$ref" => self.reference(reference)?.into(),
                member if DATA.contains(&name.as_str()) => member.clone(),
                member => self.copied(member, MAPS.contains(&name.as_str()))?,
            };
            copy.insert(name.clone(), member);
        }
        if self.is_3_0
            && !is_map
            && copy.remove("nullable") == Some(Value::Bool(true))
            && let Some(kind) = copy.remove("type")
        {
            copy.insert("type".into(), json!([kind, "null"]));
        }
        Ok(copy.into())
    }

    fn reference(&mut self, reference: &str) -> Result<String, String> {
        if !self.names.contains_key(reference) {
            if self.names.len() >= MAX_DEFINITIONS {
                return Err(format!("its schema refers to more than {MAX_DEFINITIONS} others"));
            }
            let target = target(self.document, reference)?;
            let last = reference.rsplit('/').next().unwrap_or_default();
            let fine = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
            let mut name: String = last.chars().map(fine).collect();
            while self.names.values().any(|taken| *taken == name) {
                name.push('_');
            }
            self.names.insert(reference.to_owned(), name.clone());
            self.waiting.push((name, target));
        }
        let name = self.names.get(reference).map(String::as_str).unwrap_or_default();
        Ok(format!("#/$defs/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json_schema::{Schema, Steps};

    fn document() -> Value {
        json!({
            "openapi": "3.1.0",
            "webhooks": {"hired": {"$ref": "#/components/pathItems/hired"}, "empty": {"post": {}}, "none": {"summary": "x"}},
            "x-webhooks": {"bad": {"post": {"requestBody": {"content": {"application/json": {
                "schema": {"$ref": "https://example.com/s.json"}}}}}}},
            "components": {
                "pathItems": {"hired": {"post": {
                    "summary": "Somebody was hired", "tags": ["Employees", "x"], "deprecated": true,
                    "requestBody": {"$ref": "#/components/requestBodies/hired"},
                }}},
                "requestBodies": {"hired": {"content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Employee"},
                    "examples": {"one": {"$ref": "#/components/examples/one"}},
                }}}},
                "examples": {"one": {"value": {"id": 1, "manager": {"id": 2}}}},
                "schemas": {
                    "Employee": {
                        "type": "object", "required": ["id"],
                        "properties": {
                            "id": {"$ref": "#/components/schemas/Id"}, "manager": {"$ref": "#/components/schemas/Employee"},
                            "example": {"$ref": "#/components/schemas/Id"},
                        },
                        "default": {"$ref": "no reference"},
                    },
                    "Id": {"type": "integer"},
                },
            },
        })
    }

    #[test]
    fn webhooks_become_types_with_schemas_of_their_own() {
        let found = types(&document()).unwrap();
        let fields = |name: &str| found.iter().find(|entry| entry.name == name).unwrap().fields.clone();
        let hired = fields("hired").unwrap();
        assert_eq!((&hired["description"], &hired["group"]), (&json!("Somebody was hired"), &json!("Employees")));
        assert_eq!(hired["deprecated"], true);
        let schema = Schema::compile(&hired["schema"].to_string()).unwrap();
        let faults = |data: &Value| schema.check(&data.to_string(), Steps::MOST).unwrap().len();
        assert_eq!(faults(&hired["example"]), 0);
        assert_eq!(faults(&json!({"id": 1, "manager": {"id": "2"}, "example": "x"})), 2);
        assert!(fields("empty").unwrap().is_empty());
        assert!(fields("none").unwrap_err().contains("no operation"));
        assert!(fields("bad").unwrap_err().contains("not in this document"));
        assert!(types(&json!({"openapi": "3.1.0", "paths": {}})).unwrap_err().contains("no `webhooks`"));
    }

    #[test]
    fn circles_and_long_texts_end() {
        let circle =
            json!({"openapi": "3.1.0", "webhooks": {"a": {"$ref": "#/webhooks/b"}, "b": {"$ref": "#/webhooks/a"}}});
        assert!(
            types(&circle).unwrap().iter().all(|entry| entry.fields.as_ref().is_err_and(|why| why.contains("circle")))
        );
        assert_eq!(visible("é\0b\n", 3), "éb");
    }

    #[test]
    fn nullable_of_3_0_is_a_type() {
        let schema = json!({"properties": {"nullable": {"type": "string", "nullable": true}}});
        let content = json!({"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}});
        let found = types(&json!({"openapi": "3.0.3", "x-webhooks": {"a": content}})).unwrap();
        let schema = &found[0].fields.as_ref().unwrap()["schema"];
        assert_eq!(schema["properties"]["nullable"], json!({"type": ["string", "null"]}));
    }
}
