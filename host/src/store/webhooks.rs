//! Webhooks: at most one per company and event type.

pub(in crate::store) mod configs;
mod edit;
mod failure;
pub(in crate::store) mod health;
pub(in crate::store) mod list;
mod rows;

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::db::{self, DatabaseRow};
use super::error::StoreError;
use super::handle::Store;
use super::webhook_cache::CacheLookup;
use crate::domain::plugin::{Digest, PluginVersion};
use crate::domain::webhook::Webhook;
use rows::{find, select_small_sql, small_webhook_from_row};

pub use edit::{Rotation, StoredWebhook};
pub use failure::DisableReason;
pub use list::WebhookPage;
pub use rows::WebhookKey;

/// Most bytes of a config that is read with its webhook for each event; a larger one is read when its plugin is called.
const KEPT_CONFIG_BYTES: usize = 16 * 1024;

impl Store {
    /// Returns the webhook for events of this type, from memory if it is cached.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook_for(&self, company: &str, event_type: &str) -> Result<Option<Arc<Webhook>>, StoreError> {
        let mark = match self.webhooks.get(company, event_type, Instant::now()) {
            CacheLookup::Hit(webhook) => return Ok(webhook),
            CacheLookup::Miss(mark) => mark,
        };
        let select = select_small_sql(KEPT_CONFIG_BYTES);
        let sql = format!("{select} WHERE w.company = $1 AND w.event_type = $2");
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(event_type);
        let row = query.fetch_optional(&self.readers.look_ups).await?;
        let found = row.as_ref().map(|row| small_webhook_from_row(&self.sealer, row)).transpose()?.map(Arc::new);
        self.webhooks.insert(mark, (company, event_type), found.clone(), Instant::now());
        Ok(found)
    }

    /// TEMPORARY.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhooks_for(&self, company: &str, event_type: &str) -> Result<Arc<[Arc<Webhook>]>, StoreError> {
        Ok(self.webhook_for(company, event_type).await?.into_iter().collect())
    }

    /// Returns one webhook of a company.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook(&self, company: &str, id: &str) -> Result<Option<Webhook>, StoreError> {
        find(&self.readers.look_ups, &self.sealer, WebhookKey { company, id }).await
    }

    /// Returns the plugin versions that enabled webhooks run, each once: those to compile ahead of need.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions_in_use(&self, limit: u32) -> Result<Vec<PluginVersion>, StoreError> {
        let sql = "SELECT DISTINCT p.company, w.plugin_name, COALESCE(w.plugin_pin, p.active_digest) AS digest \
                   FROM webhooks w JOIN plugins p ON p.name = w.plugin_name \
                   AND p.company = CASE WHEN substr(w.plugin_name, 1, 4) = 'std-' THEN '' ELSE w.company END \
                   WHERE w.enabled = 1 AND COALESCE(w.plugin_pin, p.active_digest) IS NOT NULL LIMIT $1";
        let rows = db::query(sql).bind(i64::from(limit)).fetch_all(&self.readers.background).await?;
        let version = |row: &DatabaseRow| -> Result<_, sqlx::Error> {
            let digest = Digest::stored(&row.try_get::<String>("digest")?);
            Ok(PluginVersion { owner: row.try_get("company")?, name: row.try_get("plugin_name")?, digest })
        };
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }
}
