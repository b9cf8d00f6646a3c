//! Plugins and their versions: looking them up; every other call has a file of its own.

mod activate;
mod compare;
mod dry_run;
mod remove;
mod upload;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use super::answers::HeldAnswer;
use super::auth::{Authorized, PluginsRead};
use super::pagination::{ListPage, cursor, page_limit};
use super::params::{NamesCompany, PathParams};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, turns};
use crate::domain::Invalid;
use crate::domain::plugin::{Digest, check_digest_prefix, check_own_name, owner};
use crate::sandbox::Plugin;
use crate::shares::Resource;
use crate::store::VersionRow;
use view::{PluginDetailView, PluginView, VersionView};

pub(super) use activate::activate;
pub(super) use compare::compare;
pub(super) use dry_run::dry_run;
pub(super) use remove::{remove, remove_version};
pub(super) use upload::upload;

const WASM_MEDIA_TYPE: &str = "application/wasm";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginListQuery {
    company: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for PluginListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /plugins`: the company's plugins, then the standard ones.
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<PluginsRead, PluginListQuery>,
) -> Result<Json<ListPage<PluginView>>, Problem> {
    let limit = page_limit(query.limit.as_deref())?;
    let after = cursor(query.cursor.as_deref(), parse_cursor)?;
    let mut found = api.store.plugins(&company, after.as_ref(), limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| format!("{}.{}", last.created_at, last.name));
    Ok(Json(ListPage { data: found.into_iter().map(Into::into).collect(), next_cursor }))
}

/// Reads a cursor: the time at which the last plugin of the page before was made, milliseconds since 1970, and its
/// name.
fn parse_cursor(text: &str) -> Option<(i64, String)> {
    let (at, name) = text.split_once('.')?;
    Some((at.parse().ok()?, name.to_owned()))
}

/// `GET /plugins/{name}`: the plugin and its versions, newest first.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsRead>,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginDetailView>, Problem> {
    Ok(Json(plugin_detail(&api, &company, &name).await?))
}

async fn plugin_detail(api: &ApiState, company: &str, name: &str) -> Result<PluginDetailView, Problem> {
    let plugin = api.store.plugin(company, name).await?.ok_or_else(not_found)?;
    let versions = api.store.versions(company, name).await?;
    Ok(PluginDetailView::new(plugin, versions))
}

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "this company has no such plugin or version")
}

/// The path of calls about one version.
#[derive(Deserialize)]
pub(super) struct VersionPath {
    name: String,
    /// A digest, or the beginning of one.
    digest: String,
}

/// `GET /plugins/{name}/versions/{digest}`: its description, or its bytes for `Accept: application/wasm`.
pub(super) async fn show_version(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsRead>,
    PathParams(path): PathParams<VersionPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = find_version(&api, &company, &path.name, &path.digest).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.to_ascii_lowercase().contains(WASM_MEDIA_TYPE) {
        return Ok(Json(VersionView::from(version)).into_response());
    }
    // Before the bytes are read: a company has only so many of them in memory, however many connections ask.
    let held = turns::turn(&api, Resource::AnswerBytes, &company, version.size.unsigned_abs()).await?;
    let bytes = api.store.wasm(&company, &path.name, &version.digest).await?.ok_or_else(not_found)?;
    Ok((Extension(HeldAnswer::from(held)), [(header::CONTENT_TYPE, WASM_MEDIA_TYPE)], bytes).into_response())
}

/// Checks the `digest` of a body.
fn check_digest(digest: &str) -> Result<(), Invalid> {
    check_digest_prefix(digest).map_err(|detail| Invalid::at("/digest", detail))
}

/// Finds the version that a digest, or the beginning of one, names.
async fn find_version(api: &ApiState, company: &str, name: &str, digest: &str) -> Result<VersionRow, Problem> {
    check_digest_prefix(digest).map_err(|detail| Problem::new(ProblemKind::Rule, detail))?;
    let mut found = api.store.versions_by_prefix(company, name, digest).await?;
    if found.len() > 1 {
        return Err(Problem::new(ProblemKind::Rule, format!("`{digest}` names several versions; give more digits")));
    }
    found.pop().ok_or_else(not_found)
}

/// Returns the active version of a plugin.
async fn active_version(api: &ApiState, company: &str, name: &str) -> Result<Digest, Problem> {
    let plugin = api.store.plugin(company, name).await?.ok_or_else(not_found)?;
    plugin.active.ok_or_else(|| {
        let detail = format!(
            "plugin `{name}` has no active version yet: name a version by its `digest`, or activate one with \
             POST /plugins/{name}/activate"
        );
        Problem::new(ProblemKind::Rule, detail)
    })
}

/// Loads a stored version, ready to run.
async fn load_version(api: &ApiState, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, Problem> {
    let plugin = api.engine.plugins.get(owner(company, name), name, digest).await;
    // The upload checked that it can run, so the cause is this host.
    plugin.map_err(|detail| Problem::new(ProblemKind::Unavailable, detail))
}

/// Checks that the name is one that a company may give to its own plugins.
fn check_name(name: &str) -> Result<(), Problem> {
    check_own_name(name).map_err(|detail| Problem::new(ProblemKind::Rule, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_time_and_a_name() {
        assert_eq!(parse_cursor("17.a.b"), Some((17, "a.b".to_owned())));
        for bad in ["", "17", "x.a", ".a"] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }
}
