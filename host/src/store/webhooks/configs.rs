//! Configs by their digests: which company has which, and removing those that nothing names any more.
//!
//! Attempts name the config that they ran, so a config stays after its last webhook for as long as the attempts from before can
//! be in the log. It is marked as released when no transform of the company has it any more, and counts as the company's until it
//! is removed.

use sqlx::AssertSqlSafe;

use crate::domain::plugin::Digest;
use crate::store::db::{self, DatabaseConnection, DatabaseKind, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most configs that are marked in one transaction.
const RELEASE_STEP: i64 = 256;
/// Most configs that are removed in one transaction: each may have 256 KiB.
const REMOVE_STEP: i64 = 32;
/// How long after its release an attempt that names a config may still be stored, in milliseconds: it began before.
const LATE_ATTEMPTS_MS: i64 = 600_000;

/// Finds configs that no transform has any more. Binds: the most rows.
pub(in crate::store) fn released_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT c.company, c.digest FROM company_configs AS c {}WHERE c.released_at IS NULL AND NOT EXISTS (SELECT 1 \
         FROM webhooks w WHERE w.config_digest = c.digest AND w.company = c.company) AND NOT EXISTS (SELECT 1 \
         FROM chain_transforms t WHERE t.config_digest = c.digest AND t.company = c.company) LIMIT $1",
        kind.index_hint("company_configs_held")
    )
}

/// Removes the configs that were released first. Binds: the instant before which they were, the most rows.
pub(in crate::store) fn remove_sql(kind: DatabaseKind) -> String {
    format!(
        "DELETE FROM company_configs WHERE (company, digest) IN (SELECT company, digest FROM company_configs {}\
         WHERE released_at < $1 ORDER BY released_at LIMIT $2) RETURNING digest",
        kind.index_hint("company_configs_released")
    )
}

/// Stores the config of a transform of the company that is about to be stored. Returns whether it is new to the company.
pub(super) async fn hold(
    connection: &mut DatabaseConnection,
    company: &str,
    digest: &Digest,
    config: &str,
) -> Result<bool, sqlx::Error> {
    db::query("INSERT INTO configs (digest, body) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(digest.as_str())
        .bind(config)
        .execute(&mut *connection)
        .await?;
    let digest = digest.as_str();
    let sql = "INSERT INTO company_configs (company, digest, bytes) VALUES ($1, $2, $3) ON CONFLICT (company, digest) DO NOTHING";
    let bytes = i64::try_from(config.len()).unwrap_or(i64::MAX);
    let is_new = db::query(sql).bind(company).bind(digest).bind(bytes).execute(&mut *connection).await? == 1;
    if !is_new {
        let sql = "UPDATE company_configs SET released_at = NULL WHERE company = $1 AND digest = $2 AND released_at IS NOT NULL";
        db::query(sql).bind(company).bind(digest).execute(connection).await?;
    }
    Ok(is_new)
}

/// Removes those of these configs that no company has any more.
pub(in crate::store) async fn remove_unused(
    connection: &mut DatabaseConnection,
    digests: &[String],
) -> Result<(), sqlx::Error> {
    for digest in digests {
        // Nodes of the version before store webhooks without a row in `company_configs`.
        let sql = "DELETE FROM configs WHERE digest = $1 \
                   AND NOT EXISTS (SELECT 1 FROM company_configs WHERE digest = $1) \
                   AND NOT EXISTS (SELECT 1 FROM webhooks WHERE config_digest = $1) \
                   AND NOT EXISTS (SELECT 1 FROM chain_transforms WHERE config_digest = $1)";
        db::query(sql).bind(digest.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

impl Store {
    /// Marks configs that no transform of their company has any more, at `now`, milliseconds since 1970; a few in one
    /// transaction. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_configs(&self, now: i64) -> Result<bool, StoreError> {
        let sql = released_sql(self.readers.kind());
        let rows = db::query(AssertSqlSafe(sql)).bind(RELEASE_STEP).fetch_all(&self.readers.background).await?;
        let key = |row: &DatabaseRow| Ok((row.try_get("company")?, row.try_get("digest")?));
        let found = rows.iter().map(key).collect::<Result<Vec<(String, String)>, sqlx::Error>>()?;
        let more = i64::try_from(found.len()).is_ok_and(|count| count == RELEASE_STEP);
        if found.is_empty() {
            return Ok(false);
        }
        let work = transaction(move |connection| {
            Box::pin(async move {
                // A webhook that is being stored may have taken one of them meanwhile.
                connection.lock_exclusively().await?;
                for (company, digest) in found {
                    let sql = "UPDATE company_configs SET released_at = $1 WHERE company = $2 AND digest = $3 \
                               AND released_at IS NULL AND NOT EXISTS (SELECT 1 FROM webhooks WHERE config_digest = $3 \
                               AND company = $2) AND NOT EXISTS (SELECT 1 FROM chain_transforms WHERE config_digest = $3 \
                               AND company = $2)";
                    db::query(sql).bind(now).bind(company).bind(digest).execute(&mut *connection).await?;
                }
                Ok(more)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Removes configs that were released before `before`, in milliseconds since 1970: no stored attempt names them any more.
    /// Removes a few in one transaction, so that other operations do not wait long. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove_released_configs(&self, before: i64) -> Result<bool, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let query = db::query(AssertSqlSafe(remove_sql(connection.kind())));
                let query = query.bind(before.saturating_sub(LATE_ATTEMPTS_MS)).bind(REMOVE_STEP);
                let digests: Vec<String> = query.values(&mut *connection).await?;
                remove_unused(connection, &digests).await?;
                Ok(i64::try_from(digests.len()).is_ok_and(|count| count == REMOVE_STEP))
            })
        });
        self.writer.run(work, |_| ()).await
    }
}
