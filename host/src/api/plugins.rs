//! Uploading plugins and looking them up.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::body::{self, Parameters, Params};
use super::problem::{Kind, Problem};
use super::{Api, App, CompanyOnly, List, limit};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::{Digest, check_digest_prefix, check_name};
use crate::domain::time::rfc3339;
use crate::sandbox::CompileError;
use crate::store::{NewVersion, PluginRow, VersionRow};

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
    digest: String,
    created_at: String,
    updated_at: String,
}

impl From<PluginRow> for PluginView {
    fn from(plugin: PluginRow) -> Self {
        Self {
            name: plugin.name,
            digest: plugin.active.to_string(),
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

/// `PUT /plugins/{name}`: 201, or 200 where these bytes already are the active version.
pub(super) async fn upload(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<VersionView>), Problem> {
    let company = caller.company(Area::Plugins, Access::Write, query.company.as_deref())?;
    check_upload_name(&name)?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(WASM) {
        return Err(Problem::new(Kind::MediaType, format!("send the component as `content-type: {WASM}`")));
    }
    let wasm = body::of(request, api.max_plugin_bytes).await?;
    let digest = Digest::of(&wasm);
    let plugin = api.pipeline.plugins().admit(&company, &digest, wasm.clone()).await?;
    let inspection = plugin.inspection();
    let new = NewVersion {
        company: company.clone(),
        name: name.clone(),
        digest: digest.clone(),
        exports: inspection.exports.clone(),
        imports: inspection.imports.clone(),
        wasm,
        now: api.clock.now_ms(),
    };
    let changed = api.store.put_plugin(new).await?;
    let version = version_named(&api, &company, &name, digest.as_str()).await?;
    Ok((if changed { StatusCode::CREATED } else { StatusCode::OK }, Json(version.into())))
}

impl From<CompileError> for Problem {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Refused(refusal) => Self::new(Kind::Rule, refusal.to_string()),
            CompileError::Busy(text) => Self::new(Kind::Unavailable, text),
            CompileError::Host(text) => {
                tracing::error!(error = text, "an upload could not be compiled");
                Self::new(Kind::Unavailable, "this host cannot compile now; nothing was stored, try again")
            }
        }
    }
}

fn check_upload_name(name: &str) -> Result<(), Problem> {
    check_name(name).map_err(|detail| Problem::new(Kind::Rule, detail))?;
    if name.starts_with("std-") {
        return Err(Problem::new(
            Kind::Rule,
            "names that begin with `std-` are those of the transforms that ship with Posthaste",
        ));
    }
    Ok(())
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
    let plugin = api.store.plugin(&company, &name).await?.ok_or_else(missing)?;
    let versions = api.store.versions(&company, &name).await?;
    let data = versions.into_iter().map(Into::into).collect();
    // A plugin has at most a hundred versions, so that this list is always whole.
    Ok(Json(VersionsView { plugin: plugin.into(), versions: List { data, next_cursor: None } }))
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
    check_digest_prefix(&digest).map_err(|detail| Problem::new(Kind::Rule, detail))?;
    let version = version_named(&api, &company, &name, &digest).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.to_ascii_lowercase().contains(WASM) {
        return Ok(Json(VersionView::from(version)).into_response());
    }
    let bytes = api.store.wasm(&company, &name, &version.digest).await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, WASM)], bytes).into_response())
}

async fn version_named(api: &Api, company: &str, name: &str, digest: &str) -> Result<VersionRow, Problem> {
    let mut found = api.store.versions_by_prefix(company, name, digest).await?;
    if found.len() > 1 {
        return Err(Problem::new(Kind::Rule, format!("`{digest}` names several versions; give more digits")));
    }
    found.pop().ok_or_else(missing)
}
