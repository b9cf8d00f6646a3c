//! The delivery log.

mod cancel;
mod replay;
mod retry;
mod selection;
mod transformed;
mod webhook_now;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ApiState;
use super::auth::{Authorized, DeliveriesRead};
use super::pagination::{ListPage, delivery_page};
use super::params::{NamesCompany, PathParams, instant, range};
use super::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::delivery::{Attempt, DeliveryRecord, STATUSES, Status, StatusFilter};
use crate::domain::time::rfc3339;
use crate::store::{DeliveryFilter, LogPage};

use selection::{Conditions, Names};

pub(super) use cancel::{cancel, cancel_many};
pub(super) use replay::{list_replays, replay, stop_replay};
pub(super) use retry::retry;
pub(super) use transformed::transformed;

#[derive(Serialize)]
pub(super) struct DeliveryView {
    id: String,
    event_id: String,
    company: String,
    r#type: String,
    /// The webhook's id.
    webhook: String,
    /// The webhook's label; null if it has none.
    label: Option<String>,
    status: &'static str,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
    /// When the data of its event was erased; null if it was not.
    erased_at: Option<String>,
    last_attempt_at: Option<String>,
    last_status_code: Option<u16>,
    last_error: Option<String>,
}

impl DeliveryView {
    pub(super) fn new(api: &ApiState, delivery: DeliveryRecord) -> Self {
        let last = delivery.last_attempt;
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            company: delivery.company,
            r#type: delivery.event_type,
            webhook: delivery.webhook,
            label: delivery.label,
            status: delivery.status.name(),
            attempt_count: delivery.attempt_count,
            next_attempt_at: delivery.next_attempt_at.map(|due| rfc3339(api.engine.to_wall_ms(due))),
            created_at: rfc3339(delivery.created_at),
            finished_at: delivery.finished_at.map(rfc3339),
            erased_at: delivery.erased_at.map(rfc3339),
            last_attempt_at: last.as_ref().map(|last| rfc3339(last.started_at)),
            last_status_code: last.as_ref().and_then(|last| last.status_code),
            last_error: last.and_then(|last| last.error),
        }
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
    url: Option<String>,
    request_headers: Option<Box<RawValue>>,
    response_headers: Option<Box<RawValue>>,
    /// The last of `plugins`.
    plugin: Option<Box<RawValue>>,
    /// One for each transform that ran.
    plugins: Vec<Box<RawValue>>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let plugins: Vec<_> = attempt.plugins().into_iter().map(ToOwned::to_owned).collect();
        Self {
            number: attempt.number,
            started_at: rfc3339(attempt.started_at),
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            error: attempt.error,
            response_body: attempt.response_body,
            url: attempt.url,
            request_headers: attempt.request_headers,
            response_headers: attempt.response_headers,
            plugin: plugins.last().cloned(),
            plugins,
        }
    }
}

/// A delivery with its event's data and its attempts.
#[derive(Serialize)]
pub(super) struct DeliveryDetailView {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// Null if it was erased.
    payload: Option<Box<RawValue>>,
    attempts: Vec<AttemptView>,
    /// How many earlier attempts are not among `attempts`.
    attempts_omitted: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryListQuery {
    company: Option<String>,
    r#type: Option<String>,
    status: Option<String>,
    webhook: Option<String>,
    label: Option<String>,
    event: Option<String>,
    error: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for DeliveryListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /deliveries`: newest first.
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<DeliveriesRead, DeliveryListQuery>,
) -> Result<Json<ListPage<DeliveryView>>, Problem> {
    let since = query.since.as_deref().map(|text| instant("since", text)).transpose()?;
    let until = query.until.as_deref().map(|text| instant("until", text)).transpose()?;
    range(since, until)?;
    let conditions = Conditions {
        types: query.r#type.as_deref().map(Names::split),
        statuses: query.status.as_deref().map(Names::split),
        webhook: query.webhook,
        label: query.label,
        error: query.error,
    };
    let selection = conditions.check().map_err(broken_query)?;
    let filter = DeliveryFilter { selection, event: query.event, since, until };
    let page = delivery_page(query.limit.as_deref(), query.cursor.as_deref())?;
    let LogPage { entries, next: next_cursor } = api.store.deliveries(&company, &filter, &page).await?;
    let data = entries.into_iter().map(|delivery| DeliveryView::new(&api, delivery)).collect();
    Ok(Json(ListPage { data, next_cursor }))
}

fn parse_status_filter(name: &str) -> Result<StatusFilter, String> {
    StatusFilter::named(name).ok_or_else(|| {
        let names = STATUSES.map(Status::name).join(", ");
        format!(
            "`{name}` is not a status; the statuses are {names}, and {} for pending ones that have failed",
            StatusFilter::RETRYING
        )
    })
}

/// Returns the problem of broken rules of the query.
fn broken_query(errors: Vec<Invalid>) -> Problem {
    let details: Vec<_> =
        errors.iter().map(|error| format!("{}: {}", error.pointer.trim_start_matches('/'), error.detail)).collect();
    Problem::new(ProblemKind::Rule, details.join("; "))
}

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "this company has no delivery with that id")
}

/// `GET /deliveries/{id}`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesRead>,
    PathParams(id): PathParams<String>,
) -> Result<Json<DeliveryDetailView>, Problem> {
    let found = api.store.delivery(&company, &id).await?;
    let (delivery, event, attempts) = found.ok_or_else(not_found)?;
    let shown = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
    Ok(Json(DeliveryDetailView {
        attempts_omitted: delivery.attempt_count.saturating_sub(shown),
        // Other deliveries may still hold it.
        payload: match delivery.erased_at {
            Some(_) => None,
            None => RawValue::from_string(event.data_text().to_owned()).ok(),
        },
        delivery: DeliveryView::new(&api, delivery),
        attempts: attempts.into_iter().map(Into::into).collect(),
    }))
}
