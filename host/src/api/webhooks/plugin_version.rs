//! Finds the plugin version that a webhook runs.

use crate::api::ApiState;
use crate::api::problem::Problem;
use crate::domain::Invalid;
use crate::domain::plugin::{Digest, is_standard, owner};
use crate::domain::webhook::Webhook;

const CONFIG_ALONE: &str = "a config has no effect without a plugin: name one in `plugin`, or set `config` to null";

/// Finds the version that the webhook's plugin names, lets it check the config, and puts its digest into the webhook.
///
/// # Errors
/// 422 if there is no such version, if it refuses the config, or if there is a config without a plugin: a mask that is not
/// applied must not look applied.
pub(super) async fn resolve_plugin(api: &ApiState, webhook: &mut Webhook) -> Result<(), Problem> {
    let config = api.store.config_of(webhook).await?;
    let Some(reference) = &mut webhook.plugin else {
        return match &*config {
            "null" => Ok(()),
            _ => Err(Invalid::at("/config", CONFIG_ALONE).into()),
        };
    };
    let digest = match &mut reference.digest_prefix {
        None => active(api, &webhook.company, &reference.name).await?,
        Some(prefix) => {
            let digest = pinned(api, &webhook.company, &reference.name, prefix).await?;
            *prefix = digest.to_string();
            digest
        }
    };
    let owner = owner(&webhook.company, &reference.name);
    let plugin = api.engine.plugins.get(owner, &reference.name, &digest).await;
    let plugin = plugin.map_err(|detail| Invalid::at("/plugin", detail))?;
    let call = api.sandbox.check_config(&plugin, config).await;
    call.result.map_err(|failure| {
        Invalid::at("/config", format!("plugin `{}` refuses this config: {failure}", reference.name))
    })?;
    webhook.plugin_digest = Some(digest);
    Ok(())
}

async fn active(api: &ApiState, company: &str, name: &str) -> Result<Digest, Problem> {
    let detail = match api.store.plugin(company, name).await? {
        Some(plugin) => match plugin.active {
            Some(digest) => return Ok(digest),
            None => format!(
                "plugin `{name}` has no active version: activate one with POST /plugins/{name}/activate, or pin one as \
                 `{name}@digest`"
            ),
        },
        None if is_standard(name) => format!("there is no `{name}` among the transforms that ship with Posthaste"),
        None => format!("there is no plugin `{name}`; upload it with PUT /plugins/{name}"),
    };
    Err(Invalid::at("/plugin", detail).into())
}

async fn pinned(api: &ApiState, company: &str, name: &str, prefix: &str) -> Result<Digest, Problem> {
    let found = api.store.versions_by_prefix(company, name, prefix).await?;
    let detail = match found.as_slice() {
        [one] => return Ok(one.digest.clone()),
        [] => format!("plugin `{name}` has no version `{prefix}`"),
        _ => format!("`{prefix}` names several versions of `{name}`; give more digits"),
    };
    Err(Invalid::at("/plugin", detail).into())
}
