//! Uploads a version of a plugin.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde::Deserialize;

use super::activate::{ActivationTarget, activate_checked};
use super::view::VersionView;
use super::{WASM_MEDIA_TYPE, check_name, find_version};
use crate::api::ApiState;
use crate::api::auth::{Authorized, PluginsWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::{NamesCompany, PathParams};
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::plugin::Digest;
use crate::sandbox::{CompileError, Inspection};
use crate::store::{NewVersion, VersionRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct UploadQuery {
    company: Option<String>,
    /// Whether the version becomes the active one; true by default.
    activate: Option<bool>,
}

impl NamesCompany for UploadQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `PUT /plugins/{name}`: 201, or 200 if that changed nothing.
pub(in crate::api) async fn upload(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<PluginsWrite, UploadQuery>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<VersionView>), Problem> {
    check_name(&name)?;
    check_content_type(request.headers())?;
    let body = body::read(&api.shares, &company, request, BodyLimit::Plugin(api.max_plugin_bytes)).await?;
    let digest = Digest::of(&body);
    if let Some(active) = already_active(&api, &company, &name, &digest).await? {
        return Ok((StatusCode::OK, Json(active.into())));
    }
    let plugin = api.engine.plugins.admit(&company, &digest, body.clone()).await?;
    let Inspection { exports, imports, .. } = plugin.inspection().clone();
    let now = api.clock.now_ms();
    let new = NewVersion {
        company: company.clone(),
        name: name.clone(),
        digest: digest.clone(),
        exports,
        imports,
        wasm: body.clone(),
        now,
    };
    let change = if query.activate.unwrap_or(true) {
        let target = ActivationTarget { company: &company, name: &name, digest: &digest };
        let store = |activation| api.store.put_plugin(new.clone(), Some(activation));
        activate_checked(&api, target, &plugin, store).await?
    } else {
        api.store.put_plugin(new, None).await?
    };
    let version = find_version(&api, &company, &name, digest.as_str()).await?;
    Ok((if change.is_change() { StatusCode::CREATED } else { StatusCode::OK }, Json(version.into())))
}

impl From<CompileError> for Problem {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Refused(refusal) => Self::new(ProblemKind::Rule, refusal.to_string()),
            CompileError::CompanyLimit(limit) => limit.into(),
            CompileError::Host(text) => {
                tracing::error!(error = text, "an upload could not be compiled");
                Self::new(ProblemKind::Unavailable, "this host cannot compile now; nothing was stored, try again")
            }
        }
    }
}

/// Returns the version if these bytes are the active one. They were checked when it was activated, so they need not be
/// compiled again for this answer.
async fn already_active(
    api: &ApiState,
    company: &str,
    name: &str,
    digest: &Digest,
) -> Result<Option<VersionRow>, Problem> {
    let found = api.store.versions_by_prefix(company, name, digest.as_str()).await?;
    Ok(found.into_iter().find(|version| version.active))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(WASM_MEDIA_TYPE) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::MediaType, format!("send the component as `content-type: {WASM_MEDIA_TYPE}`")))
}
