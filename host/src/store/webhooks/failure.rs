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

/// What is stored about the failures of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureNote {
    /// Every attempt has failed for some time.
    Failing {
        /// The first failure, milliseconds since 1970.
        since_ms: i64,
        /// How many thresholds of the failures are announced by now.
        announced: u32,
    },
    /// An attempt succeeded.
    Succeeded,
}

impl Store {
    /// Stores that a webhook fails, or does so no more, and the `notice` about it in the same transaction, unless one about
    /// the same threshold, or the same success, was stored before. Returns whether the notice was due.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_failing(
        &self,
        webhook: &Webhook,
        note: FailureNote,
        notice: Option<NewEventRow>,
    ) -> Result<bool, StoreError> {
        let (cache, id, change) = (self.webhooks.clone(), webhook.id.clone(), Change::webhook(webhook));
        let changed = change.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let (announce, announced, since) = match note {
                    FailureNote::Failing { since_ms, announced } => {
                        let sql = "UPDATE webhooks SET failing_announced = $1 WHERE id = $2 AND failing_announced < $1";
                        (sql, announced, Some(since_ms))
                    }
                    FailureNote::Succeeded => {
                        let sql = "UPDATE webhooks SET failing_announced = $1 WHERE id = $2 AND failing_announced > $1";
                        (sql, 0, None)
                    }
                };
                let query = db::query(announce).bind(i64::from(announced)).bind(id.as_str());
                let is_due = query.execute(&mut *connection).await? == 1;
                let sql = "UPDATE webhooks SET failing_since = $1, proven = $2 WHERE id = $3";
                let query = db::query(sql).bind(since).bind(i64::from(since.is_none())).bind(id);
                query.execute(&mut *connection).await?;
                if let Some(notice) = notice.filter(|_| is_due) {
                    delivery_writes::insert(&mut *connection, &[notice]).await?;
                }
                notify(connection, &changed).await?;
                Ok(is_due)
            })
        });
        self.writer.run(work, move |_| outdate(&cache, &change)).await
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
