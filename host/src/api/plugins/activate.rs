//! Switches a plugin to another version, in one step.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;

use super::view::VersionView;
use super::{check_digest, check_name, find_version, load_version};
use crate::api::auth::{Authorized, PluginsWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::api::{ApiState, MAX_CHANGE_RETRIES};
use crate::domain::operational_event::OperationalEvent;
use crate::domain::plugin::Digest;
use crate::sandbox::Plugin;
use crate::store::{Activation, Follower, PluginChange, PluginUser, StoreError};

/// The most webhooks that a refusal names. Once so many configs are refused, the others are not checked: each check may
/// take the time of a whole call.
const MAX_NAMED: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivateRequest {
    digest: String,
}

/// The version that is to become active.
#[derive(Clone, Copy)]
pub(super) struct ActivationTarget<'a> {
    pub(super) company: &'a str,
    pub(super) name: &'a str,
    pub(super) digest: &'a Digest,
}

/// `POST /plugins/{name}/activate`: 200 with the version; attempts that begin from now on run it.
pub(in crate::api) async fn activate(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsWrite>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<VersionView>, Problem> {
    check_name(&name)?;
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let digest = body::checked(&bytes, |ActivateRequest { digest }| {
        check_digest(&digest).map_err(|error| vec![error])?;
        Ok(digest)
    })?;
    let version = find_version(&api, &company, &name, &digest).await?;
    if version.active {
        return Ok(Json(version.into()));
    }
    let digest = version.digest;
    let plugin = load_version(&api, &company, &name, &digest).await?;
    let target = ActivationTarget { company: &company, name: &name, digest: &digest };
    activate_checked(&api, target, &plugin, |activation| api.store.activate(activation)).await?;
    Ok(Json(find_version(&api, &company, &name, digest.as_str()).await?.into()))
}

/// Lets the version check the config of every webhook and policy that would run it, then calls `store`, which activates it.
/// Repeats both if such a webhook was added or changed meanwhile.
///
/// # Errors
/// 422 if the version refuses a config, naming the webhooks.
pub(super) async fn activate_checked<F>(
    api: &ApiState,
    target: ActivationTarget<'_>,
    plugin: &Arc<Plugin>,
    store: impl Fn(Activation) -> F,
) -> Result<PluginChange, Problem>
where
    F: Future<Output = Result<PluginChange, StoreError>>,
{
    let _turn = heavy_call(api, target.company, None).await?;
    let mut retries = 0;
    loop {
        let followers = api.store.followers(target.company, target.name).await?;
        check_configs(api, target, plugin, &followers).await?;
        let webhook = |follower: &Follower| match &follower.user {
            PluginUser::Webhook { id, .. } => Some(id.clone()),
            PluginUser::Policy(_) => None,
        };
        let webhooks = followers.iter().filter_map(webhook).collect();
        let activation = Activation {
            company: target.company.to_owned(),
            name: target.name.to_owned(),
            digest: target.digest.clone(),
            followers,
            now: api.clock.now_ms(),
        };
        match store(activation).await {
            Err(StoreError::Changed(_)) if retries < MAX_CHANGE_RETRIES => retries += 1,
            done => {
                let change = done?;
                // The version may correct the cause of failures.
                api.engine.webhooks.plugin_activated(target.company, webhooks);
                if let PluginChange::Activated { previous } = &change {
                    tell_activated(api, target, previous.as_ref()).await;
                }
                return Ok(change);
            }
        }
    }
}

async fn tell_activated(api: &ApiState, target: ActivationTarget<'_>, previous: Option<&Digest>) {
    let ActivationTarget { company, name, digest } = target;
    let event = OperationalEvent::PluginActivated { name, digest, previous };
    api.engine.operational_events.publish(company, event).await;
}

/// Checks each config once, however many webhooks and policies share it.
async fn check_configs(
    api: &ApiState,
    target: ActivationTarget<'_>,
    plugin: &Arc<Plugin>,
    followers: &[Follower],
) -> Result<(), Problem> {
    let mut by_config: BTreeMap<&Digest, Vec<&Follower>> = BTreeMap::new();
    for follower in followers {
        by_config.entry(&follower.config_digest).or_default().push(follower);
    }
    let mut refused = Vec::new();
    for (digest, sharing) in by_config {
        let lost = || Problem::new(ProblemKind::Internal, format!("config {digest} of a webhook is not stored"));
        let config = api.store.config(digest).await?.ok_or_else(lost)?;
        if let Err(failure) = api.sandbox.check_config(plugin, config).await.result {
            refused.extend(sharing.iter().map(|one| format!("{}: {failure}", one.user)));
        }
        if refused.len() >= MAX_NAMED {
            break;
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(configs_refused(target, refused)) }
}

/// Makes the problem that names the webhooks whose configs are refused.
fn configs_refused(target: ActivationTarget<'_>, mut refused: Vec<String>) -> Problem {
    let more = refused.len().saturating_sub(MAX_NAMED);
    refused.truncate(MAX_NAMED);
    if more > 0 {
        refused.push(format!("and {more} more"));
    }
    let detail = format!(
        "version {} of plugin `{}` refuses the config of webhooks or policies that use it, so it was not activated: {}",
        target.digest,
        target.name,
        refused.join("; ")
    );
    Problem::new(ProblemKind::Rule, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(refused: usize) -> String {
        let digest = Digest::of(b"version");
        let target = ActivationTarget { company: "acme", name: "mask", digest: &digest };
        let refused = (0..refused).map(|number| format!("wh_{number} (`t`): no")).collect();
        configs_refused(target, refused).object()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_refusal_names_twenty_webhooks_and_counts_the_others() {
        assert!(detail(1).ends_with(
            "plugin `mask` refuses the config of webhooks or policies that use it, so it was not activated: wh_0 (`t`): no"
        ));
        assert!(detail(20).ends_with("wh_19 (`t`): no"));
        assert!(detail(23).ends_with("wh_19 (`t`): no; and 3 more"));
    }
}
