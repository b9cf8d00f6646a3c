//! Uploading.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde::Deserialize;

use super::activate::{Target, switch};
use super::{VersionView, WASM, own_name, version_named};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params};
use crate::api::problem::{Kind, Problem};
use crate::api::{Api, App};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::Digest;
use crate::sandbox::{CompileError, Inspection};
use crate::store::{NewVersion, VersionRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct UploadQuery {
    company: Option<String>,
    /// Whether it becomes the active version; true where it is not given.
    activate: Option<bool>,
}

/// `PUT /plugins/{name}`: 201, or 200 where these bytes already are what they are to become.
pub(in crate::api) async fn upload(
    State(api): App,
    caller: Caller,
    Params(query): Params<UploadQuery>,
    Parameters(name): Parameters<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<VersionView>), Problem> {
    let company = caller.company(Area::Plugins, Access::Write, query.company.as_deref())?;
    own_name(&name)?;
    check_kind(request.headers())?;
    let wasm = body::of(request, api.max_plugin_bytes).await?;
    let digest = Digest::of(&wasm);
    if let Some(active) = active_already(&api, &company, &name, &digest).await? {
        return Ok((StatusCode::OK, Json(active.into())));
    }
    let plugin = api.engine.plugins.admit(&company, &digest, wasm.clone()).await?;
    let Inspection { exports, imports, .. } = plugin.inspection().clone();
    let now = api.clock.now_ms();
    let new = NewVersion {
        company: company.clone(),
        name: name.clone(),
        digest: digest.clone(),
        exports,
        imports,
        wasm,
        now,
    };
    let changed = if query.activate.unwrap_or(true) {
        let target = Target { company: &company, name: &name, digest: &digest };
        switch(&api, target, &plugin, |activation| api.store.put_plugin(new.clone(), Some(activation))).await?
    } else {
        api.store.put_plugin(new, None).await?
    };
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

/// The version, where these bytes are the active one. They were checked when they became that, and need not be compiled
/// to be told so.
async fn active_already(api: &Api, company: &str, name: &str, digest: &Digest) -> Result<Option<VersionRow>, Problem> {
    let found = api.store.versions_by_prefix(company, name, digest.as_str()).await?;
    Ok(found.into_iter().find(|version| version.active))
}

fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(WASM) {
        return Ok(());
    }
    Err(Problem::new(Kind::MediaType, format!("send the component as `content-type: {WASM}`")))
}
