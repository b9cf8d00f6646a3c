//! Removing.

use axum::Json;
use axum::extract::State;

use super::{VersionView, VersionsView, missing, own_name, version_named, whole};
use crate::api::auth::Caller;
use crate::api::body::{Parameters, Params};
use crate::api::problem::Problem;
use crate::api::{App, CompanyOnly};
use crate::domain::credential::{Access, Area};

/// `DELETE /plugins/{name}`: 200 with the plugin as it was, 409 while a webhook uses it.
pub(in crate::api) async fn remove(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
) -> Result<Json<VersionsView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Write, query.company.as_deref())?;
    own_name(&name)?;
    let was = whole(&api, &company, &name).await?;
    if !api.store.remove_plugin(company, name, api.clock.now_ms()).await? {
        return Err(missing());
    }
    Ok(Json(was))
}

/// `DELETE /plugins/{name}/versions/{digest}`: 200 with the version, 409 while it is active or a webhook pins it.
pub(in crate::api) async fn remove_version(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters((name, digest)): Parameters<(String, String)>,
) -> Result<Json<VersionView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Write, query.company.as_deref())?;
    own_name(&name)?;
    let version = version_named(&api, &company, &name, &digest).await?;
    if !api.store.remove_version((company, name), version.digest.clone(), api.clock.now_ms()).await? {
        return Err(missing());
    }
    Ok(Json(version.into()))
}
