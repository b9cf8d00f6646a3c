//! A candidate beside the active version, over past events.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{active, compiled, version_named};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params, SMALL};
use crate::api::problem::{Kind, Problem};
use crate::api::{Api, App, CompanyOnly};
use crate::delivery::{Comparison, ComparisonRequest, Difference};
use crate::domain::Invalid;
use crate::domain::comparison;
use crate::domain::credential::{Access, Area};
use crate::store::Recorded;

/// Events that are compared where `last` does not say how many.
const LAST: usize = 100;
/// Most events of one comparison.
const MAX_LAST: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    digest: String,
    webhook: Option<String>,
    last: Option<usize>,
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
            different: count(Some(comparison::Kind::Different)),
            newly_failing: count(Some(comparison::Kind::NewlyFailing)),
            newly_filtered: count(Some(comparison::Kind::NewlyFiltered)),
            differences: comparison.differences.into_iter().map(Into::into).collect(),
        }
    }
}

/// `POST /plugins/{name}/compare`.
pub(in crate::api) async fn compare(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
    request: Request<Body>,
) -> Result<Json<ComparisonView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Read, query.company.as_deref())?;
    caller.company(Area::Deliveries, Access::Read, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let ask: Ask = body::json(&bytes)?;
    let last = ask.last.unwrap_or(LAST);
    if !(1..=MAX_LAST).contains(&last) {
        return Err(Invalid::at("/last", format!("from 1 to {MAX_LAST}")).into());
    }
    let candidate = version_named(&api, &company, &name, &ask.digest).await?.digest;
    let active = active(&api, &company, &name).await?;
    if let Some(webhook) = &ask.webhook {
        check_webhook(&api, &company, &name, webhook).await?;
    }
    let request = ComparisonRequest {
        active: compiled(&api, &company, &name, &active).await?,
        candidate: compiled(&api, &company, &name, &candidate).await?,
        events: Recorded::new(&company, &name, ask.webhook),
        last,
    };
    Ok(Json(api.engine.comparer.compare(request).await?.into()))
}

async fn check_webhook(api: &Api, company: &str, name: &str, id: &str) -> Result<(), Problem> {
    let webhook = api.store.webhook(company, id).await?;
    let webhook = webhook.ok_or_else(|| Problem::new(Kind::NotFound, "this company has no such webhook"))?;
    if webhook.plugin.is_none_or(|plugin| plugin.name != name) {
        return Err(Invalid::at("/webhook", format!("webhook {id} does not use plugin `{name}`")).into());
    }
    Ok(())
}
