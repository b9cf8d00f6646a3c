//! The file format of a case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Body, Case, Expect, event};
use crate::{Event, config};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile<'a> {
    #[serde(borrow)]
    event: Option<EventFile<'a>>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    outcome: Option<OutcomeFile>,
    check_config: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile<'a> {
    r#type: String,
    #[serde(borrow)]
    data: &'a RawValue,
    id: Option<String>,
    company: Option<String>,
    occurred_at: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeFile {
    Pass,
    Replace(ReplaceFile),
    Drop(String),
    Error(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplaceFile {
    body: Option<Value>,
    body_text: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<Case, String> {
    let file: CaseFile = config::parse(text)?;
    let expect = match (file.outcome, file.check_config) {
        (Some(outcome), None) => expect(outcome)?,
        (None, Some(part)) => Expect::ConfigRefused(part),
        _ => return Err("a case has either `outcome` or `check_config`".into()),
    };
    let event = match (file.event, &expect) {
        (Some(event), _) => event.into(),
        (None, Expect::ConfigRefused(_)) => event("ping", "null"),
        (None, _) => return Err("`event` is missing".into()),
    };
    Ok(Case { name: name.into(), event, config: file.config.map_or("null", RawValue::get).into(), expect })
}

fn expect(outcome: OutcomeFile) -> Result<Expect, String> {
    Ok(match outcome {
        OutcomeFile::Pass => Expect::Pass,
        OutcomeFile::Drop(reason) => Expect::Drop(reason),
        OutcomeFile::Error(part) => Expect::Error(part),
        OutcomeFile::Replace(replace) => Expect::Replace {
            body: match (replace.body, replace.body_text) {
                (Some(value), None) => Body::Json(value),
                (None, Some(text)) => Body::Text(text),
                _ => return Err("`outcome.replace` has either `body` or `body_text`".into()),
            },
            content_type: replace.content_type,
            headers: replace.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
        },
    })
}

impl From<EventFile<'_>> for Event {
    fn from(file: EventFile<'_>) -> Self {
        let default = event(&file.r#type, file.data.get());
        Self {
            id: file.id.unwrap_or(default.id),
            company: file.company.unwrap_or(default.company),
            occurred_at: file.occurred_at.unwrap_or(default.occurred_at),
            headers: file.headers.into_iter().collect(),
            ..default
        }
    }
}
