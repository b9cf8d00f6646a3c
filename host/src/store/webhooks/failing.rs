//! Webhooks that only fail: since when, and the end of it.

use super::super::changes::{Change, tell};
use super::super::db;
use super::super::writer::work;
use super::super::{Store, StoreError, deliveries};
use crate::domain::webhook::Webhook;
use crate::store::NewDelivery;

impl Store {
    /// Notes since when every attempt has failed, milliseconds since 1970; `None`: one succeeded.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_failing(&self, webhook: &Webhook, since: Option<i64>) -> Result<(), StoreError> {
        let (cache, key) = (self.webhooks.clone(), (webhook.company.clone(), webhook.event_type.clone()));
        let (id, change) = (webhook.id.clone(), Change::webhook(&webhook.company, &webhook.event_type));
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE webhooks SET failing_since = $1, proven = $2 WHERE id = $3";
                let query = db::query(sql).bind(since).bind(i64::from(since.is_none())).bind(id);
                query.execute(&mut *connection).await?;
                Ok(tell(connection, &change).await?)
            })
        });
        self.writer.run(work, move |()| cache.forget(&key)).await
    }

    /// Disables the webhook at `now`, milliseconds since 1970, and stores the `notice` of it in the same transaction.
    /// False, and nothing is stored, where it has been changed since it was read.
    ///
    /// # Errors
    /// The database's.
    pub async fn disable_webhook(
        &self,
        webhook: &Webhook,
        (reason, now): (String, i64),
        notice: Option<NewDelivery>,
    ) -> Result<bool, StoreError> {
        let (cache, key) = (self.webhooks.clone(), (webhook.company.clone(), webhook.event_type.clone()));
        let (id, updated_at) = (webhook.id.clone(), webhook.updated_at);
        let change = Change::webhook(&webhook.company, &webhook.event_type);
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE webhooks SET enabled = 0, disabled_reason = $1, updated_at = $2 \
                           WHERE id = $3 AND enabled = 1 AND updated_at = $4";
                let query = db::query(sql).bind(reason).bind(now).bind(id).bind(updated_at);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(false);
                }
                if let Some(notice) = notice {
                    deliveries::insert(&mut *connection, &[notice]).await?;
                }
                tell(connection, &change).await?;
                Ok(true)
            })
        });
        self.writer.run(work, move |_| cache.forget(&key)).await
    }
}
