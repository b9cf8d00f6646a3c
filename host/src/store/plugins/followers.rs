//! The webhooks and policies that use a plugin, and the checks that they have not changed between the check of their configs and its effect.
//!
//! A version checks the configs of its webhooks outside of any transaction, because that takes long. The caller then states
//! its findings, and the writer's transaction continues only if they still hold: [`check_followers`] before a version becomes
//! active, [`check_version_to_run`] before a webhook is stored.

use std::fmt;
use std::sync::Arc;

use crate::domain::plugin::{Digest, PluginRef, owner};
use crate::domain::plugin_config::PluginConfig;
use crate::store::db::{self, DatabaseConnection, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::subscription_key::subscription_of;
use crate::store::webhooks::chains::POLICY_HOLDER;

/// Most users that an error names.
const NAMED_WEBHOOKS: usize = 20;

/// What runs a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginUser {
    /// A webhook.
    Webhook {
        /// Its id.
        id: String,
        /// What it subscribes to, for people.
        subscription: String,
    },
    /// The policy of this name.
    Policy(String),
}

/// For people: ``wh_1 (`t`)``, or ``policy `pii` ``.
impl fmt::Display for PluginUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { id, subscription } => write!(formatter, "{id} ({subscription})"),
            Self::Policy(name) => write!(formatter, "policy `{name}`"),
        }
    }
}

/// A webhook or policy that runs the active version of a plugin with a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// What runs it.
    pub user: PluginUser,
    /// The sha-256 of the config.
    pub config_digest: Digest,
}

const FOLLOWERS: &str = "SELECT id, event_type, config_digest FROM webhooks \
                         WHERE company = $1 AND plugin_name = $2 AND plugin_pin IS NULL \
                         UNION SELECT t.holder, w.event_type, t.config_digest FROM chain_transforms t \
                         LEFT JOIN webhooks w ON w.id = t.holder \
                         WHERE t.company = $1 AND t.plugin_name = $2 AND t.plugin_pin IS NULL ORDER BY 1, 3";

/// Reads an id and an event type, which is NULL unless the id is a webhook's.
fn user_from_row(row: &DatabaseRow) -> Result<PluginUser, sqlx::Error> {
    let (id, key): (String, Option<String>) = (row.try_get("id")?, row.try_get("event_type")?);
    Ok(match (id.strip_prefix(POLICY_HOLDER), key) {
        (Some(name), _) => PluginUser::Policy(name.to_owned()),
        (None, key) => {
            let subscription = subscription_of(key.as_deref().unwrap_or_default()).to_string();
            PluginUser::Webhook { id, subscription }
        }
    })
}

fn follower_from_row(row: &DatabaseRow) -> Result<Follower, sqlx::Error> {
    let digest: String = row.try_get("config_digest")?;
    Ok(Follower { user: user_from_row(row)?, config_digest: Digest::stored(&digest) })
}

impl Store {
    /// Returns the webhooks and policies of a company that run the active version of the plugin.
    ///
    /// # Errors
    /// The database's.
    pub async fn followers(&self, company: &str, name: &str) -> Result<Vec<Follower>, StoreError> {
        let rows = db::query(FOLLOWERS).bind(company).bind(name).fetch_all(&self.readers.look_ups).await?;
        Ok(rows.iter().map(follower_from_row).collect::<Result<_, _>>()?)
    }

    /// Returns the text of a config.
    ///
    /// # Errors
    /// The database's.
    pub async fn config(&self, digest: &Digest) -> Result<Option<Arc<str>>, StoreError> {
        let query = db::query("SELECT body FROM configs WHERE digest = $1").bind(digest.as_str());
        let body: Option<String> = query.value_if_any(&self.readers.look_ups).await?;
        Ok(body.map(Into::into))
    }

    /// Returns the text of a config with this digest, which is read if it was not read with its transform.
    ///
    /// # Errors
    /// The database's.
    pub async fn config_text(&self, config: &PluginConfig, digest: &Digest) -> Result<Arc<str>, StoreError> {
        match config {
            PluginConfig::Text(text) => Ok(text.clone()),
            PluginConfig::Stored { .. } => Ok(self.config(digest).await?.ok_or(sqlx::Error::RowNotFound)?),
        }
    }
}

