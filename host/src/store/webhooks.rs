//! Webhooks: at most one per company, event type and label.

pub(in crate::store) mod chains;
pub(in crate::store) mod configs;
mod edit;
mod failure;
pub(in crate::store) mod health;
pub(in crate::store) mod list;
pub(in crate::store) mod matching;
mod rows;

use super::db::{self, DatabaseRow};
use super::error::StoreError;
use super::handle::Store;
use crate::domain::plugin::{Digest, PluginVersion};
use crate::domain::subscription::Subscription;
use crate::domain::webhook::Webhook;
use rows::{find, find_subscription};

pub(in crate::store) use edit::remove_row;
pub use edit::{IfTaken, Rotation, StoredWebhook};
pub use failure::{DisableReason, FailureNote};
pub use list::{WebhookFilter, WebhookPage};
pub(in crate::store) use matching::KEPT_CONFIG_BYTES;
pub use rows::WebhookKey;

impl Store {
    /// Returns one webhook of a company.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook(&self, company: &str, id: &str) -> Result<Option<Webhook>, StoreError> {
        find(&self.readers.look_ups, &self.sealer, WebhookKey { company, id }).await
    }

    /// Returns the webhook of a company with this subscription.
    ///
    /// # Errors
    /// The database's.
    pub async fn subscribed(
        &self,
        company: &str,
        subscription: Subscription<'_>,
    ) -> Result<Option<Webhook>, StoreError> {
        let found = find_subscription(&self.readers.look_ups, &self.sealer, company, subscription).await?;
        // What is no type may look like a type with a label.
        Ok(found.filter(|webhook| webhook.subscription() == subscription))
    }

    /// Returns the plugin versions that enabled webhooks run, each once: those to compile ahead of need.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions_in_use(&self, limit: u32) -> Result<Vec<PluginVersion>, StoreError> {
        let sql = "SELECT p.company, w.plugin_name, COALESCE(w.plugin_pin, p.active_digest) AS digest \
                   FROM webhooks w JOIN plugins p ON p.name = w.plugin_name \
                   AND p.company = CASE WHEN substr(w.plugin_name, 1, 4) = 'std-' THEN '' ELSE w.company END \
                   WHERE w.enabled = 1 AND COALESCE(w.plugin_pin, p.active_digest) IS NOT NULL \
                   UNION SELECT p.company, t.plugin_name, COALESCE(t.plugin_pin, p.active_digest) \
                   FROM chain_transforms t JOIN plugins p ON p.name = t.plugin_name \
                   AND p.company = CASE WHEN substr(t.plugin_name, 1, 4) = 'std-' THEN '' ELSE t.company END \
                   LEFT JOIN webhooks w ON w.id = t.holder \
                   WHERE COALESCE(w.enabled, 1) = 1 AND COALESCE(t.plugin_pin, p.active_digest) IS NOT NULL LIMIT $1";
        let rows = db::query(sql).bind(i64::from(limit)).fetch_all(&self.readers.background).await?;
        let version = |row: &DatabaseRow| -> Result<_, sqlx::Error> {
            let digest = Digest::stored(&row.try_get::<String>("digest")?);
            Ok(PluginVersion { owner: row.try_get("company")?, name: row.try_get("plugin_name")?, digest })
        };
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }
}
