//! The backlog: which webhooks have one, and moving scheduled retries into it.

use sqlx::AssertSqlSafe;

use super::claim::{has_owner_sql, taken_sql};
use crate::domain::id;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most deliveries moved into the backlog in one transaction, so that other operations do not wait long for a webhook with
/// many retries.
const SPILL_STEP: i64 = 5_000;

/// A webhook that has a backlog in the database.
#[derive(Debug, Clone)]
pub struct BackloggedWebhook {
    /// The company.
    pub company: String,
    /// The webhook's id.
    pub id: String,
    /// Whether deliveries wait for room in the webhook's queue.
    pub has_backlog: bool,
    /// Whether deliveries of a replay wait.
    pub has_replay: bool,
}

/// Moves some of the scheduled retries of a webhook. Binds: the number of rows, the webhook.
pub(super) fn spill_sql(kind: DatabaseKind) -> String {
    let scheduled = "webhook_id = $2 AND status = 'pending' AND lease IS NULL AND parked = 0";
    format!(
        "{} UPDATE event_deliveries SET due = NULL, parked = 1 WHERE (company, id) IN (SELECT company, id FROM taken)",
        taken_sql("id", scheduled, kind)
    )
}

impl Store {
    /// Moves the scheduled retries of this webhook into its backlog, a few in one transaction.
    ///
    /// # Errors
    /// The database's.
    pub async fn spill_scheduled(&self, webhook: &str) -> Result<(), StoreError> {
        while self.spill_some(webhook.to_owned()).await? > 0 {}
        Ok(())
    }

    async fn spill_some(&self, webhook: String) -> Result<u64, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let query = db::query(AssertSqlSafe(spill_sql(connection.kind()))).bind(SPILL_STEP);
                Ok(query.bind(webhook).execute(connection).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Returns the enabled webhooks that have a backlog or deliveries of a replay, except those that another node owns.
    ///
    /// # Errors
    /// The database's.
    pub async fn backlogged_webhooks(&self, node: &str) -> Result<Vec<BackloggedWebhook>, StoreError> {
        let exists = |parked| {
            format!(
                "CAST(CASE WHEN EXISTS (SELECT 1 FROM event_deliveries d WHERE d.webhook_id = w.id \
                 AND d.status = 'pending' AND d.lease IS NULL AND d.parked = {parked}) THEN 1 ELSE 0 END AS BIGINT)"
            )
        };
        let sql = format!(
            "SELECT company, id, parked, replayed FROM (SELECT company, id, {} AS parked, \
             {} AS replayed FROM webhooks w WHERE enabled = 1 AND NOT ({} AND EXISTS (SELECT 1 FROM lane_owners o \
             WHERE o.webhook_id = w.id AND o.node <> $1))) AS lanes WHERE parked = 1 OR replayed = 1",
            exists(1),
            exists(2),
            has_owner_sql()
        );
        let rows = db::query(AssertSqlSafe(sql)).bind(node).fetch_all(&self.readers.background).await?;
        Ok(rows.iter().map(waiting_from_row).collect::<Result<_, _>>()?)
    }

    /// Returns when the newest delivery was created, in milliseconds since 1970, as its id says.
    ///
    /// # Errors
    /// The database's.
    pub async fn newest_delivery(&self) -> Result<Option<i64>, StoreError> {
        // Steps from one company to the next by the primary key: the cost grows with the companies, not with the log.
        let newest = |table: &str| {
            format!(
                "WITH RECURSIVE names (company) AS (SELECT MIN(company) FROM {table} UNION ALL \
                 SELECT (SELECT MIN(d.company) FROM {table} d WHERE d.company > names.company) FROM names \
                 WHERE names.company IS NOT NULL) \
                 SELECT MAX((SELECT MAX(d.id) FROM {table} d WHERE d.company = names.company)) FROM names"
            )
        };
        let mut last: Option<i64> = None;
        for table in ["event_deliveries", "deliveries"] {
            let query = db::query(AssertSqlSafe(newest(table)));
            let id: Option<String> = query.value(&self.readers.background).await?;
            last = last.max(id.as_deref().and_then(id::made_at));
        }
        Ok(last)
    }
}

fn waiting_from_row(row: &DatabaseRow) -> Result<BackloggedWebhook, sqlx::Error> {
    let flag = |column| Ok::<_, sqlx::Error>(row.try_get::<i64>(column)? == 1);
    Ok(BackloggedWebhook {
        company: row.try_get("company")?,
        id: row.try_get("id")?,
        has_backlog: flag("parked")?,
        has_replay: flag("replayed")?,
    })
}
