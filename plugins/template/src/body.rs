//! The body of the message, by its kind.

use posthaste_jinja::{Escape, Fault, JsonTemplate, Scope, Template, below};
use posthaste_plugin::Error;
use posthaste_plugin::json::{characters, elements, members};
use serde_json::value::RawValue;

/// The template of the body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'c> {
    Json(&'c str),
    Form(&'c str),
    Text(&'c str),
    Xml(&'c str),
}

/// The kind of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Form,
    Text,
    Xml,
}

impl Kind {
    /// The media type of a form (HTML, section 4.10.21.6).
    pub(crate) const FORM: &'static str = "application/x-www-form-urlencoded";

    /// Returns the content type that a message of this kind has by default; `None` for that of every message.
    pub(crate) fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Json => None,
            Self::Form => Some(Self::FORM),
            Self::Text => Some("text/plain; charset=utf-8"),
            Self::Xml => Some("application/xml"),
        }
    }
}

/// A value of a form.
enum Field {
    Text(String),
    /// It is left out.
    Nothing,
}

impl Body<'_> {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Json(_) => Kind::Json,
            Self::Form(_) => Kind::Form,
            Self::Text(_) => Kind::Text,
            Self::Xml(_) => Kind::Xml,
        }
    }

    /// Compiles every template.
    ///
    /// # Errors
    /// The first that is wrong, with its place.
    pub(crate) fn check(self) -> Result<(), Fault> {
        match self {
            Self::Json(json) => JsonTemplate::new(json).check("/json"),
            Self::Text(text) => Template::compile(text).map(drop).map_err(|fault| fault.within("/text")),
            Self::Xml(xml) => Template::compile(xml).map(drop).map_err(|fault| fault.within("/xml")),
            Self::Form(form) if !form.starts_with('{') => {
                Err(Fault::new("this is an object: the name of each field, and the template of its value")
                    .within("/form"))
            }
            Self::Form(form) => JsonTemplate::new(form).check("/form"),
        }
    }

    /// Fills the body.
    ///
    /// # Errors
    /// If a value is missing, `null`, or cannot be used as the template uses it.
    pub(crate) fn fill(self, scope: &Scope, escape: Option<Escape>) -> Result<String, Error> {
        let filled = match self {
            Self::Json(json) => {
                let filled = JsonTemplate::new(json).fill(scope, escape, "/json").and_then(|filled| {
                    filled.ok_or_else(|| {
                        Fault::new("this is `omit`, but the whole message cannot be left out").within("/json")
                    })
                });
                // The parts are valid JSON; that the whole is too, is worth a last look.
                return filled.map_err(crate::head::at).and_then(|json| {
                    match serde_json::from_str::<&RawValue>(&json) {
                        Ok(_) => Ok(json),
                        Err(error) => Err(Error::new(format!("`/json`: the result is not JSON: {error}"))),
                    }
                });
            }
            Self::Form(form) => fill_form(form, scope, escape),
            Self::Text(text) => Template::compile(text)
                .and_then(|template| template.text(scope, escape))
                .map_err(|fault| fault.within("/text")),
            Self::Xml(xml) => Template::compile(xml)
                .and_then(|template| template.text(scope, escape))
                .map_err(|fault| fault.within("/xml")),
        };
        filled.map_err(crate::head::at)
    }

    /// Refuses a text that claims to be JSON and is not.
    ///
    /// # Errors
    /// The text says what is wrong with it, and what to use.
    pub(crate) fn check_filled(self, body: &str, content_type: Option<&str>) -> Result<(), Error> {
        let media_type =
            content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = media_type.ends_with("/json") || media_type.ends_with("+json");
        match serde_json::from_str::<&RawValue>(body) {
            Err(error) if is_json && self.kind() != Kind::Json => {
                let mend = "use `json` in place of `text`, or insert values with `| tojson`";
                Err(Error::new(format!("`/text`: the result is not JSON, as its content type says ({error}); {mend}")))
            }
            _ => Ok(()),
        }
    }
}

fn fill_form(form: &str, scope: &Scope, escape: Option<Escape>) -> Result<String, Fault> {
    let mut fields = Vec::new();
    for (name, value) in members(form) {
        let pointer = below("/form", &name);
        let name = Template::compile(&name)
            .and_then(|template| template.text(scope, None))
            .map_err(|fault| fault.within(&pointer))?;
        let mut values = elements(value).map(|value| ("/", value)).collect::<Vec<_>>();
        if !value.starts_with('[') {
            values.push(("", value));
        }
        for (index, (separator, value)) in values.into_iter().enumerate() {
            let pointer = if separator.is_empty() { pointer.clone() } else { format!("{pointer}/{index}") };
            if let Field::Text(text) = fill_field(value, scope, escape, &pointer)? {
                fields.push(format!("{}={}", Escape::Url.apply(&name), Escape::Url.apply(&text)));
            }
        }
    }
    Ok(fields.join("&"))
}

/// Fills a value of a form: the text of a template, or JSON.
fn fill_field(value: &str, scope: &Scope, escape: Option<Escape>, pointer: &str) -> Result<Field, Fault> {
    let filled = if value.starts_with('"') {
        let text = characters(value);
        Template::compile(&text)
            .and_then(|mut template| template.text_or_omit(scope, escape))
            .map_err(|fault| fault.within(pointer))
    } else {
        JsonTemplate::new(value).fill(scope, escape, pointer)
    };
    Ok(filled?.map_or(Field::Nothing, Field::Text))
}
