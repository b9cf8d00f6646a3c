//! Issues of Jira Cloud, by its REST API v3: <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues>.

use posthaste_jinja::{Fault, JsonTemplate, shorten};
use posthaste_plugin::Event;
use posthaste_plugin::json::members;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::chats::{one_line, set};
use super::message::Message;
use super::{check_all, fill, fill_json, scope, with_member};

/// Characters of a description.
const MAX_DESCRIPTION: usize = 30_000;

/// The templates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The key of the project, such as `OPS`.
    project: String,
    /// By default `Task`.
    issue_type: Option<String>,
    /// By default the event's type.
    summary: Option<String>,
    /// By default the first members of the data.
    description: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    /// Other fields of the issue: an object, whose strings are templates.
    fields: Option<Box<RawValue>>,
    vars: Option<Box<RawValue>>,
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let templates =
            [("issue_type", &self.issue_type), ("summary", &self.summary), ("description", &self.description)];
        check_all(templates.map(|(name, template)| (name, template.as_ref())))?;
        check_all([("project", Some(&self.project))])?;
        check_all(self.labels.iter().map(|label| ("labels", Some(label))))?;
        match &self.fields {
            Some(fields) if !fields.get().starts_with('{') => {
                Err(Fault::new("this is an object: other fields of the issue").within("/fields"))
            }
            Some(fields) => JsonTemplate::new(fields.get()).check("/fields"),
            None => Ok(()),
        }
    }

    pub(super) fn fill(&self, event: &Event) -> Result<String, Fault> {
        let scope = scope(event, self.vars.as_deref());
        let text = |name: &str, template: Option<&String>| {
            template.map_or(Ok(None), |template| fill(name, template, &scope, None))
        };
        let project = text("project", Some(&self.project))?;
        let project = project.ok_or_else(|| Fault::new("the key of the project is empty").within("/project"))?;
        let issue_type = text("issue_type", self.issue_type.as_ref())?.unwrap_or_else(|| "Task".to_owned());
        let summary = text("summary", self.summary.as_ref())?.unwrap_or_else(|| event.event_type.clone());
        let mut fields = json!({
            "project": {"key": project},
            "issuetype": {"name": issue_type},
            "summary": shorten(&one_line(&summary), 255),
        });
        let description = match text("description", self.description.as_ref())? {
            None if self.description.is_none() => {
                let lines = Message::default().fill(event, None)?.fields;
                lines
                    .into_iter()
                    .map(|(name, text)| format!("{name}: {}", shorten(&text, 500)))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            text => text.unwrap_or_default(),
        };
        if !description.is_empty() {
            set(&mut fields, "description", document(&shorten(&description, MAX_DESCRIPTION)));
        }
        let mut labels = Vec::new();
        for label in &self.labels {
            // A label has no spaces.
            labels.extend(
                text("labels", Some(label))?
                    .map(|label| shorten(&label.split_whitespace().collect::<Vec<_>>().join("-"), 255)),
            );
        }
        if !labels.is_empty() {
            set(&mut fields, "labels", labels.into());
        }
        let others = self.fields.as_ref().map_or(Ok(None), |others| fill_json("fields", others.get(), &scope))?;
        let others: Vec<_> = others.as_deref().into_iter().flat_map(members).collect();
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|name, _| others.iter().all(|(other, _)| other != name));
        }
        let fields = others.iter().fold(fields.to_string(), |fields, (name, value)| with_member(&fields, name, value));
        Ok(with_member("{}", "fields", &fields))
    }
}

/// Returns a text in Atlassian's document format, which interprets nothing in it: a paragraph for each line.
fn document(text: &str) -> Value {
    let paragraph = |line: &str| match line.trim_end() {
        "" => json!({"type": "paragraph"}),
        line => json!({"type": "paragraph", "content": [{"type": "text", "text": line}]}),
    };
    json!({"type": "doc", "version": 1, "content": text.lines().map(paragraph).collect::<Vec<_>>()})
}
