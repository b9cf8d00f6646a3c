//! Presets: the messages of services, of which a config only gives the texts.

mod chats;
mod jira;
mod message;
mod pagerduty;

use posthaste_jinja::{Escape, Fault, JsonTemplate, Scope, Template};
use posthaste_plugin::{Error, Event};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use message::Message;

/// The service that a message is for, with the texts of its config.
pub(crate) enum Preset {
    Slack(Message),
    Teams(Message),
    Discord(Message),
    GoogleChat(Message),
    PagerDuty(pagerduty::Config),
    Jira(jira::Config),
}

impl Preset {
    /// Reads the config of a preset, which is JSON text; `null` is one without texts.
    ///
    /// # Errors
    /// If the preset or a field is unknown, or a required one is missing.
    pub(crate) fn read(name: &str, config: Option<&str>) -> Result<Self, Error> {
        let config = config.unwrap_or("{}");
        Ok(match name {
            "slack" => Self::Slack(parse(config)?),
            "teams" => Self::Teams(parse(config)?),
            "discord" => Self::Discord(parse(config)?),
            "google-chat" => Self::GoogleChat(parse(config)?),
            "pagerduty" => Self::PagerDuty(parse(config)?),
            "jira" => Self::Jira(parse(config)?),
            _ => return Err(Error::new(format!("config: there is no preset `{name}`"))),
        })
    }

    /// Compiles every template.
    ///
    /// # Errors
    /// The first that is wrong, with its place.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let checked = match self {
            Self::Slack(message) | Self::Teams(message) | Self::Discord(message) | Self::GoogleChat(message) => {
                message.check()
            }
            Self::PagerDuty(config) => config.check(),
            Self::Jira(config) => config.check(),
        };
        checked.map_err(|fault| Error::new(format!("config: {fault}")))
    }

    /// Makes the message, by the rules of its service.
    ///
    /// # Errors
    /// If a template cannot be filled, or its text is none that the service accepts.
    pub(crate) fn fill(&self, event: &Event) -> Result<String, Error> {
        let message = match self {
            Self::Slack(message) => chats::slack(message, event),
            Self::Teams(message) => chats::teams(message, event),
            Self::Discord(message) => chats::discord(message, event),
            Self::GoogleChat(message) => chats::google_chat(message, event),
            Self::PagerDuty(config) => config.fill(event),
            Self::Jira(config) => config.fill(event),
        };
        let message = message.map_err(|fault| Error::new(fault.to_string()))?;
        match serde_json::from_str::<&RawValue>(&message) {
            Ok(_) => Ok(message),
            Err(error) => Err(Error::new(format!("the message is not JSON: {error}"))),
        }
    }
}

fn parse<C: DeserializeOwned>(config: &str) -> Result<C, Error> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(config)).map_err(|error| {
        let text = error.inner().to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        match error.path().iter().next() {
            Some(_) => Error::new(format!("config: {}: {text}", error.path())),
            None => Error::new(format!("config: {text}")),
        }
    })
}

/// Compiles the templates of a config, each with its name.
fn check_all<'t>(templates: impl IntoIterator<Item = (&'static str, Option<&'t String>)>) -> Result<(), Fault> {
    templates.into_iter().filter_map(|(name, template)| Some((name, template?))).try_for_each(|(name, template)| {
        Template::compile(template).map(drop).map_err(|fault| fault.within(&format!("/{name}")))
    })
}

/// Fills a template, and removes spaces around the text; `None` if nothing is left, or if the template is `omit`.
fn fill(name: &str, template: &str, scope: &Scope, escape: Option<Escape>) -> Result<Option<String>, Fault> {
    let text = Template::compile(template).and_then(|mut template| template.text_or_omit(scope, escape));
    let text = text.map_err(|fault| fault.within(&format!("/{name}")))?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Fills JSON of the config.
fn fill_json(name: &str, json: &str, scope: &Scope) -> Result<Option<String>, Fault> {
    JsonTemplate::new(json).fill(scope, None, &format!("/{name}"))
}

/// Returns an object with another member, whose value is JSON text and keeps its bytes: data may be deep, and its numbers exact.
fn with_member(object: &str, name: &str, json: &str) -> String {
    let inside = object.strip_suffix('}').unwrap_or(object);
    let comma = if inside.ends_with('{') { "" } else { "," };
    format!("{inside}{comma}{}:{json}}}", Value::from(name))
}

/// Returns the variables for an event.
fn scope(event: &Event, vars: Option<&RawValue>) -> Scope {
    Scope::new(event, vars.map_or("{}", RawValue::get))
}
