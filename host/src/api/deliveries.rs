//! The delivery log.

mod again;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::body::{Parameters, Params};
use super::problem::{Kind, Problem};
use super::{Api, App, CompanyOnly, List, limit};
use crate::domain::credential::{Access, Area};
use crate::domain::delivery::{Attempt, Delivery, STATUSES, Status};
use crate::domain::time::{HOW_WRITTEN, parse_rfc3339, rfc3339};
use crate::store::{Filter, Page};

pub(super) use again::{replay, retry, transformed};

#[derive(Serialize)]
pub(super) struct DeliveryView {
    id: String,
    event_id: String,
    company: String,
    r#type: String,
    webhook: String,
    status: &'static str,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

fn shown(api: &Api, delivery: Delivery) -> DeliveryView {
    DeliveryView {
        id: delivery.id,
        event_id: delivery.event_id,
        company: delivery.company,
        r#type: delivery.event_type,
        webhook: delivery.webhook,
        status: delivery.status.name(),
        attempt_count: delivery.attempt_count,
        next_attempt_at: delivery.next_attempt_at.map(|due| rfc3339(api.engine.to_wall_ms(due))),
        created_at: rfc3339(delivery.created_at),
        finished_at: delivery.finished_at.map(rfc3339),
    }
}

#[derive(Serialize)]
pub(super) struct AttemptView {
    number: u32,
    started_at: String,
    duration_ms: i64,
    status_code: Option<u16>,
    error: Option<String>,
    response_body: Option<String>,
    request_headers: Option<Box<RawValue>>,
    plugin: Option<Box<RawValue>>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: rfc3339(attempt.started_at),
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            error: attempt.error,
            response_body: attempt.response_body,
            request_headers: attempt.request_headers,
            plugin: attempt.plugin,
        }
    }
}

#[derive(Serialize)]
pub(super) struct WholeView {
    #[serde(flatten)]
    delivery: DeliveryView,
    payload: Option<Box<RawValue>>,
    attempts: Vec<AttemptView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    company: Option<String>,
    r#type: Option<String>,
    status: Option<String>,
    webhook: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /deliveries`.
pub(super) async fn list(
    State(api): App,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<List<DeliveryView>>, Problem> {
    let company = caller.company(Area::Deliveries, Access::Read, query.company.as_deref())?;
    let filter = Filter {
        event_type: query.r#type,
        status: query.status.as_deref().map(status).transpose().map_err(in_query("status"))?,
        webhook: query.webhook,
        since: query.since.as_deref().map(|text| instant("since", text)).transpose()?,
        until: query.until.as_deref().map(|text| instant("until", text)).transpose()?,
    };
    let page = Page { limit: limit(query.limit)?, after: query.cursor };
    let (found, more) = api.store.deliveries(&company, &filter, &page).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(List { data: found.into_iter().map(|one| shown(&api, one)).collect(), next_cursor }))
}

fn status(name: &str) -> Result<Status, String> {
    Status::named(name).ok_or_else(|| {
        let names = STATUSES.map(Status::name).join(", ");
        format!("there is no `{name}`; there are {names}")
    })
}

fn in_query(field: &str) -> impl Fn(String) -> Problem {
    move |detail| Problem::new(Kind::Rule, format!("{field}: {detail}"))
}

fn missing() -> Problem {
    Problem::new(Kind::NotFound, "this company has no delivery of that id")
}

fn instant(field: &str, text: &str) -> Result<i64, Problem> {
    // In a query a bare `+` of an offset arrives as a space.
    parse_rfc3339(&text.replace(' ', "+")).ok_or_else(|| Problem::new(Kind::Rule, format!("{field}: {HOW_WRITTEN}")))
}

/// `GET /deliveries/{id}`.
pub(super) async fn one(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Json<WholeView>, Problem> {
    let company = caller.company(Area::Deliveries, Access::Read, query.company.as_deref())?;
    let found = api.store.delivery(&company, &id).await?;
    let (delivery, event, attempts) = found.ok_or_else(missing)?;
    Ok(Json(WholeView {
        delivery: shown(&api, delivery),
        payload: RawValue::from_string(event.data_text().to_owned()).ok(),
        attempts: attempts.into_iter().map(Into::into).collect(),
    }))
}
