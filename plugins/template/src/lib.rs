//! `template`: builds a message from the event, such as one for Slack or Teams.
//!
//! ```json
//! {"json": {"text": "{{/first_name}} {{/last_name}} was invited on {{/invited_on|a day not known}}"}, "escape": "slack"}
//! ```
//!
//! Either `json`, any JSON with placeholders in its strings, or `text`, a string with placeholders that is sent as `text/plain`.
//! `content_type` overrides the content type. With the config above `employee_created` is sent as
//!
//! ```json
//! {"text": "Bob Macri was invited on 2021-10-22"}
//! ```
//!
//! | placeholder | stands for |
//! | --- | --- |
//! | `{{/first_name}}` | the field that this JSON Pointer (RFC 6901) names in the event's data |
//! | `{{data}}` | all of the data |
//! | `{{type}}`, `{{id}}`, `{{company}}`, `{{occurred_at}}` | this attribute of the event |
//! | `{{/first_name\|nobody}}` | the field or, if it is missing or `null`, the text after the bar |
//! | `{{{{` | two braces |
//!
//! In a text, strings are inserted as their characters and other values as their JSON, spelt as published; a field that is missing
//! or `null` is empty. A string in `json` that is a single placeholder becomes the value itself: a number stays a number, and a
//! missing value is `null`. No value can break out of its string, and data is never read as a template. Names of members are sent
//! as they are.
//!
//! `"escape": "slack"` writes `&`, `<` and `>` in values as Slack requires (<https://docs.slack.dev/messaging/formatting-message-text#escaping>),
//! so that a name such as `<!channel>` notifies nobody; lists and objects then become text. The text of the template itself is not
//! escaped: `<https://example.com/{{/id}}|Open>` is a link.

mod filling;
mod part;

use posthaste_plugin::json::{Document, edit_strings};
use posthaste_plugin::{Error, Event, Message, Outcome};
use serde::Deserialize;
use serde_json::value::RawValue;

use filling::Filling;
use part::parts;

/// The template.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    json: Option<Box<RawValue>>,
    text: Option<String>,
    content_type: Option<String>,
    escape: Option<Escape>,
}

/// The escaping of values in a text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// As Slack's mrkdwn requires.
    Slack,
}

/// Builds the message.
///
/// # Errors
/// If the event's data is not JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let data = Document::parse(&event.body)?;
    let mut filling = Filling { event, data, escape: config.escape };
    let message = match (config.json, config.text) {
        (Some(json), _) => Message::new(edit_strings(json.get(), |string| filling.json(string))?),
        (None, text) => {
            Message::new(filling.text(&parts(&text.unwrap_or_default())?)).content_type("text/plain; charset=utf-8")
        }
    };
    Ok(Outcome::replace(match config.content_type {
        Some(content_type) => message.content_type(content_type),
        None => message,
    }))
}

/// Refuses a config without a template, with two templates, or with invalid placeholders.
///
/// # Errors
/// The text quotes the placeholder.
pub fn check(config: &Config) -> Result<(), Error> {
    match (&config.json, &config.text) {
        (Some(json), None) => drop(edit_strings(json.get(), |string| parts(string).map(|_| None))?),
        (None, Some(text)) => drop(parts(text)?),
        _ => return Err("config: give either `json`, any JSON with placeholders in its strings, or `text`".into()),
    }
    let visible = |text: &String| text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match &config.content_type {
        Some(text) if !visible(text) => Err("config: `content_type` is no media type such as `text/html`".into()),
        _ => Ok(()),
    }
}

posthaste_plugin::export!(transform, check);
