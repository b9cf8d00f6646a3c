//! Webhooks whose attempts all fail: since when, and disabling them.

use crate::domain::webhook::Webhook;
use crate::store::changes::{Change, notify, outdate};
use crate::store::db;
use crate::store::delivery_rows::NewEventRow;
use crate::store::delivery_writes;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Why and when the service disables a webhook.
#[derive(Debug, Clone)]
pub struct DisableReason {
    /// The reason, for the webhook's owner.
    pub text: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

impl Store {
    /// Stores since when every attempt has failed, in milliseconds since 1970; `None`: an attempt succeeded.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_failing(&self, webhook: &Webhook, since: Option<i64>) -> Result<(), StoreError> {
        let (cache, id, change) = (self.webhooks.clone(), webhook.id.clone(), Change::webhook(webhook));
        let announced = change.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE webhooks SET failing_since = $1, proven = $2 WHERE id = $3";
                let query = db::query(sql).bind(since).bind(i64::from(since.is_none())).bind(id);
                query.execute(&mut *connection).await?;
                Ok(notify(connection, &announced).await?)
            })
        });
        self.writer.run(work, move |()| outdate(&cache, &change)).await
    }

    /// Disables the webhook at `now`, in milliseconds since 1970, and stores the `notice` about it in the same transaction.
    /// Returns false, and stores nothing, if the webhook was changed since it was read.
    ///
    /// # Errors
    /// The database's.
    pub async fn disable_webhook(
        &self,
        webhook: &Webhook,
        reason: DisableReason,
        notice: Option<NewEventRow>,
    ) -> Result<bool, StoreError> {
        let (cache, change) = (self.webhooks.clone(), Change::webhook(webhook));
        let (id, updated_at, announced) = (webhook.id.clone(), webhook.updated_at, change.clone());
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE webhooks SET enabled = 0, disabled_reason = $1, updated_at = $2 \
                           WHERE id = $3 AND enabled = 1 AND updated_at = $4";
                let query = db::query(sql).bind(reason.text).bind(reason.at_ms).bind(id).bind(updated_at);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(false);
                }
                if let Some(notice) = notice {
                    delivery_writes::insert(&mut *connection, &[notice]).await?;
                }
                notify(connection, &announced).await?;
                Ok(true)
            })
        });
        self.writer.run(work, move |_| outdate(&cache, &change)).await
    }
}
