//! PagerDuty's Events API v2: <https://developer.pagerduty.com/docs/events-api-v2-overview>.

use posthaste_jinja::{Fault, JsonTemplate, shorten};
use posthaste_plugin::Event;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::chats::{one_line, set};
use super::{check_all, fill, fill_json, scope, with_member};

/// What an event may do to an alert.
const ACTIONS: [&str; 3] = ["trigger", "acknowledge", "resolve"];

/// How bad an alert may be.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// The templates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The key of the integration.
    routing_key: String,
    /// By default the event's type.
    summary: Option<String>,
    /// By default `error`.
    severity: Option<String>,
    /// By default the company.
    source: Option<String>,
    /// By default the event's id, so that a retry makes no second alert.
    dedup_key: Option<String>,
    /// By default `trigger`.
    action: Option<String>,
    component: Option<String>,
    group: Option<String>,
    class: Option<String>,
    /// Any JSON; by default the data.
    custom_details: Option<Box<RawValue>>,
    link: Option<String>,
    vars: Option<Box<RawValue>>,
}

impl Config {
    fn templates(&self) -> [(&'static str, Option<&String>); 10] {
        [
            ("routing_key", Some(&self.routing_key)),
            ("summary", self.summary.as_ref()),
            ("severity", self.severity.as_ref()),
            ("source", self.source.as_ref()),
            ("dedup_key", self.dedup_key.as_ref()),
            ("action", self.action.as_ref()),
            ("component", self.component.as_ref()),
            ("group", self.group.as_ref()),
            ("class", self.class.as_ref()),
            ("link", self.link.as_ref()),
        ]
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        check_all(self.templates())?;
        self.custom_details.as_ref().map_or(Ok(()), |details| JsonTemplate::new(details.get()).check("/custom_details"))
    }

    pub(super) fn fill(&self, event: &Event) -> Result<String, Fault> {
        let scope = scope(event, self.vars.as_deref());
        let text = |name: &str, default: &str| {
            let template =
                self.templates().into_iter().find(|(own, _)| *own == name).and_then(|(_, template)| template);
            let filled = template.map_or(Ok(None), |template| fill(name, template, &scope, None))?;
            Ok(filled.unwrap_or_else(|| default.to_owned()))
        };
        let one_of = |name: &str, default: &str, known: &[&str]| {
            let value = text(name, default)?.to_lowercase();
            if known.contains(&&*value) {
                return Ok(value);
            }
            let shown: String = value.chars().take(40).collect();
            Err(Fault::new(format!("`{shown}` is none of {}", known.join(", "))).within(&format!("/{name}")))
        };
        let action = one_of("action", "trigger", &ACTIONS)?;
        let mut payload = json!({
            "summary": shorten(&one_line(&text("summary", &event.event_type)?), 1_024),
            "severity": one_of("severity", "error", &SEVERITIES)?,
            "source": shorten(&text("source", &event.company)?, 255),
            "timestamp": event.occurred_at,
        });
        for name in ["component", "group", "class"] {
            let value = text(name, "")?;
            if !value.is_empty() {
                set(&mut payload, name, shorten(&value, 255).into());
            }
        }
        let details = self.custom_details.as_ref().map_or("\"{{ data }}\"", |details| details.get());
        let payload = match fill_json("custom_details", details, &scope)? {
            Some(details) => with_member(&payload.to_string(), "custom_details", &details),
            None => payload.to_string(),
        };
        let mut alert = json!({
            "routing_key": text("routing_key", "")?,
            "event_action": action,
            "dedup_key": shorten(&text("dedup_key", &event.id)?, 255),
        });
        let link = text("link", "")?;
        if !link.is_empty() {
            set(&mut alert, "links", json!([{"href": link, "text": "Open"}]));
        }
        // An alert that is acknowledged or resolved is named by its key alone.
        let alert = alert.to_string();
        Ok(if action == "trigger" { with_member(&alert, "payload", &payload) } else { alert })
    }
}
