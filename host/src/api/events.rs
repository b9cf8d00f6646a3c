//! Publishes one event; [`batch`] publishes many at once, `log` looks them up, `erase` and `erasures` remove their data.

mod batch;
mod erase;
mod erasures;
mod log;
mod rules;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tracing::Instrument as _;

use super::ApiState;
use super::auth::EventPublisher;
use super::author_field;
use super::body::{self, BodyLimit};
use super::header_fields::HeaderFields;
use super::problem::{Problem, ProblemKind};
use super::spans;
use crate::delivery::{AcceptedEvent, NewEvent};
use crate::domain::author::Author;
use crate::domain::hops::{HOPS_HEADER, Hops};
use crate::domain::{Invalid, event, time};

pub(super) use batch::batch;
pub(super) use erase::erase;
pub(super) use erasures::{erase_many, list_erasures};
pub(super) use log::{list, show};
use rules::Warning;

/// The body of `POST /events`, and one line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFields<'b> {
    #[serde(borrow)]
    r#type: Option<Cow<'b, str>>,
    #[serde(borrow, default, deserialize_with = "raw_value")]
    data: Option<&'b RawValue>,
    id: Option<String>,
    occurred_at: Option<String>,
    company: Option<String>,
    headers: Option<HeaderFields>,
    #[serde(borrow)]
    author: Option<&'b RawValue>,
}

/// Reads any JSON, also null, which is data like any other.
fn raw_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
pub(super) struct AcceptedView {
    id: String,
    /// The first of its deliveries; null if nobody subscribes to the event's type.
    delivery_id: Option<String>,
    delivery_ids: Vec<String>,
    /// There if the same event had been published before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    /// What breaks the schema of its type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

impl AcceptedView {
    fn new(accepted: AcceptedEvent, warnings: Vec<Warning>) -> Self {
        let AcceptedEvent { id, delivery_ids, is_duplicate } = accepted;
        Self { id, delivery_id: delivery_ids.first().cloned(), delivery_ids, duplicate: is_duplicate, warnings }
    }
}

/// `POST /events`: 202 once the event is on disk; 409 if another event of the company has its id.
pub(super) async fn publish(
    State(api): State<Arc<ApiState>>,
    publisher: EventPublisher,
    request: Request<Body>,
) -> Result<(StatusCode, Json<AcceptedView>), Problem> {
    publisher.check_scope()?;
    let source = EventSource { hops: hops_of(request.headers())?, publisher };
    let bytes =
        body::read(&api.shares, source.publisher.holder(), request, BodyLimit::Event(api.max_event_bytes)).await?;
    let event = read_event(&api, &source, &bytes)?;
    spans::record_company(&event.company);
    let warnings = rules::check(&api, &event).await?;
    let span = spans::publish_span(&event);
    let accepted = api.engine.publisher.publish(event).instrument(span.clone()).await?;
    span.in_scope(|| log_accepted(&accepted));
    Ok((StatusCode::ACCEPTED, Json(AcceptedView::new(accepted, warnings))))
}

/// Returns how many POSTs of a Posthaste led to a request.
///
/// # Errors
/// 508 if there are too many.
fn hops_of(headers: &HeaderMap) -> Result<Hops, Problem> {
    let given = headers.get(HOPS_HEADER).map(|value| Hops::parse(value.to_str().unwrap_or_default()));
    let hops = given.unwrap_or_default();
    if hops.are_allowed() { Ok(hops) } else { Err(Problem::new(ProblemKind::Loop, hops.refusal())) }
}

/// Names the event and its deliveries in the log, where their ids were made by the service.
fn log_accepted(accepted: &AcceptedEvent) {
    tracing::debug!(event = accepted.id, deliveries = ?accepted.delivery_ids, "the event is stored");
}

/// Where the events of a request come from.
struct EventSource {
    publisher: EventPublisher,
    hops: Hops,
}

/// Reads an event and checks its rules.
fn read_event(api: &ApiState, source: &EventSource, bytes: &Bytes) -> Result<NewEvent, Problem> {
    let check = |fields: EventFields| check_event(fields, bytes, &api.challenge_header);
    let CheckedEvent { company, event_type, id, occurred_at, mut headers, data } = body::checked(bytes, check)?;
    let company = source.publisher.company(company.as_deref())?;
    if data.len() > api.max_event_bytes {
        return Err(Problem::new(ProblemKind::TooLarge, body::data_exceeded(api.max_event_bytes)));
    }
    if source.hops.is_some() {
        headers.push((HOPS_HEADER.into(), source.hops.to_string()));
    }
    Ok(NewEvent { company, event_type, id, occurred_at, headers, data })
}

/// The fields of an event whose own rules hold; whether the caller may publish it for its company is not checked yet.
struct CheckedEvent {
    company: Option<String>,
    event_type: String,
    id: Option<String>,
    /// Milliseconds since 1970.
    occurred_at: Option<i64>,
    headers: Vec<(String, String)>,
    data: Bytes,
}

/// Checks the rules of an event. Its data becomes a slice of `body`, which is not copied.
///
/// # Errors
/// Every broken rule.
fn check_event(fields: EventFields, body: &Bytes, challenge_header: &str) -> Result<CheckedEvent, Vec<Invalid>> {
    let occurred_at = fields.occurred_at.as_deref().map(|text| time::instant("/occurred_at", text)).transpose();
    let missing = |pointer| Some(Invalid::at(pointer, "an event needs this field"));
    let errors = [
        fields.r#type.as_deref().map_or_else(|| missing("/type"), |text| event::check_published_type(text).err()),
        fields.data.map_or_else(|| missing("/data"), |_| None),
        fields.id.as_deref().and_then(|id| event::check_id(id).err()),
        occurred_at.as_ref().err().cloned(),
    ];
    let headers = fields.headers.unwrap_or_default();
    let (author, broken_author) = author_field::read(fields.author);
    let errors = errors.into_iter().flatten().chain(headers.errors(challenge_header)).chain(broken_author);
    let errors: Vec<_> = errors.collect();
    let mut headers = headers.pairs();
    headers.extend(author.into_iter().flat_map(Author::into_headers));
    match (fields.r#type, fields.data) {
        (Some(event_type), Some(data)) if errors.is_empty() => Ok(CheckedEvent {
            company: fields.company,
            event_type: event_type.into_owned(),
            id: fields.id,
            occurred_at: occurred_at.ok().flatten(),
            headers,
            data: body.slice_ref(data.get().as_bytes()),
        }),
        _ => Err(errors),
    }
}
