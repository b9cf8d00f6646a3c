//! Policies: transforms that run for every webhook of a company, after its own.

mod fields;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::auth::{AdminRead, AdminWrite, Authorized};
use super::body::{self, BodyLimit};
use super::pagination::ListPage;
use super::params::PathParams;
use super::problem::{Problem, ProblemKind};
use super::turns::heavy_call;
use super::webhooks::resolve_transforms;
use super::{ApiState, MAX_CHANGE_RETRIES};
use crate::domain::policy::{Policy, check_name};
use crate::domain::webhook::MAX_INLINE_CHAIN_CONFIG_BYTES;
use crate::store::{StoreError, StoredPolicy};
use fields::PolicyFields;
use view::PolicyView;

/// `GET /policies`: in the order in which they run.
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<AdminRead>,
) -> Result<Json<ListPage<PolicyView>>, Problem> {
    let policies = api.store.policies(&company, MAX_INLINE_CHAIN_CONFIG_BYTES).await?;
    // A company has so few that one page holds them all.
    Ok(Json(ListPage { data: policies.iter().map(PolicyView::brief).collect(), next_cursor: None }))
}

/// `GET /policies/{name}`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<AdminRead>,
    PathParams(name): PathParams<String>,
) -> Result<Json<PolicyView>, Problem> {
    let policy = api.store.policy(&company, &name).await?.ok_or_else(not_found)?;
    Ok(Json(PolicyView::whole(&policy)))
}

/// `PUT /policies/{name}`: 201, or 200 if the company had one of this name. Every field is replaced, and the attempts that begin
/// from now on run it.
pub(super) async fn put(
    State(api): State<Arc<ApiState>>,
    Authorized { company, credential, .. }: Authorized<AdminWrite>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<PolicyView>), Problem> {
    check_name(&name).map_err(|detail| Problem::new(ProblemKind::Rule, detail))?;
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let new = body::checked(&bytes, PolicyFields::check)?.policy(company, name, api.clock.now_ms());
    let _turn = heavy_call(&api, &new.company, None).await?;
    let StoredPolicy { policy, is_new } = store(&api, new).await?;
    let (company, name, by) = (&*policy.company, &*policy.name, credential.name());
    tracing::info!(company, policy = name, by, "a policy was stored");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(PolicyView::whole(&policy))))
}

/// Stores the policy once its plugins have checked their configs; repeats the check if another version became active meanwhile.
async fn store(api: &ApiState, policy: Policy) -> Result<StoredPolicy, Problem> {
    let mut retries = 0;
    loop {
        let mut resolved = policy.clone();
        resolve_transforms(api, &policy.company, &mut resolved.transforms).await?;
        match api.store.put_policy(resolved).await {
            Err(StoreError::Changed(_)) if retries < MAX_CHANGE_RETRIES => retries += 1,
            done => return Ok(done?),
        }
    }
}

/// `DELETE /policies/{name}`: 200 with the removed policy.
pub(super) async fn delete(
    State(api): State<Arc<ApiState>>,
    Authorized { company, credential, .. }: Authorized<AdminWrite>,
    PathParams(name): PathParams<String>,
) -> Result<Json<PolicyView>, Problem> {
    let policy = api.store.policy(&company, &name).await?.ok_or_else(not_found)?;
    if !api.store.delete_policy(&company, &name).await? {
        return Err(not_found());
    }
    tracing::info!(company, policy = name, by = credential.name(), "a policy was removed");
    Ok(Json(PolicyView::whole(&policy)))
}

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "this company has no such policy")
}
