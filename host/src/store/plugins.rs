//! Plugins and their versions; the bytes are stored as they were uploaded.
//!
//! A name denotes a plugin of the company itself, except for the names of those that ship with Posthaste: [`owner`] decides.

mod edit;
mod followers;
mod rows;

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseQuery};
use super::error::StoreError;
use super::handle::Store;
use super::multi_row::MultiRowStatement;
use crate::domain::plugin::{Digest, STANDARD_OWNER, is_standard, owner};
use rows::{SELECT_PLUGIN, SELECT_VERSION, plugin_from_row, version_from_row};

pub(in crate::store) use edit::remove_unused_bytes;
pub use edit::{Activation, PluginChange};
pub use followers::{Follower, PluginUser};
pub(super) use followers::{RunningVersion, check_version_to_run};
pub use rows::{NewVersion, PluginRow, VersionRow};

impl Store {
    /// Returns at most `limit` of a company's plugins, newest first, followed by those that ship with Posthaste. With `after`,
    /// `created_at` and name of a plugin, the list begins behind that one.
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
            "{SELECT_PLUGIN} WHERE company IN ($1, $2) AND (CASE WHEN company = $2 THEN 1 ELSE 0 END, 0 - created_at, name) \
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
            .fetch_all(&self.log_reader(company).await?)
            .await?;
        Ok(rows.iter().map(plugin_from_row).collect::<Result<_, _>>()?)
    }

    /// Returns the plugin that `name` denotes for a company.
    ///
    /// # Errors
    /// The database's.
    pub async fn plugin(&self, company: &str, name: &str) -> Result<Option<PluginRow>, StoreError> {
        let sql = format!("{SELECT_PLUGIN} WHERE company = $1 AND name = $2");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        Ok(query.fetch_optional(&self.readers.look_ups).await?.as_ref().map(plugin_from_row).transpose()?)
    }

    /// Returns a plugin's versions, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions(&self, company: &str, name: &str) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT_VERSION} ORDER BY v.created_at DESC, v.digest");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        let rows = query.fetch_all(&self.log_reader(company).await?).await?;
        Ok(rows.iter().map(version_from_row).collect::<Result<_, _>>()?)
    }

    /// Returns versions whose digest begins with `prefix`: at most two, which shows whether the prefix is unique.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions_by_prefix(
        &self,
        company: &str,
        name: &str,
        prefix: &str,
    ) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT_VERSION} AND v.digest >= $3 AND v.digest < $4 LIMIT 2");
        let query = db::query(AssertSqlSafe(sql)).bind(owner(company, name)).bind(name);
        // `g` is the first character after the hex digits.
        let rows = query.bind(prefix).bind(format!("{prefix}g")).fetch_all(&self.readers.look_ups).await?;
        Ok(rows.iter().map(version_from_row).collect::<Result<_, _>>()?)
    }

    /// Returns a version's bytes, as uploaded; also those of a removed version, as long as attempts may name it.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn wasm(&self, company: &str, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let log = self.log_reader(company).await?;
        Ok(wasm_query(company, name, digest).value_if_any(&log).await?)
    }

    /// Returns those of these digests of which no company has a version.
    ///
    /// # Errors
    /// The database's.
    pub async fn unknown_digests(&self, mut digests: Vec<Digest>) -> Result<Vec<Digest>, StoreError> {
        let mut stored = HashSet::new();
        for (sql, some) in STORED.split(self.readers.kind(), &digests) {
            let query = some.iter().fold(db::query(sql), |query, digest| query.bind(digest.as_str()));
            stored.extend(query.values::<String>(&self.readers.background).await?);
        }
        digests.retain(|digest| !stored.contains(digest.as_str()));
        Ok(digests)
    }

    /// As [`Store::wasm`], for a delivery, which no request of the company delays.
    ///
    /// # Errors
    /// The database's.
    pub async fn wasm_to_run(&self, company: &str, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(wasm_query(company, name, digest).value_if_any(&self.readers.background).await?)
    }
}

/// Finds those of these digests that a company has.
static STORED: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new("SELECT digest FROM plugin_bytes WHERE digest IN (VALUES", "CAST(? AS TEXT)", ")")
});

fn wasm_query<'q>(company: &'q str, name: &'q str, digest: &'q Digest) -> DatabaseQuery<'q> {
    let sql = "SELECT b.wasm FROM plugin_versions v JOIN plugin_bytes b ON b.digest = v.digest \
               WHERE v.company = $1 AND v.name = $2 AND v.digest = $3";
    db::query(sql).bind(owner(company, name)).bind(name).bind(digest.as_str())
}
