//! Rows of plugins and their versions.

use bytes::Bytes;

use crate::domain::plugin::Digest;
use crate::store::db::DatabaseRow;

/// A plugin and its active version.
#[derive(Debug, Clone)]
pub struct PluginRow {
    /// The plugin's name.
    pub name: String,
    /// The digest of the active version; `None`: the plugin has only candidates.
    pub active: Option<Digest>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// When another version became active: milliseconds since 1970.
    pub updated_at: i64,
}

/// A version, without its bytes.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// The plugin's name.
    pub name: String,
    /// The sha-256 of its bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: i64,
    /// The names that the component exports.
    pub exports: Vec<String>,
    /// The names that it imports.
    pub imports: Vec<String>,
    /// Whether it is the active version.
    pub active: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// An uploaded version to store.
#[derive(Clone)]
pub struct NewVersion {
    /// The company.
    pub company: String,
    /// The plugin's name.
    pub name: String,
    /// The sha-256 of its bytes.
    pub digest: Digest,
    /// The names that the component exports.
    pub exports: Vec<String>,
    /// The names that it imports.
    pub imports: Vec<String>,
    /// The bytes, as uploaded.
    pub wasm: Bytes,
    /// When it was uploaded: milliseconds since 1970.
    pub now: i64,
}

/// Selects versions. Binds: the owner, the plugin's name.
pub(super) const SELECT_VERSION: &str = "SELECT v.name, v.digest, v.size, v.exports, v.imports, v.created_at, \
                       CAST(CASE WHEN p.active_digest = v.digest THEN 1 ELSE 0 END AS BIGINT) AS active \
                       FROM plugin_versions v JOIN plugins p ON p.company = v.company AND p.name = v.name \
                       WHERE v.removed_at IS NULL AND v.company = $1 AND v.name = $2";
pub(super) const SELECT_PLUGIN: &str = "SELECT name, active_digest, created_at, updated_at FROM plugins";

/// Reads a row of [`SELECT_VERSION`].
pub(super) fn version_from_row(row: &DatabaseRow) -> Result<VersionRow, sqlx::Error> {
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

/// Reads a row of [`SELECT_PLUGIN`].
pub(super) fn plugin_from_row(row: &DatabaseRow) -> Result<PluginRow, sqlx::Error> {
    let digest: Option<String> = row.try_get("active_digest")?;
    Ok(PluginRow {
        name: row.try_get("name")?,
        active: digest.as_deref().map(Digest::stored),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
