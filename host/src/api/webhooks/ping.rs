//! Sends a test event to a webhook.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::not_found;
use crate::api::ApiState;
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::author_field;
use crate::api::body::{self, BodyLimit};
use crate::api::deliveries::AttemptView;
use crate::api::header_fields::HeaderFields;
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::delivery::SampleEvent;
use crate::domain::author::Author;
use crate::domain::subscription::is_pattern;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::domain::{Invalid, event};

/// The body of a test. Without a field, and without a body, the event is a `ping`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TestRequest<'b> {
    #[serde(borrow)]
    event: Option<&'b RawValue>,
    /// The type of an example event.
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event")]
struct TestEvent<'b> {
    r#type: Option<String>,
    #[serde(borrow)]
    data: &'b RawValue,
    headers: Option<HeaderFields>,
    #[serde(borrow)]
    author: Option<&'b RawValue>,
}

/// The event to send, whose rules hold.
enum Sample {
    Ping,
    Sent(SampleEvent),
    ExampleOf(String),
}

/// `POST /webhooks/{id}/test`: sends an event now; 200 with the attempt, whatever its result.
pub(in crate::api) async fn ping(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<AttemptView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::DryRun(api.max_event_bytes)).await?;
    let webhook = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    if webhook.is_pulled() {
        let detail = "the events of this webhook wait for their consumer, so there is nothing to send a test to; publish an event";
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    let sample = match bytes.trim_ascii() {
        b"" | b"null" => Sample::Ping,
        _ => body::checked(&bytes, |requested: TestRequest| check(&api, &webhook, &requested))?,
    };
    let sample = match sample {
        Sample::Ping => None,
        Sample::Sent(event) if event.data.len() > api.max_event_bytes => {
            return Err(Problem::new(ProblemKind::TooLarge, body::data_exceeded(api.max_event_bytes)));
        }
        Sample::Sent(event) => Some(event),
        Sample::ExampleOf(event_type) => Some(example(&api, &webhook, event_type).await?),
    };
    Ok(Json(api.engine.pinger.test(&webhook, sample).await?.into()))
}

fn check(api: &ApiState, webhook: &Webhook, requested: &TestRequest) -> Result<Sample, Vec<Invalid>> {
    match (requested.event, &requested.r#type) {
        (Some(_), Some(_)) => Err(vec![Invalid::at("/type", "send the type within `event`, or send a type alone")]),
        (Some(event), None) => body::nested(event, "/event", |sent| check_event(api, webhook, sent)).map(Sample::Sent),
        (None, Some(event_type)) => {
            check_type(event_type, webhook).map_err(|error| vec![error])?;
            Ok(Sample::ExampleOf(event_type.clone()))
        }
        (None, None) => Ok(Sample::Ping),
    }
}

/// The types that a producer may publish, and the service's own that the webhook is for.
fn check_type(event_type: &str, webhook: &Webhook) -> Result<(), Invalid> {
    match event::is_host_type(event_type) && !is_pattern(event_type) && webhook.matches(event_type) {
        true => event::check_type(event_type).map_err(|detail| Invalid::at("/type", detail)),
        false => event::check_published_type(event_type),
    }
}

/// Checks the rules for published events.
fn check_event(api: &ApiState, webhook: &Webhook, sent: TestEvent) -> Result<SampleEvent, Vec<Invalid>> {
    let own = (!is_pattern(&webhook.event_type)).then(|| webhook.event_type.clone());
    let event_type = sent.r#type.or(own);
    let checked = event_type.as_deref().map_or_else(|| Err(type_needed(webhook)), |text| check_type(text, webhook));
    let headers = sent.headers.unwrap_or_default();
    let (author, broken_author) = author_field::read(sent.author);
    let errors = checked.err().into_iter().chain(headers.errors(&api.challenge_header));
    let errors: Vec<_> = errors.chain(broken_author).collect();
    let event_type = event_type.unwrap_or_default();
    if !errors.is_empty() {
        return Err(errors);
    }
    let data = Bytes::copy_from_slice(sent.data.get().as_bytes());
    let headers = headers.pairs().into_iter().chain(author.into_iter().flat_map(Author::into_headers)).collect();
    Ok(SampleEvent { event_type, occurred_at: None, headers, data })
}

fn type_needed(webhook: &Webhook) -> Invalid {
    let detail = format!("this webhook is for the types `{}`: give the event one of them", webhook.event_type);
    Invalid::at("/type", detail)
}

/// Returns the company's newest event of the type, or one that is made up.
async fn example(api: &ApiState, webhook: &Webhook, event_type: String) -> Result<SampleEvent, Problem> {
    Ok(match api.store.newest_event_of_type(&webhook.company, &event_type).await? {
        Some(event) => {
            SampleEvent { event_type, occurred_at: Some(event.occurred_at), headers: event.headers, data: event.data }
        }
        None => {
            let now = rfc3339(api.clock.now_ms());
            let data = json!({"type": event_type, "webhook": webhook.id, "example": true, "sent_at": now});
            SampleEvent { event_type, occurred_at: None, headers: Vec::new(), data: data.to_string().into() }
        }
    })
}
