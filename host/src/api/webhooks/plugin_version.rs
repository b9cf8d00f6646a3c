//! Finds the plugin versions that transforms run, and lets them check their configs.

use std::sync::Arc;

use crate::api::ApiState;
use crate::api::problem::Problem;
use crate::domain::Invalid;
use crate::domain::plugin::{Digest, PluginRef, is_standard, owner};
use crate::domain::transform::Transform;
use crate::domain::webhook::Webhook;

const CONFIG_ALONE: &str = "a config has no effect without a plugin: name one in `plugin`, or set `config` to null";

/// Finds the versions that the webhook's transforms name, lets them check the configs, and puts their digests into the webhook. If
/// the request lists the transforms, an error names their places in the list.
///
/// # Errors
/// 422 if there is no such version, if it refuses the config, or if there is a config without a plugin: a mask that is not
/// applied must not look applied.
pub(super) async fn resolve_plugins(api: &ApiState, webhook: &mut Webhook, is_list: bool) -> Result<(), Problem> {
    resolve_transforms(api, &webhook.company, &mut webhook.chain).await?;
    let config = api.store.config_text(&webhook.config, &webhook.config_digest).await?;
    let Some(plugin) = &mut webhook.plugin else {
        return match &*config {
            "null" => Ok(()),
            _ => Err(Invalid::at("/config", CONFIG_ALONE).into()),
        };
    };
    let resolved = resolve(api, &webhook.company, plugin, config).await?;
    let pointer = if is_list { "/transforms/0" } else { "" };
    webhook.plugin_digest = Some(resolved.map_err(|invalid| invalid.below(pointer))?);
    Ok(())
}

/// Does it for a list of transforms of a company.
///
/// # Errors
/// As [`resolve_plugins`].
pub(in crate::api) async fn resolve_transforms(
    api: &ApiState,
    company: &str,
    transforms: &mut [Transform],
) -> Result<(), Problem> {
    for (index, transform) in transforms.iter_mut().enumerate() {
        let config = api.store.config_text(&transform.config, &transform.config_digest).await?;
        let resolved = resolve(api, company, &mut transform.plugin, config).await?;
        transform.digest = Some(resolved.map_err(|invalid| invalid.below(&format!("/transforms/{index}")))?);
    }
    Ok(())
}

/// Finds the version, completes a pin's prefix to the whole digest, and lets the version check the config. The inner error is a
/// broken rule, the outer one any other problem.
async fn resolve(
    api: &ApiState,
    company: &str,
    reference: &mut PluginRef,
    config: Arc<str>,
) -> Result<Result<Digest, Invalid>, Problem> {
    let found = match &reference.digest_prefix {
        None => active(api, company, &reference.name).await?,
        Some(prefix) => pinned(api, company, &reference.name, prefix).await?,
    };
    let digest = match found {
        Ok(digest) => digest,
        Err(detail) => return Ok(Err(Invalid::at("/plugin", detail))),
    };
    if let Some(prefix) = &mut reference.digest_prefix {
        *prefix = digest.to_string();
    }
    let plugin = api.engine.plugins.get(owner(company, &reference.name), &reference.name, &digest).await;
    let plugin = match plugin {
        Ok(plugin) => plugin,
        Err(detail) => return Ok(Err(Invalid::at("/plugin", detail))),
    };
    let checked = api.sandbox.check_config(&plugin, config).await.result;
    let refused =
        |failure| Invalid::at("/config", format!("plugin `{}` refuses this config: {failure}", reference.name));
    Ok(checked.map(|()| digest).map_err(refused))
}

async fn active(api: &ApiState, company: &str, name: &str) -> Result<Result<Digest, String>, Problem> {
    let detail = match api.store.plugin(company, name).await? {
        Some(plugin) => match plugin.active {
            Some(digest) => return Ok(Ok(digest)),
            None => format!(
                "plugin `{name}` has no active version: activate one with POST /plugins/{name}/activate, or pin one as \
                 `{name}@digest`"
            ),
        },
        None if is_standard(name) => format!("there is no `{name}` among the transforms that ship with Posthaste"),
        None => format!("there is no plugin `{name}`; upload it with PUT /plugins/{name}"),
    };
    Ok(Err(detail))
}

async fn pinned(api: &ApiState, company: &str, name: &str, prefix: &str) -> Result<Result<Digest, String>, Problem> {
    let found = api.store.versions_by_prefix(company, name, prefix).await?;
    Ok(match found.as_slice() {
        [one] => Ok(one.digest.clone()),
        [] => Err(format!("plugin `{name}` has no version `{prefix}`")),
        _ => Err(format!("`{prefix}` names several versions of `{name}`; give more digits")),
    })
}
