//! The parts of a template: plain text and placeholders.

use posthaste_plugin::Error;
use posthaste_plugin::json::Pointer;

/// A part of a template.
pub(crate) enum Part<'t> {
    /// This text.
    Text(&'t str),
    /// `{{name|default}}`.
    Place(Name, Option<&'t str>),
}

/// The name in a placeholder.
pub(crate) enum Name {
    Type,
    Id,
    Company,
    OccurredAt,
    Data(Pointer),
}

/// Splits a template into its parts. No text part is empty.
///
/// # Errors
/// If a placeholder is not closed, or its name is unknown; the text quotes it.
pub(crate) fn parts(template: &str) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, opened)) = rest.find("{{").and_then(|at| rest.split_at_checked(at)) {
        parts.extend((!before.is_empty()).then_some(Part::Text(before)));
        let (part, after) = if let Some(after) = opened.strip_prefix("{{{{") {
            (Part::Text("{{"), after)
        } else if let Some(after) = opened.strip_prefix('{').filter(|after| after.starts_with("{{")) {
            // Of three braces, the last two open the placeholder, as in `{{{/a}}}`.
            (Part::Text("{"), after)
        } else {
            placeholder(opened)?
        };
        parts.push(part);
        rest = after;
    }
    parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
    Ok(parts)
}

/// Parses the placeholder at the start of `text`, and returns it with the rest of the text.
fn placeholder(text: &str) -> Result<(Part<'_>, &str), Error> {
    let Some((inside, after)) = text.strip_prefix("{{").and_then(|text| text.split_once("}}")) else {
        let start: String = text.chars().take(40).collect();
        return Err(Error::new(format!(
            "config: `{start}`: close the placeholder with `}}}}`, or write `{{{{{{{{` for two braces"
        )));
    };
    let (name, default) = inside.split_once('|').map_or((inside, None), |(name, text)| (name, Some(text.trim())));
    let name = match name.trim() {
        "type" => Name::Type,
        "id" => Name::Id,
        "company" => Name::Company,
        "occurred_at" => Name::OccurredAt,
        "data" => Name::Data(Pointer::new("")?),
        field if field.starts_with('/') => {
            let pointer = Pointer::new(field).map_err(|error| Error::new(format!("config: {error}")))?;
            pointer.check_lookup()?;
            Name::Data(pointer)
        }
        _ => {
            let known = "a JSON Pointer such as `{{/first_name}}`, or one of data, type, id, company, occurred_at";
            return Err(Error::new(format!("config: `{{{{{inside}}}}}` is no placeholder: use {known}")));
        }
    };
    Ok((Part::Place(name, default), after))
}
