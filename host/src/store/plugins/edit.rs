//! Storing, activating and removing versions.
//!
//! A removed version disappears from every call at once. Its row stays, with `removed_at`, because an attempt names the
//! version that it ran and any past delivery can be reproduced; [`Store::delete_removed_versions`] deletes it once retention has
//! removed those attempts.

use super::followers::{Follower, PluginKey, check_followers, check_unused};
use super::rows::NewVersion;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::plugin::{Digest, PluginVersion, STANDARD_OWNER};
use crate::domain::quota::{Quota, Quotas};
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::quotas::{check, check_used};
use crate::store::writer::transaction;

/// Most removed versions of one company that wait for retention: alternating uploads and removals must not fill the disk.
const MAX_REMOVED_VERSIONS: i64 = 1_000;
/// Most versions deleted in one transaction: each may have 32 MiB.
const FORGET_STEP: i64 = 4;

/// A request to make a version the active one.
#[derive(Clone)]
pub struct Activation {
    /// The company.
    pub company: String,
    /// The plugin's name.
    pub name: String,
    /// The digest of the version.
    pub digest: Digest,
    /// The webhooks whose configs the version has accepted; they must be all followers of the plugin.
    pub followers: Vec<Follower>,
    /// When it is activated: milliseconds since 1970.
    pub now: i64,
}

/// What storing or activating a version has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginChange {
    /// Nothing.
    None,
    /// The version is new, and not active.
    Stored,
    /// The version is active now.
    Activated {
        /// The version that was active before.
        previous: Option<Digest>,
    },
}

impl PluginChange {
    /// Returns whether anything has changed.
    pub fn is_change(&self) -> bool {
        *self != Self::None
    }
}

impl Store {
    /// Stores a version, and makes it active if there is an `activation` for it.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: there are too many plugins, versions or bytes of them. [`StoreError::Changed`]: the plugin has other followers
    /// by now. The database's.
    pub async fn put_plugin(
        &self,
        new: NewVersion,
        activation: Option<Activation>,
    ) -> Result<PluginChange, StoreError> {
        let (cache, company, quotas) = (self.webhooks.clone(), new.company.clone(), self.quotas);
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let stored = insert(connection, &new).await?;
                let switched = match &activation {
                    Some(activation) => switch(connection, activation).await?,
                    None => PluginChange::None,
                };
                if stored && new.company != STANDARD_OWNER {
                    check_quotas(connection, &new, &quotas).await?;
                }
                Ok(if stored && !switched.is_change() { PluginChange::Stored } else { switched })
            })
        });
        // Finding out the event types of the followers is not worth it.
        self.writer.run_for(&company, work, move |_| cache.invalidate_all()).await
    }

    /// Makes a stored version active: attempts that begin after this run it.
    ///
    /// # Errors
    /// [`StoreError::Changed`]: the version has been removed, or the plugin has other followers by now. The database's.
    pub async fn activate(&self, activation: Activation) -> Result<PluginChange, StoreError> {
        let (cache, company) = (self.webhooks.clone(), activation.company.clone());
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                switch(connection, &activation).await
            })
        });
        self.writer.run_for(&company, work, move |_| cache.invalidate_all()).await
    }

    /// Removes a plugin and its versions at `now`, in milliseconds since 1970. Returns false if it did not exist.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: a webhook uses it. [`StoreError::Limit`]: too many removed versions wait for retention. The
    /// database's.
    pub async fn remove_plugin(&self, company: String, name: String, now: i64) -> Result<bool, StoreError> {
        let holder = company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let plugin = PluginKey { company: &company, name: &name };
                check_unused(connection, plugin, None).await?;
                mark_removed(connection, plugin, None, now).await?;
                let query = db::query("DELETE FROM plugins WHERE company = $1 AND name = $2");
                let removed = query.bind(company).bind(name).execute(connection).await?;
                Ok(removed == 1)
            })
        });
        self.writer.run_for(&holder, work, |_| ()).await
    }

    /// Removes one version at `now`, in milliseconds since 1970. Returns false if it did not exist.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: it is active, or a webhook pins it. [`StoreError::Limit`]: too many removed versions wait for
    /// retention. The database's.
    pub async fn remove_version(&self, version: PluginVersion, now: i64) -> Result<bool, StoreError> {
        let PluginVersion { owner: company, name, digest } = version;
        let holder = company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let sql = "SELECT 1 FROM plugins WHERE company = $1 AND name = $2 AND active_digest = $3";
                let query = db::query(sql).bind(company.as_str()).bind(name.as_str()).bind(digest.as_str());
                if query.fetch_optional(&mut *connection).await?.is_some() {
                    return Err(StoreError::InUse(format!(
                        "version {digest} is the active one of plugin `{name}`; activate another first"
                    )));
                }
                let plugin = PluginKey { company: &company, name: &name };
                check_unused(connection, plugin, Some(&digest)).await?;
                Ok(mark_removed(connection, plugin, Some(&digest), now).await? == 1)
            })
        });
        self.writer.run_for(&holder, work, |_| ()).await
    }

    /// Deletes versions that were removed before `before`, in milliseconds since 1970: no stored attempt names them any more.
    /// Deletes a few in one transaction, so that other operations do not wait long. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_removed_versions(&self, before: i64) -> Result<bool, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = "DELETE FROM plugin_versions WHERE (company, name, digest) IN (SELECT company, name, digest \
                           FROM plugin_versions WHERE removed_at < $1 ORDER BY removed_at LIMIT $2) RETURNING digest";
                let query = db::query(sql).bind(before).bind(FORGET_STEP);
                let digests: Vec<String> = query.values(&mut *connection).await?;
                remove_unused_bytes(connection, &digests).await?;
                Ok(i64::try_from(digests.len()).is_ok_and(|count| count == FORGET_STEP))
            })
        });
        self.writer.run(work, |_| ()).await
    }
}

