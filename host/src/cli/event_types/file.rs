//! Files with event types: our own list, and OpenAPI documents.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::entry::TypeEntry;
use super::openapi;
use crate::cli::Failure;

/// Most bytes of a file.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is of neither form.
pub(super) fn read(file: &Path) -> Result<Vec<TypeEntry>, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let size = fs::metadata(file).map_err(|error| named(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(named(&format!("it has {size} bytes; at most {MAX_FILE_BYTES} are read")).into());
    }
    let text = fs::read(file).map_err(|error| named(&error))?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| named(&format!("it is not JSON: {error}")))?;
    types(&document).map_err(|error| named(&error).into())
}

fn types(document: &Value) -> Result<Vec<TypeEntry>, String> {
    if document.get("openapi").is_some() {
        return openapi::types(document);
    }
    let Some(entries) = document.get("data").and_then(Value::as_array) else {
        return Err("it is neither an OpenAPI document with `webhooks` nor {\"data\": [{\"type\": …}, …]}".into());
    };
    Ok(entries.iter().enumerate().map(|(index, entry)| own(index, entry)).collect())
}

/// Reads an entry of our own list. The server checks its fields.
fn own(index: usize, entry: &Value) -> TypeEntry {
    let Some((name, fields)) = entry.as_object().and_then(|fields| Some((fields.get("type")?.as_str()?, fields)))
    else {
        return TypeEntry { name: format!("data[{index}]"), fields: Err("it has no `type`".into()) };
    };
    let mut fields = fields.clone();
    // What the server adds to its answers.
    for field in ["type", "created_at", "updated_at"] {
        fields.remove(field);
    }
    TypeEntry { name: name.to_owned(), fields: Ok(fields) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn own_list_is_read_as_the_server_shows_it() {
        let list = json!({"data": [{"type": "a", "group": "g", "created_at": "x", "updated_at": "x"}, {"group": "g"}]});
        let read = types(&list).unwrap();
        assert_eq!(
            (read[0].name.as_str(), read[0].fields.as_ref().unwrap()),
            ("a", json!({"group": "g"}).as_object().unwrap())
        );
        assert!(read[1].name == "data[1]" && read[1].fields.is_err());
        for bad in [json!([]), json!({"data": 1}), json!({"swagger": "2.0"})] {
            assert!(types(&bad).is_err(), "{bad}");
        }
    }
}
