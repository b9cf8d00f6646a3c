//! Switching to another version, in one step.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;

use super::{VersionView, compiled, own_name, version_named};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params, SMALL};
use crate::api::problem::{Kind, Problem};
use crate::api::{Api, App, CompanyOnly, RETRIES};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::Digest;
use crate::sandbox::Plugin;
use crate::store::{Activation, Follower, StoreError};

/// Webhooks that a refusal names. The other configs are not asked about: each may cost the time of a whole call.
const NAMED: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    digest: String,
}

/// What is to become active.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) company: &'a str,
    pub(super) name: &'a str,
    pub(super) digest: &'a Digest,
}

/// `POST /plugins/{name}/activate`: 200 with the version, which attempts that begin from now on run.
pub(in crate::api) async fn activate(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
    request: Request<Body>,
) -> Result<Json<VersionView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Write, query.company.as_deref())?;
    own_name(&name)?;
    let bytes = body::of(request, SMALL).await?;
    let which: Which = body::json(&bytes)?;
    let version = version_named(&api, &company, &name, &which.digest).await?;
    if version.active {
        return Ok(Json(version.into()));
    }
    let digest = version.digest;
    let plugin = compiled(&api, &company, &name, &digest).await?;
    let target = Target { company: &company, name: &name, digest: &digest };
    switch(&api, target, &plugin, |activation| api.store.activate(activation)).await?;
    Ok(Json(version_named(&api, &company, &name, digest.as_str()).await?.into()))
}

/// Lets the version check the config of every webhook that would run it, and hands what it found to `store`, which
/// makes it active. Once more where a webhook has come or changed in between.
pub(super) async fn switch<F>(
    api: &Api,
    target: Target<'_>,
    plugin: &Arc<Plugin>,
    store: impl Fn(Activation) -> F,
) -> Result<bool, Problem>
where
    F: Future<Output = Result<bool, StoreError>>,
{
    let mut tries = 0;
    loop {
        let followers = api.store.followers(target.company, target.name).await?;
        check_configs(api, target, plugin, &followers).await?;
        let activation = Activation {
            company: target.company.to_owned(),
            name: target.name.to_owned(),
            digest: target.digest.clone(),
            followers,
            now: api.clock.now_ms(),
        };
        match store(activation).await {
            Err(StoreError::Changed(_)) if tries < RETRIES => tries += 1,
            done => return Ok(done?),
        }
    }
}

/// Asks about each config once, however many webhooks share it.
async fn check_configs(
    api: &Api,
    target: Target<'_>,
    plugin: &Arc<Plugin>,
    followers: &[Follower],
) -> Result<(), Problem> {
    let mut by_config: BTreeMap<&Digest, Vec<&Follower>> = BTreeMap::new();
    for follower in followers {
        by_config.entry(&follower.config_digest).or_default().push(follower);
    }
    let mut refused = Vec::new();
    for (digest, sharing) in by_config {
        let lost = || Problem::new(Kind::Internal, format!("config {digest} of a webhook is not stored"));
        let config = api.store.config(digest).await?.ok_or_else(lost)?;
        if let Err(failure) = api.sandbox.check_config(plugin, config).await.result {
            refused.extend(sharing.iter().map(|one| format!("{} (`{}`): {failure}", one.webhook, one.event_type)));
        }
        if refused.len() >= NAMED {
            break;
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let (name, digest) = (target.name, target.digest);
    let more = refused.len().saturating_sub(NAMED);
    refused.truncate(NAMED);
    if more > 0 {
        refused.push(format!("and {more} more"));
    }
    Err(Problem::new(
        Kind::Rule,
        format!(
            "version {digest} of plugin `{name}` refuses the config of webhooks that use it, so it stays as it is: {}",
            refused.join("; ")
        ),
    ))
}