/// The owner and the name of a plugin.
#[derive(Clone, Copy)]
pub(super) struct PluginKey<'k> {
    pub(super) company: &'k str,
    pub(super) name: &'k str,
}

/// Checks that a plugin still has the followers whose configs were checked.
pub(super) async fn check_followers(
    connection: &mut DatabaseConnection,
    plugin: PluginKey<'_>,
    checked: &[Follower],
) -> Result<(), StoreError> {
    let rows = db::query(FOLLOWERS).bind(plugin.company).bind(plugin.name).fetch_all(connection).await?;
    let now = rows.iter().map(follower_from_row).collect::<Result<Vec<_>, _>>()?;
    if now != checked {
        return Err(StoreError::Changed(format!("what uses plugin `{}` changes all the time", plugin.name)));
    }
    Ok(())
}

/// The version of a plugin that a company's transform runs.
#[derive(Clone, Copy)]
pub(in crate::store) struct RunningVersion<'v> {
    pub(in crate::store) company: &'v str,
    pub(in crate::store) plugin: &'v PluginRef,
    /// `None`: it is not known.
    pub(in crate::store) digest: Option<&'v Digest>,
}

/// Checks that a transform would still run the version that checked its config.
pub(in crate::store) async fn check_version_to_run(
    connection: &mut DatabaseConnection,
    RunningVersion { company, plugin, digest }: RunningVersion<'_>,
) -> Result<(), StoreError> {
    let Some(digest) = digest else { return Ok(()) };
    let sql = match plugin.digest_prefix {
        None => "SELECT 1 FROM plugins WHERE company = $1 AND name = $2 AND active_digest = $3",
        Some(_) => {
            "SELECT 1 FROM plugin_versions WHERE company = $1 AND name = $2 AND digest = $3 AND removed_at IS NULL"
        }
    };
    let query = db::query(sql).bind(owner(company, &plugin.name)).bind(plugin.name.as_str());
    if query.bind(digest.as_str()).fetch_optional(connection).await?.is_none() {
        return Err(StoreError::Changed(format!("the versions of plugin `{}` change all the time", plugin.name)));
    }
    Ok(())
}

/// Checks that nothing uses the plugin, or, if a `version` is given, that nothing pins it.
pub(super) async fn check_unused(
    connection: &mut DatabaseConnection,
    plugin: PluginKey<'_>,
    version: Option<&Digest>,
) -> Result<(), StoreError> {
    let sql = "SELECT id, event_type FROM webhooks WHERE company = $1 AND plugin_name = $2 \
               AND (CAST($3 AS TEXT) IS NULL OR plugin_pin = $3) \
               UNION SELECT t.holder, w.event_type FROM chain_transforms t LEFT JOIN webhooks w ON w.id = t.holder \
               WHERE t.company = $1 AND t.plugin_name = $2 AND (CAST($3 AS TEXT) IS NULL OR t.plugin_pin = $3) ORDER BY 1";
    let PluginKey { company, name } = plugin;
    let rows = db::query(sql).bind(company).bind(name).bind(version.map(Digest::as_str)).fetch_all(connection).await?;
    let users = rows.iter().map(user_from_row).collect::<Result<Vec<_>, _>>()?;
    if users.is_empty() {
        return Ok(());
    }
    let subject = version.map_or_else(|| format!("plugin `{name}`"), |digest| format!("version {digest} of `{name}`"));
    let mut names: Vec<_> = users.iter().take(NAMED_WEBHOOKS).map(ToString::to_string).collect();
    if users.len() > NAMED_WEBHOOKS {
        names.push(format!("and {} more", users.len() - NAMED_WEBHOOKS));
    }
    Err(StoreError::InUse(format!("{subject} is used by {}; change or remove what uses it first", names.join(", "))))
}
