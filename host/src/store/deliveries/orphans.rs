//! The waiting deliveries of webhooks that no longer exist: finding them, and cancelling them step by step.

use sqlx::AssertSqlSafe;

use super::claim::taken_sql;
use crate::domain::delivery::Status;
use crate::store::db::{self, DatabaseKind};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Webhooks with waiting deliveries that one page examines.
const PAGE: i64 = 1_000;
/// Most deliveries that one step ends.
const STEP: i64 = 500;

/// The webhooks of one page of the waiting deliveries that no longer exist.
#[derive(Debug, PartialEq, Eq)]
pub struct OrphanPage {
    /// Their ids.
    pub webhooks: Vec<String>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Goes from one webhook with waiting deliveries to the next in the index: the cost grows with the webhooks, not with the
/// deliveries. Binds: the id before the first one, the number of webhooks.
pub(super) fn orphans_sql() -> String {
    const NEXT: &str = "SELECT MIN(d.webhook_id) FROM event_deliveries d WHERE d.status = 'pending' AND d.lease IS NULL \
        AND d.webhook_id";
    format!(
        "WITH RECURSIVE hooks (webhook_id, number) AS (SELECT ({NEXT} > $1), 1 UNION ALL \
         SELECT ({NEXT} > hooks.webhook_id), number + 1 FROM hooks WHERE hooks.webhook_id IS NOT NULL AND number < $2) \
         SELECT h.webhook_id, w.id AS existing FROM hooks h LEFT JOIN webhooks w ON w.id = h.webhook_id \
         WHERE h.webhook_id IS NOT NULL"
    )
}

/// Ends some of the deliveries of a webhook that wait in the database. Binds: the number of rows, now, the
/// webhook.
pub(super) fn cancel_sql(kind: DatabaseKind) -> String {
    let taken = taken_sql("parked, id", "webhook_id = $3 AND status = 'pending' AND lease IS NULL", kind);
    format!(
        "{taken} UPDATE event_deliveries SET status = 'cancelled', due = NULL, lease = NULL, parked = 0, finished_at = $2 \
         WHERE (company, id) IN (SELECT company, id FROM taken)"
    )
}

impl Store {
    /// Returns the webhooks that no longer exist but have deliveries that wait in the database, of those whose ids follow
    /// `after`.
    ///
    /// # Errors
    /// The database's.
    pub async fn orphaned_webhooks(&self, after: &str) -> Result<OrphanPage, StoreError> {
        let rows =
            db::query(AssertSqlSafe(orphans_sql())).bind(after).bind(PAGE).fetch_all(&self.readers.background).await?;
        let (mut webhooks, mut last) = (Vec::new(), None);
        for row in &rows {
            let id: String = row.try_get("webhook_id")?;
            if row.try_get::<Option<String>>("existing")?.is_none() {
                webhooks.push(id.clone());
            }
            last = last.max(Some(id));
        }
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE);
        Ok(OrphanPage { webhooks, next: last.filter(|_| is_full) })
    }

    /// Cancels the next few deliveries in the database of a webhook that was removed, at `now`, in milliseconds since 1970. Each
    /// process cancels those that it has in memory. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_orphans(&self, webhook: String, now: i64) -> Result<bool, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let query = db::query(AssertSqlSafe(cancel_sql(connection.kind()))).bind(STEP);
                Ok(query.bind(now).bind(webhook).execute(connection).await?)
            })
        });
        let metrics = self.metrics.clone();
        let ended = self.writer.run(work, move |count| metrics.deliveries_ended(Status::Cancelled, *count)).await?;
        Ok(ended > 0)
    }
}
