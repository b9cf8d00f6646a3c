//! The companies of an installation, for its operator.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::auth::PlatformReader;
use super::pagination::{cursor, page_limit};
use super::params::QueryParams;
use super::problem::Problem;
use crate::domain::credential::check_company;
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
    _: PlatformReader,
    QueryParams(query): QueryParams<CompanyListQuery>,
) -> Result<Json<CompanyPage>, Problem> {
    let limit = page_limit(query.limit.as_deref())?;
    let is_company = |text: &str| check_company(text).is_ok().then(|| text.to_owned());
    let after = cursor(query.cursor.as_deref(), is_company)?.unwrap_or_default();
    let (found, more) = api.store.companies(limit, &after).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.company.clone());
    Ok(Json(CompanyPage { data: found.into_iter().map(Into::into).collect(), count_limit: COUNT_LIMIT, next_cursor }))
}
