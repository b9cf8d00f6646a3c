//! The webhooks of a plugin, and what must not change between asking a version about their configs and making it
//! theirs.
//!
//! Asking takes long and happens outside of any transaction. So whoever has asked says what was found, and the
//! writer's transaction goes on only where that still holds: [`unchanged`] before a version becomes active,
//! [`check_runs`] before a webhook is stored.

use std::sync::Arc;

use super::super::db::{self, Connection, Row};
use super::super::{Store, StoreError};
use crate::domain::plugin::{Digest, owner};
use crate::domain::webhook::Webhook;

/// Webhooks that a refusal names.
const NAMED: usize = 20;

/// A webhook that runs whichever version is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Its id.
    pub webhook: String,
    /// The event type that it is for.
    pub event_type: String,
    /// Names its config.
    pub config_digest: Digest,
}

const FOLLOWERS: &str = "SELECT id, event_type, config_digest FROM webhooks \
                         WHERE company = $1 AND plugin_name = $2 AND plugin_pin IS NULL ORDER BY id";

fn follower(row: &Row) -> Result<Follower, sqlx::Error> {
    let digest: String = row.try_get("config_digest")?;
    Ok(Follower {
        webhook: row.try_get("id")?,
        event_type: row.try_get("event_type")?,
        config_digest: Digest::stored(&digest),
    })
}

impl Store {
    /// The webhooks of a company that run whichever version of the plugin is active.
    ///
    /// # Errors
    /// The database's.
    pub async fn followers(&self, company: &str, name: &str) -> Result<Vec<Follower>, StoreError> {
        let rows = db::query(FOLLOWERS).bind(company).bind(name).fetch_all(&self.readers).await?;
        Ok(rows.iter().map(follower).collect::<Result<_, _>>()?)
    }

    /// A config's text.
    ///
    /// # Errors
    /// The database's.
    pub async fn config(&self, digest: &Digest) -> Result<Option<Arc<str>>, StoreError> {
        let query = db::query("SELECT body FROM configs WHERE digest = $1").bind(digest.as_str());
        let body: Option<String> = query.value_if_any(&self.readers).await?;
        Ok(body.map(Into::into))
    }
}

/// Checks that a plugin still has the followers whose configs were asked about.
pub(super) async fn unchanged(
    connection: &mut Connection,
    (company, name): (&str, &str),
    asked: &[Follower],
) -> Result<(), StoreError> {
    let rows = db::query(FOLLOWERS).bind(company).bind(name).fetch_all(connection).await?;
    let now = rows.iter().map(follower).collect::<Result<Vec<_>, _>>()?;
    if now != asked {
        return Err(StoreError::Changed(format!("the webhooks that use plugin `{name}` change all the time")));
    }
    Ok(())
}

/// Checks that a webhook would still run the version that was asked about its config.
pub(in crate::store) async fn check_runs(connection: &mut Connection, webhook: &Webhook) -> Result<(), StoreError> {
    let (Some(reference), Some(digest)) = (&webhook.plugin, &webhook.plugin_digest) else {
        return Ok(());
    };
    let sql = match reference.digest_prefix {
        None => "SELECT 1 FROM plugins WHERE company = $1 AND name = $2 AND active_digest = $3",
        Some(_) => {
            "SELECT 1 FROM plugin_versions WHERE company = $1 AND name = $2 AND digest = $3 AND removed_at IS NULL"
        }
    };
    let query = db::query(sql).bind(owner(&webhook.company, &reference.name)).bind(reference.name.as_str());
    if query.bind(digest.as_str()).fetch_optional(connection).await?.is_none() {
        return Err(StoreError::Changed(format!("the versions of plugin `{}` change all the time", reference.name)));
    }
    Ok(())
}

/// Refuses to go on while a webhook uses the plugin, or, where one is given, this version of it.
pub(super) async fn unused(
    connection: &mut Connection,
    (company, name): (&str, &str),
    version: Option<&Digest>,
) -> Result<(), StoreError> {
    let sql = "SELECT id, event_type FROM webhooks WHERE company = $1 AND plugin_name = $2 \
               AND (CAST($3 AS TEXT) IS NULL OR plugin_pin = $3) ORDER BY id";
    let rows = db::query(sql).bind(company).bind(name).bind(version.map(Digest::as_str)).fetch_all(connection).await?;
    let user = |row: &Row| Ok((row.try_get("id")?, row.try_get("event_type")?));
    let users = rows.iter().map(user).collect::<Result<Vec<(String, String)>, sqlx::Error>>()?;
    if users.is_empty() {
        return Ok(());
    }
    let what = version.map_or_else(|| format!("plugin `{name}`"), |digest| format!("version {digest} of `{name}`"));
    let mut names: Vec<_> = users.iter().take(NAMED).map(|(id, kind)| format!("{id} (`{kind}`)")).collect();
    if users.len() > NAMED {
        names.push(format!("and {} more", users.len() - NAMED));
    }
    Err(StoreError::InUse(format!("{what} is used by {}; change or remove what uses it first", names.join(", "))))
}
