//! Compares a candidate with the active version, over past events.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{active_version, check_digest, find_version, load_version};
use crate::api::ApiState;
use crate::api::auth::{Authorized, PluginComparison};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::api::whole_number::WholeNumber;
use crate::delivery::{Comparison, ComparisonRequest, Difference};
use crate::domain::Invalid;
use crate::domain::comparison;
use crate::store::PastEvents;

/// How many events are compared by default.
const DEFAULT_LAST: u32 = 100;
/// The most events of one comparison.
const MAX_LAST: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareRequest {
    digest: String,
    webhook: Option<String>,
    last: Option<WholeNumber>,
}

impl CompareRequest {
    /// Returns the request, and how many events to compare.
    fn check(self) -> Result<(Self, usize), Vec<Invalid>> {
        let last = self.last.as_ref().map_or(Ok(DEFAULT_LAST), |last| last.within(1..=MAX_LAST));
        let last = last.map_err(|detail| Invalid::at("/last", detail));
        match (check_digest(&self.digest), last) {
            (Ok(()), Ok(last)) => Ok((self, last as usize)),
            (digest, last) => Err(digest.err().into_iter().chain(last.err()).collect()),
        }
    }
}

#[derive(Serialize)]
struct DifferenceView {
    event_id: String,
    r#type: String,
    webhook: String,
    kind: &'static str,
    of: &'static str,
    diff: Vec<Value>,
    left_out: usize,
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        Self {
            event_id: difference.event_id,
            r#type: difference.event_type,
            webhook: difference.webhook,
            kind: difference.kind.name(),
            of: difference.subject.name(),
            diff: difference.patch.operations,
            left_out: difference.patch.left_out,
        }
    }
}

#[derive(Serialize)]
pub(in crate::api) struct ComparisonView {
    compared: usize,
    complete: bool,
    same: usize,
    different: usize,
    newly_failing: usize,
    newly_filtered: usize,
    differences: Vec<DifferenceView>,
}

impl From<Comparison> for ComparisonView {
    fn from(comparison: Comparison) -> Self {
        let count = |kind| comparison.kinds.iter().filter(|one| **one == kind).count();
        Self {
            compared: comparison.kinds.len(),
            complete: comparison.complete,
            same: count(None),
            different: count(Some(comparison::DifferenceKind::Different)),
            newly_failing: count(Some(comparison::DifferenceKind::NewlyFailing)),
            newly_filtered: count(Some(comparison::DifferenceKind::NewlyFiltered)),
            differences: comparison.differences.into_iter().map(Into::into).collect(),
        }
    }
}

/// `POST /plugins/{name}/compare`: 200 with the differences.
pub(in crate::api) async fn compare(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginComparison>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<ComparisonView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let (requested, last) = body::checked(&bytes, CompareRequest::check)?;
    let candidate = find_version(&api, &company, &name, &requested.digest).await?;
    let _turn = heavy_call(&api, &company, Some(&candidate)).await?;
    let active = active_version(&api, &company, &name).await?;
    if let Some(webhook) = &requested.webhook {
        check_webhook(&api, &company, &name, webhook).await?;
    }
    let request = ComparisonRequest {
        active: load_version(&api, &company, &name, &active).await?,
        candidate: load_version(&api, &company, &name, &candidate.digest).await?,
        events: PastEvents::new(&company, &name, requested.webhook),
        plugin: name,
        last,
    };
    Ok(Json(api.engine.comparer.compare(request).await?.into()))
}

/// Checks that the webhook uses the plugin.
async fn check_webhook(api: &ApiState, company: &str, name: &str, id: &str) -> Result<(), Problem> {
    let webhook = api.store.webhook(company, id).await?;
    let webhook = webhook.ok_or_else(|| Problem::new(ProblemKind::NotFound, "this company has no such webhook"))?;
    if webhook.transforms().all(|transform| transform.plugin.name != name) {
        return Err(Invalid::at("/webhook", format!("webhook {id} does not use plugin `{name}`")).into());
    }
    Ok(())
}
