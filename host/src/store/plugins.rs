//! Plugins and their versions; the bytes are kept as they were uploaded.
//!
//! A company's names mean its own plugins, but for those that ship with Posthaste: [`owner`] decides.

mod change;
mod followers;

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::db::{self, Row};
use super::{Store, StoreError};
use crate::domain::plugin::{Digest, STANDARD_OWNER, is_standard, owner};

pub use change::Activation;
pub use followers::Follower;
pub(super) use followers::check_runs;

/// A plugin's name and what is active.
#[derive(Debug, Clone)]
pub struct PluginRow {
    /// Its name.
    pub name: String,
    /// The active version; `None`: it has candidates only.
    pub active: Option<Digest>,
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

/// An upload to be stored.
#[derive(Clone)]
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
                       CAST(CASE WHEN p.active_digest = v.digest THEN 1 ELSE 0 END AS BIGINT) AS active \
                       FROM plugin_versions v JOIN plugins p ON p.company = v.company AND p.name = v.name \
                       WHERE v.removed_at IS NULL AND v.company = $1 AND v.name = $2";
const PLUGIN: &str = "SELECT name, active_digest, created_at, updated_at FROM plugins";

fn version(row: &Row) -> Result<VersionRow, sqlx::Error> {
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

fn plugin(row: &Row) -> Result<PluginRow, sqlx::Error> {
    let digest: Option<String> = row.try_get("active_digest")?;
    Ok(PluginRow {
        name: row.try_get("name")?,
        active: digest.as_deref().map(Digest::stored),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// A company's plugins, newest first, and then those that ship with Posthaste: what comes after `after`, an instant
    /// and a name, in that order.
    ///
    /// # Errors
    /// The database's.
    pub async fn plugins(
        &self,
        company: &str,
        after: Option<&(i64, String)>,
        limit: u32,
    ) -> Result<Vec<PluginRow>, StoreError> {
        let sql = format!(
            "{PLUGIN} WHERE company IN ($1, $2) AND (CASE WHEN company = $2 THEN 1 ELSE 0 END, 0 - created_at, name) \
             > ($3, $4, $5) ORDER BY CASE WHEN company = $2 THEN 1 ELSE 0 END, created_at DESC, name LIMIT $6"
        );
        let (at, name) = after.map_or((i64::MAX, ""), |(at, name)| (*at, name.as_str()));
        let rows = db::query(AssertSqlSafe(sql))
            .bind(company)
            .bind(STANDARD_OWNER)
            .bind(i64::from(is_standard(name)))
            .bind(at.saturating_neg())
            .bind(name)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(plugin).collect::<Result<_, _>>()?)
    }

    /// The plugin that a company means by `name`.
    ///
    /// # Errors
    /// The database's.
    pub async fn plugin(&self, company: &str, name: &str) -> Result<Option<PluginRow>, StoreError> {
        let sql = format!("{PLUGIN} WHERE company = $1 AND name = $2");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        Ok(query.fetch_optional(&self.readers).await?.as_ref().map(plugin).transpose()?)
    }

    /// A plugin's versions, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions(&self, company: &str, name: &str) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{VERSION} ORDER BY v.created_at DESC, v.digest");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        let rows = query.fetch_all(&self.readers).await?;
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
        let sql = format!("{VERSION} AND v.digest >= $3 AND v.digest < $4 LIMIT 2");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        // `g` is the first character after all hex digits.
        let rows = query.bind(prefix).bind(format!("{prefix}g")).fetch_all(&self.readers).await?;
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }

    /// A version's bytes, as uploaded; those of a removed one too, as long as attempts may name it.
    ///
    /// # Errors
    /// The database's.
    pub async fn wasm(&self, company: &str, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT b.wasm FROM plugin_versions v JOIN plugin_bytes b ON b.digest = v.digest \
                   WHERE v.company = $1 AND v.name = $2 AND v.digest = $3";
        let query = db::query(sql).bind(owner(company, name)).bind(name).bind(digest.as_str());
        Ok(query.value_if_any(&self.readers).await?)
    }
}
