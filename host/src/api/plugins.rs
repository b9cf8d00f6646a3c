//! Plugins and their versions: looking them up here, all else in one file for each call.

mod activate;
mod compare;
mod dry_run;
mod remove;
mod upload;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::body::{Parameters, Params};
use super::problem::{Kind, Problem};
use super::{Api, App, CompanyOnly, List, limit};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::{Digest, check_digest_prefix, check_own_name, is_standard, owner};
use crate::domain::time::rfc3339;
use crate::sandbox::Plugin;
use crate::store::{PluginRow, VersionRow};

pub(super) use activate::activate;
pub(super) use compare::compare;
pub(super) use dry_run::dry_run;
pub(super) use remove::{remove, remove_version};
pub(super) use upload::upload;

const WASM: &str = "application/wasm";

#[derive(Serialize)]
pub(super) struct VersionView {
    name: String,
    digest: String,
    size: i64,
    exports: Vec<String>,
    imports: Vec<String>,
    active: bool,
    created_at: String,
}

impl From<VersionRow> for VersionView {
    fn from(version: VersionRow) -> Self {
        Self {
            name: version.name,
            digest: version.digest.to_string(),
            size: version.size,
            exports: version.exports,
            imports: version.imports,
            active: version.active,
            created_at: rfc3339(version.created_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct PluginView {
    name: String,
    /// The active version; null where there are candidates only.
    digest: Option<String>,
    /// Whether it ships with Posthaste.
    standard: bool,
    created_at: String,
    updated_at: String,
}

impl From<PluginRow> for PluginView {
    fn from(plugin: PluginRow) -> Self {
        Self {
            standard: is_standard(&plugin.name),
            name: plugin.name,
            digest: plugin.active.map(|digest| digest.to_string()),
            created_at: rfc3339(plugin.created_at),
            updated_at: rfc3339(plugin.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct VersionsView {
    #[serde(flatten)]
    plugin: PluginView,
    #[serde(flatten)]
    versions: List<VersionView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    company: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /plugins`.
pub(super) async fn list(
    State(api): App,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<List<PluginView>>, Problem> {
    let company = caller.company(Area::Plugins, Access::Read, query.company.as_deref())?;
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut found = api.store.plugins(&company, after.as_ref(), limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| format!("{}.{}", last.created_at, last.name));
    Ok(Json(List { data: found.into_iter().map(Into::into).collect(), next_cursor }))
}

fn read_cursor(text: &str) -> Result<(i64, String), Problem> {
    let parts = text.split_once('.').and_then(|(at, name)| Some((at.parse().ok()?, name.to_owned())));
    parts.ok_or_else(|| Problem::new(Kind::Rule, "cursor: use the `next_cursor` of the page before"))
}

/// `GET /plugins/{name}`: the plugin and its versions, newest first.
pub(super) async fn one(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
) -> Result<Json<VersionsView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Read, query.company.as_deref())?;
    Ok(Json(whole(&api, &company, &name).await?))
}

async fn whole(api: &Api, company: &str, name: &str) -> Result<VersionsView, Problem> {
    let plugin = api.store.plugin(company, name).await?.ok_or_else(missing)?;
    let versions = api.store.versions(company, name).await?;
    let data = versions.into_iter().map(Into::into).collect();
    // A plugin has at most a hundred versions, so that this list is always whole.
    Ok(VersionsView { plugin: plugin.into(), versions: List { data, next_cursor: None } })
}

fn missing() -> Problem {
    Problem::new(Kind::NotFound, "this company has no such plugin or version")
}

/// `GET /plugins/{name}/versions/{digest}`: its description, or with `Accept: application/wasm` its bytes.
pub(super) async fn version(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters((name, digest)): Parameters<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let company = caller.company(Area::Plugins, Access::Read, query.company.as_deref())?;
    let version = version_named(&api, &company, &name, &digest).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.to_ascii_lowercase().contains(WASM) {
        return Ok(Json(VersionView::from(version)).into_response());
    }
    let bytes = api.store.wasm(&company, &name, &version.digest).await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, WASM)], bytes).into_response())
}

/// The version that a whole digest or a prefix of one names.
async fn version_named(api: &Api, company: &str, name: &str, digest: &str) -> Result<VersionRow, Problem> {
    check_digest_prefix(digest).map_err(|detail| Problem::new(Kind::Rule, detail))?;
    let mut found = api.store.versions_by_prefix(company, name, digest).await?;
    if found.len() > 1 {
        return Err(Problem::new(Kind::Rule, format!("`{digest}` names several versions; give more digits")));
    }
    found.pop().ok_or_else(missing)
}

/// The active version of a plugin.
async fn active(api: &Api, company: &str, name: &str) -> Result<Digest, Problem> {
    let plugin = api.store.plugin(company, name).await?.ok_or_else(missing)?;
    plugin.active.ok_or_else(|| {
        let detail = format!(
            "plugin `{name}` has no active version yet: name a version by its `digest`, or make one active with \
             POST /plugins/{name}/activate"
        );
        Problem::new(Kind::Rule, detail)
    })
}

/// A stored version, ready to run.
async fn compiled(api: &Api, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, Problem> {
    let plugin = api.engine.plugins.get(owner(company, name), name, digest).await;
    // It was fit to run when it was uploaded.
    plugin.map_err(|detail| Problem::new(Kind::Unavailable, detail))
}

fn own_name(name: &str) -> Result<(), Problem> {
    check_own_name(name).map_err(|detail| Problem::new(Kind::Rule, detail))
}
