//! `template`: makes a message from the event with Jinja templates.
//!
//! ```json
//! {"json": {"text": "{{ first_name }} {{ last_name }} was invited on {{ invited_on | default('a day not known') }}"}, "escape": "slack"}
//! ```
//!
//! With this config, `employee_created` is sent as
//!
//! ```json
//! {"text":"Bob Macri was invited on 2021-10-22"}
//! ```
//!
//! The config has exactly one of these; they are described in `docs/standard-transforms.md`, with the variables and the filters:
//!
//! | | is sent as | |
//! | --- | --- | --- |
//! | `json` | `application/json` | any JSON, whose strings and names of members are templates |
//! | `form` | `application/x-www-form-urlencoded` | an object: the name and the template of each value |
//! | `text` | `text/plain` | a template |
//! | `xml` | `application/xml` | a template, whose values are escaped for XML |
//!
//! `escape` is how values are escaped in the texts, `headers` and `content_type` are templates too, and `vars` is any object for the
//! templates. A value that is missing or `null` fails the attempt, unless `default` handles it. No value can break out of JSON, a form or XML, and
//! data is never read as a template.

mod body;
mod config;
mod head;
mod presets;

use posthaste_jinja::{Fault, Scope, Template, is_template};
use posthaste_plugin::{Error, Event, Message, Outcome};
use serde_json::value::RawValue;

pub use config::Config;
use head::{check_content_type, fill, headers};

/// Makes the message.
///
/// # Errors
/// If the event's data is not JSON, or a template cannot be filled with it; the text names the template and the place in it.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    serde_json::from_str::<&RawValue>(&event.body)
        .map_err(|error| Error::new(format!("the event's data is not JSON: {error}")))?;
    if let Some(preset) = config.preset()? {
        return preset.fill(&event).map(Outcome::replace);
    }
    let scope = Scope::new(&event, config.vars.as_ref().map_or("{}", |vars| vars.get()));
    let body = config.body()?;
    let escape = config.escape()?;
    let filled = body.fill(&scope, escape)?;
    let mut message = Message::new(filled);
    let content_type = config.content_type.as_deref();
    let content_type = content_type.map(|text| fill(text, &scope, "/content_type")).transpose()?.flatten();
    if let Some(content_type) = content_type.as_deref() {
        check_content_type(content_type, body.kind()).map_err(|text| Error::new(format!("`/content_type`: {text}")))?;
    }
    body.check_filled(&message.body, content_type.as_deref())?;
    if let Some(content_type) = content_type.or_else(|| body.kind().content_type().map(str::to_owned)) {
        message = message.content_type(content_type);
    }
    for (name, value) in headers(&config.headers, &scope)? {
        message = message.header(name, value);
    }
    Ok(message.into())
}

/// Refuses a config without a body, with several, or with a template that cannot be compiled.
///
/// # Errors
/// The text names the template, the place in it, and how to mend it.
pub fn check(config: &Config) -> Result<(), Error> {
    if let Some(preset) = config.preset()? {
        return preset.check();
    }
    let in_config = |fault: Fault| Error::new(format!("config: {fault}"));
    let body = config.body()?;
    config.escape()?;
    body.check().map_err(in_config)?;
    if let Some(vars) = config.vars.as_ref().filter(|vars| !vars.get().starts_with('{')) {
        let start: String = vars.get().chars().take(20).collect();
        return Err(Error::new(format!("config: `/vars` is an object, and not `{start}`")));
    }
    for (name, template) in &config.headers {
        Template::compile(template).map_err(|fault| in_config(fault.within(&format!("/headers/{name}"))))?;
    }
    let Some(content_type) = &config.content_type else { return Ok(()) };
    Template::compile(content_type).map_err(|fault| in_config(fault.within("/content_type")))?;
    if is_template(content_type) {
        return Ok(());
    }
    check_content_type(content_type, body.kind()).map_err(|text| Error::new(format!("config: `/content_type`: {text}")))
}

/// Refuses nothing: [`transform`] compiles the templates that it fills, and refuses what cannot be filled.
fn recheck(_: &Config) -> Result<(), Error> {
    Ok(())
}

posthaste_plugin::export!(transform, check, recheck);