/// Removes the bytes of those of these digests that no company has any more, and returns them.
pub(in crate::store) async fn remove_unused_bytes(
    connection: &mut DatabaseConnection,
    digests: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    let mut removed = Vec::new();
    for digest in digests {
        let sql = "DELETE FROM plugin_bytes WHERE digest = $1 \
                   AND NOT EXISTS (SELECT 1 FROM plugin_versions WHERE digest = $1)";
        if db::query(sql).bind(digest.as_str()).execute(&mut *connection).await? == 1 {
            removed.push(digest.clone());
        }
    }
    Ok(removed)
}

/// Stores the version and, if it is the first, the plugin. Returns false if the version existed already.
async fn insert(connection: &mut DatabaseConnection, new: &NewVersion) -> Result<bool, StoreError> {
    let sql = "INSERT INTO plugins (company, name, active_digest, created_at, updated_at) \
               VALUES ($1, $2, NULL, $3, $3) ON CONFLICT (company, name) DO NOTHING";
    let query = db::query(sql).bind(new.company.as_str()).bind(new.name.as_str()).bind(new.now);
    query.execute(&mut *connection).await?;
    let query = db::query("INSERT INTO plugin_bytes (digest, wasm) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING");
    query.bind(new.digest.as_str()).bind(new.wasm.to_vec()).execute(&mut *connection).await?;
    let names = |names: &[String]| serde_json::to_string(names).map_err(|error| sqlx::Error::Encode(error.into()));
    // Uploading a removed version again makes it new again.
    let inserted = db::query(
        "INSERT INTO plugin_versions (company, name, digest, size, exports, imports, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (company, name, digest) DO UPDATE \
         SET removed_at = NULL, created_at = excluded.created_at WHERE plugin_versions.removed_at IS NOT NULL",
    )
    .bind(new.company.as_str())
    .bind(new.name.as_str())
    .bind(new.digest.as_str())
    .bind(i64::try_from(new.wasm.len()).unwrap_or(i64::MAX))
    .bind(names(&new.exports)?)
    .bind(names(&new.imports)?)
    .bind(new.now)
    .execute(connection)
    .await?;
    Ok(inserted == 1)
}

/// Makes the version active, if it is not.
async fn switch(connection: &mut DatabaseConnection, to: &Activation) -> Result<PluginChange, StoreError> {
    let plugin = PluginKey { company: &to.company, name: &to.name };
    check_followers(connection, plugin, &to.followers).await?;
    let sql = "SELECT 1 FROM plugin_versions WHERE company = $1 AND name = $2 AND digest = $3 AND removed_at IS NULL";
    let query = db::query(sql).bind(to.company.as_str()).bind(to.name.as_str()).bind(to.digest.as_str());
    if query.fetch_optional(&mut *connection).await?.is_none() {
        return Err(StoreError::Changed(format!(
            "version {} of plugin `{}` has just been removed",
            to.digest, to.name
        )));
    }
    let query = db::query("SELECT active_digest FROM plugins WHERE company = $1 AND name = $2");
    let query = query.bind(to.company.as_str()).bind(to.name.as_str());
    let previous: Option<String> = query.value(&mut *connection).await?;
    if previous.as_deref() == Some(to.digest.as_str()) {
        return Ok(PluginChange::None);
    }
    let query = db::query("UPDATE plugins SET active_digest = $1, updated_at = $2 WHERE company = $3 AND name = $4");
    let query = query.bind(to.digest.as_str()).bind(to.now).bind(to.company.as_str()).bind(to.name.as_str());
    query.execute(&mut *connection).await?;
    notify(connection, &Change::Plugins).await?;
    Ok(PluginChange::Activated { previous: previous.as_deref().map(Digest::stored) })
}

/// Marks the versions of a plugin, or one of them, as removed. Returns how many.
async fn mark_removed(
    connection: &mut DatabaseConnection,
    PluginKey { company, name }: PluginKey<'_>,
    version: Option<&Digest>,
    now: i64,
) -> Result<u64, StoreError> {
    let sql = "UPDATE plugin_versions SET removed_at = $1 WHERE company = $2 AND name = $3 AND removed_at IS NULL \
               AND (CAST($4 AS TEXT) IS NULL OR digest = $4)";
    let query = db::query(sql).bind(now).bind(company).bind(name).bind(version.map(Digest::as_str));
    let marked = query.execute(&mut *connection).await?;
    let sql = "SELECT COUNT(*) FROM plugin_versions WHERE company = $1 AND removed_at IS NOT NULL";
    let removed: i64 = db::query(sql).bind(company).value(connection).await?;
    if removed > MAX_REMOVED_VERSIONS {
        let detail = format!(
            "{MAX_REMOVED_VERSIONS} removed versions of this company wait for retention, which is the limit; wait until \
             the first of them are deleted"
        );
        return Err(CompanyLimit::stored("removed-plugin-versions", detail).into());
    }
    Ok(marked)
}

async fn check_quotas(
    connection: &mut DatabaseConnection,
    stored: &NewVersion,
    quotas: &Quotas,
) -> Result<(), StoreError> {
    for quota in [Quota::Plugins, Quota::PluginBytes] {
        check(connection, &stored.company, quota, quotas).await?;
    }
    let sql = "SELECT COUNT(*) FROM plugin_versions WHERE company = $1 AND name = $2 AND removed_at IS NULL";
    let query = db::query(sql).bind(stored.company.as_str()).bind(stored.name.as_str());
    let versions: i64 = query.value(&mut *connection).await?;
    check_used(connection, &stored.company, (Quota::PluginVersions, versions), quotas).await
}
