//! Plugins and their versions; the bytes are kept as they were uploaded.

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::writer::work;
use super::{Store, StoreError};
use crate::domain::plugin::Digest;

/// Versions that one plugin may have.
const PER_PLUGIN: i64 = 100;
/// Plugins that one company may have.
const PER_COMPANY: i64 = 100;

/// A plugin's name and what is active.
#[derive(Debug, Clone)]
pub struct PluginRow {
    /// Its name.
    pub name: String,
    /// The active version.
    pub active: Digest,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// A version, without its bytes.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// The plugin's name.
    pub name: String,
    /// What names it.
    pub digest: Digest,
    /// Bytes.
    pub size: i64,
    /// What the component exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// Whether it is the active one.
    pub active: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// An upload to be stored and made active.
pub struct NewVersion {
    /// The company.
    pub company: String,
    /// The plugin's name.
    pub name: String,
    /// What names it.
    pub digest: Digest,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// The bytes, as uploaded.
    pub wasm: Bytes,
    /// Milliseconds since 1970.
    pub now: i64,
}

const VERSION: &str = "SELECT v.name, v.digest, v.size, v.exports, v.imports, v.created_at, \
                       (CASE WHEN p.active_digest = v.digest THEN 1 ELSE 0 END) AS active \
                       FROM plugin_versions v JOIN plugins p ON p.company = v.company AND p.name = v.name";

fn version(row: &SqliteRow) -> Result<VersionRow, sqlx::Error> {
    let names = |column| -> Result<Vec<String>, sqlx::Error> {
        let json: String = row.try_get(column)?;
        serde_json::from_str(&json).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    let digest: String = row.try_get("digest")?;
    let active: i64 = row.try_get("active")?;
    Ok(VersionRow {
        name: row.try_get("name")?,
        digest: Digest::stored(&digest),
        size: row.try_get("size")?,
        exports: names("exports")?,
        imports: names("imports")?,
        active: active == 1,
        created_at: row.try_get("created_at")?,
    })
}

fn plugin(row: &SqliteRow) -> Result<PluginRow, sqlx::Error> {
    let digest: String = row.try_get("active_digest")?;
    Ok(PluginRow {
        name: row.try_get("name")?,
        active: Digest::stored(&digest),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// Stores a version and makes it active. False when these bytes already were the active version.
    ///
    /// # Errors
    /// [`StoreError::Limit`] when there are too many plugins or versions.
    pub async fn put_plugin(&self, new: NewVersion) -> Result<bool, StoreError> {
        let cache = self.webhooks.clone();
        let work = work(move |connection| Box::pin(async move { put(connection, new).await }));
        // Which webhooks follow the active version is not known here.
        self.writer.run(work, move |_| cache.forget_all()).await
    }

    /// A company's plugins, newest first: those after `after` in that order.
    ///
    /// # Errors
    /// The database's.
    pub async fn plugins(
        &self,
        company: &str,
        after: Option<&(i64, String)>,
        limit: u32,
    ) -> Result<Vec<PluginRow>, StoreError> {
        let sql = "SELECT name, active_digest, created_at, updated_at FROM plugins WHERE company = $1 \
                   AND (created_at < $2 OR (created_at = $2 AND name > $3)) ORDER BY created_at DESC, name LIMIT $4";
        let (at, name) = after.map_or((i64::MAX, ""), |(at, name)| (*at, name.as_str()));
        let query = sqlx::query(sql).bind(company).bind(at).bind(name).bind(i64::from(limit));
        let rows = query.fetch_all(&self.readers).await?;
        Ok(rows.iter().map(plugin).collect::<Result<_, _>>()?)
    }

    /// One plugin.
    ///
    /// # Errors
    /// The database's.
    pub async fn plugin(&self, company: &str, name: &str) -> Result<Option<PluginRow>, StoreError> {
        let sql = "SELECT name, active_digest, created_at, updated_at FROM plugins WHERE company = $1 AND name = $2";
        let row = sqlx::query(sql).bind(company).bind(name).fetch_optional(&self.readers).await?;
        Ok(row.as_ref().map(plugin).transpose()?)
    }

    /// A plugin's versions, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions(&self, company: &str, name: &str) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{VERSION} WHERE v.company = $1 AND v.name = $2 ORDER BY v.created_at DESC, v.digest");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(company).bind(name).fetch_all(&self.readers).await?;
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }

    /// The versions whose digest begins with `prefix`; at most two, which is enough to see whether it is unique.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions_by_prefix(
        &self,
        company: &str,
        name: &str,
        prefix: &str,
    ) -> Result<Vec<VersionRow>, StoreError> {
        let sql =
            format!("{VERSION} WHERE v.company = $1 AND v.name = $2 AND v.digest >= $3 AND v.digest < $4 LIMIT 2");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(company).bind(name);
        // `g` is the first character after all hex digits.
        let rows = query.bind(prefix).bind(format!("{prefix}g")).fetch_all(&self.readers).await?;
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }

    /// A version's bytes, as uploaded.
    ///
    /// # Errors
    /// The database's.
    pub async fn wasm(&self, company: &str, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT wasm FROM plugin_versions WHERE company = $1 AND name = $2 AND digest = $3";
        let query = sqlx::query_scalar(sql).bind(company).bind(name).bind(digest.as_str());
        Ok(query.fetch_optional(&self.readers).await?)
    }
}

async fn put(connection: &mut SqliteConnection, new: NewVersion) -> Result<bool, StoreError> {
    let sql = "SELECT active_digest FROM plugins WHERE company = $1 AND name = $2";
    let query = sqlx::query_scalar(sql).bind(new.company.as_str()).bind(new.name.as_str());
    let active: Option<String> = query.fetch_optional(&mut *connection).await?;
    if active.as_deref() == Some(new.digest.as_str()) {
        return Ok(false);
    }
    let names = |names: &[String]| serde_json::to_string(names).map_err(|error| sqlx::Error::Encode(error.into()));
    sqlx::query(
        "INSERT INTO plugin_versions (company, name, digest, size, exports, imports, wasm, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (company, name, digest) DO NOTHING",
    )
    .bind(new.company.as_str())
    .bind(new.name.as_str())
    .bind(new.digest.as_str())
    .bind(i64::try_from(new.wasm.len()).unwrap_or(i64::MAX))
    .bind(names(&new.exports)?)
    .bind(names(&new.imports)?)
    .bind(new.wasm.to_vec())
    .bind(new.now)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO plugins (company, name, active_digest, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (company, name) DO UPDATE SET active_digest = excluded.active_digest, \
         updated_at = excluded.updated_at",
    )
    .bind(new.company.as_str())
    .bind(new.name.as_str())
    .bind(new.digest.as_str())
    .bind(new.now)
    .execute(&mut *connection)
    .await?;
    check_counts(connection, &new.company, &new.name).await?;
    Ok(true)
}

async fn check_counts(connection: &mut SqliteConnection, company: &str, name: &str) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM plugins WHERE company = $1";
    let plugins: i64 = sqlx::query_scalar(sql).bind(company).fetch_one(&mut *connection).await?;
    let sql = "SELECT COUNT(*) FROM plugin_versions WHERE company = $1 AND name = $2";
    let versions: i64 = sqlx::query_scalar(sql).bind(company).bind(name).fetch_one(connection).await?;
    if plugins > PER_COMPANY {
        return Err(StoreError::Limit(format!("this company has {PER_COMPANY} plugins, which is the most")));
    }
    if versions > PER_PLUGIN {
        return Err(StoreError::Limit(format!("plugin `{name}` has {PER_PLUGIN} versions, which is the most")));
    }
    Ok(())
}
