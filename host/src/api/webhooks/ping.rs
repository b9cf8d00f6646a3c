//! `POST /webhooks/{id}/test`.

use axum::Json;
use axum::extract::State;

use super::missing;
use crate::api::auth::Caller;
use crate::api::body::{Parameters, Params};
use crate::api::deliveries::AttemptView;
use crate::api::problem::Problem;
use crate::api::{App, CompanyOnly};
use crate::domain::credential::{Access, Area};

/// Sends a `ping` now and answers with the attempt, however it ended.
pub(in crate::api) async fn ping(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Json<AttemptView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let webhook = api.store.webhook(&company, &id).await?.ok_or_else(missing)?;
    Ok(Json(api.engine.pinger.ping(&webhook).await?.into()))
}
