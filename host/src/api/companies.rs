//! The companies of an installation, for its operator.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::auth::{AdminRead, PlatformAdmin, PlatformCaller};
use super::pagination::{cursor, page_limit};
use super::params::{PathParams, QueryParams};
use super::problem::{Problem, ProblemKind};
use super::spans;
use crate::domain::credential::check_company;
use crate::domain::time::rfc3339;
use crate::store::{COUNT_LIMIT, CompanySummary};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompanyListQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct CompanyView {
    company: String,
    events: u64,
    deliveries: u64,
    waiting: u64,
    failing_webhooks: u64,
    stored_bytes: u64,
    /// Since when it is being removed; null if it is not.
    removing_since: Option<String>,
}

impl From<CompanySummary> for CompanyView {
    fn from(summary: CompanySummary) -> Self {
        Self {
            company: summary.company,
            events: summary.events,
            deliveries: summary.deliveries,
            waiting: summary.waiting,
            failing_webhooks: summary.failing_webhooks,
            stored_bytes: summary.event_bytes,
            removing_since: summary.removing_since.map(rfc3339),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CompanyPage {
    data: Vec<CompanyView>,
    /// A count that has reached it stands for that many or more.
    count_limit: u64,
    next_cursor: Option<String>,
}

/// `GET /companies`: in byte order of their names.
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    _: PlatformCaller<AdminRead>,
    QueryParams(query): QueryParams<CompanyListQuery>,
) -> Result<Json<CompanyPage>, Problem> {
    let limit = page_limit(query.limit.as_deref())?;
    let is_company = |text: &str| check_company(text).is_ok().then(|| text.to_owned());
    let after = cursor(query.cursor.as_deref(), is_company)?.unwrap_or_default();
    let (found, more) = api.store.companies(limit, &after).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.company.clone());
    Ok(Json(CompanyPage { data: found.into_iter().map(Into::into).collect(), count_limit: COUNT_LIMIT, next_cursor }))
}

/// No parameters: `?company=` must not name another company than the path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemovalQuery {}

#[derive(Serialize)]
pub(super) struct RemovalView {
    company: String,
    created_at: String,
}

/// `DELETE /companies/{company}`: 202; the removal goes on in the background. 404 if the company has nothing.
pub(super) async fn remove(
    State(api): State<Arc<ApiState>>,
    PlatformCaller { credential, .. }: PlatformCaller<PlatformAdmin>,
    QueryParams(RemovalQuery {}): QueryParams<RemovalQuery>,
    PathParams(company): PathParams<String>,
) -> Result<(StatusCode, Json<RemovalView>), Problem> {
    spans::record_company(&company);
    let removal = match check_company(&company) {
        Ok(()) => api.engine.company_remover.remove(&company, credential.name()).await?,
        // Nobody can have stored anything under this name.
        Err(_) => None,
    };
    let not_found = || Problem::new(ProblemKind::NotFound, "nothing is stored of a company of this name");
    let removal = removal.ok_or_else(not_found)?;
    let view = RemovalView { company: removal.company, created_at: rfc3339(removal.created_at) };
    Ok((StatusCode::ACCEPTED, Json(view)))
}
