//! The webhooks that match an event, and the webhook of a delivery: read for every event, and therefore cached.

use std::sync::{Arc, LazyLock};

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::chains::completed;
use super::rows::{PLUGIN_JOIN, select_small_sql, small_columns_sql, small_webhook_from_row};
use crate::domain::subscription::matching_types;
use crate::domain::webhook::Webhook;
use crate::store::db;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::multi_row::MultiRowStatement;
use crate::store::subscription_key::keys_end;
use crate::store::webhook_cache::{CacheLookup, MatchingWebhooks};

/// Most bytes of a config that is read with its webhook, or policy, for each event; a larger one is read when its plugin is called.
pub(in crate::store) const KEPT_CONFIG_BYTES: usize = 16 * 1024;

/// Finds the webhooks that subscribe to some types, whatever their labels. Binds for each type: the company, the first key of the
/// type, the key before which its keys end.
pub(in crate::store) static MATCHING: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    let head = format!("{} FROM (VALUES", small_columns_sql(KEPT_CONFIG_BYTES));
    let tail = format!(
        ") AS wanted JOIN webhooks w ON w.company = wanted.column1 AND w.event_type >= wanted.column2 \
         AND w.event_type < wanted.column3 {PLUGIN_JOIN}"
    );
    MultiRowStatement::new(&head, "?, ?, ?", &tail)
});

impl Store {
    /// Returns the webhooks of a company that match events of this type, from memory if they are cached: those of exactly this
    /// type first, then longer patterns before shorter ones, and each of these without a label first, then by label.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhooks_for(&self, company: &str, event_type: &str) -> Result<MatchingWebhooks, StoreError> {
        let mark = match self.webhooks.matching(company, event_type, Instant::now()) {
            CacheLookup::Hit(webhooks) => return Ok(webhooks),
            CacheLookup::Miss(mark) => mark,
        };
        let ranges: Vec<_> = matching_types(event_type).into_iter().map(|one| (keys_end(&one), one)).collect();
        let mut found = Vec::new();
        for (sql, ranges) in MATCHING.split(self.readers.kind(), &ranges) {
            let query = ranges.iter().fold(db::query(sql), |query, (end, first)| {
                query.bind(company).bind(first.as_str()).bind(end.as_str())
            });
            for row in &query.fetch_all(&self.readers.look_ups).await? {
                found.push(small_webhook_from_row(&self.sealer, row)?);
            }
        }
        let found = completed(&self.readers.look_ups, found, KEPT_CONFIG_BYTES).await?;
        let mut found: Vec<_> = found.into_iter().map(Arc::new).collect();
        found.sort_by(|a, b| a.subscription().rank(event_type).cmp(&b.subscription().rank(event_type)));
        let found = found.into();
        self.webhooks.insert_matching(mark, (company, event_type), &found, Instant::now());
        Ok(found)
    }

    /// Returns the first webhook of a company that matches events of this type.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook_for(&self, company: &str, event_type: &str) -> Result<Option<Arc<Webhook>>, StoreError> {
        Ok(self.webhooks_for(company, event_type).await?.first().cloned())
    }

    /// Returns the webhook of a company with this id, as a delivery needs it, from memory if it is cached.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook_of(&self, company: &str, id: &str) -> Result<Option<Arc<Webhook>>, StoreError> {
        let mark = match self.webhooks.one(company, id, Instant::now()) {
            CacheLookup::Hit(webhook) => return Ok(webhook),
            CacheLookup::Miss(mark) => mark,
        };
        let sql = format!("{} WHERE w.company = $1 AND w.id = $2", select_small_sql(KEPT_CONFIG_BYTES));
        let row = db::query(AssertSqlSafe(sql)).bind(company).bind(id).fetch_optional(&self.readers.look_ups).await?;
        let found = row.as_ref().map(|row| small_webhook_from_row(&self.sealer, row)).transpose()?;
        let found = completed(&self.readers.look_ups, found.into_iter().collect(), KEPT_CONFIG_BYTES).await?;
        let found = found.into_iter().next().map(Arc::new);
        self.webhooks.insert_one(mark, (company, id), found.clone(), Instant::now());
        Ok(found)
    }

    /// Returns the webhook that takes over from one that no longer exists: the first that matches events of this type and has
    /// the same label.
    ///
    /// # Errors
    /// The database's.
    pub async fn successor(
        &self,
        company: &str,
        event_type: &str,
        label: Option<&str>,
    ) -> Result<Option<Arc<Webhook>>, StoreError> {
        let webhooks = self.webhooks_for(company, event_type).await?;
        Ok(webhooks.iter().find(|webhook| webhook.label.as_deref() == label).cloned())
    }
}
