//! `POST /webhooks/{id}/test`.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::body::{Parameters, Params};
use super::deliveries::AttemptView;
use super::problem::{Kind, Problem};
use super::{App, CompanyOnly};
use crate::domain::credential::{Access, Area};

/// Sends a `ping` now and answers with the attempt, however it ended.
pub(super) async fn ping(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Json<AttemptView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let found = api.store.webhook(&company, &id).await?;
    let webhook = found.ok_or_else(|| Problem::new(Kind::NotFound, "this company has no such webhook"))?;
    Ok(Json(api.pipeline.ping(&webhook).await?.into()))
}
