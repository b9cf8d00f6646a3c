//! The headers and the content type of the message.

use std::collections::BTreeMap;

use posthaste_jinja::{Fault, Scope, Template, is_template};
use posthaste_plugin::Error;

use crate::body::Kind;

/// Fills a template that is no part of the body; `None` if it is `omit`.
pub(crate) fn fill(text: &str, scope: &Scope, pointer: &str) -> Result<Option<String>, Error> {
    if !is_template(text) {
        return Ok(Some(text.to_owned()));
    }
    let filled = Template::compile(text).and_then(|mut template| template.text_or_omit(scope, None));
    filled.map_err(|fault| at(fault.within(pointer)))
}

/// Returns the error for a fault.
pub(crate) fn at(fault: Fault) -> Error {
    Error::new(fault.to_string())
}

/// Fills the headers; one whose value is `omit` is left out.
///
/// # Errors
/// If a value cannot be filled, or has control characters.
pub(crate) fn headers(templates: &BTreeMap<String, String>, scope: &Scope) -> Result<Vec<(String, String)>, Error> {
    let mut headers = Vec::new();
    for (name, template) in templates {
        let pointer = format!("/headers/{name}");
        let Some(value) = fill(template, scope, &pointer)? else { continue };
        if value.chars().any(char::is_control) {
            let why = "the value of a header has no line breaks or other control characters";
            return Err(Error::new(format!("`{pointer}`: {why}")));
        }
        headers.push((name.clone(), value));
    }
    Ok(headers)
}

/// Refuses what is no media type, and a form as a text.
///
/// # Errors
/// The text says what to write instead.
pub(crate) fn check_content_type(content_type: &str, kind: Kind) -> Result<(), String> {
    let is_visible = content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_visible || !content_type.contains('/') {
        return Err("this is no media type such as `text/html`".to_owned());
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if kind == Kind::Text && media_type.eq_ignore_ascii_case(Kind::FORM) {
        return Err(
            "use `form` in place of `text`: values in a text are not encoded, so that one could add fields to the form"
                .to_owned(),
        );
    }
    Ok(())
}
