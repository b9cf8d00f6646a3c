//! Publishing one event; many at once in `batch`.

mod batch;

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::body::{self, Params};
use super::problem::{Kind, Problem};
use super::webhooks::check_headers;
use super::{Api, App, CompanyOnly};
use crate::delivery::{AcceptedEvent, NewEvent};
use crate::domain::credential::{Access, Area};
use crate::domain::{Invalid, event, time};

pub(super) use batch::batch;

/// Room for all of a request but the event's data.
const AROUND: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'b> {
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
struct Answer {
    id: String,
    delivery_id: Option<String>,
}

/// `POST /events`: 202 once the event is on disk.
pub(super) async fn publish(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let bytes = body::of(request, most_bytes(&api)).await?;
    let event = read(&api, &caller, query.company.as_deref(), &bytes)?;
    let answer = Answer::from(api.engine.publisher.publish(event).await?);
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

impl From<AcceptedEvent> for Answer {
    fn from(accepted: AcceptedEvent) -> Self {
        Self { id: accepted.id, delivery_id: accepted.delivery_id }
    }
}

/// Most bytes of one event as it is sent.
fn most_bytes(api: &Api) -> usize {
    api.max_event_bytes.saturating_add(AROUND)
}

/// Reads an event and checks its rules; `company` is the one that the query names.
fn read(api: &Api, caller: &Caller, company: Option<&str>, bytes: &Bytes) -> Result<NewEvent, Problem> {
    let publish: Publish = body::json(bytes)?;
    let company = caller.company(Area::Events, Access::Write, publish.company.as_deref().or(company))?;
    if publish.data.get().len() > api.max_event_bytes {
        let limit = api.max_event_bytes;
        return Err(Problem::new(Kind::TooLarge, format!("the event's data is over {limit} bytes")));
    }
    check(publish, company, bytes, &api.challenge_header)
}

fn check(publish: Publish, company: String, body: &Bytes, challenge_header: &str) -> Result<NewEvent, Problem> {
    event::check_published_type(&publish.r#type)?;
    publish.id.as_deref().map_or(Ok(()), event::check_id)?;
    let bad_time = || Invalid::at("/occurred_at", time::HOW_WRITTEN);
    let occurred_at = publish.occurred_at.map(|text| time::parse_rfc3339(&text).ok_or_else(bad_time)).transpose()?;
    let headers: Vec<_> = publish.headers.unwrap_or_default().into_iter().collect();
    check_headers(&headers, challenge_header)?;
    Ok(NewEvent {
        company,
        event_type: publish.r#type.into_owned(),
        id: publish.id,
        occurred_at,
        headers,
        data: body.slice_ref(publish.data.get().as_bytes()),
    })
}
