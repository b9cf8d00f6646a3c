//! The texts of a message to people, which every chat has in its own form.

use posthaste_jinja::{Escape, Fault, JsonTemplate, Scope};
use posthaste_plugin::Event;
use posthaste_plugin::json::{characters, members};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{check_all, fill, scope};

/// Fields that are shown of an event if the config names none.
const MAX_SHOWN: usize = 10;

/// Bytes of an address; a longer one is left out.
const MAX_LINK: usize = 2_000;

/// The templates.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Message {
    /// By default the event's type.
    title: Option<String>,
    text: Option<String>,
    /// An object: the name and the template of each field. By default the first members of the data, if there is no text.
    fields: Option<Box<RawValue>>,
    /// The address of a page about the event.
    link: Option<String>,
    /// By default `Open`.
    link_text: Option<String>,
    vars: Option<Box<RawValue>>,
}

/// The filled templates.
pub(super) struct Texts {
    pub(super) title: String,
    pub(super) text: Option<String>,
    pub(super) fields: Vec<(String, String)>,
    /// The address and the text of the link.
    pub(super) link: Option<(String, String)>,
}

impl Message {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let templates =
            [("title", &self.title), ("text", &self.text), ("link", &self.link), ("link_text", &self.link_text)];
        check_all(templates.map(|(name, template)| (name, template.as_ref())))?;
        match &self.fields {
            Some(fields) if !fields.get().starts_with('{') => {
                Err(Fault::new("this is an object: the name of each field, and the template of its value")
                    .within("/fields"))
            }
            Some(fields) => JsonTemplate::new(fields.get()).check("/fields"),
            None => Ok(()),
        }
    }

    /// Fills the title alone; nothing is escaped.
    pub(super) fn plain_title(&self, event: &Event) -> Result<String, Fault> {
        let scope = scope(event, self.vars.as_deref());
        let title = self.title.as_ref().map_or(Ok(None), |title| fill("title", title, &scope, None))?;
        Ok(title.unwrap_or_else(|| event.event_type.clone()))
    }

    /// Fills the templates; values are escaped for the service.
    pub(super) fn fill(&self, event: &Event, escape: Option<Escape>) -> Result<Texts, Fault> {
        let scope = scope(event, self.vars.as_deref());
        let text = |name, template: &Option<String>, escape| {
            template.as_ref().map_or(Ok(None), |template| fill(name, template, &scope, escape))
        };
        let link = text("link", &self.link, None)?;
        if let Some(link) = link.as_ref().filter(|link| !link.starts_with("https://") && !link.starts_with("http://")) {
            let shown: String = link.chars().take(40).collect();
            return Err(
                Fault::new(format!("`{shown}` is no address that begins with `https://` or `http://`")).within("/link")
            );
        }
        let link_text = text("link_text", &self.link_text, escape)?.unwrap_or_else(|| "Open".to_owned());
        Ok(Texts {
            title: text("title", &self.title, escape)?.unwrap_or_else(|| escaped(&event.event_type, escape)),
            text: text("text", &self.text, escape)?,
            fields: self.fill_fields(event, &scope, escape)?,
            // An address is not cut: it would lead elsewhere.
            link: link.filter(|link| link.len() <= MAX_LINK).map(|link| (link, link_text)),
        })
    }

    fn fill_fields(
        &self,
        event: &Event,
        scope: &Scope,
        escape: Option<Escape>,
    ) -> Result<Vec<(String, String)>, Fault> {
        let mut filled = Vec::new();
        let Some(fields) = &self.fields else {
            let shown =
                members(event.body.trim_ascii()).filter(|(_, value)| !["null", "\"\"", "[]", "{}"].contains(value));
            let texts = shown.map(|(name, value)| {
                let text = if value.starts_with('"') { characters(value) } else { value.into() };
                (escaped(&name, escape), escaped(text.trim(), escape))
            });
            let texts = texts.filter(|(name, text)| !name.trim().is_empty() && !text.is_empty());
            return Ok(if self.text.is_none() { texts.take(MAX_SHOWN).collect() } else { Vec::new() });
        };
        for (name, value) in members(fields.get()) {
            let template = if value.starts_with('"') { characters(value) } else { value.into() };
            if let Some(text) = fill(&format!("fields/{name}"), &template, scope, escape)? {
                let name = fill("fields", &name, scope, escape)?;
                filled.extend(name.map(|name| (name, text)));
            }
        }
        Ok(filled)
    }
}

fn escaped(text: &str, escape: Option<Escape>) -> String {
    escape.map_or_else(|| text.to_owned(), |escape| escape.apply(text).into_owned())
}
