//! Publishes one event; [`batch`] publishes many at once, `log` looks them up.

mod batch;
mod log;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::Instrument as _;

use super::ApiState;
use super::auth::EventPublisher;
use super::body;
use super::problem::{Problem, ProblemKind};
use super::spans;
use super::webhooks::check_headers;
use crate::delivery::{AcceptedEvent, NewEvent};
use crate::domain::{Invalid, event, time};

pub(super) use batch::batch;
pub(super) use log::{list, show};

/// Room for all of a request but the event's data, in bytes.
const OVERHEAD_BYTES: usize = 64 * 1024;

/// The body of `POST /events`, and one line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFields<'b> {
    #[serde(borrow)]
    r#type: Cow<'b, str>,
    #[serde(borrow)]
    data: &'b RawValue,
    id: Option<String>,
    occurred_at: Option<String>,
    company: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
pub(super) struct AcceptedView {
    id: String,
    /// Null if nobody subscribes to the event's type.
    delivery_id: Option<String>,
    /// There if the same event had been published before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl From<AcceptedEvent> for AcceptedView {
    fn from(accepted: AcceptedEvent) -> Self {
        Self { id: accepted.id, delivery_id: accepted.delivery_id, duplicate: accepted.is_duplicate }
    }
}

/// `POST /events`: 202 once the event is on disk; 409 if another event of the company has its id.
pub(super) async fn publish(
    State(api): State<Arc<ApiState>>,
    publisher: EventPublisher,
    request: Request<Body>,
) -> Result<(StatusCode, Json<AcceptedView>), Problem> {
    let bytes = body::read(request, max_request_bytes(&api)).await?;
    let event = read_event(&api, &publisher, &bytes)?;
    spans::record_company(&event.company);
    let span = spans::publish_span(&event);
    let accepted = api.engine.publisher.publish(event).instrument(span.clone()).await?;
    span.in_scope(|| log_accepted(&accepted));
    Ok((StatusCode::ACCEPTED, Json(accepted.into())))
}

/// Names the event and its delivery in the log, where their ids were made by the service.
fn log_accepted(accepted: &AcceptedEvent) {
    tracing::debug!(event = accepted.id, delivery = accepted.delivery_id, "the event is stored");
}

/// Returns the most bytes of a request, or a line, with one event.
fn max_request_bytes(api: &ApiState) -> usize {
    api.max_event_bytes.saturating_add(OVERHEAD_BYTES)
}

/// Reads an event and checks its rules.
fn read_event(api: &ApiState, publisher: &EventPublisher, bytes: &Bytes) -> Result<NewEvent, Problem> {
    let fields: EventFields = body::json(bytes)?;
    let company = publisher.company(fields.company.as_deref())?;
    if fields.data.get().len() > api.max_event_bytes {
        let limit = api.max_event_bytes;
        return Err(Problem::new(ProblemKind::TooLarge, format!("the event's data is over {limit} bytes")));
    }
    check_event(fields, company, bytes, &api.challenge_header)
}

/// Checks the rules of an event. Its data becomes a slice of `body`, which is not copied.
fn check_event(
    fields: EventFields,
    company: String,
    body: &Bytes,
    challenge_header: &str,
) -> Result<NewEvent, Problem> {
    event::check_published_type(&fields.r#type)?;
    fields.id.as_deref().map_or(Ok(()), event::check_id)?;
    let bad_time = || Invalid::at("/occurred_at", time::HOW_WRITTEN);
    let occurred_at = fields.occurred_at.map(|text| time::parse_rfc3339(&text).ok_or_else(bad_time)).transpose()?;
    let headers: Vec<_> = fields.headers.unwrap_or_default().into_iter().collect();
    check_headers(&headers, challenge_header)?;
    Ok(NewEvent {
        company,
        event_type: fields.r#type.into_owned(),
        id: fields.id,
        occurred_at,
        headers,
        data: body.slice_ref(fields.data.get().as_bytes()),
    })
}
