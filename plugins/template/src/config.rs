//! The config.

use std::collections::BTreeMap;

use posthaste_jinja::Escape;
use posthaste_plugin::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::Body;
use crate::presets::Preset;

/// The templates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    json: Option<Box<RawValue>>,
    form: Option<Box<RawValue>>,
    text: Option<String>,
    xml: Option<String>,
    escape: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) content_type: Option<String>,
    pub(crate) vars: Option<Box<RawValue>>,
    /// The service whose messages are made, in place of a body; the host sets it for `std-slack` and the like.
    preset: Option<String>,
    /// The config of the preset.
    config: Option<Box<RawValue>>,
}

impl Config {
    /// Returns the preset, if it is one.
    ///
    /// # Errors
    /// If the preset is unknown, or its config does not fit.
    pub(crate) fn preset(&self) -> Result<Option<Preset>, Error> {
        let preset =
            self.preset.as_ref().map(|name| Preset::read(name, self.config.as_ref().map(|config| config.get())));
        preset.transpose()
    }

    /// Returns the one body.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn body(&self) -> Result<Body<'_>, Error> {
        match (&self.json, &self.form, &self.text, &self.xml) {
            (Some(json), None, None, None) => Ok(Body::Json(json.get())),
            (None, Some(form), None, None) => Ok(Body::Form(form.get())),
            (None, None, Some(text), None) => Ok(Body::Text(text)),
            (None, None, None, Some(xml)) => Ok(Body::Xml(xml)),
            _ => {
                let bodies =
                    "`json` (any JSON whose strings are templates), `form` (an object of templates), `text` or `xml`";
                Err(Error::new(format!("config: give exactly one of {bodies}")))
            }
        }
    }

    /// Returns the escape of values in the texts.
    ///
    /// # Errors
    /// If it is unknown, or XML has another one than its own.
    pub(crate) fn escape(&self) -> Result<Option<Escape>, Error> {
        let named = |name: &str| {
            let known = ["slack", "discord", "markdown", "googlechat", "url"];
            let refusal =
                || Error::new(format!("config: `/escape`: `{name}` is unknown; it is one of {}", known.join(", ")));
            Escape::named(name).filter(|_| known.contains(&name)).ok_or_else(refusal)
        };
        match (&self.escape, &self.xml) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some(Escape::Xml)),
            (Some(name), None) => named(name).map(Some),
            (Some(_), Some(_)) => {
                Err("config: `/escape`: the values in `xml` are escaped for XML; leave `escape` out".into())
            }
        }
    }
}
