//! Removes plugins and versions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::view::{PluginDetailView, VersionView};
use super::{VersionPath, check_name, find_version, not_found, plugin_detail};
use crate::api::ApiState;
use crate::api::auth::{Authorized, PluginsWrite};
use crate::api::params::PathParams;
use crate::api::problem::Problem;
use crate::domain::plugin::PluginVersion;

/// `DELETE /plugins/{name}`: 200 with the removed plugin; 409 while a webhook uses it.
pub(in crate::api) async fn remove(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsWrite>,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginDetailView>, Problem> {
    check_name(&name)?;
    let removed = plugin_detail(&api, &company, &name).await?;
    if !api.store.remove_plugin(company, name, api.clock.now_ms()).await? {
        return Err(not_found());
    }
    Ok(Json(removed))
}

/// `DELETE /plugins/{name}/versions/{digest}`: 200 with the removed version; 409 while it is active or a webhook pins
/// it.
pub(in crate::api) async fn remove_version(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsWrite>,
    PathParams(VersionPath { name, digest }): PathParams<VersionPath>,
) -> Result<Json<VersionView>, Problem> {
    check_name(&name)?;
    let version = find_version(&api, &company, &name, &digest).await?;
    let removed = PluginVersion { owner: company, name, digest: version.digest.clone() };
    if !api.store.remove_version(removed, api.clock.now_ms()).await? {
        return Err(not_found());
    }
    Ok(Json(version.into()))
}
